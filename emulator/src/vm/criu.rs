//! CRIU as a guest gets it: the program of this machine with every library that it loads.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::tools::in_path;
use crate::error::{Error, Result};

/// Whether CRIU can be carried into a guest.
///
/// # Errors
/// If there is no `criu` here, or one of its libraries is missing; the text names it and its package.
pub fn available() -> Result<()> {
    files().map(drop)
}

/// The files of CRIU by their paths in the guest. The dynamic linker has a fixed path, and all else is in one folder.
///
/// # Errors
/// If there is no `criu` here, or one of its libraries is missing.
pub(super) fn files() -> Result<Vec<(String, PathBuf)>> {
    let missing = |what: &dyn std::fmt::Display| Error::failed("find", "criu", format!("{what} (Debian: criu)"));
    let program = in_path("criu").ok_or_else(|| missing(&"it is not installed"))?;
    let ran = Command::new("ldd").arg(&program).stdin(Stdio::null()).output();
    let ran = ran.map_err(|cause| missing(&format!("ldd cannot be run: {cause}")))?;
    let mut files = vec![("criu/criu".to_owned(), program)];
    files.extend(libraries(&String::from_utf8_lossy(&ran.stdout)).map_err(|name| missing(&format!("without {name}")))?);
    Ok(files)
}

/// What `ldd` printed: `NAME => PATH (ADDRESS)`, or `PATH (ADDRESS)` for the dynamic linker. The error names a library
/// that was not found.
fn libraries(printed: &str) -> std::result::Result<Vec<(String, PathBuf)>, String> {
    let mut files = Vec::new();
    for line in printed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [name, "=>", "not", "found"] => return Err(name.to_owned()),
            [name, "=>", path, ..] => files.push((format!("criu/{name}"), PathBuf::from(path))),
            [path, ..] if path.starts_with('/') => files.push((path[1..].to_owned(), PathBuf::from(path))),
            _ => {}
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_and_missed() {
        let printed = "\tlinux-vdso.so.1 (0x7f1a)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f1b)\n\
                       \t/lib64/ld-linux-x86-64.so.2 (0x7f1c)\n";
        let files = libraries(printed).unwrap();
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["criu/libc.so.6", "lib64/ld-linux-x86-64.so.2"]);
        assert_eq!(files[0].1, PathBuf::from("/lib/x86_64-linux-gnu/libc.so.6"));
        assert_eq!(libraries("libnet.so.1 => not found\n"), Err("libnet.so.1".to_owned()));
    }
}
