//! Removes everything that this program started, even after an interrupt.
//!
//! Every process, container and control group registers one [`Undo`]. It runs once: when its guard is dropped, or on
//! Ctrl-C or SIGTERM in the signal thread, newest first. It removes only what its owner created itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::error::{Error, Result};

/// The exit status after Ctrl-C: 128 + SIGINT, as in shells.
pub const INTERRUPTED: i32 = 130;

/// Removes one thing. It must be safe to call while the thing is in use.
pub trait Undo: Send + Sync {
    /// Removes the thing. It is called at most once.
    fn undo(&self);
}

/// The owner holds this guard. Dropping it removes the thing.
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

/// Creates a thing and registers its removal in one step, so that an interrupt finds both or neither.
///
/// # Errors
/// The errors of `make`, which must then have removed what it created.
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

/// Removes everything that is still registered, newest first, then ends the program. The list stays locked until the
/// end, so that nothing new can be registered.
fn undo_all_and_exit() -> ! {
    let entries = lock(&ENTRIES);
    for entry in entries.iter().rev().filter_map(Weak::upgrade) {
        entry.run();
    }
    std::process::exit(INTERRUPTED)
}

/// From now on, Ctrl-C and SIGTERM remove everything and end the program with [`INTERRUPTED`].
///
/// # Errors
/// If a handler was installed before.
pub fn on_interrupt() -> Result<()> {
    ctrlc::set_handler(|| undo_all_and_exit()).map_err(|cause| Error::failed("handle", "Ctrl-C", cause))
}

/// Call this before you show a result. After an interrupt there is no result: the function does not return, and the
/// program ends with [`INTERRUPTED`] as soon as everything is removed.
pub fn wait_if_interrupted() {
    // The signal thread holds this lock until the end of the program.
    drop(lock(&ENTRIES));
}

impl Entry {
    /// The lock is held while the removal runs, so that a second caller waits for its end.
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
    fn each_removal_runs_once() {
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
