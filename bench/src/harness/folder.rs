//! Folders for the files of tools.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::error::{Error, Result};

/// A temporary folder. Dropping it, or an interrupt, removes it.
pub struct Folder {
    path: PathBuf,
    _guard: Guard,
}

struct Removal(Mutex<Option<TempDir>>);

impl Undo for Removal {
    fn undo(&self) {
        let folder = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A folder that cannot be removed is one of the system's folder for temporary files.
        let _ = folder.map(TempDir::close);
    }
}

impl Folder {
    /// Makes one.
    ///
    /// # Errors
    /// If there is no place for it.
    pub fn new() -> Result<Self> {
        let (path, guard) = cleanup::make(|| {
            let folder = tempfile::Builder::new().prefix("fc-bench-").tempdir();
            let folder = folder.map_err(|cause| Error::failed("create", "a temporary folder", cause))?;
            Ok((folder.path().to_owned(), Removal(Mutex::new(Some(folder)))))
        })?;
        Ok(Self { path, _guard: guard })
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}
