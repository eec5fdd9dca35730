//! The bodies of answers, and the memory that all of them may take together.
//!
//! A target may send as much as it likes, on as many connections as we open. What does not fit is counted, not kept.

use std::sync::atomic::{AtomicUsize, Ordering};

/// All bodies of this process hold at most this many bytes at the same time. The largest body that the platform takes
/// has 32 MB (C-LIM-3), and beside it a check holds one of 8 MB. With heads and read buffers it stays below 64 MiB.
pub const BODY_BYTES_MAX: usize = 56 * 1024 * 1024;

/// A larger body grows by a quarter, not to its double, so that it wastes little of what all bodies share.
const DOUBLING_BYTES_MAX: usize = 1024 * 1024;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// A body that is still growing.
#[derive(Debug, Default)]
pub struct Body {
    bytes: Vec<u8>,
    held: Held,
    /// The number of bytes that came, kept or not.
    pub bytes_total: usize,
}

impl Body {
    /// Adds bytes. `more` of them are announced behind these, as far as it is known.
    pub fn push(&mut self, bytes: &[u8], more: usize) {
        // Nothing is kept behind a gap.
        let whole = self.bytes.len() == self.bytes_total;
        self.bytes_total += bytes.len();
        let needed = self.bytes.len() + bytes.len();
        if whole && (needed <= self.held.0 || self.grow(needed, needed.saturating_add(more))) {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Makes room for `needed` bytes, and for some more that may follow, but never for more than `wanted` if it is
    /// known. An announced size alone takes no memory.
    fn grow(&mut self, needed: usize, wanted: usize) -> bool {
        let had = self.bytes.len();
        let next = if had < DOUBLING_BYTES_MAX { had * 2 } else { had + had / 4 };
        let capacity = if wanted > needed { next.min(wanted) } else { next }.max(needed);
        let grown = [capacity, needed].into_iter().find(|capacity| self.held.grow(*capacity));
        if let Some(capacity) = grown {
            self.bytes.reserve_exact(capacity - had);
        }
        grown.is_some()
    }

    /// The bytes that were kept, and their share of the memory.
    pub fn finish(self) -> (Vec<u8>, Held) {
        (self.bytes, self.held)
    }
}

/// A share of the memory for bodies, until it is dropped.
#[derive(Debug, Default)]
pub struct Held(usize);

impl Held {
    /// Takes a larger share, if there is one.
    fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes - self.0;
        let fits = |held: usize| held.checked_add(more).filter(|held| *held <= BODY_BYTES_MAX);
        let taken = HELD.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        if taken {
            self.0 = bytes;
        }
        taken
    }
}

impl Clone for Held {
    /// A copy of a body takes memory whether it is there or not.
    fn clone(&self) -> Self {
        HELD.fetch_add(self.0, Ordering::Relaxed);
        Self(self.0)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// Shares of the memory do not make responses different.
impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, because the memory belongs to the whole process.
    #[test]
    fn all_bodies_together_are_bounded() {
        let piece = vec![b'x'; 1024 * 1024];
        let mut bodies = Vec::new();
        for _ in 0..4 {
            let mut body = Body::default();
            for _ in 0..40 {
                body.push(&piece, usize::MAX);
            }
            assert_eq!(body.bytes_total, 40 * piece.len());
            bodies.push(body);
        }
        let capacity: usize = bodies.iter().map(|body| body.bytes.capacity()).sum();
        assert!(capacity <= BODY_BYTES_MAX, "{capacity}");
        assert_eq!(bodies[0].bytes.len(), 40 * piece.len(), "the first one is whole");
        assert!(bodies[3].bytes.len() < piece.len());
        drop(bodies);
        let mut body = Body::default();
        for _ in 0..40 {
            body.push(&piece, 0);
        }
        assert_eq!(body.bytes.len(), 40 * piece.len(), "what was dropped is free again");
    }
}
