//! What is known about servers that people use: how to recognise one, its time limits, and the setting that made it
//! keep every call over a freeze when that was tried. `docs/servers-after-a-freeze.md` has the trials.

use std::time::Duration;

use crate::clock::seconds;
use crate::http::Response;
use crate::process;

/// A server, or the framework or runtime that brings one.
#[derive(Debug)]
pub struct Server {
    name: &'static str,
    /// Headers of its answers: name, and how the value begins.
    headers: &'static [(&'static str, &'static str)],
    /// Names of programs, scripts or modules in its command line.
    programs: &'static [&'static str],
    /// Its time limits by default, in seconds.
    limits: &'static [(&'static str, u64)],
    /// Whether it keeps connections as people start it first.
    keeps: bool,
    /// The setting that helped.
    fix: &'static str,
}

/// The checks that a time limit of a server fails.
const CHECKS: &[&str] = &[
    "keepalive-idle",
    "call-while-frozen",
    "freeze-at-reply",
    "keepalive-over-freeze",
    "freeze-in-head",
    "freeze-in-kept-head",
    "freeze-in-body",
    "freeze-in-reply",
];

/// Frameworks come before the runtimes that they run on.
const SERVERS: &[Server] = &[
    Server {
        name: "gunicorn",
        headers: &[("server", "gunicorn")],
        programs: &["gunicorn"],
        limits: &[("idle connection", 2), ("worker", 30)],
        keeps: false,
        fix: "start it with `-k gthread --threads 8 --keep-alive 900 -t 0`; sync workers keep no connection",
    },
    Server {
        name: "uvicorn",
        headers: &[("server", "uvicorn")],
        programs: &["uvicorn"],
        limits: &[("idle connection", 5)],
        keeps: true,
        fix: "start it with `--timeout-keep-alive 900`",
    },
    Server {
        name: "hypercorn",
        headers: &[("server", "hypercorn")],
        programs: &["hypercorn"],
        limits: &[("idle connection", 5)],
        keeps: true,
        fix: "start it with `--keep-alive 900`",
    },
    Server {
        name: "waitress",
        headers: &[("server", "waitress")],
        programs: &["waitress-serve"],
        limits: &[("idle connection", 120)],
        keeps: true,
        fix: "the default `channel_timeout` of 120 s is kept over shorter freezes; set it to 900",
    },
    Server {
        name: "aiohttp",
        headers: &[("server", "Python/3 aiohttp"), ("server", "aiohttp")],
        programs: &[],
        limits: &[("idle connection", 3630)],
        keeps: true,
        fix: "leave `keepalive_timeout` at its default of 3,630 s",
    },
    Server {
        name: "Tornado",
        headers: &[("server", "TornadoServer")],
        programs: &[],
        limits: &[("idle connection", 3600)],
        keeps: true,
        fix: "leave `idle_connection_timeout` and `body_timeout` at their defaults",
    },
    Server {
        name: "the development server of Flask",
        headers: &[("server", "Werkzeug")],
        programs: &["flask"],
        limits: &[],
        keeps: false,
        fix: "it keeps no connection: serve by gunicorn with `-k gthread --threads 8 --keep-alive 900 -t 0`",
    },
    Server {
        name: "http.server of Python",
        headers: &[("server", "BaseHTTP"), ("server", "SimpleHTTP")],
        programs: &["http.server"],
        limits: &[],
        keeps: false,
        fix: "set `protocol_version = \"HTTP/1.1\"`, and leave `timeout = None`, the default",
    },
    Server {
        name: "Puma",
        headers: &[],
        programs: &["puma"],
        limits: &[("idle connection", 20), ("first data", 30)],
        keeps: true,
        fix: "set `persistent_timeout 900` and `first_data_timeout 900` in its configuration",
    },
    Server {
        name: "WEBrick",
        headers: &[("server", "WEBrick")],
        programs: &["webrick"],
        limits: &[("request", 30)],
        keeps: true,
        fix: "set `RequestTimeout: 900`",
    },
    Server {
        name: "Fastify",
        headers: &[("keep-alive", "timeout=72")],
        programs: &[],
        limits: &[("idle connection", 72), ("head", 60)],
        keeps: true,
        fix: "create it with `keepAliveTimeout: 900000, http: { headersTimeout: 0 }`",
    },
    Server {
        name: "Node's http (Express and others)",
        headers: &[("x-powered-by", "Express")],
        programs: &["node", "nodejs"],
        limits: &[("idle connection", 5), ("head", 60), ("request", 300)],
        keeps: true,
        fix: "set `keepAliveTimeout = 900000`, `headersTimeout = 0` and `requestTimeout = 0` of the server that \
              `listen()` returns",
    },
    Server {
        name: "the server of PHP (php -S)",
        headers: &[("x-powered-by", "PHP")],
        programs: &["php"],
        limits: &[],
        keeps: false,
        fix: "it keeps no connection: serve by another server, such as Apache with `KeepAliveTimeout 900`",
    },
    Server {
        name: "nginx",
        headers: &[("server", "nginx")],
        programs: &["nginx"],
        limits: &[("head, body and sending", 60), ("idle connection", 75)],
        keeps: true,
        fix: "set `keepalive_timeout`, `client_header_timeout`, `client_body_timeout`, `send_timeout` and \
              `proxy_read_timeout` to 900",
    },
    Server {
        name: "Apache",
        headers: &[("server", "Apache")],
        programs: &["apache2", "httpd"],
        limits: &[("idle connection", 5), ("head and body", 20), ("sending", 60)],
        keeps: true,
        fix: "set `KeepAliveTimeout 900`, `RequestReadTimeout header=0 body=0` and `Timeout 900`",
    },
    Server {
        name: "lighttpd",
        headers: &[("server", "lighttpd")],
        programs: &["lighttpd"],
        limits: &[("idle connection", 5), ("reading", 60), ("sending", 360)],
        keeps: true,
        fix: "set `server.max-keep-alive-idle`, `server.max-read-idle` and `server.max-write-idle` to 900",
    },
    Server {
        name: "Caddy",
        headers: &[("server", "Caddy")],
        programs: &["caddy"],
        limits: &[("idle connection", 300)],
        keeps: true,
        fix: "set the time-out `idle` to 15m, and no other one",
    },
    Server {
        name: "Tomcat",
        headers: &[],
        programs: &["org.apache.catalina.startup.Bootstrap"],
        limits: &[("idle connection", 60), ("head", 60)],
        keeps: true,
        fix: "set `connectionTimeout` and `keepAliveTimeout` of the connector to 900000",
    },
    Server {
        name: "Java's com.sun.net.httpserver",
        headers: &[],
        programs: &["java"],
        limits: &[("idle connection", 30)],
        keeps: true,
        fix: "start it with `-Dsun.net.httpserver.idleInterval=900`; with Tomcat, set `connectionTimeout` and \
              `keepAliveTimeout` to 900000",
    },
    Server {
        name: GO,
        headers: &[],
        programs: &[],
        limits: &[],
        keeps: true,
        fix: "set no `IdleTimeout`, `ReadHeaderTimeout`, `ReadTimeout` and `WriteTimeout` of the http.Server, or 900 s \
              for each",
    },
];

/// Recognised by the file of the program: Go servers have no name of their own.
const GO: &str = "Go's net/http";

impl Server {
    /// The setting, as a sentence, if it can be the reason that this check failed.
    pub fn advice(&self, check_id: &str) -> Option<String> {
        let concerned = CHECKS.contains(&check_id) || (check_id == "keepalive" && !self.keeps);
        concerned.then(|| format!("{}: {}", self.name, self.fix))
    }
}

/// The server that sends such headers.
pub fn by_headers(response: &Response) -> Option<&'static Server> {
    let says = |(name, start): &(&str, &str)| {
        response.header(name).is_some_and(|value| match start.split_once(' ') {
            // A version stands between the two words.
            Some((first, second)) => value.starts_with(first) && value.contains(&format!(" {second}")),
            None => value.starts_with(start),
        })
    };
    SERVERS.iter().find(|server| server.headers.iter().any(says))
}

/// The server that a process, or one of its descendants, has in its command line or its file.
pub fn by_processes(pid: u32) -> Option<&'static Server> {
    let all = process::descendants(pid);
    let lines: Vec<_> = all.iter().map(|pid| process::command_line(*pid)).collect();
    let named = lines.iter().filter_map(|words| by_command(words)).min_by_key(|(rank, _)| *rank);
    let go = || all.iter().any(|pid| process::is_built_by_go(*pid)).then(|| SERVERS.iter().find(|s| s.name == GO));
    named.map(|(_, server)| server).or_else(|| go().flatten())
}

/// The server that a command line names, and its place in the table.
fn by_command(words: &[String]) -> Option<(usize, &'static Server)> {
    // A program that sets its title has all of it in the first word: `puma 5.6.5 (tcp://…)`.
    let title = words.iter().take(1).flat_map(|word| word.split([' ', ':']).next());
    let names: Vec<_> =
        title.chain(words.iter().map(String::as_str)).map(|w| w.rsplit('/').next().unwrap_or_default()).collect();
    SERVERS.iter().enumerate().find(|(_, server)| server.programs.iter().any(|program| names.contains(program)))
}

/// The idle limit that an answer advertises: `Keep-Alive: timeout=5, max=100` (RFC 2068 §19.7.1.1).
pub fn advertised_idle_limit(response: &Response) -> Option<Duration> {
    let header = response.header("keep-alive")?;
    let parameters = header.split(',').filter_map(|parameter| parameter.split_once('='));
    let mut limits = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"));
    limits.next()?.1.trim().trim_matches('"').parse().ok().map(Duration::from_secs)
}

/// Which time limits freezes of this length cannot show: those of the server if it is known, else well-known ones.
pub fn hidden_limits(freeze: Duration, server: Option<&'static Server>) -> String {
    let shown = format!("the longest time limit that such freezes show is {}", seconds(freeze));
    let all = server.map_or(SERVERS, std::slice::from_ref);
    let limits = || all.iter().flat_map(|server| server.limits).filter(|(_, secs)| *secs <= EXAMPLE_MOST);
    let longer = || limits().filter(|(_, secs)| Duration::from_secs(*secs) >= freeze);
    let secs = || longer().map(|(_, secs)| *secs);
    let (Some(least), Some(most)) = (secs().min(), secs().max()) else { return shown };
    let said = match server {
        Some(server) => {
            let named: Vec<_> = longer().map(|(what, secs)| format!("{what} {secs} s")).collect();
            format!("default limits of {} are longer ({})", server.name, named.join(", "))
        }
        None if least == most => format!("other servers have {most} s"),
        None => format!("other servers have {least} s to {most} s"),
    };
    format!("{shown}; {said}: `--freeze-for {}s` shows those, too", most + 3)
}

/// Longer limits are no reason to freeze for so long.
const EXAMPLE_MOST: u64 = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &[(&str, &str)]) -> Response {
        let mut response = Response::new(1, 200);
        response.headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        response
    }

    #[test]
    fn servers_are_recognised_by_their_headers() {
        for (name, value, server) in [
            ("Server", "gunicorn/20.1", Some("gunicorn")),
            ("server", "uvicorn", Some("uvicorn")),
            ("Server", "Python/3.11 aiohttp/3.14.5", Some("aiohttp")),
            ("Server", "Werkzeug/3.1.3 Python/3.11.7", Some("the development server of Flask")),
            ("X-Powered-By", "Express", Some("Node's http (Express and others)")),
            ("Keep-Alive", "timeout=72", Some("Fastify")),
            ("Server", "mine", None),
        ] {
            let found = by_headers(&response(&[(name, value)])).map(|server| server.name);
            assert_eq!(found, server, "{name}: {value}");
        }
    }

    #[test]
    fn servers_are_recognised_by_their_command_lines() {
        for (line, server) in [
            (&["python3", "/venv/bin/gunicorn", "app:app"][..], Some("gunicorn")),
            (&["python3", "-m", "uvicorn", "app:app"], Some("uvicorn")),
            (&["puma 5.6.5 (tcp://0.0.0.0:9000) [app]"], Some("Puma")),
            (&["/usr/bin/node", "server.js"], Some("Node's http (Express and others)")),
            (&["java", "Function.java"], Some("Java's com.sun.net.httpserver")),
            (&["java", "-cp", "x", "org.apache.catalina.startup.Bootstrap", "start"], Some("Tomcat")),
            (&["./my-server", "--node"], None),
        ] {
            let words: Vec<_> = line.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(by_command(&words).map(|(_, server)| server.name), server, "{line:?}");
        }
    }

    #[test]
    fn advertised_limits() {
        for (value, secs) in [
            ("timeout=5", Some(5)),
            ("timeout=5, max=100", Some(5)),
            ("max=100,Timeout = 900", Some(900)),
            ("timeout=\"7\"", Some(7)),
            ("max=100", None),
            ("timeout=soon", None),
        ] {
            let limit = advertised_idle_limit(&response(&[("Keep-Alive", value)]));
            assert_eq!(limit, secs.map(Duration::from_secs), "{value}");
        }
        assert_eq!(advertised_idle_limit(&response(&[])), None);
    }

    #[test]
    fn a_report_names_the_limits_that_its_freezes_hide() {
        let puma = SERVERS.iter().find(|server| server.name == "Puma");
        let text = hidden_limits(Duration::from_secs(7), puma);
        assert!(text.contains("is 7 s; default limits of Puma") && text.contains("`--freeze-for 33s`"), "{text}");
        assert!(text.contains("idle connection 20 s, first data 30 s"), "{text}");
        assert!(!hidden_limits(Duration::from_secs(31), puma).contains("Puma"));
        let unknown = hidden_limits(Duration::from_secs(7), None);
        assert!(
            unknown.ends_with("other servers have 20 s to 120 s: `--freeze-for 123s` shows those, too"),
            "{unknown}"
        );
        assert!(hidden_limits(Duration::from_secs(100), None).contains("other servers have 120 s:"));
        assert!(!hidden_limits(Duration::from_secs(121), None).contains("other"));
    }

    /// A misspelt name of a check would hide every advice.
    #[test]
    fn advice_is_for_checks_that_exist() {
        let ids: Vec<_> = super::super::all().iter().map(|check| check.id).collect();
        assert!(CHECKS.iter().all(|id| ids.contains(id)));
        let (flask, node) = (by_command(&["flask".into()]).unwrap().1, by_command(&["node".into()]).unwrap().1);
        assert!(flask.advice("keepalive").is_some() && node.advice("keepalive").is_none());
        assert!(node.advice("call-while-frozen").is_some() && node.advice("invoke").is_none());
    }
}
