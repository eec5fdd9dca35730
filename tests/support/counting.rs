//! An allocator that counts what the watched threads of this process allocate.
//!
//! Not a part of `support`: whoever declares this module gets the allocator with it.
#![allow(unsafe_code)]

use crate::support::client::Client;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the threads that are watched.
pub static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    pub static WATCHED: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    // A thread that is ending has no thread-local variables any more.
    if WATCHED.try_with(Cell::get).unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller promises what the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Sends a request many times over one connection, and returns how many allocations the watched thread made meanwhile.
pub fn allocations(client: &mut Client, request: &[u8], body_bytes: usize, times: usize) -> u64 {
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..times {
        client.send(request);
        let reply = client.reply();
        assert_eq!((reply.status, reply.body.len()), (200, body_bytes));
    }
    ALLOCATIONS.load(Ordering::Relaxed) - before
}
