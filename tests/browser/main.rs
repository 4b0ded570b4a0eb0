//! The dashboard as a person sees it: Chromium opens the page, and is asked what it shows.
//!
//! Needs `chromium` or `google-chrome`; without it the tests say that they are skipped. Pictures are left under `target/browser`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chromium;

use std::{
    future::IntoFuture,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Duration,
};

use heavylift::{ProcessPool, Task, ThreadPool, dashboard};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{runtime::Runtime, task::JoinHandle};

use self::chromium::{Browser, Look, Page};

const HOSTILE: &str = "<img src=x onerror=alert(1)>";
const WIDE: Look = Look { width: 1400, height: 900, scheme: "light" };
const DARK: Look = Look { scheme: "dark", ..WIDE };
const PHONE: Look = Look { width: 390, height: 844, scheme: "light" };

/// The page shows all pools of the program, so the tests take turns.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The dashboard of this program, on a runtime of its own.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (address, serving) = Self::serve(&runtime, "127.0.0.1:0".parse().unwrap());
        Self { runtime, address, serving }
    }

    fn serve(runtime: &Runtime, address: SocketAddr) -> (SocketAddr, JoinHandle<std::io::Result<()>>) {
        let listening = runtime.block_on(dashboard::serve(address).listen()).unwrap();
        (listening.address(), runtime.spawn(listening.into_future()))
    }

    fn stop(&mut self) {
        self.serving.abort();
        assert!(self.runtime.block_on(&mut self.serving).is_err_and(|end| end.is_cancelled()));
    }

    fn start_again(&mut self) {
        (_, self.serving) = Self::serve(&self.runtime, self.address);
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

fn picture(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    folder.parent().unwrap().join("browser").join(format!("{name}.png"))
}

/// The pool's card, in the page.
fn card(pool: &str) -> String {
    let name = serde_json::json!(pool);
    format!(
        "[...document.querySelectorAll('.card')].find(card => card.querySelector('h2').textContent === {name})"
    )
}

/// Whether the card's charts have some points.
fn filled(card: &str) -> String {
    format!("{card}.querySelector('.rate .edge').getAttribute('d').split('L').length > 9")
}

#[test]
fn a_page_that_is_hidden_lets_go_and_comes_back_when_it_is_seen() {
    let _turn = turn();
    let Some(program) = chromium::find("a_page_that_is_hidden_lets_go_and_comes_back_when_it_is_seen") else {
        return;
    };
    let (server, browser) = (Server::start(), Browser::start(&program));
    let page = browser.open(&server.url(), WIDE);
    page.wait_for_text("#state", "live");
    page.evaluate("pause()"); // what half a minute out of sight does
    page.wait_for_text("#state", "paused");
    let viewers = "fetch('api/pools').then(answer => answer.json()).then(pools => pools.viewers)";
    while page.evaluate(viewers) != 0 {}
    page.evaluate("void document.dispatchEvent(new Event('visibilitychange'))");
    page.wait_for_text("#state", "live");
    assert_no_errors(&page);
}

/// The other tests say that there were no errors: this one, that they would have noticed, and that the page's policy holds.
#[test]
fn a_script_that_is_not_the_pages_own_does_not_run_and_is_noticed() {
    let _turn = turn();
    let Some(program) = chromium::find("a_script_that_is_not_the_pages_own_does_not_run_and_is_noticed")
    else {
        return;
    };
    let (server, browser) = (Server::start(), Browser::start(&program));
    let page = browser.open(&server.url(), WIDE);
    page.wait_for_text("#state", "live");
    assert_no_errors(&page);
    page.evaluate("{ const script = document.createElement('script'); script.textContent = 'window.taken = 1'; document.head.append(script); }");
    assert_eq!(page.evaluate("typeof taken"), "undefined");
    let errors = page.errors();
    assert!(errors.len() == 1 && errors[0].contains("Content Security Policy"), "{errors:?}");
    page.evaluate("console.error('told')");
    page.evaluate("void setTimeout(() => { throw new Error('thrown') })");
    page.evaluate("new Promise(resolve => setTimeout(resolve))");
    let errors = page.errors().join("\n");
    assert!(errors.contains("told") && errors.contains("thrown"), "{errors}");
}

#[test]
fn a_file_can_be_given_to_a_page() {
    let Some(program) = chromium::find("a_file_can_be_given_to_a_page") else { return };
    let browser = Browser::start(&program);
    let page = browser.open("data:text/html,<input type=file>", PHONE);
    page.upload("input", &PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    assert_eq!(
        page.evaluate("document.querySelector('input').files[0].text().then(text => text.split('\\n')[0])"),
        "[package]"
    );
}

/// Takes the picture for the README, of the example `dashboard` when it has worked for some minutes:
/// `DASHBOARD=http://127.0.0.1:8787/ cargo test --features dashboard --test browser -- --ignored`.
/// It was cropped to 1240 × 950 and given 64 colours.
#[test]
#[ignore = "makes docs/dashboard.png"]
fn the_picture_for_the_readme() {
    let Some(program) = chromium::find("the_picture_for_the_readme") else { return };
    let browser = Browser::start(&program);
    let page = browser.open(&std::env::var("DASHBOARD").unwrap(), Look { height: 760, width: 1240, ..WIDE });
    for points in [45, 90, 135, 180, 225] {
        page.wait_for(&format!(
            "document.querySelector('.queue .edge').getAttribute('d').split('L').length > {points}"
        ));
    }
    page.screenshot(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/dashboard.png"));
    assert_no_errors(&page);
}

fn assert_no_errors(page: &Page) {
    assert_eq!(page.errors(), Vec::<String>::new());
}

/// Keeps a pool at work until it is dropped: each of its workers has one job after the other.
struct Work {
    is_over: Arc<AtomicBool>,
    feeder: Option<thread::JoinHandle<()>>,
}

impl Work {
    fn start<R: Send + 'static>(at_a_time: usize, start: impl Fn() -> Task<R> + Send + 'static) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let feeder = thread::spawn(move || {
            let mut tasks: Vec<_> = (0..at_a_time).map(|_| start()).collect();
            while !seen.load(Relaxed) {
                let task = tasks.remove(0);
                drop(task.blocking_wait());
                tasks.push(start());
            }
        });
        Self { is_over, feeder: Some(feeder) }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        self.feeder.take().into_iter().for_each(|feeder| drop(feeder.join()));
    }
}

/// Waits for something that never comes.
fn wait(millis: u64) {
    let (_sender, nobody) = mpsc::channel::<()>();
    let _ = nobody.recv_timeout(Duration::from_millis(millis));
}

fn pid(millis: u64) -> u32 {
    wait(millis);
    std::process::id()
}

#[test]
fn an_idle_program_is_shown_as_idle() {
    let _turn = turn();
    let Some(program) = chromium::find("an_idle_program_is_shown_as_idle") else { return };
    let pool = ThreadPool::builder().name("nothing to do").build().unwrap();
    let (server, browser) = (Server::start(), Browser::start(&program));
    let page = browser.open(&server.url(), WIDE);
    page.wait_for_text("#state", "live");
    page.wait_for(&format!(
        "{}.textContent.includes('none: they start when there are jobs')",
        card("nothing to do")
    ));
    page.screenshot(&picture("idle"));
    assert_no_errors(&page);
    drop(pool);
    page.wait_for(&format!("!{}", card("nothing to do")));
}

#[test]
fn workers_that_work_are_seen_to_work() {
    let _turn = turn();
    let Some(program) = chromium::find("workers_that_work_are_seen_to_work") else { return };
    let threads = ThreadPool::builder().name("busy").max_workers(4).build().unwrap();
    let (server, browser) = (Server::start(), Browser::start(&program));
    let page = browser.open(&server.url(), WIDE);
    page.wait_for_text("#state", "live");
    let card = card("busy");
    let pool = threads.clone();
    let work = Work::start(4, move || pool.job(|| wait(40)).name("forty milliseconds").run());
    page.wait_for(&format!("{card}.querySelectorAll('.lanes li').length === 4"));
    page.wait_for(&format!("{card}.querySelector('.lanes').textContent.includes('forty milliseconds')"));
    // A lane fills from the right: what it shows is another picture each time.
    let lane = format!("{card}.querySelector('.lanes canvas').toDataURL()");
    let before = page.evaluate(&lane);
    page.wait_for(&format!("{lane} !== {before}"));
    page.wait_for(&format!("parseFloat({card}.querySelector('.rate .now').textContent) > 20"));
    page.wait_for(&format!(
        "{card}.querySelector('[data-of=run_time][data-when]').textContent.includes('ms')"
    ));
    page.wait_for(&filled(&card));
    page.screenshot(&picture("busy-light"));
    page.look(DARK);
    page.wait_for("matchMedia('(prefers-color-scheme: dark)').matches");
    page.wait_for(&format!(
        "{lane} !== {before} && getComputedStyle(document.body).backgroundColor === 'rgb(13, 16, 21)'"
    ));
    page.screenshot(&picture("busy-dark"));
    page.look(PHONE);
    assert_eq!(
        page.evaluate("document.documentElement.scrollWidth"),
        PHONE.width,
        "nothing sticks out on a phone"
    );
    page.screenshot(&picture("busy-phone"));
    drop(work);
    page.wait_for(&format!("{card}.querySelector('.rate .now').textContent === '0'"));
    assert_no_errors(&page);
}

#[test]
fn a_killed_worker_is_seen_to_die_and_to_be_replaced() {
    let _turn = turn();
    let Some(program) = chromium::find("a_killed_worker_is_seen_to_die_and_to_be_replaced") else { return };
    let processes = ProcessPool::builder().name("mortal").max_workers(2).build().unwrap();
    let (server, browser) = (Server::start(), Browser::start(&program));
    let page = browser.open(&server.url(), WIDE);
    let pool = processes.clone();
    let _work = Work::start(2, move || pool.job(pid, 30).name("thirty milliseconds").run());
    let card = card("mortal");
    let lanes = format!("[...{card}.querySelectorAll('.lanes li')].map(lane => lane.textContent)");
    page.wait_for(&format!("{lanes}.filter(lane => /^pid [0-9]+/.test(lane)).length === 2"));
    assert_eq!(page.evaluate(&format!("{card}.querySelector('.counts .worker_deaths b').textContent")), "0");
    let victim = processes.run(pid, 0).blocking_wait().unwrap();
    kill_process(Pid::from_raw(victim.cast_signed()).unwrap(), Signal::KILL).unwrap();
    page.wait_for(&format!("{card}.querySelector('.counts .worker_deaths b').textContent === '1'"));
    page.wait_for(&format!("{card}.querySelector('.failures').textContent.includes('pid {victim} ')"));
    page.wait_for(&format!(
        "{lanes}.length === 2 && {lanes}.every(lane => /^pid [0-9]+/.test(lane) && !lane.startsWith('pid {victim}'))"
    ));
    page.wait_for(&filled(&card));
    page.screenshot(&picture("death"));
    assert_no_errors(&page);
}

#[test]
fn hostile_names_and_errors_are_text() {
    let _turn = turn();
    let Some(program) = chromium::find("hostile_names_and_errors_are_text") else { return };
    let pool = ThreadPool::builder().name(HOSTILE).max_workers(1).build().unwrap();
    let (server, browser) = (Server::start(), Browser::start(&program));
    let page = browser.open(&server.url(), WIDE);
    let card = card(HOSTILE);
    page.wait_for(&card);
    let name = "</script><script>document.title='taken'</script>";
    let failed = pool.job(|| panic!("{HOSTILE}<svg onload=alert(2)>\u{202e}reversed")).name(name).run();
    failed.blocking_wait().unwrap_err();
    let (_end, ended) = mpsc::channel::<()>();
    let _running = pool.job(move || ended.recv().is_err()).name(HOSTILE).run();
    page.wait_for(&format!(
        "{card}.querySelector('.failures .job').textContent === {}",
        serde_json::json!(name)
    ));
    page.wait_for(&format!(
        "{card}.querySelector('.failures .error').textContent.includes('<svg onload=alert(2)>')"
    ));
    page.wait_for(&format!(
        "{card}.querySelector('.lanes .what span').textContent === {}",
        serde_json::json!(HOSTILE)
    ));
    assert_eq!(
        page.evaluate("document.querySelectorAll('main img, main script, main svg:not(.tile svg)').length"),
        0
    );
    assert_eq!(page.evaluate("document.title.includes('taken')"), false);
    page.screenshot(&picture("hostile"));
    assert_no_errors(&page);
}

#[test]
fn what_has_a_name_for_machines_is_shown_in_words() {
    let _turn = turn();
    let Some(program) = chromium::find("what_has_a_name_for_machines_is_shown_in_words") else { return };
    let pool = ThreadPool::builder().name("worded").max_workers(1).build().unwrap();
    let (server, browser) = (Server::start(), Browser::start(&program));
    let page = browser.open(&server.url(), WIDE);
    let card = card("worded");
    page.wait_for(&card);
    let late = pool.job(|| wait(20)).run_timeout(Duration::from_millis(1)).run();
    assert!(late.blocking_wait().unwrap_err().is_timed_out());
    page.wait_for(&format!("{card}.querySelector('.failures .how').textContent === 'timed out'"));
    for (count, shown) in
        [("timed_out", "timed out1"), ("failed", "other errors0"), ("worker_deaths", "deaths0")]
    {
        page.wait_for(&format!("{card}.querySelector('.counts .{count}').textContent === '{shown}'"));
    }
    assert_no_errors(&page);
}

#[test]
fn many_workers_stay_readable() {
    let _turn = turn();
    let Some(program) = chromium::find("many_workers_stay_readable") else { return };
    let pool = ThreadPool::builder().name("many").max_workers(70).build().unwrap();
    let (server, browser) = (Server::start(), Browser::start(&program));
    let page = browser.open(&server.url(), WIDE);
    let card = card("many");
    let work_on = pool.clone();
    let _work = Work::start(70, move || work_on.job(|| wait(700)).name("crawl").run());
    page.wait_for(&format!("{card}.querySelectorAll('.lanes li').length === 64"));
    page.wait_for(&format!("{card}.querySelector('.more').textContent === 'and 6 more workers'"));
    let small = format!(
        "[...{card}.querySelectorAll('.lanes li')].filter(lane => lane.getBoundingClientRect().height < 18).length"
    );
    assert_eq!(page.evaluate(&small), 0);
    page.wait_for(&filled(&card));
    page.screenshot(&picture("many"));
    page.look(PHONE);
    assert_eq!(page.evaluate("document.documentElement.scrollWidth"), PHONE.width);
    page.screenshot(&picture("many-phone"));
    assert_no_errors(&page);
}

#[test]
fn the_page_says_when_it_is_disconnected_and_comes_back() {
    let _turn = turn();
    let Some(program) = chromium::find("the_page_says_when_it_is_disconnected_and_comes_back") else {
        return;
    };
    let build = || ThreadPool::builder().name("restarted").max_workers(1).build().unwrap();
    let (mut server, browser, pool) = (Server::start(), Browser::start(&program), build());
    let count = |jobs: u64, pool: &ThreadPool| {
        (0..jobs).for_each(|n| assert_eq!(pool.run(move || n).blocking_wait().unwrap(), n));
    };
    count(500, &pool);
    let page = browser.open(&server.url(), WIDE);
    let card = card("restarted");
    page.wait_for(&format!("{card}.querySelector('.counts .succeeded b').textContent === '500'"));
    assert_no_errors(&page);
    server.stop();
    page.wait_for_text("#state", "disconnected");
    page.wait_for("document.querySelector('main').classList.contains('stale')");
    page.wait_for("document.title.includes('disconnected')");
    page.screenshot(&picture("disconnected"));
    // As after a restart of the program: what it counted begins again.
    drop(pool);
    let pool = build();
    count(3, &pool);
    server.start_again();
    page.wait_for_text("#state", "live");
    page.wait_for(&format!("{card}.querySelector('.counts .succeeded b').textContent === '3'"));
    // Nothing is drawn below the line of zero.
    page.wait_for(&filled(&card));
    let heights = format!(
        "[...{card}.querySelector('.rate .edge').getAttribute('d').matchAll(/[ML][0-9.]+ (-?[0-9.]+)/g)]"
    );
    assert_eq!(page.evaluate(&format!("{heights}.every(point => point[1] >= 0 && point[1] <= 43)")), true);
    assert_eq!(page.evaluate("document.querySelectorAll('.card').length - new Set([...document.querySelectorAll('.card')].map(card => card.querySelector('h2').id)).size"), 0);
    assert!(!page.evaluate("document.title").as_str().unwrap().contains("disconnected"));
    let errors = page.errors();
    let others = errors.iter().filter(|error| !error.contains("api/stream") || !error.contains("net::ERR_"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
}
