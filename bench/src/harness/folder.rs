//! Folders for the files of tools.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;

use super::RunFolder;
use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::error::{Error, Result};

/// A folder in that of the run. Dropping it, or an interrupt, removes it.
pub struct Folder {
    path: PathBuf,
    _guard: Guard,
    _run: Arc<RunFolder>,
}

struct Removal(Mutex<Option<TempDir>>);

impl Undo for Removal {
    fn undo(&self) {
        let folder = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A folder that cannot be removed goes with that of the run.
        let _ = folder.map(TempDir::close);
    }
}

impl Folder {
    /// Makes one.
    ///
    /// # Errors
    /// If there is no place for it.
    pub fn new() -> Result<Self> {
        let run = RunFolder::shared()?;
        let (path, guard) = cleanup::make(|| {
            let folder = tempfile::Builder::new().prefix("tool-").tempdir_in(run.path());
            let folder = folder.map_err(|cause| Error::failed("create a folder in", run.path().display(), cause))?;
            Ok((folder.path().to_owned(), Removal(Mutex::new(Some(folder)))))
        })?;
        Ok(Self { path, _guard: guard, _run: run })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
