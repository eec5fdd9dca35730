//! Copies of the contenders' programs, all written in the same way.
//!
//! The kernel keeps a file in memory in pieces, as large as the writes that made it, and a page fault brings in what
//! one piece holds. The same program costs up to five faults more as a linker leaves it, bit by bit, than written at
//! once, as an image's layers are.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Contender;
use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::error::{Error, Result};

/// The copies. They go when this is dropped.
pub struct StagedBinaries {
    folder: PathBuf,
    _guard: Guard,
}

struct Removal(PathBuf);

impl Undo for Removal {
    fn undo(&self) {
        // What cannot be removed is below `target`, where everything may be.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl StagedBinaries {
    /// Makes room for copies below `root`, the checkout.
    ///
    /// # Errors
    /// When there can be no folder.
    pub fn below(root: &Path) -> Result<Self> {
        let folder = root.join(format!("target/fc-bench-{}", std::process::id()));
        let (folder, guard) = cleanup::make(|| {
            fs::create_dir_all(&folder).map_err(|cause| Error::failed("make", folder.display(), cause))?;
            Ok((folder.clone(), Removal(folder)))
        })?;
        Ok(Self { folder, _guard: guard })
    }

    /// Has a contender start from a copy, if its program is one file.
    ///
    /// # Errors
    /// When it cannot be copied.
    pub fn take(&self, contender: &mut Contender) -> Result<()> {
        let (Some(file), Some(program)) = (&contender.static_file, contender.described.command.first_mut()) else {
            return Ok(());
        };
        let copy = self.folder.join(&contender.described.name);
        copy_at_once(file, &copy).map_err(|cause| Error::failed("copy", file.display(), cause))?;
        *program = copy.display().to_string();
        Ok(())
    }
}

fn copy_at_once(from: &Path, to: &Path) -> std::io::Result<()> {
    let bytes = fs::read(from)?;
    let mut file = File::create(to)?;
    file.write_all(&bytes)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    // Pages that still have to be written are kept differently.
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
        let staged = StagedBinaries::below(&root).unwrap();
        staged.take(&mut contender).unwrap();
        assert_eq!(contender.described.command, ["/bin/true", "--now"], "not known to be one file");
        contender.static_file = Some("/bin/true".into());
        staged.take(&mut contender).unwrap();
        let copy = PathBuf::from(&contender.described.command[0]);
        assert!(copy.starts_with(&root) && fs::read(&copy).unwrap() == fs::read("/bin/true").unwrap());
        assert!(std::process::Command::new(&copy).status().unwrap().success());
        drop(staged);
        assert!(!copy.exists());
        fs::remove_dir_all(root).unwrap();
    }
}
