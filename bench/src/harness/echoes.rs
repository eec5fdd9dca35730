//! Contenders that answer with the request's body: programs or settings of their own beside those that answer a short
//! text.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Contender;
use super::contenders::why_missing;
use crate::results::{Described, Kind, Skipped};

/// A contender that echoes.
#[derive(Clone, Debug)]
pub struct Echo {
    /// The contender that it belongs to, by name.
    pub of: String,
    /// Whether it answers while it still reads.
    pub streams: bool,
    /// How it is started.
    pub contender: Contender,
}

/// The echoes of a run, and those that are missing.
#[derive(Clone, Debug, Default)]
pub struct Echoes {
    /// In the order of reports.
    pub echoes: Vec<Echo>,
    /// Contenders that cannot echo, and echoes that are not built.
    pub skipped: Vec<Skipped>,
}

/// An echo in the table of peers.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerEcho {
    name: String,
    label: String,
    /// A path relative to the checkout, if it is not the program of the peer.
    program: Option<PathBuf>,
    /// Variables that make it echo.
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    streams: bool,
}

/// Our echoes: the contender that each belongs to, name, label, example, note.
const OURS: [(&str, &str, &str, &str, &str); 2] = [
    ("hello", "echo", "fc-hooks, Reply::echo", "echo", "the event's own bytes are the reply"),
    ("hello", "copy", "fc-hooks, a copy", "hello", "the reply is built of a copy of the event"),
];

impl Echoes {
    /// Adds ours, of the checkout `root`.
    pub fn add_ours(&mut self, root: &Path) {
        for (of, name, label, example, note) in OURS {
            let file = root.join(format!("target/{ARCH}-unknown-linux-musl/release/examples/{example}"));
            let described = Described {
                name: name.to_owned(),
                label: label.to_owned(),
                kind: Kind::Ours,
                command: vec![file.display().to_string()],
                env: Vec::new(),
                binary_bytes: None,
                note: note.to_owned(),
            };
            let contender = Contender { described, static_file: Some(file), has_markers: true, is_heavy: false };
            self.add(of, contender, false, &format!("make build EXAMPLE={example}"));
        }
    }

    /// Adds those of a peer, of which `peer` describes the program that answers a short text, or the reason why there
    /// are none.
    pub fn add_peer(&mut self, root: &Path, peer: &Contender, echoes: &[PeerEcho], none: Option<&str>, build: &str) {
        if let (Some(reason), true) = (none, echoes.is_empty()) {
            let what = format!("payloads: {}", peer.name());
            self.skipped.push(Skipped { what, reason: format!("it does not echo: {reason}") });
        }
        for echo in echoes {
            let mut contender = peer.clone();
            let own = echo.program.as_ref().map(|program| root.join(program));
            let Described { name, label, command, env, .. } = &mut contender.described;
            (*name, *label) = (echo.name.clone(), echo.label.clone());
            env.extend(echo.env.clone());
            if let (Some(word), Some(file)) = (command.first_mut(), &own) {
                *word = file.display().to_string();
            }
            if own.is_some() && contender.static_file.is_some() {
                contender.static_file = own;
            }
            self.add(peer.name(), contender, echo.streams, build);
        }
    }

    /// Adds a server of the user's own, which must echo.
    pub fn give(&mut self, contender: &Contender) {
        self.echoes.push(Echo { of: contender.name().to_owned(), streams: false, contender: contender.clone() });
    }

    fn add(&mut self, of: &str, mut contender: Contender, streams: bool, build: &str) {
        let program = contender.described.command.first().cloned().unwrap_or_default();
        match std::fs::metadata(&program) {
            Ok(metadata) => {
                contender.described.binary_bytes = contender.static_file.is_some().then_some(metadata.len());
                self.echoes.push(Echo { of: of.to_owned(), streams, contender });
            }
            Err(cause) => {
                let what = format!("payloads: {}", contender.name());
                let reason = why_missing(Path::new(&program), &cause, build);
                self.skipped.push(Skipped { what, reason });
            }
        }
    }

    /// Whether there is an echo of this name.
    pub fn has(&self, name: &str) -> bool {
        self.echoes.iter().any(|echo| echo.contender.name() == name)
    }

    /// Keeps only these, those of these contenders, and the baseline.
    pub fn keep(&mut self, names: &[String]) {
        let is_named = |name: &str| names.iter().any(|other| other == name);
        self.echoes.retain(|echo| {
            let described = &echo.contender.described;
            described.kind == Kind::Baseline || is_named(&echo.of) || is_named(&described.name)
        });
        self.skipped.retain(|skipped| skipped.what.strip_prefix("payloads: ").is_some_and(is_named));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> Contender {
        let own = std::env::current_exe().unwrap().display().to_string();
        Contender::of_command(name, Kind::Peer, vec![own, "--port={port}".to_owned()])
    }

    fn names(echoes: &Echoes) -> Vec<&str> {
        echoes.echoes.iter().map(|echo| echo.contender.name()).collect()
    }

    #[test]
    fn an_echo_is_the_peer_with_another_program_or_another_environment() {
        let mut echoes = Echoes::default();
        let table = r#"[{ "name": "whole", "label": "Whole", "env": { "ECHO": "whole" } },
            { "name": "gone", "label": "Gone", "program": "no/such/program", "streams": true }]"#;
        let table: Vec<PeerEcho> = serde_json::from_str(table).unwrap();
        echoes.add_peer(Path::new("/"), &peer("it"), &table, None, "make it");
        let [echo] = &echoes.echoes[..] else { panic!("{echoes:?}") };
        assert_eq!((echo.of.as_str(), echo.contender.name(), echo.streams), ("it", "whole", false));
        assert_eq!(echo.contender.described.env, [("ECHO".to_owned(), "whole".to_owned())]);
        assert_eq!(echo.contender.words(81)[1], "--port=81");
        let reason = "not found; `make it` builds it".to_owned();
        assert_eq!(echoes.skipped, [Skipped { what: "payloads: gone".to_owned(), reason }]);
    }

    #[test]
    fn whoever_cannot_echo_is_named_and_the_chosen_ones_stay() {
        let mut echoes = Echoes::default();
        echoes.add_peer(Path::new("/"), &peer("mute"), &[], Some("it sends a fixed text"), "make it");
        assert!(echoes.skipped[0].reason.contains("it sends a fixed text"), "{:?}", echoes.skipped);
        ["mine", "other"].iter().for_each(|name| echoes.give(&peer(name)));
        assert!(echoes.has("mine") && !echoes.has("mute"));
        echoes.keep(&["other".to_owned(), "mute".to_owned()]);
        assert_eq!((names(&echoes), echoes.skipped.len()), (vec!["other"], 1));
        echoes.keep(&[]);
        assert!(echoes.echoes.is_empty() && echoes.skipped.is_empty());
    }
}
