//! Whether a program can run alone: a 64-bit x86 ELF file that asks for no interpreter.

use std::fs;
use std::path::Path;

/// The machine number of x86-64.
const X86_64: u16 = 62;

/// The kind of program header that names an interpreter, the dynamic linker.
const INTERPRETER: u32 = 3;

/// Whether the kernel can start this file without any other file.
///
/// # Errors
/// If the file cannot be read or is no program for x86-64. The text says which.
pub(super) fn is_static(file: &Path) -> Result<bool, String> {
    let bytes = fs::read(file).map_err(|cause| cause.to_string())?;
    if !bytes.starts_with(b"\x7fELF\x02\x01") || number(&bytes, 18, 2) != Some(u64::from(X86_64)) {
        return Err("it is no program for Linux on x86-64".to_owned());
    }
    let headers = || {
        let start = number(&bytes, 32, 8)?;
        let (size, count) = (number(&bytes, 54, 2)?, number(&bytes, 56, 2)?);
        (0..count).map(|index| number(&bytes, (start + index * size) as usize, 4)).collect::<Option<Vec<u64>>>()
    };
    let kinds = headers().ok_or("it is a broken program")?;
    Ok(!kinds.contains(&u64::from(INTERPRETER)))
}

/// A number of `size` bytes, the lowest first.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(size)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut program = vec![0; 64 + 2 * 56];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        program[18] = 62;
        program[32] = 64;
        program[54] = 56;
        program[56] = 2;
        program[64] = 1;
        fs::write(file.path(), &program).unwrap();
        assert_eq!(is_static(file.path()), Ok(true));
        program[64 + 56] = 3;
        fs::write(file.path(), &program).unwrap();
        assert_eq!(is_static(file.path()), Ok(false));
        fs::write(file.path(), b"#!/bin/sh\n").unwrap();
        assert!(is_static(file.path()).is_err());
    }
}
