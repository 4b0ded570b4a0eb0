//! The page as a person uses it, in Chromium.
//!
//! Without `chromium` or `google-chrome` the tests say that they are skipped. Pictures are left under `target/browser`.

#[allow(
    dead_code,
    clippy::explicit_write,
    reason = "the tests of the dashboard use the rest; what is skipped is not to be captured"
)]
#[path = "../browser/chromium.rs"]
mod chromium;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use chromium::{Browser, Look, Page};
use image::ImageFormat;
use tempfile::TempDir;

use crate::{
    client::{get, post},
    pictures::noise,
    server::Server,
};

const WIDE: Look = Look { width: 1100, height: 900, scheme: "light" };
const DARK: Look = Look { scheme: "dark", ..WIDE };
const PHONE: Look = Look { width: 390, height: 844, scheme: "light" };

/// Whatever else the machine does meanwhile.
const PATIENT: [&str; 2] = ["--run-timeout", "30"];

/// Saves what is to be looked at.
fn screenshot(page: &Page, name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("browser");
    page.screenshot(&folder.join(format!("thumbnails-{name}.png")));
}

fn file(directory: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Whether everything fits into the width of the page.
const FITS: &str = "document.documentElement.scrollWidth <= innerWidth";

#[test]
fn a_picture_is_chosen_and_its_thumbnail_seen() {
    let Some(program) = chromium::find("a_picture_is_chosen_and_its_thumbnail_seen") else { return };
    let directory = tempfile::tempdir().unwrap();
    let (server, browser) = (Server::start(&PATIENT), Browser::start(&program));
    let page = browser.open(&format!("http://{}/", server.address), WIDE);
    page.wait_for("!document.querySelector('#none').hidden");

    page.upload("#file", &file(&directory, "stripes & <b>.jpg", &noise(ImageFormat::Jpeg, 600, 450)));
    page.wait_for_text("#status", "Done.");
    let seen = "document.querySelector('#thumbnail')";
    assert_eq!(page.evaluate(&format!("{seen}.naturalWidth")), 256);
    assert_eq!(page.evaluate(&format!("{seen}.alt")), "Thumbnail of stripes & <b>.jpg");
    page.wait_for_text("#caption", "stripes & <b>.jpg: 256 × 192 pixels, ");
    page.wait_for("document.querySelector('#recent img')?.naturalWidth === 256");
    assert_eq!(page.evaluate("document.querySelector('#recent a').pathname"), "/images/1");

    page.evaluate("document.querySelector('#width').value = 64");
    page.upload("#file", &file(&directory, "second.png", &noise(ImageFormat::Png, 300, 200)));
    page.wait_for(&format!("{seen}.naturalWidth === 64"));
    page.wait_for("document.querySelectorAll('#recent img').length === 2");
    assert_eq!(page.errors(), Vec::<String>::new());
    for (name, look) in [("light", WIDE), ("dark", DARK), ("phone", PHONE)] {
        page.look(look);
        page.wait_for(FITS);
        screenshot(&page, name);
    }
    server.stop();
}

#[test]
fn what_went_wrong_is_said_and_the_next_picture_is_fine() {
    let Some(program) = chromium::find("what_went_wrong_is_said_and_the_next_picture_is_fine") else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let (server, browser) = (Server::start(&PATIENT), Browser::start(&program));
    let page = browser.open(&format!("http://{}/", server.address), PHONE);
    let bad = [
        ("notes.png", &b"no picture"[..], "no PNG, JPEG, GIF or WebP (415)"),
        ("crash.jpg", b"CRASH!SEGV", "broke the decoder"),
        ("large.gif", &vec![0; 50_000_000], "20 MiB (413)"),
    ];
    for (name, body, said) in bad {
        page.upload("#file", &file(&directory, name, body));
        page.wait_for_text("#status.bad", name);
        page.wait_for_text("#status.bad", said);
    }
    screenshot(&page, "error");
    // The browser writes a line for each answer that is no success. There is nothing else.
    let others: Vec<String> = page
        .errors()
        .into_iter()
        .filter(|error| !error.contains("the server responded with a status of"))
        .collect();
    assert_eq!(others, Vec::<String>::new());

    page.evaluate("document.querySelector('#width').value = 5000");
    let good = file(&directory, "good.webp", &noise(ImageFormat::WebP, 100, 100));
    page.upload("#file", &good);
    page.wait_for_text("#status.bad", "from 1 to 2048");
    page.evaluate("document.querySelector('#width').value = 32");
    page.upload("#file", &good);
    page.wait_for_text("#status:not(.bad)", "Done.");

    let workers =
        page.evaluate("[...document.querySelectorAll('a')].find(link => link.text.includes('workers')).href");
    let dashboard = browser.open(workers.as_str().unwrap(), WIDE);
    dashboard.wait_for_text("h2", "decode");
    dashboard.wait_for_text("h2", "store");
    // A worker that dies while somebody looks is seen, and so is the one that takes its place.
    dashboard.wait_for_text("#state", "live");
    let [before] = server.workers()[..] else { panic!("one worker per picture at a time") };
    assert_eq!(post(server.address, "/thumbnail", b"CRASH!SEGV").unwrap().status, 500);
    dashboard.wait_for_text(".card", &format!("pid {before} died of SIGSEGV"));
    let made = post(server.address, "/thumbnail", &fs::read(good).unwrap()).unwrap();
    assert_eq!(made.status, 200);
    let [after] = server.workers()[..] else { panic!("and one that takes its place") };
    dashboard.wait_for_text(".card", &after.to_string());
    screenshot(&dashboard, "dashboard");
    server.stop();
}

/// Sends one picture after the other until it is stopped.
struct Uploads {
    is_over: Arc<AtomicBool>,
    sender: Option<JoinHandle<u64>>,
}

impl Uploads {
    fn begin(server: SocketAddr, picture: Vec<u8>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = is_over.clone();
        let sender = thread::spawn(move || {
            let mut sent = 0;
            while !seen.load(Relaxed) {
                assert_eq!(post(server, "/thumbnail", &picture).unwrap().status, 200);
                sent += 1;
            }
            sent
        });
        Self { is_over, sender: Some(sender) }
    }

    /// Returns how many there were. All of them succeeded.
    fn stop(mut self) -> u64 {
        self.is_over.store(true, Relaxed);
        self.sender.take().unwrap().join().unwrap()
    }
}

impl Drop for Uploads {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
    }
}

#[test]
fn an_open_dashboard_sees_the_service_work_and_go_and_come_back() {
    let Some(program) = chromium::find("an_open_dashboard_sees_the_service_work_and_go_and_come_back") else {
        return;
    };
    let data = tempfile::tempdir().unwrap();
    let args = [&PATIENT[..], &["--data", data.path().to_str().unwrap()]].concat();
    let (server, browser) = (Server::start(&args), Browser::start(&program));
    let address = server.address;
    let page = browser.open(&format!("http://{address}/dashboard"), WIDE);
    page.wait_for_text("#state", "live");
    let card = "[...document.querySelectorAll('.card')].find(card => card.querySelector('h2').textContent === 'decode')";
    let succeeded = format!("{card}.querySelector('.counts .succeeded b').textContent");
    let lane = format!("{card}.querySelector('.lanes canvas')");
    let is_painted = format!(
        "{lane}.getContext('2d').getImageData(0, 0, {lane}.width, {lane}.height).data.some(colour => colour > 0)"
    );
    page.wait_for(&format!("{succeeded} === '0'"));

    let sees_work = |server: &Server| {
        let uploads = Uploads::begin(address, noise(ImageFormat::Jpeg, 900, 600));
        page.wait_for(&is_painted);
        // A lane fills from the right: while there is work, what it shows is another picture each time.
        for _ in 0..3 {
            let before = page.evaluate(&format!("{lane}.toDataURL()"));
            page.wait_for(&format!("{lane}.toDataURL() !== {before}"));
        }
        // Mostly one: the next picture may be there before it is known that the last one's worker has nothing to do.
        let workers = server.workers();
        assert!(!workers.is_empty(), "somebody makes them");
        for worker in workers {
            page.wait_for(&format!("{card}.querySelector('.lanes').textContent.includes('pid {worker}')"));
        }
        let sent = uploads.stop();
        page.wait_for(&format!("{succeeded} === '{sent}'"));
        sent
    };
    let sent = sees_work(&server);
    assert_eq!(page.errors(), Vec::<String>::new());
    server.stop();
    page.wait_for_text("#state", "disconnected");
    page.wait_for("document.querySelector('main').classList.contains('stale')");

    let server = Server::start_at(address, &args);
    page.wait_for_text("#state", "live");
    page.wait_for(&format!("{succeeded} === '0'"));
    assert_eq!(get(address, &format!("/images/{sent}/thumbnail")).unwrap().status, 200, "what was kept");
    sees_work(&server);
    // The browser writes a line for each try that failed. There is nothing else.
    let errors = page.errors();
    let others: Vec<_> = errors.iter().filter(|error| !error.contains("/dashboard/api/stream")).collect();
    assert_eq!(others, Vec::<&String>::new());
    server.stop();
}
