//! The target as a guest gets it: a static program alone in an empty file system, or the file system of an image.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cpio::Archive;
use super::tools::{Tools, in_path};
use super::{criu, elf, image};
use crate::error::{Error, Result};

/// A program, its surroundings, and the files that it sees.
#[derive(Clone, Debug)]
pub struct Program {
    pub(super) words: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) folder: String,
    pub(super) user: Option<String>,
    pub(super) files: Files,
}

/// Where the target's files come from.
#[derive(Clone, Debug)]
pub(super) enum Files {
    /// One program, which becomes a file of the guest's root folder.
    Alone { file: PathBuf, name: String },
    /// A tar archive, which the guest reads from a disk.
    Image { archive: Arc<File>, bytes: u64 },
}

impl Program {
    /// A command, as a user gives it: a program with its arguments, looked up as a shell does. The guest gets the
    /// program and no other file, so it must be static.
    ///
    /// # Errors
    /// If there is no such program, or the program is not static.
    pub fn command(words: &[String], env: &[(String, String)]) -> Result<Self> {
        let first = words.first().ok_or_else(|| Error::new("there is no command to run in a virtual machine"))?;
        let given = PathBuf::from(first);
        let file = if first.contains('/') { Some(given) } else { in_path(first) };
        let file = file.ok_or_else(|| Error::failed("find", first, "there is no such program"))?;
        let advice = "a virtual machine runs a static program or an image (--image)";
        match elf::is_static(&file) {
            Ok(true) => {}
            Ok(false) => return Err(Error::failed("run", first, format!("it needs a dynamic linker; {advice}"))),
            Err(cause) => return Err(Error::failed("run", first, format!("{cause}; {advice}"))),
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let words = std::iter::once(format!("/{name}")).chain(words.iter().skip(1).cloned()).collect();
        let files = Files::Alone { file, name };
        Ok(Self { words, env: env.to_vec(), folder: "/".to_owned(), user: None, files })
    }

    /// An image that Docker has, with the entry point, arguments, variables, folder and user of its configuration.
    /// `args` replaces its arguments, and `env` wins over its variables, as for `docker run`.
    ///
    /// # Errors
    /// If Docker cannot be reached, has no such image, or cannot export it.
    pub fn image(name: &str, args: &[String], env: &[(String, String)]) -> Result<Self> {
        image::export(name, args, env)
    }

    /// A command whose files are a tar archive. The first word is the path of the program in it.
    ///
    /// # Errors
    /// If there is no command, or the archive cannot be made a disk.
    pub fn archive(archive: File, words: &[String], env: &[(String, String)]) -> Result<Self> {
        if words.is_empty() {
            return Err(Error::new("there is no command to run in a virtual machine"));
        }
        let bytes = image::pad(&archive).map_err(|cause| Error::failed("make a disk of", &words[0], cause))?;
        let files = Files::Image { archive: Arc::new(archive), bytes };
        Ok(Self { words: words.to_vec(), env: env.to_vec(), folder: "/".to_owned(), user: None, files })
    }

    /// The same with more variables. The last value of a name counts.
    pub fn with_env(&self, env: &[(String, String)]) -> Self {
        let env = self.env.iter().chain(env).cloned().collect();
        Self { env, ..self.clone() }
    }

    /// What the guest needs beside its usual memory.
    pub(super) fn memory_mib(&self) -> u64 {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        match &self.files {
            Files::Alone { file, .. } => file.metadata().map_or(0, |data| 2 * mib(data.len())),
            Files::Image { bytes, .. } => mib(*bytes) * 5 / 4,
        }
    }

    /// The archive with which the guest starts: busybox, the drivers, the target, and the scripts that start it.
    ///
    /// # Errors
    /// If one of the files cannot be read.
    pub(super) fn initramfs(&self, tools: &Tools, with_criu: bool) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for folder in ["bin", "dev", "modules", "proc", "sys", "target", "tmp"] {
            archive.folder(folder);
        }
        archive.device("dev/console", 5, 1);
        archive.program("bin/busybox", &read(&tools.busybox)?);
        archive.program("init", include_bytes!("init.sh"));
        let mut order = String::new();
        for module in tools.kernel.drivers(&tools.busybox, with_criu)? {
            archive.file(&format!("modules/{}", module.name), &module.content);
            order.push_str(&module.name);
            order.push('\n');
        }
        archive.file("modules/order", order.as_bytes());
        match &self.files {
            Files::Alone { file, name } => archive.program(&format!("target/{name}"), &read(file)?),
            Files::Image { .. } => archive.file("image", b""),
        }
        if with_criu {
            archive.folder("criu");
            archive.folder("lib64");
            for (path, file) in criu::files()? {
                archive.program(&path, &read(&file)?);
            }
        }
        archive.file("enter", self.enter().as_bytes());
        archive.file("start", self.start().as_bytes());
        Ok(archive.finish())
    }

    /// Runs as process 1 of the target's namespace and becomes the target: its `/proc`, its variables, its root folder,
    /// its user. A busybox inside the new root goes on with [`Program::start`], because an image may have no shell.
    fn enter(&self) -> String {
        let mut script = "mount -t proc proc /target/proc\nexec env -i".to_owned();
        for (name, value) in &self.env {
            script.push(' ');
            script.push_str(&quoted(&format!("{name}={value}")));
        }
        script.push_str(" chroot /target /dev/busybox");
        if let Some(user) = &self.user {
            // With the name of a file that does not exist, it does not look for a program that runs already.
            script.push_str(&format!(" start-stop-daemon -S -p /dev/none -c {} -x /dev/busybox --", quoted(user)));
        }
        script.push_str(" sh /dev/start\n");
        script
    }

    /// The last step. The busybox and this script are gone before the target starts, unless it has no right to remove
    /// them.
    fn start(&self) -> String {
        let words: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        let folder = quoted(&self.folder);
        format!(
            "/dev/busybox rm -f /dev/busybox /dev/start 2> /dev/null\n\
             cd {folder} || exit 126\n\
             unset OLDPWD PWD SHLVL\n\
             exec {}\n",
            words.join(" ")
        )
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|cause| Error::failed("read", file.display(), cause))
}

/// One word of a shell, whatever it holds.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        let files = Files::Alone { file: PathBuf::from("/x"), name: "x".to_owned() };
        let words = vec!["/x".to_owned(), "it's $HOME".to_owned()];
        let env = vec![("A".to_owned(), "1 2".to_owned())];
        let mut program = Program { words, env, folder: "/a b".to_owned(), user: None, files };
        assert!(
            program.start().ends_with("cd '/a b' || exit 126\nunset OLDPWD PWD SHLVL\nexec '/x' 'it'\\''s $HOME'\n")
        );
        assert!(program.enter().ends_with("exec env -i 'A=1 2' chroot /target /dev/busybox sh /dev/start\n"));
        program.user = Some("10:10".to_owned());
        assert!(program.enter().contains(" -c '10:10' -x /dev/busybox -- sh /dev/start\n"));
    }

    #[test]
    fn a_script_and_a_missing_program_are_refused() {
        for word in ["/proc/self/status", "no-such-program-at-all"] {
            let refused = Program::command(&[word.to_owned()], &[]).unwrap_err().to_string();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
