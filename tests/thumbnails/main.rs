//! The example `thumbnails`, from outside: what it answers, what it survives, what it leaves behind.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod browser;
mod client;
#[allow(dead_code, reason = "the bench says more of it")]
mod load;
mod pictures;
mod server;

// The pieces of the example that have tests of their own, which `cargo test` does not run in an example; and what they need.
#[path = "../../examples/thumbnails/args.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod args;
#[path = "../../examples/thumbnails/budget.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod budget;
#[path = "../../examples/thumbnails/failure.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod failure;
#[path = "../../examples/thumbnails/hostile.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod hostile;
#[path = "../../examples/thumbnails/log.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod log;
#[path = "../../examples/thumbnails/picture.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod picture;
#[path = "../../examples/thumbnails/store.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod store;
#[path = "../../examples/thumbnails/upload.rs"]
#[allow(dead_code, reason = "only the tests in it are wanted")]
mod upload;

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use client::{Pending, Response, get, post};
use image::{DynamicImage, ImageFormat, RgbaImage};
use load::{Kind, Outcome, Place, Plan};
use pictures::{FORMATS, noise, png_size};
use rustix::process::Signal;
use server::{End, Server, lives, memory_kib, program, until};

#[track_caller]
fn error_of(response: &Response) -> (u16, String) {
    assert_eq!(response.header("content-type"), Some("application/json"), "{response:?}");
    let code = response.code().unwrap_or_else(|| panic!("no error in {response:?}"));
    (response.status, code)
}

fn running(server: SocketAddr) -> (u64, u64) {
    let health = get(server, "/health").unwrap().json();
    (health["running"].as_u64().unwrap(), health["queued"].as_u64().unwrap())
}

/// How many jobs of a pool ended how, as the dashboard tells.
fn counts(server: SocketAddr, pool: &str) -> serde_json::Value {
    let shown = get(server, "/dashboard/api/pools").unwrap().json();
    let pools = shown["pools"].as_array().unwrap();
    pools.iter().find(|found| found["name"] == pool).unwrap()["counts"].clone()
}

/// Sends a picture that never gets ready, and waits until it is in work.
fn occupy(server: &Server) -> Pending {
    let (before, _) = running(server.address);
    let pending = Pending::post(server.address, "/thumbnail", b"CRASH!LOOP").unwrap();
    until("it is in work", || running(server.address).0 > before);
    pending
}

#[track_caller]
fn works(server: &Server) {
    let made =
        post(server.address, "/thumbnail?width=8", &pictures::picture(ImageFormat::Png, 32, 32)).unwrap();
    assert_eq!((made.status, png_size(&made.body)), (200, Some((8, 8))), "{made:?}");
}

#[test]
fn every_format_becomes_a_png_and_is_kept() {
    let server = Server::start(&["--run-timeout", "30"]);
    for (n, (content_type, format)) in (1..).zip(FORMATS) {
        let original = pictures::picture(format, 640, 400);
        let made = post(server.address, "/thumbnail?width=64", &original).unwrap();
        assert_eq!((made.status, made.header("content-type")), (200, Some("image/png")), "{content_type}");
        assert_eq!(png_size(&made.body), Some((64, 40)), "{content_type}");
        let shown = image::load_from_memory(&made.body).unwrap().to_rgb8();
        let (left, right) = (shown.get_pixel(4, 20).0, shown.get_pixel(60, 20).0);
        assert!(left[0] > 180 && left[2] < 80 && right[0] < 80 && right[2] > 180, "{left:?} {right:?}");

        let place = made.header("location").unwrap().to_owned();
        assert_eq!(place, format!("/images/{n}"));
        let kept = get(server.address, &place).unwrap();
        assert_eq!((kept.status, kept.header("content-type")), (200, Some(content_type)));
        assert_eq!(kept.body, original, "{content_type}");
        assert_eq!(kept.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(kept.header("content-security-policy"), Some("default-src 'none'; sandbox"));
        assert_eq!(get(server.address, &format!("{place}/thumbnail")).unwrap().body, made.body);
    }
    let list = get(server.address, "/images").unwrap().json();
    let types: Vec<_> = list.as_array().unwrap().iter().map(|entry| entry["content_type"].as_str()).collect();
    assert_eq!(
        types,
        FORMATS.map(|(content_type, _)| Some(content_type)).into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(
        (&list[0]["id"], &list[0]["width"], &list[0]["height"]),
        (&4.into(), &640.into(), &400.into())
    );
    let page = get(server.address, "/images?limit=2&before=4").unwrap().json();
    let ids: Vec<_> = page.as_array().unwrap().iter().map(|entry| entry["id"].as_i64()).collect();
    assert_eq!(ids, [Some(3), Some(2)]);
    server.stop();
}

#[test]
fn a_thumbnail_keeps_shape_and_transparency_and_is_never_enlarged() {
    let server = Server::start(&["--run-timeout", "30"]);
    let size_of = |width: &str, picture: &[u8]| {
        png_size(&post(server.address, &format!("/thumbnail{width}"), picture).unwrap().body)
    };
    let wide = pictures::picture(ImageFormat::Jpeg, 1000, 50);
    assert_eq!(size_of("", &wide), Some((256, 13)));
    assert_eq!(size_of("?width=1", &wide), Some((1, 1)));
    assert_eq!(size_of("?width=2048&other=1", &wide), Some((1000, 50)));
    let tall = pictures::picture(ImageFormat::Png, 10, 4000);
    assert_eq!(size_of("?width=10", &tall), Some((1, 40)), "four times as high as asked for in width");

    let clear = DynamicImage::from(RgbaImage::from_pixel(40, 40, image::Rgba([10, 20, 30, 0])));
    let clear = pictures::encoded(&clear, ImageFormat::Png);
    let made = post(server.address, "/thumbnail?width=20", &clear).unwrap();
    assert_eq!(image::load_from_memory(&made.body).unwrap().to_rgba8().get_pixel(9, 9).0[3], 0);

    // A photograph of a camera that was held upright: 40 by 20 pixels that are to be turned.
    let lying = pictures::picture(ImageFormat::Jpeg, 40, 20);
    let turn = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let turned = [&lying[..2], turn, &lying[2..]].concat();
    assert_eq!(size_of("?width=10", &turned), Some((10, 20)));
    server.stop();
}

#[test]
fn what_is_wrong_is_said_in_json_and_costs_nobody_else_anything() {
    let server = Server::start(&["--workers", "2"]);
    let half = |mut picture: Vec<u8>| {
        picture.truncate(picture.len() / 2);
        picture
    };
    let bad = [
        (&b""[..], 415, "not_an_image"),
        (b"hello", 415, "not_an_image"),
        (b"BM picture of a kind that nobody asked for", 415, "not_an_image"),
        (b"\x89PNG\r\n\x1a\n", 422, "broken_image"),
        (&pictures::bomb(), 422, "too_many_pixels"),
        (&pictures::liar(), 422, "too_many_pixels"),
        (b"CRASH!SEGV", 500, "crashed"),
        (b"CRASH!HOG", 500, "crashed"),
        (b"CRASH!LOOP", 504, "out_of_time"),
    ];
    for (body, status, code) in bad {
        let response = post(server.address, "/thumbnail", body).unwrap();
        assert_eq!(error_of(&response), (status, code.to_owned()), "{:?}", &body[..body.len().min(20)]);
        works(&server);
    }
    for (content_type, format) in FORMATS {
        let response = post(server.address, "/thumbnail", &half(noise(format, 200, 200))).unwrap();
        assert_eq!(error_of(&response), (422, "broken_image".to_owned()), "{content_type}");
    }
    // What it does with the profile is the decoder's choice. It must not come to have all of it in memory.
    let profile = post(server.address, "/thumbnail", &pictures::profile_bomb()).unwrap();
    assert!([200, 422, 500, 504].contains(&profile.status), "{profile:?}");
    works(&server);

    for width in ["0", "2049", "-1", "x", "", "1e3", "99999999999"] {
        let response = post(server.address, &format!("/thumbnail?width={width}"), b"hello").unwrap();
        assert_eq!(error_of(&response), (400, "bad_parameter".to_owned()), "{width}");
    }
    let table = [
        ("GET", "/images/1000", 404, "no_such_image"),
        ("GET", "/images/x", 404, "no_such_image"),
        ("GET", "/images/1000/thumbnail", 404, "no_such_image"),
        ("GET", "/images?limit=0", 400, "bad_parameter"),
        ("GET", "/images?limit=101", 400, "bad_parameter"),
        ("GET", "/images?before=x", 400, "bad_parameter"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/thumbnail", 405, "method_not_allowed"),
        ("DELETE", "/images/1", 405, "method_not_allowed"),
    ];
    for (method, path, status, code) in table {
        let response = Pending::begin(server.address, &format!("{method} {path} HTTP/1.1")).unwrap();
        assert_eq!(error_of(&response.response().unwrap()), (status, code.to_owned()), "{method} {path}");
    }
    server.stop();
}

#[test]
fn hostile_pictures_are_not_noticed_by_those_who_send_good_ones() {
    let server = Server::start(&["--workers", "2"]);
    let address = server.address;
    let good = noise(ImageFormat::Png, 64, 64);
    let hostile = [&b"CRASH!SEGV"[..], b"CRASH!HOG", b"hello", &pictures::bomb()].map(<[u8]>::to_vec);
    thread::scope(|scope| {
        let attackers = hostile.map(|body| {
            scope.spawn(move || (0..10).map(|_| post(address, "/thumbnail", &body).unwrap().status).collect())
        });
        for _ in 0..50 {
            let made = post(address, "/thumbnail?width=16", &good).unwrap();
            assert_eq!((made.status, png_size(&made.body)), (200, Some((16, 16))));
        }
        let statuses: [Vec<u16>; 4] = attackers.map(|attacker| attacker.join().unwrap());
        // On a slow machine its time is over before it has had its memory.
        let hogs = statuses[1].iter().map(|status| if *status == 504 { 500 } else { *status }).collect();
        let [crashes, _, texts, bombs] = statuses;
        assert_eq!(
            [crashes, hogs, texts, bombs],
            [[500; 10], [500; 10], [415; 10], [422; 10]].map(Vec::from)
        );
    });
    server.stop();
}

#[test]
fn nobody_has_to_read_what_it_says() {
    // Each crash is a line, and a pipe has room for some six hundred.
    let server = Server::start_unheard(&["--workers", "2"]);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..400 {
                    assert_eq!(post(server.address, "/thumbnail", b"CRASH!SEGV").unwrap().status, 500);
                }
            });
        }
    });
    works(&server);
    server.stop();
}

#[test]
fn who_goes_away_takes_the_job_along() {
    let server = Server::start(&["--workers", "1"]);
    let pending = occupy(&server);
    let workers = server.workers();
    assert_eq!(workers.len(), 1);
    drop(pending);
    until("its worker is killed", || !lives(workers[0]));
    works(&server);
    assert_ne!(server.workers(), workers);
    // It is no failure, and nobody had to wait for a time limit.
    let counts = counts(server.address, "decode");
    assert_eq!((&counts["cancelled"], &counts["timed_out"]), (&1.into(), &0.into()), "{counts}");
    server.stop();
}

#[test]
fn a_full_queue_sends_people_away_until_there_is_room() {
    let server = Server::start(&["--workers", "1"]);
    let first = occupy(&server);
    // Who waits: they go away before it is their turn.
    let mut waiting = Vec::new();
    let refused = loop {
        assert!(waiting.len() < 100, "the queue has no end");
        let pending = Pending::post(server.address, "/thumbnail", b"CRASH!LOOP").unwrap();
        let before = waiting.len() as u64;
        let admitted = server::within(server::LONG, || {
            let (running, queued) = running(server.address);
            // The first of all is over when its time is; its place is taken by one that waits.
            match running + queued > before + 1 {
                true => Some(true),
                false => pending.has_answer().then_some(false),
            }
        });
        match admitted.expect("an answer or a place") {
            true => waiting.push(pending),
            false => break pending.response().unwrap(),
        }
    };
    assert_eq!(error_of(&refused), (503, "busy".to_owned()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(!waiting.is_empty());
    drop((first, waiting));
    until("there is room", || running(server.address) == (0, 0));
    works(&server);
    server.stop();
}

#[test]
fn a_body_that_is_too_large_is_not_kept() {
    let server = Server::start(&["--workers", "1"]);
    works(&server);
    let peak = || memory_kib(server.pid(), "VmHWM").unwrap();
    let body = vec![0; 50 << 20];
    let before = peak();
    let response = post(server.address, "/thumbnail", &body).unwrap();
    assert_eq!(error_of(&response), (413, "too_large".to_owned()));
    assert!(peak() < before + 8 * 1024, "{before} KiB became {} KiB", peak());

    let mut chunked =
        Pending::begin(server.address, "POST /thumbnail HTTP/1.1\r\nTransfer-Encoding: chunked").unwrap();
    for chunk in body.chunks(1 << 20) {
        chunked.send(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        chunked.send(chunk).unwrap();
        chunked.send(b"\r\n").unwrap();
    }
    chunked.send(b"0\r\n\r\n").unwrap();
    assert_eq!(error_of(&chunked.response().unwrap()), (413, "too_large".to_owned()));
    assert!(peak() < before + 50 * 1024, "{before} KiB became {} KiB", peak());

    // Who asks before sending is told before sending.
    let head = "POST /thumbnail HTTP/1.1\r\nContent-Length: 52428800\r\nExpect: 100-continue";
    let response = Pending::begin(server.address, head).unwrap().response().unwrap();
    assert_eq!(error_of(&response), (413, "too_large".to_owned()));
    server.stop();
}

#[test]
fn what_all_bodies_take_together_is_bounded() {
    let server = Server::start(&["--workers", "1"]);
    let almost = vec![0; (20 << 20) - 1];
    let stuck: Vec<Pending> = (0..6)
        .map(|_| {
            let head = "POST /thumbnail HTTP/1.1\r\nContent-Length: 20971520";
            let mut pending = Pending::begin(server.address, head).unwrap();
            pending.send(&almost).unwrap();
            pending
        })
        .collect();
    until("no more fits", || match post(server.address, "/thumbnail", &almost).unwrap().status {
        503 => true,
        415 => false,
        other => panic!("{other}"),
    });
    works(&server);
    drop(stuck);
    until("it fits again", || post(server.address, "/thumbnail", &almost).unwrap().status == 415);
    server.stop();
}

#[test]
fn who_was_there_before_the_end_is_still_answered() {
    let server = Server::start(&["--workers", "2"]);
    let in_work = occupy(&server);
    let picture = pictures::picture(ImageFormat::Png, 100, 100);
    let length = picture.len();
    let head =
        format!("POST /thumbnail?width=10 HTTP/1.1\r\nContent-Length: {length}\r\nExpect: 100-continue");
    let mut half_sent = Pending::begin(server.address, &head).unwrap();
    half_sent.may_continue().unwrap();
    half_sent.send(&picture[..50]).unwrap();

    server.signal(Signal::TERM);
    until("nobody is let in", || TcpStream::connect(server.address).is_err());
    half_sent.send(&picture[50..]).unwrap();
    assert_eq!(png_size(&half_sent.response().unwrap().body), Some((10, 10)));
    assert_eq!(error_of(&in_work.response().unwrap()), (504, "out_of_time".to_owned()));
    assert_eq!(server.end(), End { code: Some(0), left: Vec::new() });
}

#[test]
fn a_second_signal_cuts_off_what_is_in_work() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = Server::start(&["--workers", "1"]);
        let in_work = occupy(&server);
        server.signal(signal);
        until("nobody is let in", || TcpStream::connect(server.address).is_err());
        server.signal(signal);
        assert_eq!(error_of(&in_work.response().unwrap()), (503, "busy".to_owned()));
        assert_eq!(server.end(), End { code: Some(0), left: Vec::new() });
    }
}

#[test]
fn nothing_is_left_when_it_is_killed_in_the_middle() {
    let server = Server::start(&["--workers", "2"]);
    let _in_work = [occupy(&server), occupy(&server)];
    let processes = server.processes();
    assert_eq!(processes.len(), 3, "the zygote and two workers");
    server.signal(Signal::KILL);
    until("all are gone", || !processes.iter().any(|&pid| lives(pid)));
}

#[test]
fn pictures_are_there_after_a_restart_with_the_same_directory() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("made/on/demand");
    let args = ["--data", data.to_str().unwrap()];
    let original = pictures::picture(ImageFormat::Gif, 30, 30);
    let server = Server::start(&args);
    assert_eq!(post(server.address, "/thumbnail", &original).unwrap().status, 200);
    server.stop();

    let server = Server::start(&args);
    assert_eq!(get(server.address, "/images/1").unwrap().body, original);
    let made = post(server.address, "/thumbnail", &original).unwrap();
    assert_eq!(made.header("location"), Some("/images/2"));
    assert_eq!(get(server.address, "/images").unwrap().json().as_array().unwrap().len(), 2);
    server.stop();
    assert!(fs::exists(data.join("images.sqlite")).unwrap());
}

#[test]
fn the_page_is_whole_in_itself() {
    let server = Server::start(&[]);
    let page = get(server.address, "/").unwrap();
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'; "));
    let text = String::from_utf8(page.body).unwrap();
    for elsewhere in ["src=\"", "<link rel=\"stylesheet\"", "@import", "https://", "//cdn"] {
        assert!(!text.contains(elsewhere), "{elsewhere}");
    }
    server.stop();
}

#[test]
fn a_wrong_argument_is_status_2_and_help_is_help() {
    let run = |args: &[&str]| Command::new(program()).args(args).stdin(Stdio::null()).output().unwrap();
    for args in
        [&["--frob"][..], &["--listen"], &["--workers", "0"], &["--run-timeout", "0"], &["picture.png"]]
    {
        let output = run(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), &*output.stdout), (Some(2), &b""[..]), "{args:?}");
        assert!(stderr.contains(args[0]) && stderr.contains("usage: thumbnails"), "{args:?}: {stderr}");
    }
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"usage: thumbnails"));
    let nowhere = run(&["--listen", "127.0.0.1:99999"]);
    assert_eq!((nowhere.status.code(), &*nowhere.stdout), (Some(1), &b""[..]));
}

#[test]
fn a_crowd_gets_an_answer_each_that_explains_itself() {
    let plan = Plan {
        length: Duration::from_secs(10),
        clients: 24,
        width: 160,
        place: Place::Processes,
        deadly: true,
    };
    let report = load::run(&plan);
    assert_eq!(report.unexplained(), Vec::<String>::new(), "{report}");
    assert_eq!((&report.deaths, &report.left), (&Vec::new(), &Vec::new()), "{report}");
    assert!(report.end.is_ok(), "{:?}", report.end);
    for kind in Kind::ALL {
        let right = report
            .count(|found, outcome| found == kind && matches!(outcome, Outcome::Answered | Outcome::Left));
        assert!(right > 0, "{kind:?}\n{report}");
    }
}

#[test]
fn the_dashboard_shows_both_pools_and_lets_the_service_end() {
    let server = Server::start(&["--workers", "1"]);
    works(&server);
    let page = get(server.address, "/dashboard").unwrap();
    assert_eq!(page.status, 200);
    assert_eq!(counts(server.address, "decode")["succeeded"], 1);
    assert_eq!(counts(server.address, "store")["succeeded"], 1);

    let mut page = Pending::begin(server.address, "GET /dashboard/api/stream HTTP/1.1").unwrap();
    page.first_byte().unwrap();
    server.signal(Signal::TERM);
    // Earlier than what does not end by itself is cut off.
    assert_eq!(server.end_within(Duration::from_secs(10)), End { code: Some(0), left: Vec::new() });
}
