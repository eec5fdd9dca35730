//! The contenders: our servers as `make build` and `make tiny` build them, the peers as `make peers` builds them.
//!
//! Looks for files and starts nothing. A missing contender is named in the results.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::echoes::{Echoes, PeerEcho};
use crate::results::{Described, Kind, Skipped};
use fc_emulator::error::{Error, Result};

/// The table of peers, in the checkout.
const PEERS: &str = "bench/peers/peers.json";

/// The same as it was when this program was built: outside a checkout it gives the names.
const PEERS_BUILT_IN: &str = include_str!("../../peers/peers.json");

/// A server to be measured.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its description in reports.
    pub described: Described,
    /// Its program, if that is one static file which can run from a scratch image.
    pub static_file: Option<PathBuf>,
    /// Whether it prints log markers, which `FC_HOOKS_LOG_MARKERS=off` turns off.
    pub has_markers: bool,
    /// Whether its starts take so much processor time that a quick run leaves it out where many are needed.
    pub is_heavy: bool,
}

impl Contender {
    /// A server that is not in the list, started by this command.
    pub fn of_command(name: &str, kind: Kind, command: Vec<String>) -> Self {
        let described = describe(name, name, kind, command, "");
        Self { described, static_file: None, has_markers: false, is_heavy: false }
    }

    /// The program and its arguments, for this port: `{port}` in a word stands for it.
    pub fn words(&self, port: u16) -> Vec<String> {
        self.described.command.iter().map(|word| word.replace("{port}", &port.to_string())).collect()
    }

    /// Its short name.
    pub fn name(&self) -> &str {
        &self.described.name
    }
}

/// The contenders of a run, and those that are missing.
#[derive(Clone, Debug, Default)]
pub struct Contenders {
    /// In the order of reports.
    pub contenders: Vec<Contender>,
    /// The contenders that are missing.
    pub skipped: Vec<Skipped>,
    /// Those that answer with the request's body.
    pub echoes: Echoes,
}

/// A row of the table of peers.
#[derive(Debug, Deserialize)]
struct Peer {
    name: String,
    label: String,
    #[serde(default)]
    baseline: bool,
    /// A path relative to the checkout, or the name of a program that is looked for in `PATH`; arguments, in which
    /// `{port}` stands for the port.
    command: Vec<String>,
    /// Variables that it needs.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// The command that builds it, for users who have not built it.
    build: String,
    #[serde(default, rename = "static")]
    is_static: bool,
    #[serde(default, rename = "heavy")]
    is_heavy: bool,
    /// Why it takes part.
    #[serde(default)]
    why: String,
    #[serde(default)]
    note: String,
    /// How it answers with the request's body.
    #[serde(default)]
    echo: Vec<PeerEcho>,
    /// Why it does not.
    no_echo: Option<String>,
}

/// Our servers: name, label, file, the command that builds it, note.
const OURS: [(&str, &str, &str, &str, &str); 4] = [
    (
        "hello",
        "fc-hooks, ten lines",
        "target/{arch}-unknown-linux-musl/release/examples/hello",
        "make build EXAMPLE=hello",
        "",
    ),
    (
        "inspector",
        "fc-hooks, inspector",
        "target/{arch}-unknown-linux-musl/release/fc-hooks",
        "make build",
        "answers OK to hooks",
    ),
    (
        "tiny",
        "fc-hooks, make tiny",
        "target/tiny/{arch}-unknown-linux-musl/release/fc-hooks",
        "make tiny",
        "answers OK to hooks; a panic ends the process",
    ),
    (
        "engine",
        "fc-hooks on tiny_http",
        "target/{arch}-unknown-linux-musl/release/examples/on_tiny_http",
        "make build EXAMPLE=on_tiny_http",
        "the ten lines on the other engine",
    ),
];

impl Contenders {
    /// All contenders whose programs exist in the checkout `root`. Any other folder has none of them, and a server that
    /// is given can be measured there all the same.
    ///
    /// # Errors
    /// If the table of peers is there and cannot be read.
    pub fn find(root: &Path) -> Result<Self> {
        let mut list = Self::default();
        let table = root.join(PEERS);
        let text = match std::fs::read_to_string(&table) {
            Ok(text) => text,
            Err(cause) if cause.kind() == ErrorKind::NotFound => PEERS_BUILT_IN.to_owned(),
            Err(cause) => {
                let fix = "run as a user who may read it, or name another checkout by --root";
                return Err(Error::failed("read", table.display(), format!("{cause}: {fix}")));
            }
        };
        let peers: Vec<Peer> =
            serde_json::from_str(&text).map_err(|cause| Error::failed("parse", table.display(), cause))?;
        let (baseline, others): (Vec<Peer>, Vec<Peer>) = peers.into_iter().partition(|peer| peer.baseline);
        baseline.into_iter().for_each(|peer| list.add_peer(root, peer));
        for (name, label, file, build, note) in OURS {
            let file = root.join(file.replace("{arch}", ARCH));
            let described = describe(name, label, Kind::Ours, vec![file.display().to_string()], note);
            list.add(described, (file.clone(), Some(file)), (true, false), build);
        }
        list.echoes.add_ours(root);
        others.into_iter().for_each(|peer| list.add_peer(root, peer));
        Ok(list)
    }

    fn add_peer(&mut self, root: &Path, peer: Peer) {
        let kind = if peer.baseline { Kind::Baseline } else { Kind::Peer };
        let mut command = peer.command;
        let program = in_checkout_or_path(root, command.first().map_or("", String::as_str));
        if let (Some(word), Some(found)) = (command.first_mut(), &program) {
            *word = found.display().to_string();
        }
        let note = format!("{} {}", peer.why, peer.note);
        let mut described = describe(&peer.name, &peer.label, kind, command, note.trim());
        described.env = peer.env.into_iter().collect();
        let file = program.unwrap_or_default();
        let static_file = peer.is_static.then(|| file.clone());
        if file.is_file() {
            let (described, static_file) = (described.clone(), static_file.clone());
            let it = Contender { described, static_file, has_markers: false, is_heavy: peer.is_heavy };
            self.echoes.add_peer(root, &it, &peer.echo, peer.no_echo.as_deref(), &peer.build);
        }
        self.add(described, (file, static_file), (false, peer.is_heavy), &peer.build);
    }

    fn add(
        &mut self,
        mut described: Described,
        (file, static_file): (PathBuf, Option<PathBuf>),
        (has_markers, is_heavy): (bool, bool),
        build: &str,
    ) {
        match std::fs::metadata(&file) {
            Ok(metadata) => {
                described.binary_bytes = static_file.is_some().then_some(metadata.len());
                self.contenders.push(Contender { described, static_file, has_markers, is_heavy });
            }
            Err(cause) => {
                let reason = why_missing(&file, &cause, build);
                self.skipped.push(Skipped { what: described.name, reason });
            }
        }
    }

    /// A server of the user's own, as `NAME=COMMAND ARGS`, in which `{port}` stands for its port.
    ///
    /// # Errors
    /// If the text does not have this form, or if the name has spaces or is taken.
    pub fn give(&mut self, text: &str) -> Result<()> {
        let wrong = |why: &str| Error::new(format!("`{text}` is not a contender: {why}"));
        let (name, command) = text.split_once('=').ok_or_else(|| wrong("expected NAME=COMMAND"))?;
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(wrong("the name is empty or has spaces"));
        }
        if self.contenders.iter().any(|contender| contender.name() == name) {
            return Err(wrong("the name is taken"));
        }
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let Some(program) = words.first() else { return Err(wrong("there is no command")) };
        let bytes = std::fs::metadata(program).ok().map(|metadata| metadata.len());
        let mut contender = Contender::of_command(name, Kind::Custom, words);
        contender.described.binary_bytes = bytes;
        self.echoes.give(&contender);
        self.contenders.push(contender);
        Ok(())
    }

    /// Names all that are missing in one line if `root` is no checkout, because there none can be built.
    pub fn sum_up(&mut self, root: &Path) {
        if !self.skipped.is_empty() && !root.join(PEERS).exists() {
            let reason = format!("`{}` is no checkout of fc-hooks; --root names one", root.display());
            self.skipped = vec![Skipped { what: "the project's own servers and the peers".to_owned(), reason }];
            self.echoes.skipped.clear();
        }
    }

    /// Keeps only these contenders, and the baseline, which ratios need.
    ///
    /// # Errors
    /// If a name is unknown. A name that is known but missing is no error.
    pub fn keep(&mut self, names: &[String]) -> Result<()> {
        for name in names {
            let known = self.contenders.iter().any(|contender| contender.name() == name)
                || self.skipped.iter().any(|skipped| skipped.what == *name)
                || self.echoes.has(name);
            if !known {
                let all: Vec<&str> = self.contenders.iter().map(Contender::name).collect();
                return Err(Error::new(format!("unknown contender `{name}`; known are {}", all.join(", "))));
            }
        }
        self.contenders.retain(|it| it.described.kind == Kind::Baseline || names.iter().any(|name| name == it.name()));
        self.skipped.retain(|skipped| names.contains(&skipped.what));
        self.echoes.keep(names);
        Ok(())
    }
}

fn describe(name: &str, label: &str, kind: Kind, command: Vec<String>, note: &str) -> Described {
    Described {
        name: name.to_owned(),
        label: label.to_owned(),
        kind,
        command,
        env: Vec::new(),
        binary_bytes: None,
        note: note.to_owned(),
    }
}

/// The reason why a program is left out: it was not built, or it may not be looked at.
pub(super) fn why_missing(file: &Path, cause: &std::io::Error, build: &str) -> String {
    match cause.kind() {
        ErrorKind::PermissionDenied => format!("{}: {cause}: run as a user who may execute it", file.display()),
        _ => format!("not found; `{build}` builds it"),
    }
}

/// A path in the checkout, or a program that the shell would find in `PATH`.
fn in_checkout_or_path(root: &Path, program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(root.join(program));
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> Contenders {
        let mut list = Contenders::default();
        let own = std::env::current_exe().unwrap();
        let baseline = Peer {
            name: "baseline".into(),
            label: "C".into(),
            baseline: true,
            command: vec![own.display().to_string()],
            env: BTreeMap::new(),
            build: "cc".into(),
            is_static: true,
            is_heavy: false,
            why: String::new(),
            note: String::new(),
            echo: Vec::new(),
            no_echo: None,
        };
        let missing = Peer {
            name: "gone".into(),
            label: "gone".into(),
            baseline: false,
            command: vec!["no-such-program".into()],
            env: BTreeMap::new(),
            build: "make gone".into(),
            is_static: false,
            is_heavy: false,
            why: String::new(),
            note: String::new(),
            echo: Vec::new(),
            no_echo: None,
        };
        list.add_peer(Path::new("/"), baseline);
        list.add_peer(Path::new("/"), missing);
        list
    }

    #[test]
    fn missing_ones_are_named() {
        let list = list();
        assert_eq!(list.contenders.len(), 1);
        assert!(list.contenders[0].described.binary_bytes.is_some_and(|bytes| bytes > 0));
        let reason = "not found; `make gone` builds it".to_owned();
        assert_eq!(list.skipped, [Skipped { what: "gone".into(), reason }]);
    }

    #[test]
    fn outside_a_checkout_names_are_known_and_summed_up() {
        let nowhere = Path::new("/no/such/checkout");
        let mut list = Contenders::find(nowhere).unwrap();
        assert!(list.contenders.iter().all(|it| it.described.binary_bytes.is_none()), "a program in PATH may be there");
        assert!(
            list.skipped.iter().any(|it| it.what == "baseline") && list.skipped.iter().any(|it| it.what == "hello")
        );
        list.sum_up(nowhere);
        let [skipped] = &list.skipped[..] else { panic!("{:?}", list.skipped) };
        assert!(skipped.reason.contains("--root"), "{skipped:?}");
    }

    #[test]
    fn contenders_are_given_and_chosen() {
        let mut list = list();
        for wrong in ["x", "=y", "a b=c", "baseline=x", "x="] {
            assert!(list.give(wrong).is_err(), "{wrong}");
        }
        list.give("mine=./server --port 1").unwrap();
        assert_eq!(list.contenders[1].described.command, ["./server", "--port", "1"]);
        list.give("third=./server --listen=:{port}").unwrap();
        assert_eq!(list.contenders[2].words(81), ["./server", "--listen=:81"]);
        list.give("other=./server").unwrap();
        assert!(list.keep(&["nobody".into()]).is_err());
        list.keep(&["other".into(), "gone".into()]).unwrap();
        let names: Vec<&str> = list.contenders.iter().map(Contender::name).collect();
        assert_eq!((names, list.skipped.len()), (vec!["baseline", "other"], 1));
    }
}
