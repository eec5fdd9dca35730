//! The page at `/_fc/`, driven in a browser.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{LONGEST, Served, common, read_json};

/// A browser that is driven over HTTP (W3C WebDriver).
struct Browser {
    driver: Child,
    addr: String,
    session: String,
    /// The id of its process.
    browser: u64,
    /// Everything that it writes is below this folder.
    _folder: tempfile::TempDir,
}

impl Browser {
    /// `None` if there is no browser here, which is said.
    fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it has an address").port();
        drop(listener);
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).stdout(Stdio::piped()).stderr(Stdio::null());
        let folder = tempfile::tempdir().expect("a folder");
        command.env("TMPDIR", folder.path());
        let Ok(mut driver) = command.spawn() else {
            fc_testkit::skip("there is no chromedriver here, which drives a browser: the page is not looked at");
            return None;
        };
        let stdout = BufReader::new(driver.stdout.take().expect("it is piped"));
        let ready = stdout.lines().map_while(Result::ok).any(|line| line.contains("started successfully"));
        assert!(ready, "chromedriver starts");
        let addr = format!("127.0.0.1:{port}");
        let mut browser = Self { driver, addr, session: String::new(), browser: 0, _folder: folder };
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=500,900"];
        let wanted = serde_json::json!({"alwaysMatch": {"goog:chromeOptions": {"args": args}}});
        let session = browser.order("POST", "/session", &serde_json::json!({"capabilities": wanted}));
        browser.session = session["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {session}")).to_owned();
        browser.browser = session["capabilities"]["goog:processID"].as_u64().expect("the browser's process");
        Some(browser)
    }

    fn order(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(&self.addr).expect("it listens");
        stream.set_read_timeout(Some(LONGEST)).expect("a time limit can be set");
        let body = body.to_string();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n", self.addr);
        stream.write_all(format!("{head}Content-Type: application/json\r\n\r\n{body}").as_bytes()).expect("it reads");
        read_json(&mut BufReader::new(stream))["value"].clone()
    }

    fn open(&self, url: &str) {
        self.order("POST", &format!("/session/{}/url", self.session), &serde_json::json!({"url": url}));
    }

    fn run(&self, script: &str) -> Value {
        let order = serde_json::json!({"script": script, "args": []});
        self.order("POST", &format!("/session/{}/execute/sync", self.session), &order)
    }

    fn wait_for(&self, script: &str) {
        let until = Instant::now() + LONGEST;
        while self.run(script) != true {
            let shown = || self.run("return document.body.innerText");
            assert!(Instant::now() < until, "`{script}` does not become true: {}", shown());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Without its session, the browser ends. The end of the driver alone would leave it behind.
        let path = format!("/session/{}", self.session);
        let end = || self.order("DELETE", &path, &serde_json::json!({}));
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(end));
        let process = std::path::PathBuf::from(format!("/proc/{}", self.browser));
        let until = Instant::now() + LONGEST;
        while self.browser > 0 && process.exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        if !std::thread::panicking() && !self.session.is_empty() {
            assert_eq!(ended.ok(), Some(Value::Null), "the browser ends");
        }
    }
}

#[test]
fn the_page_shows_instances_calls_and_logs_and_its_buttons_work() {
    let served = Served::start(&[], common::faulty());
    let (status, head, body) = served.request("GET /_fc/ HTTP/1.1", b"");
    let page = String::from_utf8(body).expect("it is text");
    assert!(status == 200 && head.contains("content-security-policy: default-src 'none'"), "{head}");
    assert!(!page.contains("https://") && !page.contains("src="), "the page asks for nothing from elsewhere");
    assert_eq!(served.request("GET /_fc HTTP/1.1", b"").0, 308);
    let Some(browser) = Browser::start() else { return };
    browser.open(&format!("http://{}/_fc/", served.addr));
    let has = |text: &str| browser.wait_for(&format!("return document.body.innerText.includes('{text}')"));
    has("live");
    has("the next call starts one");
    let (_, head, _) = served.invoke("", b"hello");
    let id = head.split("x-fc-request-id: ").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("an id");
    for text in ["1 call: 1 cold", "#1", "FC Invoke Start RequestId"] {
        has(text);
    }
    let phase = "document.querySelector('.lane .phase').textContent";
    browser.wait_for(&format!("return {phase} === 'frozen'"));
    let find_call =
        format!("[...document.querySelectorAll('#calls button')].find((one) => one.textContent === '{id}')");
    browser.wait_for(&format!("const call = {find_call}; if (call) call.click(); return !!call"));
    has(&format!("of the call {id}"));
    // The lane is painted: more than one colour is in it.
    browser.wait_for(
        "const lane = document.querySelector('canvas'), data = lane.getContext('2d').getImageData(0, 2, lane.width, 1);
         return new Set(new Uint32Array(data.data.buffer)).size > 2",
    );
    // Nothing is wider than a narrow window, except for what scrolls by itself.
    browser.wait_for("return document.documentElement.scrollWidth <= document.documentElement.clientWidth");
    browser.run("[...document.querySelectorAll('.lane button')].find((one) => one.textContent === 'reclaim').click()");
    browser.wait_for(&format!("return {phase} === 'removed'"));
    served.wait_for(&[]);
}
