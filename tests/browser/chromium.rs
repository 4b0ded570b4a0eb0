//! A small client of Chromium's [DevTools protocol](https://chromedevtools.github.io/devtools-protocol/): starts a browser without a window,
//! opens a page, looks at it, uses it, and kills it.
//!
//! Everything waits at most [`PATIENCE`]; what takes longer is a panic that says what was waited for.

use std::{
    cell::RefCell,
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Stdio},
    rc::Rc,
    sync::mpsc,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-port=0",
];

/// Returns the browser of this machine, and says on stderr if there is none: then `test` is skipped.
#[allow(clippy::explicit_write, reason = "`eprintln` is shown for tests that fail only")]
pub(crate) fn find(test: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [PathBuf::from("/usr/bin")].into_iter().chain(env::split_paths(&path));
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found =
        folders.flat_map(|folder| names.map(|name| folder.join(name))).find(|program| program.exists());
    if found.is_none() {
        writeln!(io::stderr(), "SKIPPED: {test}: no Chromium on this machine").unwrap();
    }
    found
}

/// A browser, which is killed with all its processes when dropped.
pub(crate) struct Browser {
    child: Child,
    connection: Rc<RefCell<Connection>>,
    _profile: TempDir,
}

/// How a page is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) scheme: &'static str,
}

impl Browser {
    pub(crate) fn start(program: &Path) -> Self {
        let profile = TempDir::new().unwrap();
        let mut command = Command::new(program);
        command.args(FLAGS).arg(format!("--user-data-dir={}", profile.path().display())).arg("about:blank");
        // Killed, it leaves its lock and socket behind: there, where they are removed with the profile.
        command.env("TMPDIR", profile.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let announced = address(child.stderr.take().unwrap());
        let connection = announced.recv_timeout(PATIENCE).map(|address| Connection::open(&address));
        let Ok(connection) = connection else {
            kill(&mut child);
            panic!("{} did not start", program.display());
        };
        Self { child, connection: Rc::new(RefCell::new(connection)), _profile: profile }
    }

    /// Opens a page of its own, and waits until it has been loaded.
    pub(crate) fn open(&self, url: &str, look: Look) -> Page {
        let mut connection = self.connection.borrow_mut();
        let target = connection.call(None, "Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session =
            connection.call(None, "Target.attachToTarget", &attach)["sessionId"].as_str().unwrap().to_owned();
        drop(connection);
        let page = Page { connection: self.connection.clone(), session };
        for domain in ["Page", "Runtime", "Log", "DOM", "Network"] {
            page.call(&format!("{domain}.enable"), &json!({}));
        }
        page.look(look);
        page.go_to(url);
        page
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

fn kill(child: &mut Child) {
    let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    let _ = child.wait();
}

/// The address that the browser announces on its stderr, which is read to its end so that it never has to wait there.
fn address(stderr: ChildStderr) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(address) = line.strip_prefix("DevTools listening on ") {
                let _ = sender.send(address.to_owned());
            }
        }
    });
    receiver
}

/// A page in a browser.
pub(crate) struct Page {
    connection: Rc<RefCell<Connection>>,
    session: String,
}

impl Page {
    pub(crate) fn go_to(&self, url: &str) {
        self.call("Page.navigate", &json!({ "url": url }));
        self.wait_for(&format!(
            "document.readyState === 'complete' && location.href.startsWith({})",
            json!(url)
        ));
    }

    /// Shows it light or dark, and in this size.
    pub(crate) fn look(&self, look: Look) {
        let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": look.scheme }] });
        self.call("Emulation.setEmulatedMedia", &scheme);
        let is_phone = look.width < 600;
        let size =
            json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": is_phone });
        self.call("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Returns the value of an expression, awaited if it is a promise.
    pub(crate) fn evaluate(&self, expression: &str) -> Value {
        let arguments = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &arguments);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true in the page, and returns its value.
    pub(crate) fn wait_for(&self, expression: &str) -> Value {
        let limit = PATIENCE.as_millis() - 5_000;
        let value = self.evaluate(&format!(
            "new Promise(resolve => {{
                const end = Date.now() + {limit};
                const look = () => {{
                    let value; try {{ value = ({expression}); }} catch {{}}
                    if (value || Date.now() > end) resolve(value); else setTimeout(look, 20);
                }};
                look();
            }})"
        ));
        let is_true = !matches!(value, Value::Null | Value::Bool(false)) && value != "" && value != 0;
        assert!(is_true, "never came: {expression}\nthe page: {}", self.evaluate("document.body.innerText"));
        value
    }

    /// Waits until an element has a text in it.
    pub(crate) fn wait_for_text(&self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.wait_for(&format!(
            "[...document.querySelectorAll({selector})].some(element => element.textContent.includes({text}))"
        ));
    }

    /// Gives a file to an `<input type=file>`.
    pub(crate) fn upload(&self, selector: &str, file: &Path) {
        let root = self.call("DOM.getDocument", &json!({}))["root"]["nodeId"].clone();
        let input = self.call("DOM.querySelector", &json!({ "nodeId": root, "selector": selector }));
        let files = json!({ "nodeId": input["nodeId"], "files": [file.canonicalize().unwrap()] });
        self.call("DOM.setFileInputFiles", &files);
    }

    /// Saves a picture of the whole page.
    pub(crate) fn screenshot(&self, file: &Path) {
        let picture = self.call("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, from_base64(picture["data"].as_str().unwrap())).unwrap();
    }

    /// Returns the errors on the page's console so far, those of the network and of the content security policy included.
    pub(crate) fn errors(&self) -> Vec<String> {
        // What the page has said by now has been received when the next answer is.
        self.evaluate("0");
        let connection = self.connection.borrow();
        let own = connection.events.iter().filter(|event| event["sessionId"] == self.session.as_str());
        own.filter_map(error).collect()
    }

    fn call(&self, method: &str, arguments: &Value) -> Value {
        self.connection.borrow_mut().call(Some(&self.session), method, arguments)
    }
}

/// What an event says, if it tells of an error.
fn error(event: &Value) -> Option<String> {
    let parameters = &event["params"];
    let (is_error, text) = match event["method"].as_str()? {
        "Runtime.exceptionThrown" => (true, &parameters["exceptionDetails"]),
        "Runtime.consoleAPICalled" => {
            (parameters["type"] == "error" || parameters["type"] == "assert", &parameters["args"])
        }
        "Log.entryAdded" => (parameters["entry"]["level"] == "error", &parameters["entry"]),
        _ => return None,
    };
    is_error.then(|| text.to_string())
}

/// The connection to a browser, for all its pages.
struct Connection {
    socket: WebSocket<TcpStream>,
    calls: u64,
    /// What may be an error.
    events: Vec<Value>,
}

impl Connection {
    fn open(address: &str) -> Self {
        let server = address.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(address, stream).unwrap();
        Self { socket, calls: 0, events: Vec::new() }
    }

    fn call(&mut self, session: Option<&str>, method: &str, arguments: &Value) -> Value {
        self.calls += 1;
        let id = self.calls;
        let mut call = json!({ "id": id, "method": method, "params": arguments });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        self.socket.send(Message::text(call.to_string())).unwrap();
        loop {
            let message = self.socket.read().unwrap_or_else(|error| panic!("{method}: no answer: {error}"));
            let Message::Text(text) = message else { continue };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            if error(&message).is_some() {
                self.events.push(message);
            }
        }
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [0; 256];
    digits.iter().zip(0..).for_each(|(&digit, value)| values[usize::from(digit)] = value);
    let (mut bytes, mut bits, mut have) = (Vec::with_capacity(text.len() / 4 * 3), 0, 0);
    for digit in text.bytes().filter(|&digit| digit != b'=') {
        (bits, have) = (bits << 6 | values[usize::from(digit)], have + 6);
        if have >= 8 {
            have -= 8;
            bytes.push((bits >> have & 0xff) as u8);
            bits &= (1u32 << have) - 1;
        }
    }
    bytes
}
