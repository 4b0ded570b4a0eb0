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
    path::{Path, PathBuf},
};

use chromium::{Browser, Look, Page};
use image::ImageFormat;
use tempfile::TempDir;

use crate::{client::post, pictures::noise, server::Server};

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
