//! Programs under test, and servers among them.

use super::client::Client;
use super::{PATIENCE, subject, sys, wait_until};
use fc_testkit::proc;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// How to start a program. Its environment holds only the variables that are given here.
pub struct Setup {
    command: Command,
    stderr_expected: bool,
    tiny_http: bool,
}

/// Whether all subjects run on the `tiny_http` engine, and one of them takes the place of the binary. `make` sets this
/// for its command `test-tiny-http`.
pub fn is_on_tiny_http() -> bool {
    std::env::var("FC_HOOKS_TEST_ENGINE").is_ok_and(|engine| engine == "tiny_http")
}

impl Setup {
    /// The binary, which serves the inspector.
    pub fn inspector() -> Setup {
        if is_on_tiny_http() { Setup::subject("inspector") } else { Setup::program(env!("CARGO_BIN_EXE_fc-hooks")) }
    }

    /// The helper program with one of its tables; see `tests/subject/subject.rs`.
    pub fn subject(table: &str) -> Setup {
        let setup = Setup::program(subject::path()).env("SUBJECT", table);
        if is_on_tiny_http() { setup.on_tiny_http() } else { setup }
    }

    pub fn program(path: impl AsRef<std::ffi::OsStr>) -> Setup {
        let mut command = Command::new(path);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Setup { command, stderr_expected: false, tiny_http: false }
    }

    /// Runs a subject on the `tiny_http` engine.
    pub fn on_tiny_http(self) -> Setup {
        Setup { tiny_http: true, ..self.env("SUBJECT_ENGINE", "tiny_http") }
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Setup {
        self.command.env(name, value);
        self
    }

    pub fn limits(self, limits: &str) -> Setup {
        self.env("FC_HOOKS_LIMITS", limits)
    }

    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Setup {
        self.command.arg(argument);
        self
    }

    pub fn user(mut self, user: Option<u32>) -> Setup {
        if let Some(id) = user {
            self.command.uid(id).gid(id);
        }
        self
    }

    pub fn descriptors(mut self, count: u64) -> Setup {
        sys::limit_descriptors(&mut self.command, count);
        self
    }

    /// The kernel refuses this system call of the program.
    #[cfg(target_os = "linux")]
    pub fn forbid(mut self, call: libc::c_long, error: i32) -> Setup {
        sys::forbid(&mut self.command, call, error);
        self
    }

    /// Allows output on standard error, because the test provokes errors. Without this, such output fails the test.
    pub fn expect_stderr(mut self) -> Setup {
        self.stderr_expected = true;
        self
    }

    pub fn run(self) -> Process {
        let name = format!("{:?}", self.command.get_program());
        self.try_run().unwrap_or_else(|error| panic!("cannot run {name}: {error}"))
    }

    pub fn try_run(mut self) -> std::io::Result<Process> {
        let mut child = self.command.spawn()?;
        let stdout = Output::collect(child.stdout.take().expect("a pipe"));
        let stderr = Output::collect(child.stderr.take().expect("a pipe"));
        Ok(Process { child, stdout, stderr, stderr_expected: self.stderr_expected, exit: None })
    }

    /// Starts a server on a free port of loopback.
    pub fn start(self) -> Server {
        self.env("FC_HOOKS_LISTEN", "127.0.0.1:0").start_as_configured()
    }

    /// Starts a server on the address that its environment or arguments give.
    pub fn start_as_configured(self) -> Server {
        let tiny_http = self.tiny_http;
        let process = self.run();
        let ready = |text: &str| text.contains('\n');
        let line = process.stdout.wait_for("the ready line", ready).lines().next().expect("a line").to_owned();
        let address = line.strip_prefix("fc-hooks: listening on ").unwrap_or_else(|| panic!("not ready: {line}"));
        let read_before = if cfg!(target_os = "linux") { process.bytes_read() } else { 0 };
        Server { address: address.to_owned(), process, tiny_http, read_before, sent: Arc::default() }
    }
}

/// The output of a program, collected as it arrives.
pub struct Output(Arc<(Mutex<Collected>, Condvar)>);

#[derive(Default)]
struct Collected {
    bytes: Vec<u8>,
    ended: bool,
}

impl Output {
    fn collect(mut pipe: impl Read + Send + 'static) -> Output {
        let shared = Arc::new((Mutex::new(Collected::default()), Condvar::new()));
        let output = Output(shared.clone());
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            loop {
                let bytes = pipe.read(&mut piece).unwrap_or(0);
                let mut collected = shared.0.lock().expect("no thread panics while it holds the lock");
                collected.bytes.extend_from_slice(&piece[..bytes]);
                collected.ended = bytes == 0;
                shared.1.notify_all();
                if bytes == 0 {
                    return;
                }
            }
        });
        output
    }

    pub fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.0.lock().expect("no thread panics while it holds the lock").bytes.clone()
    }

    /// Waits until the output satisfies `enough`.
    pub fn wait_for(&self, what: &str, enough: impl Fn(&str) -> bool) -> String {
        self.wait(what, |text, _| enough(text))
    }

    /// The whole output. Waits until the program has closed it.
    pub fn whole(&self) -> String {
        self.wait("the end of the output", |_, ended| ended)
    }

    fn wait(&self, what: &str, enough: impl Fn(&str, bool) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut collected = self.0.0.lock().expect("no thread panics while it holds the lock");
        loop {
            let text = String::from_utf8_lossy(&collected.bytes).into_owned();
            if enough(&text, collected.ended) {
                return text;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if collected.ended || left.is_zero() {
                let state = if collected.ended { "ended" } else { "so far" };
                drop(collected);
                panic!("no {what}; output {state}: {text:?}");
            }
            collected = self.0.1.wait_timeout(collected, left).expect("no thread panics while it holds the lock").0;
        }
    }
}

/// A running program. Dropping it kills it, and then its standard error must be empty.
pub struct Process {
    child: Child,
    pub stdout: Output,
    pub stderr: Output,
    stderr_expected: bool,
    exit: Option<ExitStatus>,
}

/// How a program ended.
pub struct Ended {
    /// The exit code. If a signal killed the program, 128 plus its number, negated.
    pub code: i32,
    pub stdout: String,
    pub stdout_bytes: Vec<u8>,
    pub stderr: String,
}

impl Process {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: i32) {
        sys::kill(self.pid(), signal);
    }

    /// Sends a signal, and waits until the kernel has delivered it.
    pub fn deliver_signal(&self, signal: i32) {
        self.signal(signal);
        wait_until("the delivery of a signal", || proc::pending_signals(self.pid()).expect("it lives") == 0);
    }

    /// Waits until the process is in this state: `S` sleeping, `T` stopped.
    pub fn wait_for_state(&self, wanted: char) {
        wait_until(&format!("process {} in state {wanted}", self.pid()), || {
            proc::state(self.pid()).is_ok_and(|state| state == wanted)
        });
    }

    fn is_asleep(&self) -> bool {
        proc::is_asleep(self.pid()).unwrap_or(false)
    }

    /// The bytes that the process has read so far.
    fn bytes_read(&self) -> u64 {
        proc::traffic(self.pid()).expect("the process lives, and may be looked at").0
    }

    /// Waits until the program ends by itself or by a signal that was sent before.
    pub fn ended(mut self) -> Ended {
        wait_until("the end of the process", || {
            self.exit = self.child.try_wait().expect("our child");
            self.exit.is_some()
        });
        let status = self.exit.expect("waited for");
        let code = status.code().unwrap_or_else(|| -128 - status.signal().unwrap_or(0));
        let (stdout, stderr) = (self.stdout.whole(), self.stderr.whole());
        Ended { code, stdout, stdout_bytes: self.stdout.bytes(), stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_none() {
            // The program behind the adapter outlives an adapter that is killed.
            let family = proc::family(self.child.id());
            let _ = self.child.kill();
            let _ = self.child.wait();
            family.into_iter().filter(|pid| *pid != self.child.id()).for_each(sys::end);
        }
        if std::thread::panicking() {
            eprintln!("standard output: {}\nstandard error: {}", self.stdout.so_far(), self.stderr.so_far());
        } else if !self.stderr_expected {
            assert_eq!(self.stderr.whole(), "", "standard error is not empty");
        }
    }
}

/// A server that listens: it has printed its ready line.
pub struct Server {
    pub address: String,
    pub process: Process,
    tiny_http: bool,
    /// Bytes that the process had read when it was ready.
    read_before: u64,
    /// Bytes that the clients of this server have sent.
    sent: Arc<AtomicU64>,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn tcp(&self) -> SocketAddr {
        self.address.parse().expect("a TCP address")
    }

    pub fn connect(&self) -> Client {
        let sent = self.sent.clone();
        match self.address.strip_prefix("unix:") {
            Some(path) => Client::unix(UnixStream::connect(PathBuf::from(path)).expect("a connection"), sent),
            None => Client::tcp(TcpStream::connect(self.tcp()).expect("a connection"), sent),
        }
    }

    /// Waits until the server has read every byte that its clients have sent, and sleeps.
    pub fn wait_until_read(&self) {
        if !super::is_linux("waiting until the server has read what was sent") {
            return;
        }
        if self.tiny_http {
            let (pid, port) = (self.pid(), self.tcp().port());
            let look = || Ok::<_, std::io::Error>(proc::is_all_read(pid, port)? && proc::all_asleep(pid)?);
            return wait_until("the server reads what was sent", || look().expect("the process lives"));
        }
        wait_until("the server reads what was sent", || {
            let read = self.process.bytes_read() - self.read_before;
            read >= self.sent.load(Ordering::Relaxed) && self.process.is_asleep()
        });
    }

    /// Waits until the server can send no more to this client, which has asked for a large reply and does not read it.
    pub fn wait_until_stuck_on(&self, client: &Client) {
        self.wait_until_read();
        let mut before = None;
        wait_until("the server waits for a reader", || {
            let wakes = || proc::status(self.pid(), "voluntary_ctxt_switches").expect("the process lives");
            let now = Some(wakes()).filter(|_| self.process.is_asleep());
            let stuck = now.is_some() && before == now && !client.has_received_nothing();
            before = now;
            stuck
        });
    }

    /// Waits until the server has this many connections, and sleeps.
    pub fn wait_until_accepted(&self, connections: usize) {
        wait_until(&format!("{connections} accepted connections"), || {
            self.connections() == connections && self.process.is_asleep()
        });
    }

    /// Waits until no connection is left.
    pub fn wait_for_no_connection(&self) {
        if super::is_linux("that no connection is left") {
            wait_until("no connection is left", || self.connections() == 0);
        }
    }

    /// The number of accepted connections: every socket but the listener.
    fn connections(&self) -> usize {
        proc::sockets(self.pid()).expect("the process lives").saturating_sub(1)
    }

    /// The memory that the process has in RAM. `VmRSS` would be an estimate: some kernels are off by pages for each
    /// CPU.
    pub fn resident_kb(&self) -> u64 {
        proc::Memory::of(self.pid()).expect("the process lives, and may be looked at").resident_kb
    }

    /// Waits until the server accepts no connection any more, because it has seen the signal to stop.
    pub fn wait_until_not_listening(&self) {
        wait_until("the listener is closed", || match self.address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).is_err(),
            None => TcpStream::connect(self.tcp()).is_err(),
        });
    }

    /// Stops the server, whose exit code must be 0. Returns its standard output after the ready line.
    pub fn finish(self) -> String {
        self.process.signal(libc::SIGTERM);
        self.ended()
    }

    /// As `finish`, for a server that has got its signal before.
    pub fn ended(self) -> String {
        let ended = self.process.ended();
        assert_eq!(ended.code, 0, "exit code; standard error: {}", ended.stderr);
        ended.stdout.split_once('\n').expect("the ready line").1.to_owned()
    }
}
