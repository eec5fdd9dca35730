//! Copies of the contenders' programs, all written in the same way.
//!
//! The kernel caches a file in pieces that are as large as the writes that made it, and one page fault maps one piece.
//! A linker writes a file in many small pieces, and the same program then costs up to five page faults more than a copy
//! that was written at once, as the layers of an image are.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Contender;
use super::run_folder::new_folder_name;
use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::error::{Error, Result};

/// The copies. Dropping them removes the files.
pub struct StagedBinaries {
    folder: PathBuf,
    /// Of the folder, once there is a copy in it.
    guard: Option<Guard>,
}

struct Removal(PathBuf);

impl Undo for Removal {
    fn undo(&self) {
        // A later run removes a folder that stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl StagedBinaries {
    /// Copies will be in a folder of this run in `place`.
    pub fn below(place: &Path) -> Self {
        Self { folder: place.join(new_folder_name()), guard: None }
    }

    fn make(&mut self) -> Result<()> {
        if self.guard.is_none() {
            let ((), guard) = cleanup::make(|| {
                let folder = self.folder.clone();
                fs::create_dir_all(&folder).map_err(|cause| not_writable(&folder, &cause))?;
                Ok(((), Removal(folder)))
            })?;
            self.guard = Some(guard);
        }
        Ok(())
    }

    /// Makes a contender start from a copy, if its program is one file.
    ///
    /// # Errors
    /// If the folder cannot be created, or the file cannot be copied.
    pub fn take(&mut self, contender: &mut Contender) -> Result<()> {
        let (Some(file), Some(program)) = (&contender.static_file, contender.described.command.first_mut()) else {
            return Ok(());
        };
        self.make()?;
        let copy = self.folder.join(&contender.described.name);
        let bytes = fs::read(file).map_err(|cause| {
            Error::failed("read", file.display(), format!("{cause}: it is copied first; run as a user who may read it"))
        })?;
        write_at_once(&bytes, &copy).map_err(|cause| not_writable(&copy, &cause))?;
        *program = copy.display().to_string();
        Ok(())
    }
}

/// The error of a folder or a file for which there is no place.
fn not_writable(path: &Path, cause: &std::io::Error) -> Error {
    let fix = "each program is copied there before it is measured; name another folder by --copies";
    Error::failed("create", path.display(), format!("{cause}: {fix}"))
}

fn write_at_once(bytes: &[u8], to: &Path) -> std::io::Result<()> {
    let mut file = File::create(to)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    // The kernel caches pages that are not yet written to disk in another way.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Contenders;

    #[test]
    fn a_copy_stands_in_and_goes() {
        let root = std::env::temp_dir().join(format!("fc-bench-staged-{}", std::process::id()));
        let mut list = Contenders::default();
        list.give("it=/bin/true --now").unwrap();
        let mut contender = list.contenders.remove(0);
        let mut staged = StagedBinaries::below(&root);
        staged.take(&mut contender).unwrap();
        assert_eq!(contender.described.command, ["/bin/true", "--now"], "not known to be one file");
        assert!(!root.exists(), "where nothing is copied, nothing is written");
        contender.static_file = Some("/bin/true".into());
        staged.take(&mut contender).unwrap();
        let copy = PathBuf::from(&contender.described.command[0]);
        assert!(copy.starts_with(&root) && fs::read(&copy).unwrap() == fs::read("/bin/true").unwrap());
        // Another test may fork in the moment of the copy: until its exec, the file counts as open for writing.
        let status = std::iter::repeat_with(|| std::process::Command::new(&copy).status())
            .take(1_000)
            .find(|status| !status.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ExecutableFileBusy));
        assert!(status.expect("never free").expect("it starts").success());
        drop(staged);
        assert!(!copy.exists());
        fs::remove_dir_all(root).unwrap();
    }
}
