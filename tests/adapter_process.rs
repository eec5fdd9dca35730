//! The adapter and its processes: the program, its group, orphans, commands of hooks, exit codes.

#![cfg(all(target_os = "linux", not(fc_hooks_poll)))] // process groups and orphans are looked at in /proc

mod support;

use fc_testkit::{proc, skip};
use std::path::Path;
use support::client::{Client, request};
use support::process::{Ended, Server, Setup};
use support::{sys, temp_dir, wait_until};

const BINARY: &str = env!("CARGO_BIN_EXE_fc-hooks");

/// The adapter before a program that need not listen.
fn before(words: &[&str]) -> Setup {
    let setup = Setup::program(BINARY).env("FC_HOOKS_READY", "early").env("PATH", "/usr/bin:/bin");
    words.iter().fold(setup.arg("--"), |setup, word| setup.arg(word))
}

fn before_script(script: &str) -> Setup {
    before(&["sh", "-c", script])
}

/// The adapter before the inspector, whose own lines nobody reads.
fn before_inspector() -> Setup {
    let setup = Setup::program(BINARY).env("PATH", "/usr/bin:/bin").env("FC_HOOKS_LOG_MARKERS", "off");
    setup.arg("--").arg("sh").arg("-c").arg("exec \"$0\" > /dev/null").arg(BINARY)
}

/// Ended by a signal of its own is another end than by a signal's exit code.
fn assert_ended(ended: &Ended, code: i32, message: &str) {
    let expected = if message.is_empty() { String::new() } else { format!("fc-hooks: {message}\n") };
    assert_eq!((ended.code, ended.stderr.as_str()), (code, expected.as_str()));
}

/// The exit code is the program's; one line says how it ended.
#[test]
fn a_program_that_ends_by_itself() {
    let cases = [
        ("exit 0", 0, "sh exited with code 0 before it served"),
        ("exit 7", 7, "sh exited with code 7 before it served"),
        ("kill -SEGV $$", 139, "sh was killed by SIGSEGV before it served"),
        ("kill -KILL $$", 137, "sh was killed by SIGKILL before it served; often because of too little memory"),
        // Rust ignores SIGPIPE; the program gets the default action back.
        ("kill -PIPE $$; exit 0", 141, "sh was killed by SIGPIPE before it served"),
    ];
    for (script, code, message) in cases {
        let listen = |setup: Setup| setup.env("FC_HOOKS_LISTEN", "127.0.0.1:0").expect_stderr().run().ended();
        assert_ended(&listen(before_script(script)), code, message);
    }
}

#[test]
fn a_program_that_cannot_be_executed() {
    let folder = temp_dir();
    let file = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it may be executed");
        path.into_os_string().into_string().expect("text")
    };
    let (bad, lost) = (file("bad", "\x7fELF"), file("lost", "#!/nonexistent/interpreter\n"));
    let cases = [
        ("./none", 127, "no such file or directory"),
        ("none", 127, "no such file or directory"),
        ("/dev/null", 126, "permission denied"),
        ("/", 126, "permission denied"),
        (&bad, 126, "neither a program of this kind of machine nor a script that begins with #!"),
        (&lost, 127, "the interpreter or the loader that it names does not exist"),
    ];
    for (name, code, cause) in cases {
        let ended = before(&[name]).env("FC_HOOKS_LISTEN", "127.0.0.1:0").expect_stderr().run().ended();
        assert_ended(&ended, code, &format!("cannot execute {name}: {cause}"));
        assert_eq!(ended.stdout, "");
    }
}

/// Misuse ends before anything is started.
#[test]
fn misuse_exits_2() {
    let cases = [
        (
            "FC_HOOKS_INITIALIZE",
            "warm-up",
            "FC_HOOKS_INITIALIZE: expected METHOD /PATH (such as POST /warm-up) or exec: COMMAND, not 'warm-up'",
        ),
        (
            "FC_HOOKS_PRE_STOP",
            "exec: ./a | ./b",
            "FC_HOOKS_PRE_STOP: 'exec: ./a | ./b': only a shell understands |: quote it, or write exec: sh -c '…'",
        ),
        (
            "FC_HOOKS_APP",
            "127.0.0.1:9000",
            "FC_HOOKS_APP: '127.0.0.1:9000': the adapter listens there, so the program cannot",
        ),
        ("FC_HOOKS_LIMITS", "x=1", "FC_HOOKS_LIMITS: unknown limit 'x'"),
    ];
    for (name, value, message) in cases {
        let ended = before(&["sh", "-c", "echo started"]).env(name, value).expect_stderr().run().ended();
        assert_ended(&ended, 2, message);
        assert_eq!(ended.stdout, "");
    }
}

/// Each variable that nobody reads is warned of: one that is misspelt, and one of the adapter without a program.
#[test]
fn variables_that_nobody_reads() {
    let ended = before_script("exit 0").env("FC_HOOKS_LISTEN", "127.0.0.1:0").env("FC_HOOKS_ONTHAW", "GET /a");
    let ended = ended.expect_stderr().run().ended();
    let warning = "no setting has the variable FC_HOOKS_ONTHAW\n";
    assert_eq!((ended.stderr.matches("WARN").count(), ended.stderr.contains(warning)), (1, true), "{}", ended.stderr);
    let server = Setup::program(BINARY).env("FC_HOOKS_ON_THAW", "no action").expect_stderr().start();
    let warned = server.process.stderr.wait_for("the warning", |text| text.contains('\n'));
    assert!(warned.contains("FC_HOOKS_ON_THAW means nothing here: it is for a program behind --"), "{warned}");
}

/// The program's own port, its arguments, and nothing of the adapter's own: no variable, no descriptor.
#[test]
fn what_the_program_is_given() {
    let script =
        "echo \"$PORT $FC_SERVER_PORT $FC_CUSTOM_LISTEN_PORT [$FC_HOOKS_READY$FC_HOOKS_LISTEN] $A $0 $1\"; sleep 1000";
    let setup = before(&["sh", "-c", script, "zero", "--one two"]);
    let setup = setup.env("FC_SERVER_PORT", "9000").env("FC_HOOKS_LISTEN", "127.0.0.1:0").env("A", "a b");
    let adapter = setup.run();
    let told = |text: &str| text.lines().any(|line| line.contains("zero"));
    let output = adapter.stdout.wait_for("the program's line", told);
    let line = output.lines().find(|line| line.contains("zero")).expect("the line");
    let port = line.split(' ').next().expect("a word");
    assert!(port.parse::<u16>().is_ok_and(|port| port > 0 && port != 9000), "{line}");
    assert_eq!(line, format!("{port} {port} {port} [] a b zero --one two"));
    let program = proc::family(adapter.pid())[1];
    // What the one that starts the tests has left open is inherited by all.
    let links = std::fs::read_dir(format!("/proc/{program}/fd")).expect("it lives").flatten();
    let links: Vec<_> = links.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
    let of_adapter = |link: &&std::path::PathBuf| {
        let link = link.to_string_lossy();
        link.starts_with("socket:") || link.contains("eventpoll")
    };
    assert!(links.len() >= 3 && !links.iter().any(|link| of_adapter(&link)), "{links:?}");
    adapter.signal(libc::SIGTERM);
    assert_ended(&adapter.ended(), 143, "");

    let app = ["127.0.0.1:41999", "unix:/nonexistent/socket"].map(|app| {
        let setup = before_script("echo \"port: [$PORT]\"; exit 0").env("FC_HOOKS_APP", app).env("PORT", "1");
        let ended = setup.env("FC_HOOKS_LISTEN", "127.0.0.1:0").expect_stderr().run().ended();
        ended.stdout.lines().find(|line| line.starts_with("port: ")).map(str::to_owned).unwrap_or(ended.stderr)
    });
    assert_eq!(app, ["port: [41999]", "port: []"], "a fixed port is told, and a socket has none");
}

/// The adapter before a script that says `ready` once it is. The script's line may come before the adapter's. Scripts
/// that a signal interrupts write their standard error elsewhere: shells say there that their `sleep` was ended.
fn started(script: &str, stop_timeout: &str) -> support::process::Process {
    let setup = before_script(script).env("FC_HOOKS_STOP_TIMEOUT", stop_timeout).env("FC_HOOKS_LISTEN", "127.0.0.1:0");
    let process = setup.expect_stderr().run();
    process.stdout.wait_for("both lines", |text| text.contains("ready\n") && text.contains("listening"));
    process
}

#[test]
fn a_stop_is_passed_on_to_the_program() {
    let cases = [
        ("exec 2>&1; trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done", "30s", 0, ""),
        ("exec 2>&1; trap 'exit 5' TERM; echo ready; while :; do sleep 0.01; done", "30s", 5, ""),
        ("echo ready; exec sleep 1000", "30s", 143, ""),
        (
            "exec 2>&1; trap '' TERM; echo ready; while :; do sleep 0.01; done",
            "300ms",
            137,
            "sh did not end within 300ms after SIGTERM and was killed",
        ),
    ];
    for (script, stop_timeout, code, message) in cases {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let process = started(script, stop_timeout);
            process.signal(signal);
            assert_ended(&process.ended(), code, message);
        }
    }
}

/// What is sent to the adapter by hand, or by a terminal, is for the program.
#[test]
fn other_signals_are_passed_on() {
    let mut names =
        vec![(libc::SIGHUP, "HUP"), (libc::SIGQUIT, "QUIT"), (libc::SIGUSR1, "USR1"), (libc::SIGUSR2, "USR2")];
    // A shell without job control has its background jobs ignore SIGQUIT, and so this test if it is one.
    let ignored = proc::status(std::process::id(), "SigIgn").expect("this process lives");
    let ignored = u64::from_str_radix(&ignored, 16).expect("a mask");
    names.retain(|(signal, name)| {
        let is_passed_on = ignored >> (signal - 1) & 1 == 0;
        if !is_passed_on {
            skip(format_args!("SIG{name} is ignored here, and so by the adapter"));
        }
        is_passed_on
    });
    let traps: String = names.iter().map(|(_, name)| format!("trap 'echo got {name}' {name}; ")).collect();
    let process = started(&format!("exec 2>/dev/null; {traps} echo ready; while :; do sleep 0.01; done"), "30s");
    for (signal, name) in names {
        process.signal(signal);
        process.stdout.wait_for("the signal", |text| text.contains(&format!("got {name}\n")));
    }
    process.signal(libc::SIGTERM);
    assert_ended(&process.ended(), 143, "");
}

/// `nohup` has both ignore the end of a terminal.
#[test]
fn an_ignored_signal_stays_ignored() {
    let script = format!("trap '' HUP; exec {BINARY} -- sh -c 'echo ready; while :; do sleep 0.01; done'");
    let setup = Setup::program("/bin/sh").env("FC_HOOKS_READY", "early").env("PATH", "/usr/bin:/bin");
    let process = setup.env("FC_HOOKS_LISTEN", "127.0.0.1:0").arg("-c").arg(&script).run();
    process.stdout.wait_for("both lines", |text| text.contains("ready\n") && text.contains("listening"));
    for pid in proc::family(process.pid()) {
        let mask = proc::status(pid, "SigIgn").expect("it lives");
        assert_eq!(u64::from_str_radix(&mask, 16).expect("a mask") & 1, 1, "SIGHUP is ignored: {mask}");
    }
    process.signal(libc::SIGTERM);
    assert_ended(&process.ended(), 143, "");
}

/// A second signal to stop ends all at once, and leaves nothing behind.
#[test]
fn a_second_stop_ends_the_group() {
    let script = "exec 2>&1; sleep 1000 & trap '' TERM; echo ready; while :; do sleep 0.01; done";
    let process = started(script, "30s");
    let family = proc::family(process.pid());
    process.signal(libc::SIGTERM);
    wait_until("the first is seen", || proc::pending_signals(process.pid()).is_ok_and(|pending| pending == 0));
    process.signal(libc::SIGTERM);
    assert_ended(&process.ended(), 143, "");
    wait_until("the whole family has ended", || {
        family.iter().all(|pid| proc::state(*pid).map_or(true, |state| state == 'Z'))
    });
}

/// The processes of the program end with it: those that take SIGTERM, and those that do not.
#[test]
fn a_stop_reaches_the_whole_group() {
    for leader in ["wait", "trap 'exit 0' TERM; while :; do sleep 0.01; done"] {
        let script = format!("sleep 1000 & (trap '' TERM; echo ready; sleep 1000; sleep 1000) & {leader}");
        let process = started(&script, "300ms");
        let family = proc::family(process.pid());
        assert!(family.len() >= 4, "the adapter, the program and its two: {family:?}");
        process.signal(libc::SIGTERM);
        process.ended();
        wait_until("the whole family has ended", || {
            family.iter().all(|pid| proc::state(*pid).map_or(true, |state| state == 'Z'))
        });
    }
}

/// Orphans of the program become the adapter's children, and none stays a zombie.
#[test]
fn orphans_are_reaped() {
    let script = "for i in 1 2 3 4 5 6 7 8 9; do sh -c '(exit 3) & sleep 0.01 & exit 0'; done; echo ready; sleep 1000";
    let process = started(script, "30s");
    wait_until("only the adapter, the program and its sleep are left", || proc::family(process.pid()).len() == 3);
    process.signal(libc::SIGTERM);
    assert_ended(&process.ended(), 143, "");
}

/// As PID 1, the adapter stops too, and reaps.
#[test]
fn as_pid_1() {
    if !fc_testkit::is_root() || !Path::new("/usr/bin/unshare").exists() {
        return fc_testkit::skip("PID 1 needs root and unshare");
    }
    let script = "exec 2>&1; sh -c '(exit 3) & sleep 0.01 & exit 0'; trap 'exit 6' TERM; echo ready
        while :; do sleep 0.01; done";
    let words = ["--pid", "--fork", "--kill-child", BINARY, "--", "sh", "-c", script];
    let setup = Setup::program("/usr/bin/unshare").env("PATH", "/usr/bin:/bin").env("FC_HOOKS_READY", "early");
    let setup = words.iter().fold(setup.env("FC_HOOKS_LISTEN", "127.0.0.1:0"), |setup, word| setup.arg(word));
    let process = setup.run();
    process.stdout.wait_for("both lines", |text| text.contains("ready\n") && text.contains("listening"));
    let pid_1 = proc::family(process.pid())[1];
    assert_eq!(proc::status(pid_1, "NSpid").expect("it lives").split_whitespace().nth(1), Some("1"));
    wait_until("no zombie is left", || proc::family(pid_1).iter().all(|pid| proc::state(*pid).is_ok_and(|s| s != 'Z')));
    sys::kill(pid_1, libc::SIGTERM);
    assert_ended(&process.ended(), 6, "");
}

fn initialize(server: &Server, headers: &[(&str, &str)]) -> (u16, String) {
    let reply = server.connect().call("POST", "/initialize", headers, b"");
    (reply.status, reply.text())
}

/// A command's output is the body of the hook's answer, and its exit code decides about the status.
#[test]
fn commands_of_hooks() {
    let with = |command: &str| {
        let setup =
            before_inspector().env("FC_HOOKS_INITIALIZE", command).env("ALIBABA_CLOUD_SECURITY_TOKEN", "S3CRET");
        setup.expect_stderr().start()
    };
    let id = [("x-fc-request-id", "1-abc"), ("x-fc-access-key-secret", "S3CRET")];

    let server = with("exec: sh -c 'echo out; echo err >&2; echo $FC_HOOKS_HOOK $FC_REQUEST_ID; env; cat'");
    let (status, body) = initialize(&server, &id);
    assert_eq!(status, 200);
    assert!(body.starts_with("out\ninitialize 1-abc\n") && !body.contains("S3CRET"), "{body}");
    let replayed = initialize(&server, &[]);
    assert_eq!(replayed, (200, body), "it runs once");
    server.process.stderr.wait_for("the command's standard error", |text| text.contains("err\n"));
    server.process.signal(libc::SIGTERM);
    assert_eq!(server.process.ended().code, 0);

    let server = with("exec: sh -c 'echo half; exit 3'");
    for _ in 0..2 {
        let (status, body) = initialize(&server, &id);
        assert_eq!(status, 404, "{body}");
        assert!(body.contains("half") || body.contains("exited with code 3"), "{body}");
    }
    drop(server);

    let server = with("exec: ./none");
    let (status, body) = initialize(&server, &id);
    assert!(status == 404 && body.contains("cannot execute ./none"), "{status} {body}");
    drop(server);

    let server = with("exec: head -c 200000 /dev/zero");
    let (status, body) = initialize(&server, &id);
    assert_eq!((status, body.len()), (200, 65_536), "more is dropped, and the command ends");
}

#[test]
fn secrets_are_given_to_commands_on_request() {
    let echo = ["ID", "SECRET"].map(|name| format!("echo $ALIBABA_CLOUD_ACCESS_KEY_{name}"));
    let command = format!("exec: sh -c '{}; echo $ALIBABA_CLOUD_SECURITY_TOKEN'", echo.join("; "));
    for (setting, expected) in [("off", "\n\n\n"), ("on", "from-header\nnew\nold\n")] {
        let setup = before_inspector().env("FC_HOOKS_INITIALIZE", &command).env("FC_HOOKS_COMMAND_SECRETS", setting);
        let setup = setup.env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "old").env("ALIBABA_CLOUD_SECURITY_TOKEN", "old");
        let server = setup.start();
        let headers = [("x-fc-access-key-id", "from-header"), ("x-fc-access-key-secret", "new")];
        assert_eq!(initialize(&server, &headers), (200, expected.to_owned()), "{setting}");
        server.finish();
    }
}

/// A command that takes too long is killed with its group, and nobody else waits for it meanwhile.
#[test]
fn a_command_has_a_time_limit() {
    let folder = temp_dir();
    let file = folder.path().join("pids");
    let command = format!("exec: sh -c 'sleep 1000 & echo $$ $! > {0}.new; mv {0}.new {0}; wait'", file.display());
    let setup = before_inspector().env("FC_HOOKS_INITIALIZE", &command).env("FC_HOOKS_HOOK_TIMEOUT", "500ms");
    let server = setup.expect_stderr().start();
    let (status, body) = initialize(&server, &[]);
    assert!(status == 404 && body.contains("did not end within 500ms"), "{status} {body}");
    let pids: Vec<u32> = std::fs::read_to_string(&file)
        .expect("it ran")
        .split_whitespace()
        .map(|pid| pid.parse().expect("a pid"))
        .collect();
    assert_eq!(pids.len(), 2);
    wait_until("its group has ended", || pids.iter().all(|pid| proc::state(*pid).is_err()));
    assert_eq!(server.connect().get("/").status, 200);
}

/// Its output does not keep the adapter from looking at the clock, nor does one that a grandchild still writes.
#[test]
fn a_command_that_writes_without_end() {
    let server = before_inspector().env("FC_HOOKS_INITIALIZE", "exec: yes").env("FC_HOOKS_HOOK_TIMEOUT", "300ms");
    let server = server.expect_stderr().start();
    let (status, body) = initialize(&server, &[]);
    assert_eq!((status, body.len()), (404, 65_536));
    drop(server);
    let server = before_inspector().env("FC_HOOKS_INITIALIZE", "exec: sh -c 'yes & exit 0'").start();
    let (status, body) = initialize(&server, &[]);
    assert!(status == 200 && body.len() <= 65_536, "{status} {}", body.len());
    assert_eq!(server.connect().get("/").status, 200);
    // The command's group is not the program's, so only the end of the pipe ends it.
    server.finish();
}

/// `on_thaw` is told the evidence; SIGCONT is one that is certain.
#[test]
fn a_command_is_told_of_the_thaw() {
    let folder = temp_dir();
    let file = folder.path().join("thaw");
    let command = format!(
        "exec: sh -c 'echo $FC_HOOKS_HOOK $FC_HOOKS_EVIDENCE $FC_HOOKS_CONFIDENCE $FC_HOOKS_GAP_MS > {}'",
        file.display()
    );
    let server = before_inspector().env("FC_HOOKS_ON_THAW", &command).start();
    assert_eq!(server.connect().get("/").status, 200);
    assert!(!file.exists(), "nothing was frozen");
    server.process.signal(libc::SIGSTOP);
    server.process.wait_for_state('T');
    server.process.signal(libc::SIGCONT);
    server.process.wait_for_state('S');
    assert_eq!(server.connect().get("/").status, 200);
    let told = std::fs::read_to_string(&file).expect("on_thaw ran before the call");
    let words: Vec<&str> = told.split_whitespace().collect();
    assert!(words[0] == "on-thaw" && words[1].contains("sigcont") && words[2] == "certain", "{told}");
    assert!(words[3].parse::<u64>().is_ok(), "{told}");
    server.finish();
}

/// SIGTERM runs pre-stop while the program still lives.
#[test]
fn pre_stop_runs_before_the_program_ends() {
    let command = format!("exec: sh -c '{BINARY} call GET /from-pre-stop && echo alive >&2'");
    let server = before_inspector().env("FC_HOOKS_PRE_STOP", &command).expect_stderr().start();
    assert_eq!(server.connect().get("/").status, 200);
    server.process.signal(libc::SIGTERM);
    let ended = server.process.ended();
    assert!(ended.code == 0 && ended.stderr.contains("alive\n"), "{} {}", ended.code, ended.stderr);
}

/// Where idle clients have all descriptors, a call takes one of theirs for its connection to the program.
#[test]
fn a_call_without_a_descriptor_takes_that_of_an_idle_client() {
    const DESCRIPTORS: u64 = 20;
    let server = before_inspector().descriptors(DESCRIPTORS).expect_stderr().start();
    // The connection to the program is kept, and so is this client's.
    let mut first = server.connect();
    assert_eq!(first.call("POST", "/invoke", &[], b"first").text(), "first");
    let free = || proc::free_descriptors(server.pid(), DESCRIPTORS).expect("it lives").len();
    let mut clients: Vec<_> = (0..free()).map(|_| server.connect()).collect();
    wait_until("all descriptors are used", || free() == 0);
    // The first call has the kept connection until its body is there, so the second one needs another.
    let [mut slow, mut fast] = [clients.pop().expect("a client"), clients.pop().expect("a client")];
    let whole = request("POST", "/invoke", &[], b"slow");
    let (begin, rest) = whole.split_at(whole.len() - 2);
    slow.send(begin);
    fast.send(request("POST", "/invoke", &[], b"fast"));
    assert_eq!((fast.reply().text().as_str(), fast.has_received_nothing()), ("fast", true));
    let closed = clients.iter().filter(|client: &&Client| !client.has_received_nothing()).count();
    slow.send(rest);
    assert_eq!((slow.reply().text().as_str(), closed, first.has_received_nothing()), ("slow", 1, true));
    server.process.signal(libc::SIGTERM);
    let ended = server.process.ended();
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains("cannot connect"), "{}", ended.stderr);
}
