//! The start-up check of the platform, and early words about a target that will never pass it.
//!
//! The check opens and closes TCP connections until one succeeds (C-START-3). Meanwhile it looks where the target
//! listens. A server with a fixed port is the commonest fault of all, and nobody should wait 120 s to learn of it.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::{Exit, Listener, PORT_DEFAULT, Target, listening};
use crate::clock::{Deadline, seconds};
use crate::platform::PORT_NAMES;

/// One attempt to connect may take this long.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// The time between two looks at the sockets of the target.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A target that has listened elsewhere for this long is said to.
const NOTICED_AFTER: Duration = Duration::from_secs(1);

/// After this time it is given up, if the other port could belong to a server that is not ready yet, such as one for
/// an administrator.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(15);

/// Who waits for longer than this learns for what.
const LONG_WAIT: Duration = Duration::from_secs(5);

/// The ports that servers take if nobody tells them one: that of the platform, then those of web frameworks.
const FIXED_PORTS: [u16; 5] = [PORT_DEFAULT, 8080, 8000, 5000, 3000];

/// How the start-up check ended. Each text is a sentence without its subject, the target, or a whole one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The target accepts connections.
    Yes,
    /// The target ended before it listened: "exited with code 1".
    Exited(String),
    /// The target did not listen, or not where the platform looks: a whole sentence.
    No(String),
    /// Something else accepts connections in its place: a whole sentence. The target cannot be judged.
    Stranger(String),
}

/// The start-up check. `other_port` is a port that the target may have taken from an older variable. The check ends as
/// soon as `cancelled` says so.
pub fn wait_ready(
    target: &mut dyn Target,
    other_port: Option<u16>,
    limit: Duration,
    notice: &mut dyn FnMut(&str),
    cancelled: &dyn Fn() -> bool,
) -> Ready {
    let deadline = Deadline::after(limit);
    let mut watch =
        Watch { other_port, since: None, started: Instant::now(), looked: Instant::now(), limit, noticed: false };
    let look = || {
        if cancelled() {
            return Some(Ready::No("the start was cancelled".to_owned()));
        }
        if let Some(exit) = target.try_exit() {
            let hint = container_client(target);
            return Some(Ready::Exited(format!("{}{hint}", before_listening(exit, &target.left_behind()))));
        }
        if connects(target, deadline) {
            return Some(whose(target));
        }
        watch.look(target, notice).map(Ready::No)
    };
    deadline.until(look).unwrap_or_else(|| Ready::No(late(target, limit)))
}

/// Where the target listens if the platform cannot reach it there: "listens on 127.0.0.1:9000 only …".
pub fn loopback_only(target: &mut dyn Target) -> Option<String> {
    let port = target.addr().port();
    let at = match target.listener() {
        Some(listener) => (listener == Listener::LoopbackOnly).then(|| format!("127.0.0.1:{port}")),
        None => only_loopback(&listening::of(&target.pids()), port),
    }?;
    Some(format!("listens on {at} only, where the platform cannot reach it: listen on 0.0.0.0"))
}

/// The addresses with this port, if there are some and all of them are loopback addresses.
fn only_loopback(addrs: &[SocketAddr], port: u16) -> Option<String> {
    let ours: Vec<_> = addrs.iter().filter(|addr| addr.port() == port).collect();
    let all_loopback = !ours.is_empty() && ours.iter().all(|addr| listening::is_loopback(addr));
    all_loopback.then(|| ours.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "))
}

/// The exit of a target that has not listened yet, with the meaning of known codes (C-START-5).
fn before_listening(exit: Exit, left_behind: &[String]) -> String {
    let known = match exit {
        Exit::Code(2) => " (no such file?)",
        Exit::Code(127) => " (no such program? Its PATH is not yours: `--env PATH=\"$PATH\"` passes yours on)",
        Exit::Code(8) => " (wrong executable format?)",
        Exit::Code(13 | 126) => " (not executable?)",
        Exit::Code(137) | Exit::Signal(9) => " (killed, mostly for want of memory)",
        _ => "",
    };
    format!("{exit}{known}{}", daemon(left_behind))
}

/// What to say of a target whose first process ended before others: the end of a sentence.
pub fn daemon(left_behind: &[String]) -> String {
    match left_behind {
        [] => String::new(),
        [first, ..] => format!(
            ", and left {} of its processes running (`{first}`): a container ends with its first process, so run the \
             server in the foreground (nginx: `-g 'daemon off;'`)",
            left_behind.len()
        ),
    }
}

fn connects(target: &mut dyn Target, deadline: Deadline) -> bool {
    let listener = target.listener();
    if listener.is_some_and(|listener| listener != Listener::Reachable) {
        return false;
    }
    let wait = PROBE_WAIT.min(deadline.left().unwrap_or(Duration::from_millis(10)));
    let stream = TcpStream::connect_timeout(&target.addr(), wait);
    stream.is_ok_and(|stream| listener.is_some() || stays_open(&stream, target))
}

/// Whether an accepted connection means that the target listens. The proxy of an engine accepts connections to a
/// published port even if the container does not listen, and then closes them at once.
fn stays_open(stream: &TcpStream, target: &dyn Target) -> bool {
    if target.pid().is_some() || target.output().is_none() {
        return true;
    }
    let wait = Duration::from_millis(150);
    stream.set_read_timeout(Some(wait)).is_ok()
        && stream.peek(&mut [0]).map_or_else(|cause| cause.kind() == std::io::ErrorKind::WouldBlock, |count| count > 0)
}

/// Whether the target itself has accepted the connection. Only a target on this machine shares its ports with others.
fn whose(target: &mut dyn Target) -> Ready {
    let addr = target.addr();
    if !target.shares_ports() {
        return Ready::Yes;
    }
    let hint = container_client(target);
    if let Some(stranger) = listening::stranger(addr, &target.pids()) {
        return Ready::Stranger(format!("{stranger}{hint}"));
    }
    let elsewhere = cfg!(target_os = "linux")
        && listening::nobody(addr)
        && TcpStream::connect_timeout(&addr, PROBE_WAIT).is_ok()
        && listening::nobody(addr);
    match elsewhere {
        true => {
            Ready::Stranger(format!("{addr} accepts connections, but no process of this machine listens there{hint}"))
        }
        false => Ready::Yes,
    }
}

/// The fix, if the target is only the client of a container engine.
fn container_client(target: &dyn Target) -> String {
    match target.container_client() {
        Some(client) => format!(
            ": `{client}` asks an engine to run the container and is all that could be frozen here; give the image as \
             `--image NAME`"
        ),
        None => String::new(),
    }
}

fn late(target: &mut dyn Target, limit: Duration) -> String {
    let (addr, span) = (target.addr(), seconds(limit));
    if let Some(only) = loopback_only(target) {
        return format!("the target {only} (after {span})");
    }
    let others = listening::of(&target.pids());
    if let Some(said) = elsewhere(&others, addr.port()) {
        return format!("{said} (after {span})");
    }
    format!("nothing listens on port {} after {span}{}", addr.port(), container_client(target))
}

/// What the sockets of the target showed so far.
struct Watch {
    other_port: Option<u16>,
    since: Option<(Instant, Vec<SocketAddr>)>,
    started: Instant,
    looked: Instant,
    limit: Duration,
    noticed: bool,
}

impl Watch {
    /// Looks once in a while. Returns the reason to give up.
    fn look(&mut self, target: &mut dyn Target, notice: &mut dyn FnMut(&str)) -> Option<String> {
        if self.looked.elapsed() < LOOK_EVERY {
            return None;
        }
        self.looked = Instant::now();
        let port = target.addr().port();
        let addrs = listening::of(&target.pids());
        let unchanged = self.since.take().filter(|(_, before)| *before == addrs);
        let (since, addrs) = self.since.insert(unchanged.unwrap_or_else(|| (Instant::now(), addrs)));
        let stayed = since.elapsed();
        if stayed < NOTICED_AFTER {
            return None;
        }
        if let Some(only) = loopback_only(target) {
            return Some(format!("the target {only}"));
        }
        let certain = |addr: &SocketAddr| FIXED_PORTS.contains(&addr.port()) || self.other_port == Some(addr.port());
        // An administrator's port is mostly on loopback, so that alone ends no wait early.
        let outside = elsewhere(addrs, port);
        let is_sure = outside.is_some() && addrs.iter().any(certain);
        let Some(said) = outside.or_else(|| on_loopback_elsewhere(addrs, port, certain)) else {
            if self.started.elapsed() >= LONG_WAIT && !std::mem::replace(&mut self.noticed, true) {
                notice(&format!(
                    "nothing listens on port {port} yet; it may take {} (--ready-timeout)",
                    seconds(self.limit)
                ));
            }
            return None;
        };
        if is_sure || stayed >= GIVEN_UP_AFTER {
            return Some(said);
        }
        if !std::mem::replace(&mut self.noticed, true) {
            notice(&said);
        }
        None
    }
}

/// Where the target listens in place of `port`, as a sentence with the fix. Addresses on loopback alone are no sign: a
/// debugger has one.
fn elsewhere(addrs: &[SocketAddr], port: u16) -> Option<String> {
    let first = addrs.iter().filter(|addr| addr.port() != port).find(|addr| !listening::is_loopback(addr))?;
    Some(format!(
        "the target listens on {first}, not on port {port}, which {} says: use `--port {}`, or read the variable",
        PORT_NAMES[0],
        first.port()
    ))
}

/// The same for a server that listens on loopback alone. Its port tells it from a debugger.
fn on_loopback_elsewhere(addrs: &[SocketAddr], port: u16, is_server: impl Fn(&SocketAddr) -> bool) -> Option<String> {
    let first = addrs.iter().filter(|addr| addr.port() != port).find(|addr| is_server(addr))?;
    Some(format!(
        "the target listens on {first} only, not on port {port}, which {} says: let it listen on 0.0.0.0, and read \
         the variable or use `--port {}`",
        PORT_NAMES[0],
        first.port()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_port_is_named_with_both_fixes() {
        let addrs = |list: &[&str]| list.iter().map(|addr| addr.parse().unwrap()).collect::<Vec<SocketAddr>>();
        let said = elsewhere(&addrs(&["127.0.0.1:9229", "0.0.0.0:9000"]), 21081).unwrap();
        for part in ["0.0.0.0:9000", "21081", "FC_CUSTOM_LISTEN_PORT", "--port 9000", "read the variable"] {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(elsewhere(&addrs(&["127.0.0.1:9229"]), 21081), None);
        assert_eq!(elsewhere(&addrs(&["0.0.0.0:21081"]), 21081), None);
    }

    #[test]
    fn a_fixed_port_on_loopback_is_told_from_a_debugger() {
        let addrs: Vec<SocketAddr> = vec!["127.0.0.1:9229".parse().unwrap(), "127.0.0.1:5000".parse().unwrap()];
        let said = on_loopback_elsewhere(&addrs, 21081, |addr| FIXED_PORTS.contains(&addr.port())).unwrap();
        assert!(said.contains("127.0.0.1:5000") && said.contains("0.0.0.0") && said.contains("--port 5000"), "{said}");
        assert_eq!(on_loopback_elsewhere(&addrs[..1], 21081, |addr| FIXED_PORTS.contains(&addr.port())), None);
    }

    #[test]
    fn a_server_on_loopback_is_told_its_own_address() {
        let at = |list: &[&str]| only_loopback(&list.iter().map(|addr| addr.parse().unwrap()).collect::<Vec<_>>(), 7);
        assert_eq!(at(&["[::1]:7", "0.0.0.0:8"]).as_deref(), Some("[::1]:7"));
        assert_eq!(at(&["127.0.0.1:7", "[::1]:7"]).as_deref(), Some("127.0.0.1:7 and [::1]:7"));
        assert_eq!((at(&["127.0.0.1:7", "[::]:7"]), at(&["127.0.0.1:8"])), (None, None));
    }

    #[test]
    fn codes_are_explained_only_before_the_port_opened() {
        assert_eq!(before_listening(Exit::Code(137), &[]), "exited with code 137 (killed, mostly for want of memory)");
        assert_eq!(Exit::Code(137).to_string(), "exited with code 137");
        let left = before_listening(Exit::Code(0), &["nginx".to_owned(), "nginx".to_owned()]);
        assert!(left.starts_with("exited with code 0, and left 2 of its processes running (`nginx`)"), "{left}");
    }
}
