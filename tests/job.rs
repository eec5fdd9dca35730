//! Web server mode is off (C-JOB): the event comes from the environment, the answer goes to standard output, and the
//! exit code tells of success.

mod support;

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use support::process::{Process, Setup};
use support::{is_linux, pattern, users};

const EVENT: &str = "FC_CUSTOM_CONTAINER_EVENT";

fn job(table: &str, directive: &str, event: impl AsRef<OsStr>) -> Setup {
    Setup::subject(table).env(EVENT, event).env("FC_FUNCTION_HANDLER", directive).env("FC_REQUEST_ID", "j")
}

/// C-JOB-1, C-JOB-2: standard output holds the callback's answer and nothing else, and the exit code is 0.
#[test]
fn jobs_that_succeed() {
    let many = pattern(100_000);
    let cases: [(&str, &[u8], &[u8]); 7] = [
        ("", b"event", b"event"),
        ("", b"\xff\n two lines \xfe", b"\xff\n two lines \xfe"),
        ("static", b"event", b"static"),
        ("empty", b"event", b""),
        ("bytes", b"event", b"\0\xff\r\n"),
        ("stream", b"event", &many),
        ("status-500", b"event", b"body"),
    ];
    for user in users() {
        for (directive, event, stdout) in cases {
            let ended = job("full", directive, OsStr::from_bytes(event)).user(user).run().ended();
            assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{directive}");
            assert!(ended.stdout_bytes == stdout, "{directive}: {:?}", ended.stdout);
        }
    }
    // The binary echoes the event, and ignores its arguments in this mode.
    let ended = Setup::inspector().env(EVENT, "event").arg("--nonsense").run().ended();
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "event"));
}

/// Some runtimes make a pipe that they share non-blocking. The job writes its whole result to such a pipe.
#[test]
#[cfg(target_os = "linux")]
fn a_result_is_whole_in_a_pipe_that_does_not_block() {
    use rustix::pipe::{PipeFlags, pipe_with};
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("a pipe");
    let mut job = Command::new(support::subject::path());
    job.env("SUBJECT", "full").env(EVENT, "event").env("FC_FUNCTION_HANDLER", "stream").stdout(writer);
    let mut job_process = job.spawn().expect("the subject");
    // This closes our copy of the writing end, so that only the job's is left.
    drop(job);
    let (mut seen, mut reader) = (Vec::new(), std::fs::File::from(reader));
    support::wait_until("the result ends", || match reader.read_to_end(&mut seen) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => false,
        outcome => outcome.map(|_| true).expect("a pipe"),
    });
    assert!(job_process.wait().expect("its end").success() && seen == pattern(100_000), "{} bytes", seen.len());
}

/// A job that fails says why on standard error, and its exit code is 1.
#[test]
fn jobs_that_fail() {
    let cases = [
        ("full", "error", r#"{"errorMessage":"sold out","errorType":"NoStock"}"#),
        ("full", "panic", r#"{"errorMessage":"pulled the plug","errorType":"Panic"}"#),
        ("full", "panicking", r#"{"errorMessage":"asked to collapse","errorType":"StreamFailed"}"#),
        ("bare", "", r#"{"errorMessage":"/invoke is not implemented by this function","errorType":"NotImplemented"}"#),
    ];
    for (table, directive, json) in cases {
        let ended = job(table, directive, "event").expect_stderr().run().ended();
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{table} {directive}");
        assert!(ended.stderr.lines().any(|line| line == json), "{table} {directive}: {}", ended.stderr);
    }
}

/// A job that cannot write its result has failed.
#[test]
fn a_result_that_cannot_be_written_fails_the_job() {
    if !is_linux("/dev/full") {
        return;
    }
    let command = format!("exec '{}' > /dev/full", env!("CARGO_BIN_EXE_fc-hooks"));
    let setup = Setup::program("/bin/sh").arg("-c").arg(command).env(EVENT, "event").expect_stderr();
    let ended = setup.run().ended();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.starts_with("fc-hooks: cannot write the result: "), "{}", ended.stderr);
}

fn started(directive: &str, line: &str) -> Process {
    let process = job("full", directive, "event").run();
    process.stdout.wait_for(line, |text| text.contains(line));
    process
}

/// C-JOB-3: the platform sends SIGTERM when the client cancels. The callback can see it and return; the exit code is
/// 143.
#[test]
fn a_cancelled_job_ends_with_143() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let process = started("spin", "subject: spinning\n");
        process.signal(signal);
        let ended = process.ended();
        assert_eq!((ended.code, ended.stdout.as_str()), (143, "subject: spinning\ncancelled"), "signal {signal}");
    }
}

/// A second signal ends a callback that does not look at the first.
#[test]
fn a_stuck_job_ends_at_the_second_signal() {
    if !is_linux("the delivery of signals") {
        return;
    }
    for (first, second) in [(libc::SIGTERM, libc::SIGTERM), (libc::SIGTERM, libc::SIGINT)] {
        let process = started("stuck", "subject: stuck\n");
        process.deliver_signal(first);
        process.wait_for_state('S');
        process.signal(second);
        assert_eq!(process.ended().code, 128 + second);
    }
}

/// C-LOG-5: no output shows the credentials of the environment.
#[test]
fn secrets_are_never_shown() {
    for directive in ["", "error", "panic"] {
        let secret = ["ACCESS_KEY_ID", "ACCESS_KEY_SECRET", "SECURITY_TOKEN"];
        let setup = job("full", directive, "event").env("RUST_LOG", "trace").expect_stderr();
        let setup = secret.iter().fold(setup, |setup, name| setup.env(&format!("ALIBABA_CLOUD_{name}"), "S3CRET"));
        let ended = setup.run().ended();
        assert!(!ended.stdout.contains("S3CRET") && !ended.stderr.contains("S3CRET"), "{}", ended.stderr);
    }
}
