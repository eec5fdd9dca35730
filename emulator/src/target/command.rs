//! The program of a command, and its environment: what the platform gives, and nothing of the caller's.
//!
//! A variable of the caller's shell must not decide a verdict, as `PYTHONUNBUFFERED=1` would. The caller's `PATH` finds
//! the program, because the caller named it. The target's own `PATH` begins with the folder of the program, so that a
//! server in a virtual environment, or one of a version manager, finds its interpreter and the tools beside it.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What follows the folder of the program: the `PATH` of a container whose image sets none.
const PATH_USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program that is ready to be started.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Its file.
    pub(super) path: PathBuf,
    /// Its arguments, its name first.
    pub(super) words: Vec<String>,
    /// Its whole environment.
    pub(super) env: Vec<(String, String)>,
    /// The command in messages.
    pub(super) shown: String,
}

impl Program {
    /// Finds the program of a command and composes its environment. With `pid_one` it will be process 1 of a namespace.
    pub(super) fn new(words: &[String], env: &[(String, String)], pid_one: bool) -> Result<Self> {
        const AS_PID_ONE: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child=SIGKILL", "--"];
        let shown = words.join(" ");
        let (first, rest) = words.split_first().ok_or_else(|| Error::new("the command is empty"))?;
        let program = find(first)?;
        let env = environment(&program, env);
        if !pid_one {
            return Ok(Self { path: program, words: words.to_vec(), env, shown });
        }
        // unshare would look for the program in the target's own PATH.
        let prefix = AS_PID_ONE.map(str::to_owned).into_iter();
        let words = prefix.chain([program.display().to_string()]).chain(rest.iter().cloned()).collect();
        Ok(Self { path: find(AS_PID_ONE[0])?, words, env, shown })
    }
}

/// The environment of a target: `PATH`, `HOME`, and the given variables, the last of each name.
fn environment(program: &Path, given: &[(String, String)]) -> Vec<(String, String)> {
    let folder = program.parent().unwrap_or(Path::new("/")).display().to_string();
    let others = PATH_USUAL.split(':').filter(|usual| *usual != folder);
    let path = [folder.as_str()].into_iter().chain(others).collect::<Vec<_>>().join(":");
    let mut env = vec![("PATH".to_owned(), path)];
    env.extend(home().map(|home| ("HOME".to_owned(), home)));
    for (name, value) in given {
        env.retain(|(known, _)| known != name);
        env.push((name.clone(), value.clone()));
    }
    env
}

/// The home folder of this user in the database of users, as a container engine takes it.
fn home() -> Option<String> {
    let uid = rustix::process::getuid().as_raw();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    home_in(&users, uid).or_else(|| std::env::var("HOME").ok())
}

/// Each line has the name, a password, the user, the group, a comment, the home folder and the shell (passwd(5)).
fn home_in(users: &str, uid: u32) -> Option<String> {
    let home = |line: &str| {
        let mut fields = line.split(':').skip(2);
        (fields.next()?.parse() == Ok(uid)).then(|| fields.nth(2).map(str::to_owned))?
    };
    users.lines().find_map(home)
}

/// The file of a program, found as a shell finds it.
fn find(name: &str) -> Result<PathBuf> {
    find_in(name, std::env::var_os("PATH"))
        .and_then(|path| std::path::absolute(path).map_err(|cause| Error::failed("start", name, cause)))
}

fn find_in(name: &str, path: Option<OsString>) -> Result<PathBuf> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let path = path.unwrap_or_else(|| PATH_USUAL.into());
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| is_program(path));
    found.ok_or_else(|| Error::failed("start", name, "no folder of PATH has a program of this name"))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_program_is_found_in_the_path_of_the_caller() {
        assert!(find("sh").unwrap().is_absolute());
        assert_eq!(find_in("./x/y", None), Ok("./x/y".into()));
        let missing = find_in("no-such-program", Some("/bin:/usr/bin".into())).unwrap_err().to_string();
        assert!(missing.contains("`no-such-program`") && missing.contains("PATH"), "{missing}");
        // A folder and a file that cannot be executed are no programs.
        assert!(find_in("passwd", Some("/etc".into())).is_err() && find_in("etc", Some("/".into())).is_err());
    }

    #[test]
    fn the_environment_is_that_of_the_platform() {
        let env = environment(Path::new("/opt/venv/bin/python"), &pairs(&[("FC_A", "1"), ("FC_A", "2")]));
        assert_eq!(env[0].1, format!("/opt/venv/bin:{PATH_USUAL}"));
        let names: Vec<_> = env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["PATH", "HOME", "FC_A"]);
        assert_eq!(env[2].1, "2");
        let env = environment(Path::new("/usr/bin/x"), &[]);
        assert_eq!(env[0].1, "/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin");
        let env = environment(Path::new("/bin/x"), &pairs(&[("PATH", "/mine"), ("HOME", "/here")]));
        assert_eq!(env, pairs(&[("PATH", "/mine"), ("HOME", "/here")]));
    }

    #[test]
    fn home_is_that_of_the_user_database() {
        let users = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000:Ann,,,:/home/ann:/bin/sh\nbad\n";
        assert_eq!(home_in(users, 0).as_deref(), Some("/root"));
        assert_eq!(home_in(users, 1000).as_deref(), Some("/home/ann"));
        assert_eq!(home_in(users, 7), None);
    }
}
