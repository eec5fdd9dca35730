//! The files of a contender's image: one static file, or every file that the contender looks at until it has answered.
//!
//! Nobody can make a smaller image of the same program by leaving files out, so images are compared at their best, and
//! no list of files has to be kept for any of them. strace names the files, and the kernel those that it opened itself:
//! interpreters of scripts, dynamic linkers, what is mapped.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Call, Client, Contender, Folder, Instance, RunFolder, Start};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_testkit::proc::family;

/// From the start under strace to the second reply.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// What the kernel makes up belongs to no image.
const NOT_OURS: [&str; 4] = ["/proc", "/sys", "/dev", "/memfd:"];

/// The files.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The folder that becomes the root.
    root: PathBuf,
    /// The files, relative to the root, and the folders that must exist.
    files: Vec<PathBuf>,
    /// The program, as a path in the image.
    program: String,
}

/// A tar archive without a name, and its size.
pub struct Archive {
    /// The archive, to be read from its beginning.
    pub file: File,
    /// Its length.
    pub bytes: u64,
}

impl Tree {
    /// One file, in the root of the image under its own name.
    ///
    /// # Errors
    /// If it is no file.
    pub fn alone(file: &Path) -> Result<Self> {
        match (file.parent(), file.file_name(), file.is_file()) {
            (Some(root), Some(name), true) => {
                let program = format!("/{}", name.to_string_lossy());
                Ok(Self { root: root.to_owned(), files: vec![name.into()], program })
            }
            _ => Err(Error::failed("pack", file.display(), "it is not a file")),
        }
    }

    /// The file of a static contender, or else what a start under strace shows.
    ///
    /// # Errors
    /// If there is no strace, or the contender does not answer under it.
    pub fn of(contender: &Contender) -> Result<Self> {
        match &contender.static_file {
            Some(file) => Self::alone(file),
            None => Self::seen(contender),
        }
    }

    fn seen(contender: &Contender) -> Result<Self> {
        let failed = |cause: &dyn std::fmt::Display| Error::failed("find the files of", contender.name(), cause);
        let folder = Folder::new()?;
        let log = folder.file("log");
        let prefix = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-e", "signal=none", "-o"];
        let mut prefix: Vec<String> = prefix.map(str::to_owned).into();
        prefix.push(log.display().to_string());
        let instance = Instance::start(contender, &Start { prefix: &prefix, ..Start::default() });
        let instance = instance.map_err(|cause| failed(&format!("{cause} (Debian: strace)")))?;
        let (client, deadline) = (Client::default(), Deadline::after(ANSWER_WAIT));
        let mut conn = client.connect(contender, &instance, deadline).map_err(|cause| failed(&cause))?;
        conn.call(Call::Initialize, deadline).map_err(|cause| failed(&cause))?;
        // A server may close the connection after each reply.
        let second = conn.call(Call::Invoke, deadline);
        second.or_else(|_| client.connect(contender, &instance, deadline)?.call(Call::Invoke, deadline))?;
        let mapped = mapped(instance.pid());
        drop(instance);
        let text = fs::read(&log).map_err(|cause| failed(&cause))?;
        let named = named(&String::from_utf8_lossy(&text));
        let first = contender.described.command.first().map_or("", String::as_str);
        let program = find(first).ok_or_else(|| failed(&format!("`{first}` is not a file")))?;
        let files = closure(named.into_iter().chain(mapped).chain([program.clone()]));
        let files = files.iter().filter_map(|path| path.strip_prefix("/").ok().map(Path::to_owned));
        let files = files.filter(|path| !path.as_os_str().is_empty()).collect();
        Ok(Self { root: PathBuf::from("/"), files, program: program.display().to_string() })
    }

    /// The number of files.
    pub fn count(&self) -> usize {
        self.data().count()
    }

    /// The bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.data().map(|data| data.len()).sum()
    }

    fn data(&self) -> impl Iterator<Item = fs::Metadata> {
        self.files.iter().filter_map(|file| fs::metadata(self.root.join(file)).ok()).filter(fs::Metadata::is_file)
    }

    /// The program, as a path in the image.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// All files as a tar archive. Links are files in it, and all belong to root.
    ///
    /// # Errors
    /// If there is no tar, or it fails.
    pub fn archive(&self) -> Result<Archive> {
        let failed = |cause: &dyn std::fmt::Display| Error::failed("pack", &self.program, cause);
        let folder = RunFolder::shared()?;
        let file = tempfile::tempfile_in(folder.path()).map_err(|cause| failed(&cause))?;
        let out = file.try_clone().map_err(|cause| failed(&cause))?;
        let mut tar = Command::new("tar");
        tar.arg("-C").arg(&self.root).args(["--dereference", "--hard-dereference", "--no-recursion", "--null"]);
        tar.args(["--owner=0", "--group=0", "--numeric-owner", "-cf", "-", "-T", "-"]);
        tar.stdin(Stdio::piped()).stdout(out).stderr(Stdio::null());
        let mut tar = tar.spawn().map_err(|cause| failed(&format!("tar cannot be started: {cause}")))?;
        if let Some(mut list) = tar.stdin.take() {
            for name in &self.files {
                // If tar has ended, its status says so.
                let _ = list.write_all(name.as_os_str().as_bytes()).and_then(|()| list.write_all(b"\0"));
            }
        }
        let status = tar.wait().map_err(|cause| failed(&cause))?;
        match file.metadata() {
            Ok(data) if status.success() => Ok(Archive { file, bytes: data.len() }),
            _ => Err(failed(&format!("tar ended with {status}"))),
        }
    }
}

/// The files that processes below this one have mapped: the program itself, its linker, its libraries.
fn mapped(pid: u32) -> Vec<PathBuf> {
    let maps = family(pid).into_iter().skip(1).filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/maps")).ok());
    let paths = |maps: String| -> Vec<PathBuf> {
        maps.lines().filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..]))).collect()
    };
    maps.flat_map(paths).collect()
}

/// Every path in strace's lines, such as `12 openat(AT_FDCWD, "/etc/passwd", O_RDONLY) = 3`. Whether the call succeeded
/// does not matter, because only files that exist are taken.
fn named(log: &str) -> Vec<PathBuf> {
    let first = |line: &str| line.split_once('"')?.1.split_once('"').map(|(path, _)| PathBuf::from(path));
    log.lines().filter_map(first).collect()
}

/// A program as the kernel or the shell finds it.
fn find(word: &str) -> Option<PathBuf> {
    let found = if word.contains('/') {
        std::path::absolute(word).ok()
    } else {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&folders).map(|folder| folder.join(word)).find(|file| file.is_file())
    };
    found.and_then(|path| clean(&path)).filter(|path| path.is_file())
}

/// An absolute path without `.` and `..`. Links on its way stay, because programs ask for them by these names.
fn clean(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    match path.components().any(|part| part == Component::ParentDir) {
        true => fs::canonicalize(&path).ok(),
        false => Some(path.components().collect()),
    }
}

/// The files and folders among these paths, with the interpreters that files name.
fn closure(paths: impl Iterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let mut left: Vec<PathBuf> = paths.collect();
    while let Some(path) = left.pop() {
        let Some(path) = clean(&path) else { continue };
        let ours = !NOT_OURS.iter().any(|prefix| path.to_string_lossy().starts_with(prefix));
        if ours && (path.is_file() || path.is_dir()) && files.insert(path.clone()) {
            left.extend(interpreter(&path));
        }
    }
    files
}

/// The program of a script's first line, or the dynamic linker that a 64-bit ELF file names.
fn interpreter(path: &Path) -> Option<PathBuf> {
    const NAMES_INTERPRETER: [u8; 4] = 3_u32.to_ne_bytes();
    let mut head = [0; 4096];
    let read = std::io::Read::read(&mut File::open(path).ok()?, &mut head).ok()?;
    let head = &head[..read];
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next()?).into_owned();
        return line.split_whitespace().next().map(PathBuf::from);
    }
    let long = |at: usize| Some(u64::from_ne_bytes(head.get(at..at + 8)?.try_into().ok()?) as usize);
    let short = |at: usize| Some(usize::from(u16::from_ne_bytes(head.get(at..at + 2)?.try_into().ok()?)));
    if !head.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let (table, size, count) = (long(0x20)?, short(0x36)?, short(0x38)?);
    let entry = head.get(table..)?.chunks(size).take(count).position(|entry| entry.starts_with(&NAMES_INTERPRETER))?;
    let from = long(table + entry * size + 8)?;
    let text = head.get(from..)?.split(|byte| *byte == 0).next()?;
    Some(PathBuf::from(String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Kind;

    #[test]
    fn paths_are_taken_from_the_lines_of_calls() {
        let log = [
            "7 execve(\"/bin/sh\", [\"sh\"], 0x7f /* 3 vars */) = 0",
            "7 openat(AT_FDCWD, \"a.txt\", O_RDONLY <unfinished ...>",
            "8 <... openat resumed>) = 3",
            "7 newfstatat(3, \"\", {st_mode=S_IFREG|0755}, AT_EMPTY_PATH) = 0",
        ];
        assert_eq!(named(&log.join("\n")), ["/bin/sh", "a.txt", ""].map(PathBuf::from));
    }

    #[test]
    fn interpreters_belong_to_it_and_what_the_kernel_makes_up_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script");
        fs::write(&script, "#!/bin/sh -e\nexit\n").unwrap();
        let paths = [script.clone(), folder.path().join("none"), "/proc/self/maps".into(), "/dev/null".into()];
        let files = closure(paths.into_iter());
        assert!(files.contains(&script) && files.contains(Path::new("/bin/sh")), "{files:?}");
        assert!(!files.iter().any(|file| file.starts_with("/proc") || file.starts_with("/dev")), "{files:?}");
        let linker = interpreter(&fs::canonicalize("/bin/sh").unwrap());
        assert!(linker.is_none_or(|linker| files.contains(&linker)), "{files:?}");
    }

    #[test]
    fn a_file_alone_is_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("server");
        fs::write(&file, "12345").unwrap();
        let mut contender = Contender::of_command("it", Kind::Peer, vec![file.display().to_string()]);
        contender.static_file = Some(file);
        let tree = Tree::of(&contender).unwrap();
        assert_eq!((tree.count(), tree.bytes(), tree.program()), (1, 5, "/server"));
        let archive = tree.archive().unwrap();
        let packed = archive.bytes;
        assert!(packed >= 1024 && packed == archive.file.metadata().unwrap().len());
        contender.static_file = Some("/no/such/file".into());
        assert!(Tree::of(&contender).is_err());
    }
}
