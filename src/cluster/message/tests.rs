use proptest::{option, prelude::*};

use super::*;

fn time() -> impl Strategy<Value = SystemTime> {
    (0..1u64 << 45).prop_map(|ms| UNIX_EPOCH + Duration::from_millis(ms))
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        any::<Vec<u8>>().prop_map(|bytes| Content::Here(bytes.into())),
        ("[ -~]{0,20}", any::<u64>()).prop_map(|(object, len)| Content::Stored { object, len }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let names = ("[ -~]{0,20}", any::<u32>(), "\\PC{0,20}", "[ -~]{0,20}", any::<u64>(), "[ -~]{0,20}");
    let limits = (
        option::of(time()),
        option::of(time()),
        option::of(duration()),
        any::<u32>(),
        option::of("[ -~]{55}"),
    );
    (names, limits, content()).prop_map(|(names, limits, argument)| {
        let (id, resubmission, client, job, fingerprint, queue) = names;
        let (deadline, queue_deadline, run_timeout, retries, traceparent) = limits;
        Request {
            id,
            resubmission,
            client,
            job,
            fingerprint,
            queue,
            deadline,
            queue_deadline,
            run_timeout,
            retries,
            traceparent,
            argument,
        }
    })
}

fn failure() -> impl Strategy<Value = Failure> {
    let text = any::<String>;
    prop_oneof![
        (text(), option::of(text()), option::of(text())).prop_map(|(message, location, backtrace)| {
            Failure::Panicked { message, location, backtrace }
        }),
        (any::<u32>(), any::<Option<i32>>(), any::<Option<i32>>(), text(), option::of(text())).prop_map(
            |(pid, code, signal, stderr_tail, note)| Failure::WorkerDied {
                pid,
                code,
                signal,
                stderr_tail,
                note
            }
        ),
        (text(), any::<u64>()).prop_map(|(limit, after_ms)| Failure::TimedOut { limit, after_ms }),
        Just(Failure::Cancelled),
        text().prop_map(|why| Failure::ArgumentNotDecodable { why }),
        text().prop_map(|why| Failure::ResultNotEncodable { why }),
        any::<(u64, u64)>().prop_map(|(size, limit)| Failure::ResultTooLarge { size, limit }),
        text().prop_map(|why| Failure::Overloaded { queue: "q".into(), why }),
        text().prop_map(|why| Failure::Unavailable { why }),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let answer = prop_oneof![
        content().prop_map(Answer::Value),
        failure().prop_map(Answer::Failed),
        any::<(u32, String)>().prop_map(|(count, has)| Answer::Refused { count, has }),
    ];
    ("[ -~]{0,20}", "[ -~]{0,20}", any::<u32>(), duration(), answer)
        .prop_map(|(id, node, attempt, ran, answer)| Reply { id, node, attempt, ran, answer })
}

/// Envelopes with our headers, in which anything stands.
fn hostile() -> impl Strategy<Value = Envelope> {
    let name = prop::sample::select(vec![
        header::VERSION,
        header::ID,
        header::RESUBMISSION,
        header::CLIENT,
        header::JOB,
        header::FINGERPRINT,
        header::QUEUE,
        header::DEADLINE,
        header::QUEUE_DEADLINE,
        header::RUN_TIMEOUT,
        header::RETRIES,
        header::OBJECT,
        header::OBJECT_LEN,
        header::NODE,
        header::ATTEMPT,
        header::RAN,
        header::ANSWER,
    ]);
    let value = prop_oneof![
        any::<String>(),
        any::<u64>().prop_map(|number| number.to_string()),
        Just("1".to_owned()),
        Just("failed".to_owned()),
        Just("refused".to_owned()),
        Just(u128::MAX.to_string()),
    ];
    let headers = prop::collection::vec((name.prop_map(Cow::Borrowed), value), 0..24);
    (headers, any::<Vec<u8>>()).prop_map(|(headers, body)| Envelope { headers, body: body.into() })
}

fn an_envelope() -> Envelope {
    let request = Request {
        id: "c-7".to_owned(),
        resubmission: 2,
        client: "c".to_owned(),
        job: "crate::double".to_owned(),
        fingerprint: 0xfeed,
        queue: "default".to_owned(),
        deadline: Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        queue_deadline: None,
        run_timeout: Some(Duration::from_micros(1_500)),
        retries: 4,
        traceparent: None,
        argument: Content::Here(Bytes::from_static(&[1, 2])),
    };
    assert_eq!(request.message_id(), "c-7.2");
    request.to_envelope()
}

fn with(mut envelope: Envelope, name: &'static str, value: &str) -> Envelope {
    envelope.headers.retain(|(other, _)| other != name);
    envelope.headers.push((name.into(), value.to_owned()));
    envelope
}

fn error(envelope: &Envelope) -> String {
    Request::from_envelope(envelope).unwrap_err()
}

proptest! {
    #[test]
    fn a_request_arrives_as_it_was_sent(request in request()) {
        prop_assert_eq!(Request::from_envelope(&request.to_envelope()), Ok(request));
    }

    #[test]
    fn a_reply_arrives_as_it_was_sent(reply in reply()) {
        prop_assert_eq!(Reply::from_envelope(&reply.to_envelope()), Ok(reply));
    }

    #[test]
    fn whatever_comes_is_a_message_or_an_error(envelope in hostile()) {
        let _ = Request::from_envelope(&envelope);
        let _ = Reply::from_envelope(&envelope);
    }
}

#[test]
fn a_request_looks_the_same_in_every_version() {
    let envelope = an_envelope();
    let headers: Vec<_> = envelope.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        headers,
        [
            "Hl-Version: 1",
            "Hl-Id: c-7",
            "Hl-Resubmission: 2",
            "Hl-Client: c",
            "Hl-Job: crate::double",
            "Hl-Fingerprint: 000000000000feed",
            "Hl-Queue: default",
            "Hl-Deadline-Ms: 1700000000123",
            "Hl-Run-Timeout-Ns: 1500000",
            "Hl-Retries: 4",
        ]
    );
    assert_eq!(&envelope.body[..], [1, 2]);
}

#[test]
fn a_failure_looks_the_same_in_every_version() {
    let answer = Answer::Failed(Failure::TimedOut { limit: "run_timeout".to_owned(), after_ms: 50 });
    let reply = Reply {
        id: "c-7".to_owned(),
        node: "n".to_owned(),
        attempt: 1,
        ran: Duration::from_micros(3),
        answer,
    };
    let envelope = reply.to_envelope();
    let headers: Vec<_> = envelope.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        headers,
        [
            "Hl-Version: 1",
            "Hl-Id: c-7",
            "Hl-Node: n",
            "Hl-Attempt: 1",
            "Hl-Ran-Ns: 3000",
            "Hl-Answer: failed"
        ]
    );
    assert_eq!(envelope.body, r#"{"timed_out":{"limit":"run_timeout","after_ms":50}}"#);
}

#[test]
fn unknown_headers_and_minor_versions_are_passed_over() {
    let envelope = with(with(an_envelope(), "Hl-News", "?"), header::VERSION, "1.7");
    assert_eq!(Request::from_envelope(&envelope), Request::from_envelope(&an_envelope()));
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let mut without = an_envelope();
    without.headers.retain(|(name, _)| name != header::JOB);
    assert_eq!(error(&without), "the header `Hl-Job` is missing");
    assert_eq!(error(&Envelope::default()), "the header `Hl-Version` is missing");
    assert_eq!(error(&with(an_envelope(), header::RETRIES, "-1")), "the header `Hl-Retries` is `-1`");
    assert_eq!(
        error(&with(an_envelope(), header::DEADLINE, "soon")),
        "the header `Hl-Deadline-Ms` is `soon`"
    );
    assert_eq!(error(&with(an_envelope(), header::FINGERPRINT, "xy")), "the header `Hl-Fingerprint` is `xy`");
    assert_eq!(error(&with(an_envelope(), header::OBJECT, "o")), "the header `Hl-Object-Len` is missing");
    let long = error(&with(an_envelope(), header::RETRIES, &"9".repeat(1 << 20)));
    assert!(long.len() < 200, "{long}");
}

#[test]
fn another_version_is_refused_and_both_are_named() {
    let refusal = error(&with(an_envelope(), header::VERSION, "2.0"));
    assert!(refusal.contains("version 2") && refusal.contains("version 1"), "{refusal}");
}

#[test]
fn a_failure_of_a_newer_version_is_a_failure() {
    let reply = Reply {
        id: "c-7".to_owned(),
        node: "n".to_owned(),
        attempt: 1,
        ran: Duration::ZERO,
        answer: Answer::Failed(Failure::Cancelled),
    };
    let mut envelope = reply.to_envelope();
    envelope.body = Bytes::from_static(br#"{"struck_by_lightning":{}}"#);
    let Ok(Reply { answer: Answer::Failed(Failure::Unavailable { why }), .. }) =
        Reply::from_envelope(&envelope)
    else {
        panic!("not understood as a failure");
    };
    assert!(why.contains("struck_by_lightning"), "{why}");
}

#[test]
fn no_value_ends_the_line_of_its_header() {
    let mut envelope = Envelope::new();
    envelope.put(header::NODE, "a\r\nNats-Msg-Id: b");
    assert_eq!(envelope.header(header::NODE), Some("a  Nats-Msg-Id: b"));
}

#[test]
fn of_a_request_of_another_version_it_is_known_whose_it_is() {
    let strange = |headers: &[(&'static str, &str)]| Envelope {
        headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).to_owned())).collect(),
        body: Bytes::new(),
    };
    let whose = [("Hl-Version", "7"), ("Hl-Id", "c-1"), ("Hl-Client", "c")];
    let remains = Request::remains(&strange(&whose)).unwrap();
    assert_eq!(
        (remains.id.as_str(), remains.client.as_str(), remains.queue.as_str()),
        ("c-1", "c", "unknown")
    );
    assert_eq!((remains.message_id().as_str(), remains.deadline), ("c-1.0", None));

    let more =
        [("Hl-Queue", "gpu"), ("Hl-Deadline-Ms", "1000"), ("Hl-Resubmission", "2"), ("Hl-Retries", "0")];
    let remains = Request::remains(&strange(&[&whose[..], &more].concat())).unwrap();
    assert_eq!((remains.queue.as_str(), remains.message_id().as_str()), ("gpu", "c-1.2"));
    assert_eq!(remains.deadline, Some(UNIX_EPOCH + Duration::from_secs(1)));
    assert_eq!(remains.retries, u32::MAX);

    for nobody in
        [&whose[..2], &[whose[0], whose[2]], &[("Hl-Id", "c.1"), whose[2]], &[whose[1], ("Hl-Client", ">")]]
    {
        assert_eq!(Request::remains(&strange(nobody)), None, "{nobody:?}");
    }
}
