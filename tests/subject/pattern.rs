//! Bytes that a client can check, and a failure after them.

use std::io::{self, Read};

/// Byte `n` is `n % 251`, mixed with the key's byte `n % 8`.
pub struct Pattern {
    key: [u8; 8],
    position: u64,
    pub bytes: u64,
    then: Then,
}

pub enum Then {
    End,
    Fail,
    Panic,
}

impl Pattern {
    pub fn new(bytes: u64) -> Pattern {
        Pattern::keyed(0, bytes)
    }

    /// A pattern that is different for each number.
    pub fn keyed(number: u64, bytes: u64) -> Pattern {
        Pattern { key: number.to_le_bytes(), position: 0, bytes, then: Then::End }
    }

    pub fn then(self, then: Then) -> Pattern {
        Pattern { then, ..self }
    }

    pub fn read_whole(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes).expect("a pattern that ends");
        bytes
    }
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = (self.bytes - self.position).min(buffer.len() as u64) as usize;
        for byte in &mut buffer[..left] {
            *byte = self.key[(self.position % 8) as usize] ^ (self.position % 251) as u8;
            self.position += 1;
        }
        match self.then {
            Then::Fail if left == 0 => Err(io::Error::other("asked to fail")),
            Then::Panic if left == 0 => panic!("asked to collapse"),
            _ => Ok(left),
        }
    }
}
