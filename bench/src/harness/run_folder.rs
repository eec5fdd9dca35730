//! The folder of this run, and its record of the processes that were started.
//!
//! It lies where temporary files lie and is there as long as something uses it. Its name tells the run, so that a later
//! run can remove what a killed one has left ([`super::leftovers`]). A process that becomes a contender makes a session
//! of its own and writes itself into the record before its exec: SIGKILL gives nobody the time to do it later.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::time::{ClockId, clock_gettime};

use fc_emulator::cleanup::{self, Guard, Undo};
use fc_emulator::error::{Error, Result};
use fc_emulator::owner::Owner;

/// The beginning of the names of folders.
const PREFIX: &str = "fc-bench";

/// The record of started processes, in the folder.
const RECORD: &str = "started";

/// The bytes of an entry in the record: the time since the boot in nanoseconds, and the process.
const ENTRY_BYTES: usize = 12;

/// The folder. The last owner removes it.
pub struct RunFolder {
    path: PathBuf,
    record: File,
    _guard: Guard,
}

struct Removal(PathBuf);

impl Undo for Removal {
    fn undo(&self) {
        // Its name tells a later run that it may be removed.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that was about to become a contender, and leads a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Started {
    /// Its id, which is also that of the session.
    pub(super) pid: u32,
    /// The time since the boot, in nanoseconds. It had been forked before.
    pub(super) at: u64,
}

impl RunFolder {
    /// The folder of this run. The first call makes it, and it stays until the last owner drops it.
    ///
    /// # Errors
    /// If it cannot be made; the text names the variable that sends it elsewhere.
    pub fn shared() -> Result<Arc<Self>> {
        static CURRENT: Mutex<Weak<RunFolder>> = Mutex::new(Weak::new());
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = current.upgrade() {
            return Ok(folder);
        }
        let path = std::env::temp_dir().join(new_folder_name());
        let ((record, path), guard) = cleanup::make(|| {
            // Nobody else may write into it: a later run believes what it finds there.
            DirBuilder::new().mode(0o700).create(&path).map_err(|cause| not_writable(&path, &cause))?;
            let removal = Removal(path.clone());
            let file = path.join(RECORD);
            let record = OpenOptions::new().append(true).create(true).mode(0o600).open(&file);
            let record = record.map_err(|cause| {
                removal.undo();
                not_writable(&file, &cause)
            })?;
            Ok(((record, path), removal))
        })?;
        let folder = Arc::new(Self { path, record, _guard: guard });
        *current = Arc::downgrade(&folder);
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a session for the calling process, and writes it into the record. Makes only system calls, because the
    /// caller was just forked.
    pub(super) fn begin_session(&self) -> rustix::io::Result<()> {
        rustix::process::setsid()?;
        self.record()
    }

    fn record(&self) -> rustix::io::Result<()> {
        let now = clock_gettime(ClockId::Boottime);
        let pid = rustix::process::getpid().as_raw_nonzero().get().cast_unsigned();
        let at = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
        let entry = Started { pid, at };
        rustix::io::write(&self.record, &entry.to_bytes()).map(drop)
    }
}

/// A name that tells this run, and that nothing else of it has.
pub(super) fn new_name(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", Owner::this_run().name(prefix), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The run that such a name tells, if that run has ended.
pub(super) fn dead_run(name: &str, prefix: &str) -> Option<Owner> {
    let (name, _) = name.rsplit_once('-')?;
    Owner::of_name(name, prefix).filter(Owner::is_dead)
}

/// The name of a folder of this run.
pub(super) fn new_folder_name() -> String {
    new_name(PREFIX)
}

/// The error of a folder or a file for which there is no place.
fn not_writable(path: &Path, cause: &std::io::Error) -> Error {
    let fix = "the files of a run lie there; set TMPDIR to another folder that you may write to";
    Error::failed("create", path.display(), format!("{cause}: {fix}"))
}

/// The folders of dead runs below `place` that belong to this user. Others could have written anything into theirs.
pub(super) fn of_dead_runs(place: &Path) -> Vec<(PathBuf, Owner)> {
    let own = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    let owned = entries.filter(|entry| entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == own));
    owned.filter_map(|entry| Some((entry.path(), dead_run(entry.file_name().to_str()?, PREFIX)?))).collect()
}

/// The record of a folder.
pub(super) fn started(folder: &Path) -> Vec<Started> {
    let bytes = fs::read(folder.join(RECORD)).unwrap_or_default();
    bytes.chunks_exact(ENTRY_BYTES).filter_map(Started::of_bytes).collect()
}

impl Started {
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.at.to_ne_bytes());
        bytes[8..].copy_from_slice(&self.pid.to_ne_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (at, pid) = bytes.split_first_chunk()?;
        Some(Self { pid: u32::from_ne_bytes(pid.try_into().ok()?), at: u64::from_ne_bytes(*at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let folder = RunFolder::shared().unwrap();
        folder.record().unwrap();
        let own = std::process::id();
        let found = started(folder.path()).into_iter().find(|it| it.pid == own).expect("an entry");
        assert!(found.at > 0 && Arc::ptr_eq(&folder, &RunFolder::shared().unwrap()));
        assert!(of_dead_runs(folder.path().parent().unwrap()).iter().all(|(path, _)| path != folder.path()));
    }
}
