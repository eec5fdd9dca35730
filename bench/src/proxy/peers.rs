//! The proxies that are compared, with the configuration that each gets for a run.
//!
//! It looks for programs and writes files. It starts nothing and measures nothing.

use std::env::consts::ARCH;
use std::path::{Path, PathBuf};

use crate::results::{Described, Kind, Skipped};
use fc_emulator::error::{Error, Result};

/// How a proxy comes before its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// No proxy: the program answers the client.
    Direct,
    /// No proxy, but a parent that starts the program and waits.
    ForkExec,
    /// The proxy starts the program itself.
    Starts,
    /// The program is started first, and the proxy connects to its port.
    Connects,
    /// The same, for what passes bytes on without HTTP: only load says something about it.
    Relays,
}

/// One way to the program.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// How reports describe it. The command is its program alone.
    pub described: Described,
    /// How it comes before the program.
    pub role: Role,
}

/// The ports of a run, and a folder for files.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where the proxy listens.
    pub listen: u16,
    /// Where the program listens.
    pub program: u16,
    /// A folder of the run's own.
    pub folder: &'a Path,
}

/// The name of the proxy, its label, its program, the role, a hint how to get it, and a note.
type Row = (&'static str, &'static str, &'static str, Role, &'static str, &'static str);

const ROWS: [Row; 8] = [
    ("direct", "no proxy: C, epoll", "", Role::Direct, "", "The program behind all proxies, asked directly."),
    (
        "fork-exec",
        "fork, exec and wait: C",
        "target/proxies/fork_exec",
        Role::ForkExec,
        "bench/proxies/build",
        "A parent that does nothing but start the program: only for the time to the first reply.",
    ),
    (
        "relay",
        "bytes passed on: C",
        "target/proxies/relay",
        Role::Relays,
        "bench/proxies/build",
        "No HTTP, a connection to the program for each client: what the kernel takes for any proxy over TCP.",
    ),
    (
        "adapter",
        "fc-hooks -- program",
        "target/{arch}-unknown-linux-musl/release/fc-hooks",
        Role::Starts,
        "make build",
        "Without log markers.",
    ),
    (
        "nginx",
        "nginx proxy_pass",
        "nginx",
        Role::Connects,
        "bench/proxies/build",
        "One process, keep-alive to the program, no access log; streams are passed on unbuffered.",
    ),
    (
        "haproxy",
        "HAProxy",
        "haproxy",
        Role::Connects,
        "bench/proxies/build",
        "One thread, HTTP mode, keep-alive to the program, no log.",
    ),
    (
        "hyper",
        "hyper 1 reverse proxy",
        "target/proxies/hyper",
        Role::Connects,
        "bench/proxies/build",
        "tokio's current-thread runtime, keep-alive to the program.",
    ),
    (
        "of-watchdog",
        "OpenFaaS of-watchdog",
        "of-watchdog",
        Role::Starts,
        "its project releases it as a binary, which must be in PATH",
        "Mode http; GOMAXPROCS as it comes.",
    ),
];

/// The proxies that are there, and those that are missing.
pub fn find(root: &Path, baseline: &Path) -> (Vec<Proxy>, Vec<Skipped>) {
    let (mut proxies, mut skipped) = (Vec::new(), Vec::new());
    for (name, label, program, role, hint, note) in ROWS {
        let found = match role {
            Role::Direct => baseline.is_file().then(|| baseline.to_owned()),
            _ => find_program(root, &program.replace("{arch}", ARCH)),
        };
        let Some(file) = found else {
            skipped.push(Skipped { what: name.to_owned(), reason: format!("not found; {hint}") });
            continue;
        };
        let kind = match name {
            "direct" => Kind::Baseline,
            "adapter" => Kind::Ours,
            _ => Kind::Peer,
        };
        let binary_bytes = std::fs::metadata(&file).ok().map(|it| it.len());
        let described = Described {
            name: name.to_owned(),
            label: label.to_owned(),
            kind,
            command: vec![file.display().to_string()],
            env: Vec::new(),
            binary_bytes,
            note: note.to_owned(),
        };
        proxies.push(Proxy { described, role });
    }
    (proxies, skipped)
}

/// A path in the checkout, or a program in `PATH` or where Debian keeps servers.
fn find_program(root: &Path, program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(root.join(program)).filter(|file| file.is_file());
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&folders).chain(["/usr/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The words that start a proxy, and its variables.
pub type Started = (Vec<String>, Vec<(String, String)>);

impl Proxy {
    /// The words and the variables that start it before `program`; writes the files that it reads.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn command(&self, program: &[String], place: Place<'_>) -> Result<Started> {
        let mut words = self.described.command.clone();
        let mut env = Vec::new();
        match self.described.name.as_str() {
            "direct" => words = program.to_vec(),
            "fork-exec" => words.extend(program.iter().cloned()),
            "nginx" => {
                let file = write(place.folder, "nginx.conf", &nginx(place))?;
                words.extend(["-p".to_owned(), place.folder.display().to_string(), "-c".to_owned(), file]);
                words.extend(["-e".to_owned(), "/dev/null".to_owned()]);
            }
            "haproxy" => words.extend(["-f".to_owned(), write(place.folder, "haproxy.cfg", &haproxy(place))?]),
            "relay" => words.extend([place.listen.to_string(), place.program.to_string()]),
            "hyper" => words.push(format!("127.0.0.1:{}", place.program)),
            "of-watchdog" => {
                let process = format!("env FC_SERVER_PORT={} {}", place.program, program.join(" "));
                env = [
                    ("mode", "http".to_owned()),
                    ("port", place.listen.to_string()),
                    ("upstream_url", format!("http://127.0.0.1:{}", place.program)),
                    ("fprocess", process),
                ]
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec();
            }
            _ => {
                words.push("--".to_owned());
                words.extend(program.iter().cloned());
                env.push(("FC_HOOKS_LOG_MARKERS".to_owned(), "off".to_owned()));
            }
        }
        Ok((words, env))
    }
}

fn write(folder: &Path, name: &str, text: &str) -> Result<String> {
    let file = folder.join(name);
    std::fs::write(&file, text).map_err(|cause| Error::failed("write", file.display(), cause))?;
    Ok(file.display().to_string())
}

fn nginx(Place { listen, program, folder }: Place<'_>) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 8192; pid {folder}/nginx.pid;\n\
         error_log /dev/null crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n\
           access_log off; keepalive_timeout 600s; keepalive_requests 100000000; client_max_body_size 0;\n\
           client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
           fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
           upstream program {{ server 127.0.0.1:{program}; keepalive 64; keepalive_requests 100000000; }}\n\
           server {{\n\
             listen 127.0.0.1:{listen} backlog=4096;\n\
             location / {{\n\
               proxy_pass http://program; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
               proxy_buffering off; proxy_request_buffering off;\n\
             }}\n\
           }}\n\
         }}\n"
    )
}

fn haproxy(Place { listen, program, .. }: Place<'_>) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 8000\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 600s\n  timeout server 600s\n  \
         http-reuse always\n\
         frontend platform\n  bind 127.0.0.1:{listen} backlog 4096\n  default_backend program\n\
         backend program\n  server program 127.0.0.1:{program}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_and_every_configuration_has_both_ports() {
        let folder = tempfile::tempdir().unwrap();
        let (proxies, skipped) = find(folder.path(), Path::new("/no/baseline"));
        let missing: Vec<&str> = skipped.iter().map(|it| it.what.as_str()).collect();
        for name in ["direct", "fork-exec", "relay", "adapter", "hyper"] {
            assert!(missing.contains(&name), "{missing:?}");
        }
        assert_eq!(proxies.len() + skipped.len(), ROWS.len());
        let place = Place { listen: 11_111, program: 22_222, folder: folder.path() };
        for text in [nginx(place), haproxy(place)] {
            assert!(text.contains("127.0.0.1:11111") && text.contains("127.0.0.1:22222"), "{text}");
        }
    }
}
