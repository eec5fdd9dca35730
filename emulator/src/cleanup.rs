//! Nothing is left behind: what this program started is known here until it is gone.
//!
//! Every process, container and control group registers one [`Undo`]. It runs once: when its
//! guard is dropped, or, on Ctrl-C or SIGTERM, from the signal thread, newest first. It touches
//! only what its owner made itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::{Error, Result};

/// The exit status after Ctrl-C: 128 + SIGINT, as shells have it.
pub const INTERRUPTED: i32 = 130;

/// How something is taken away. It must be safe to call while its owner is still in use.
pub trait Undo: Send + Sync {
    /// Takes it away. Called at most once.
    fn undo(&self);
}

/// Held by the owner; dropping it takes the thing away.
pub struct Guard(Arc<Entry>);

struct Entry {
    undo: Box<dyn Undo>,
    done: Mutex<bool>,
}

static ENTRIES: Mutex<Vec<Weak<Entry>>> = Mutex::new(Vec::new());

/// Registers `undo` until the guard is dropped.
pub fn register(undo: impl Undo + 'static) -> Guard {
    add(&mut lock(&ENTRIES), undo)
}

/// Makes something and registers how it is taken away, as one: an interrupt comes before or after.
///
/// # Errors
/// Those of `make`, which then has taken away what it made itself.
pub fn make<T, U: Undo + 'static>(make: impl FnOnce() -> Result<(T, U)>) -> Result<(T, Guard)> {
    let mut entries = lock(&ENTRIES);
    let (made, undo) = make()?;
    Ok((made, add(&mut entries, undo)))
}

fn add(entries: &mut Vec<Weak<Entry>>, undo: impl Undo + 'static) -> Guard {
    let entry = Arc::new(Entry { undo: Box::new(undo), done: Mutex::new(false) });
    entries.retain(|entry| entry.strong_count() > 0);
    entries.push(Arc::downgrade(&entry));
    Guard(entry)
}

/// Takes everything away that is still registered, newest first, then ends the program. Nothing
/// new can be registered meanwhile: the list stays locked until the end.
fn undo_all_and_exit() -> ! {
    let entries = lock(&ENTRIES);
    for entry in entries.iter().rev().filter_map(Weak::upgrade) {
        entry.run();
    }
    std::process::exit(INTERRUPTED)
}

/// From now on Ctrl-C and SIGTERM clean up and end the program with [`INTERRUPTED`].
///
/// # Errors
/// When a handler was installed before.
pub fn on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| undo_all_and_exit()).map_err(|cause| Error::failed("handle", "Ctrl-C", cause))
}

/// Does not return if an interrupt came: what it broke off has no result, and the program ends with
/// [`INTERRUPTED`] as soon as all is cleaned up. To be called before a result is shown.
pub fn wait_if_interrupted() {
    // The signal thread holds this lock from the beginning of its work to the end of the program.
    drop(lock(&ENTRIES));
}

impl Entry {
    /// The lock is held while it runs, so that whoever comes second waits until it is gone.
    fn run(&self) {
        let mut done = lock(&self.done);
        if !std::mem::replace(&mut *done, true) {
            self.undo.undo();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.run();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Count(Arc<AtomicUsize>);

    impl Undo for Count {
        fn undo(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn runs_once_whoever_comes_first() {
        let count = Arc::new(AtomicUsize::new(0));
        let guard = register(Count(count.clone()));
        guard.0.run();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        drop(guard);
        assert_eq!(count.load(Ordering::SeqCst), 1);

        drop(register(Count(count.clone())));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
