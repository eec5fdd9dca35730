//! Buffers that go from one connection to the next, so that idle connections hold none.

use crate::http1::head::HeaderStorage;
use crate::server::connection::Connection;
use crate::tuning::{FIRST_READ_BYTES, FIRST_WRITE_BYTES, SPARE_BYTES_MAX};

/// One buffer of each kind is enough: one connection is served at a time.
#[derive(Default)]
pub(crate) struct BufferPool {
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<u8>,
    pub(crate) headers: HeaderStorage,
    /// The last small body, kept until the next comes: musl gives a group of slots of one size back with the last
    /// allocation in it and makes it anew for the next, which costs more than all other work for a request together.
    pub(crate) last_body: Vec<u8>,
}

impl BufferPool {
    pub(crate) fn take_input(&mut self) -> Vec<u8> {
        take(&mut self.input, FIRST_READ_BYTES)
    }

    #[inline(always)]
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        take(&mut self.output, FIRST_WRITE_BYTES)
    }

    /// Takes back the buffers that a connection has no bytes in.
    pub(crate) fn take_back<K>(&mut self, connection: &mut Connection<K>) {
        give(&mut self.input, connection.input.detach());
        give(&mut self.output, connection.exchange.response.detach());
        if let Some(body) = connection.exchange.response.take_copied_body() {
            self.last_body = body;
        }
    }
}

#[inline(always)]
fn take(spare: &mut Vec<u8>, first_bytes: usize) -> Vec<u8> {
    if spare.capacity() == 0 { Vec::with_capacity(first_bytes) } else { std::mem::take(spare) }
}

/// Keeps a buffer of the usual size; one that had to grow goes back to the allocator.
#[inline(always)]
fn give(spare: &mut Vec<u8>, buffer: Option<Vec<u8>>) {
    if let Some(buffer) = buffer.filter(|buffer| buffer.capacity() <= SPARE_BYTES_MAX) {
        *spare = buffer;
    }
}
