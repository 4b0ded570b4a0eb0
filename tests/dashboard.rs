//! Feature `dashboard`: what is answered to whom, and what it costs.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    future::IntoFuture,
    io::ErrorKind,
    net::SocketAddr,
    sync::mpsc,
    time::{Duration, Instant},
};

use axum::Router;
use heavylift::{ProcessPool, Shutdown, ThreadPool, dashboard};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// What takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(30);

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Sends a request, and reads the head of the answer.
async fn open(server: SocketAddr, method: &str, path: &str, host: &str) -> (Answer, BufReader<TcpStream>) {
    let mut connection = TcpStream::connect(server).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let (mut connection, mut head) = (BufReader::new(connection), String::new());
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(connection.read_line(&mut head).await.unwrap(), 0, "an answer without an end: {head}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (Answer { status, head, body: String::new() }, connection)
}

async fn request(server: SocketAddr, method: &str, path: &str) -> Answer {
    let answer = async {
        let (mut answer, mut connection) = open(server, method, path, "localhost").await;
        connection.read_to_string(&mut answer.body).await.unwrap();
        answer
    };
    timeout(PATIENCE, answer).await.unwrap()
}

async fn get(server: SocketAddr, path: &str) -> Answer {
    request(server, "GET", path).await
}

/// An open stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(server: SocketAddr) -> Self {
        let (answer, connection) = open(server, "GET", "/api/stream", "localhost").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
        Self(connection)
    }

    /// The pools as the next event tells them; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        loop {
            line.clear();
            let read = timeout(PATIENCE, self.0.read_line(&mut line)).await.unwrap();
            if read.is_err() || read.is_ok_and(|read| read == 0) {
                return None;
            }
            if let Some(json) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str(json).unwrap());
            }
        }
    }

    /// Reads on until the pools are as wanted.
    async fn until(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let pools = self.next().await.unwrap();
            if is_wanted(&pools) {
                return pools;
            }
            assert!(Instant::now() < end, "never came: {pools}");
        }
    }
}

/// Asks until the pools are as wanted.
async fn until(server: SocketAddr, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let pools = get(server, "/api/pools").await.json();
        if is_wanted(&pools) {
            return pools;
        }
        assert!(Instant::now() < end, "never came: {pools}");
    }
}

async fn dashboard() -> (SocketAddr, JoinHandle<std::io::Result<()>>) {
    let listening = dashboard::serve("127.0.0.1:0").listen().await.unwrap();
    (listening.address(), tokio::spawn(listening.into_future()))
}

async fn nested(service: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, service).await });
    address
}

fn pool<'a>(pools: &'a Value, name: &str) -> &'a Value {
    find(pools, name).unwrap_or_else(|| panic!("no {name:?} in {pools}"))
}

fn find<'a>(pools: &'a Value, name: &str) -> Option<&'a Value> {
    pools["pools"].as_array().unwrap().iter().find(|pool| pool["name"] == name)
}

fn add((a, b): (u64, u64)) -> u64 {
    a + b
}

#[tokio::test]
async fn the_page_is_one_file_that_may_run_only_its_own_script() {
    let (server, _serving) = dashboard().await;
    let page = get(server, "/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    let policy = page.header("content-security-policy").unwrap();
    for tag in ["script", "style"] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(page.body.matches(&open).count(), 1);
        let inside = page.body.split_once(&open).unwrap().1.split_once(&close).unwrap().0;
        let source = format!("{tag}-src 'sha256-{}';", base64(&Sha256::digest(inside)));
        assert!(policy.contains(&source), "the policy of src/dashboard/routes.rs must have {source}");
    }
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    for outside in
        ["src=\"", "@import", "url(", "innerHTML", "insertAdjacentHTML", "document.write", "style=\""]
    {
        assert!(!page.body.contains(outside), "{outside}");
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*chunk.get(at).unwrap_or(&0)));
        let digit = move |at: usize| DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
        (0..4).map(move |at| if at <= chunk.len() { digit(at) as char } else { '=' })
    });
    digits.collect()
}

#[tokio::test]
async fn it_is_found_wherever_it_is_nested() {
    let server = nested(
        Router::new()
            .nest("/a", dashboard::router())
            .nest_service("/b/c", dashboard::router())
            .merge(dashboard::router()),
    )
    .await;
    for page in ["/", "/a", "/b/c", "/b/c/"] {
        assert!(get(server, page).await.body.starts_with("<!doctype html>"), "{page}");
        let slash = if page.ends_with('/') { "" } else { "/" };
        let json = get(server, &format!("{page}{slash}api/pools")).await.json();
        assert_eq!(json["version"], 1, "{page}");
    }
    assert_eq!(get(server, "/b/c/api/none").await.status, 404);
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let (server, _serving) = dashboard().await;
    for path in ["/", "/api/pools", "/api/stream"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = request(server, method, path).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_api_tells_of_every_pool_what_its_metrics_tell() {
    let (server, _serving) = dashboard().await;
    let threads = ThreadPool::builder().name("told threads").max_workers(3).queue_limit(1).build().unwrap();
    let processes = ProcessPool::builder().name("told processes").max_workers(1).build().unwrap();
    assert_eq!(processes.run(add, (2, 3)).await.unwrap(), 5);
    for n in 0..4 {
        assert_eq!(threads.run(move || n).await.unwrap(), n);
    }
    threads.run(|| panic!("lost")).await.unwrap_err();

    let answer = get(server, "/api/pools").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let json = answer.json();
    assert_eq!(json["pid"], std::process::id());
    assert!(json["program"].as_str().unwrap().starts_with("dashboard-"));
    assert!(json["cores"].as_u64().unwrap() >= 1 && json["viewers"] == 0 && json["more_pools"] == 0);
    assert!(json["instance"].is_string() && json["at_ms"].is_u64());
    let (first, second) = (pool(&json, "told threads"), pool(&json, "told processes"));
    assert_eq!((&first["kind"], &second["kind"]), (&"thread".into(), &"process".into()));
    assert_ne!(first["id"], second["id"]);
    assert_eq!(first["max_workers"], 3);
    assert_eq!((&first["counts"]["submitted"], &first["counts"]["succeeded"]), (&5.into(), &4.into()));
    assert_eq!((&first["counts"]["panicked"], &first["counts"]["failed"]), (&1.into(), &0.into()));
    assert_eq!(second["counts"]["succeeded"], 1);
    assert_eq!(first["advice"]["is_enough"], false);
    for time in ["p50_us", "p90_us", "p99_us", "max_us"] {
        assert!(first["run_time"][time].as_f64().unwrap() >= 0.0, "{first}");
    }
    assert_eq!((&first["run_time"]["count"], &first["run_time"]["recent"]), (&5.into(), &Value::Null));
    let again = get(server, "/api/pools").await.json();
    assert_eq!(pool(&again, "told threads")["id"], first["id"], "a pool keeps its number");
    assert_eq!(again["instance"], json["instance"]);
    drop(threads);
    until(server, |pools| find(pools, "told threads").is_none()).await;
}

#[tokio::test]
async fn names_travel_as_they_are() {
    let name = "<img src=x onerror=alert(1)>\"\n\ndata: </script>";
    let _pool = ThreadPool::builder().name(name).build().unwrap();
    let _long = ThreadPool::builder().name("\u{1f980}".repeat(1000)).build().unwrap();
    let (server, _serving) = dashboard().await;
    let mut events = Events::open(server).await;
    let json = events.next().await.unwrap();
    assert!(find(&json, name).is_some(), "{json}");
    assert!(find(&json, &format!("{}…", "\u{1f980}".repeat(30))).is_some(), "a long one is cut: {json}");
}

#[tokio::test]
async fn an_event_comes_twice_a_second() {
    let (server, _serving) = dashboard().await;
    let mut events = Events::open(server).await;
    let first = events.next().await.unwrap();
    let (begun, mut last) = (Instant::now(), first);
    for _ in 0..4 {
        let next = events.next().await.unwrap();
        assert!(next["at_ms"].as_u64() > last["at_ms"].as_u64());
        last = next;
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1500) && took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn what_is_recent_is_told_to_who_looks() {
    let (server, _serving) = dashboard().await;
    let pool_of_threads = ThreadPool::builder().name("recent").max_workers(1).build().unwrap();
    pool_of_threads.run(|| ()).await.unwrap();
    let mut events = Events::open(server).await;
    let json = events.until(|pools| find(pools, "recent").is_some()).await;
    assert_eq!(pool(&json, "recent")["run_time"]["recent"]["count"], 0, "what was before is not recent");
    pool_of_threads.run(|| ()).await.unwrap();
    pool_of_threads.run(|| ()).await.unwrap();
    let json = events.until(|pools| pool(pools, "recent")["run_time"]["count"] == 3).await;
    assert_eq!(pool(&json, "recent")["run_time"]["recent"]["count"], 2);
    assert_eq!(pool(&json, "recent")["queue_wait"]["recent"]["count"], 2);
}

#[tokio::test]
async fn workers_are_told_with_what_they_run() {
    let (server, _serving) = dashboard().await;
    let pool_of_threads = ThreadPool::builder().name("lanes").max_workers(2).build().unwrap();
    let processes = ProcessPool::builder().name("lanes of processes").max_workers(1).build().unwrap();
    let pid = processes.run(|()| std::process::id(), ()).await.unwrap();
    let (open, closed) = mpsc::channel::<()>();
    let running = pool_of_threads.job(move || closed.recv().is_err()).name("waits for the end").run();
    let mut events = Events::open(server).await;
    let has_run = |pools: &Value| pool(pools, "lanes")["lanes"][0]["job"]["running_ms"].as_u64() >= Some(500);
    let json = events.until(has_run).await;
    let lanes = pool(&json, "lanes")["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 1);
    assert_eq!(
        (&lanes[0]["state"], &lanes[0]["busy"], &lanes[0]["pid"]),
        (&"busy".into(), &1.0.into(), &Value::Null)
    );
    assert_eq!(lanes[0]["job"]["name"], "waits for the end");
    assert_eq!(lanes[0]["job"]["task"], running.id().as_u64());
    let lanes = pool(&json, "lanes of processes")["lanes"].as_array().unwrap();
    assert_eq!(
        (&lanes[0]["state"], &lanes[0]["pid"], &lanes[0]["job"]),
        (&"idle".into(), &pid.into(), &Value::Null)
    );
    drop(open);
    assert!(running.await.unwrap());
    let json = events.until(|pools| pool(pools, "lanes")["lanes"][0]["state"] == "idle").await;
    assert_eq!(pool(&json, "lanes")["more_lanes"], 0);
}

#[tokio::test]
async fn who_asks_once_is_told_what_workers_do_at_this_moment_and_what_a_page_was_shown_while_one_is_open() {
    let (server, _serving) = dashboard().await;
    let name = "asked once";
    let threads = ThreadPool::builder().name(name).max_workers(2).build().unwrap();
    threads.run(|| panic!("before anybody looked")).await.unwrap_err();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let (open, closed) = mpsc::channel::<()>();
    let running = threads.job(move || (begun.send(()), closed.recv()).1.is_err()).name("waits").run();
    begins.await.unwrap();
    let unknown = |told: &Value| {
        let pool = pool(told, name);
        [&pool["failures"], &pool["events"], &pool["run_time"]["recent"], &pool["queue_wait"]["recent"]]
            .map(|field| field == &Value::Null)
    };
    let busy = |told: &Value| {
        let lanes = pool(told, name)["lanes"].as_array().unwrap();
        lanes.iter().find(|lane| lane["job"]["name"] == "waits").unwrap_or_else(|| panic!("{told}")).clone()
    };
    let once = get(server, "/api/pools").await.json();
    assert_eq!(unknown(&once), [true; 4], "{once}");
    let lane = busy(&once);
    assert_eq!((&lane["state"], &lane["pid"]), (&"busy".into(), &Value::Null));
    assert_eq!(lane["job"]["task"], running.id().as_u64());
    assert!(lane["job"]["running_ms"].as_u64().unwrap() < 60_000, "{lane}");
    assert_eq!((&lane["busy"], &lane["latest_job"]), (&Value::Null, &Value::Null));

    let mut events = Events::open(server).await;
    events.until(|pools| busy(pools)["busy"] == 1.0).await;
    let told = get(server, "/api/pools").await.json();
    assert_eq!(unknown(&told), [false; 4], "{told}");
    assert_eq!((&busy(&told)["busy"], &told["viewers"]), (&1.0.into(), &1.into()));
    threads.run(|| panic!("while a page is open")).await.unwrap_err();
    until(server, |pools| pool(pools, name)["failures"].as_array().is_some_and(|all| all.len() == 1)).await;
    drop(events);
    let told = until(server, |pools| pools["viewers"] == 0).await;
    assert_eq!(unknown(&told), [true; 4], "{told}");
    drop(open);
    assert!(running.await.unwrap());
}

#[tokio::test]
async fn failures_and_deaths_are_told_with_their_reason() {
    let (server, _serving) = dashboard().await;
    let name = "fails <b>";
    let threads = ThreadPool::builder().name(name).max_workers(1).build().unwrap();
    let processes = ProcessPool::builder().name("dies").max_workers(1).build().unwrap();
    threads.run(|| panic!("before anybody looked")).await.unwrap_err();
    let mut events = Events::open(server).await;
    events.until(|pools| find(pools, name).is_some() && find(pools, "dies").is_some()).await;
    let panicked = threads.job(|| panic!("lost <i>{}</i>", "x".repeat(2000))).name("one & only").run();
    let id = panicked.id();
    panicked.await.unwrap_err();
    let cancelled = threads.run(|| ());
    cancelled.cancel();
    assert!(processes.run(|()| std::process::abort(), ()).await.map(|()| 0).unwrap_err().is_worker_died());
    let json = events.until(|pools| !pool(pools, "dies")["failures"].as_array().unwrap().is_empty()).await;
    let failures = pool(&json, name)["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "what was before, or was cancelled, is none: {failures:?}");
    assert_eq!((&failures[0]["task"], &failures[0]["name"]), (&id.as_u64().into(), &"one & only".into()));
    assert_eq!(failures[0]["outcome"], "panicked");
    let error = failures[0]["error"].as_str().unwrap();
    assert!(error.contains("lost <i>xxx") && error.len() <= 512, "{error}");
    assert_eq!(pool(&json, "dies")["failures"][0]["outcome"], "worker_died");
    let json = events.until(|pools| pool(pools, "dies")["counts"]["worker_deaths"] == 1).await;
    let what =
        |event: &Value| event["what"] == "died" && event["reason"].as_str().unwrap().contains("SIGABRT");
    let died = pool(&json, "dies")["events"].as_array().unwrap().iter().find(|event| what(event));
    let died = died.unwrap_or_else(|| panic!("{json}")).clone();
    assert_eq!(processes.run(add, (1, 1)).await.unwrap(), 2);
    let json = events.until(|pools| !pool(pools, "dies")["lanes"].as_array().unwrap().is_empty()).await;
    let lane = &pool(&json, "dies")["lanes"][0];
    assert_eq!(
        (&died["worker"], &lane["worker"]),
        (&0.into(), &0.into()),
        "one takes the place of the other"
    );
    assert!(lane["serial"].as_u64() > died["serial"].as_u64() && lane["pid"] != died["pid"], "{died} {lane}");
}

#[tokio::test]
async fn refusals_do_not_bury_failures() {
    let (server, _serving) = dashboard().await;
    let name = "overloaded";
    let threads = ThreadPool::builder().name(name).max_workers(1).queue_limit(1).build().unwrap();
    let mut events = Events::open(server).await;
    events.until(|pools| find(pools, name).is_some()).await;
    threads.run(|| panic!("the one that matters")).await.unwrap_err();
    let (open, closed) = mpsc::channel::<()>();
    let running = threads.run(move || closed.recv().is_err());
    let waiting = threads.run(|| ());
    for _ in 0..50 {
        assert!(threads.run(|| ()).await.unwrap_err().is_overloaded());
        threads.try_run(|| ()).unwrap_err();
    }
    drop(open);
    assert!(running.await.unwrap());
    waiting.await.unwrap();
    threads.shutdown(Shutdown::Drain).await;
    assert!(threads.run(|| ()).await.unwrap_err().is_closed());
    let json = events.until(|pools| pool(pools, name)["counts"]["refused"] == 101).await;
    let failures = pool(&json, name)["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert!(failures[0]["error"].as_str().unwrap().ends_with("the one that matters"));
}

#[tokio::test]
async fn there_is_a_limit_to_open_pages_and_one_that_leaves_makes_room() {
    let (server, _serving) = dashboard().await;
    let mut pages = Vec::new();
    for _ in 0..64 {
        pages.push(Events::open(server).await);
    }
    let refused = get(server, "/api/stream").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    assert!(refused.body.contains("as many pages as there may be"), "{}", refused.body);
    pages.pop();
    until(server, |pools| pools["viewers"] == 63).await;
    pages.push(Events::open(server).await);
    pages.clear();
    until(server, |pools| pools["viewers"] == 0).await;
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused_unless_allowed() {
    for address in ["0.0.0.0:0", "[::]:0"] {
        let refused = tokio::spawn(dashboard::serve(address).into_future()).await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(refused.to_string().contains("not an address of loopback"), "{refused}");
    }
    let listening = dashboard::serve("0.0.0.0:0").allow_remote().listen().await.unwrap();
    let server = SocketAddr::from(([127, 0, 0, 1], listening.address().port()));
    tokio::spawn(listening.into_future());
    let (answer, _) = open(server, "GET", "/", "jobs.example.com").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_page_elsewhere_cannot_read_what_is_for_this_machine() {
    let (server, _serving) = dashboard().await;
    for (host, status) in [("evil.example", 403), ("127.0.0.1:80", 200), ("localhost", 200)] {
        let (answer, _) = open(server, "GET", "/api/pools", host).await;
        assert_eq!(answer.status, status, "{host}");
    }
}

#[tokio::test]
async fn a_server_that_is_dropped_ends_its_pages_and_frees_its_address() {
    let (server, serving) = dashboard().await;
    let mut page = Events::open(server).await;
    page.next().await.unwrap();
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    while page.next().await.is_some() {}
    drop(dashboard::serve(server).listen().await.unwrap());
    let again = dashboard::serve(server).listen().await.unwrap();
    tokio::spawn(again.into_future());
    assert!(Events::open(server).await.next().await.is_some());
}

#[tokio::test]
async fn a_service_that_shuts_down_is_not_held_up_by_open_pages() {
    let (end, ended) = watch::channel(false);
    let until = |mut ended: watch::Receiver<bool>| async move { drop(ended.wait_for(|is| *is).await) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    let service = dashboard::router_until(until(ended.clone()));
    let serving = axum::serve(listener, service).with_graceful_shutdown(until(ended)).into_future();
    let serving = tokio::spawn(serving);
    let mut page = Events::open(server).await;
    page.next().await.unwrap();
    end.send_replace(true);
    while page.next().await.is_some() {}
    timeout(PATIENCE, serving).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_pool_is_not_kept_by_who_looks_at_it() {
    let (open, closed) = mpsc::channel::<()>();
    let pool_of_threads = ThreadPool::builder().name("kept?").max_workers(1).build().unwrap();
    let running = pool_of_threads.run(move || closed.recv().is_err());
    let (server, _serving) = dashboard().await;
    let mut page = Events::open(server).await;
    let json = page.until(|pools| pool(pools, "kept?")["running"] == 1).await;
    assert_eq!(
        (&pool(&json, "kept?")["workers"], &pool(&json, "kept?")["idle_workers"]),
        (&1.into(), &0.into())
    );
    drop((open, pool_of_threads));
    assert!(running.await.unwrap());
    page.until(|pools| find(pools, "kept?").is_none()).await;
}
