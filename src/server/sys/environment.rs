//! The names of the environment's variables.
//!
//! `std::env::vars_os` would copy every name and every value at each start, and take 2 kB of code.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Shows each variable whose name begins with `prefix`, as `NAME=value`.
///
/// Like `getenv`, it must not run while another thread changes the environment. Programs have no such thread at the
/// start of a server: changing the environment is `unsafe` in Rust because of readers like this one.
#[inline(never)]
pub(crate) fn for_each_with_prefix(prefix: &str, show: &mut dyn FnMut(&[u8])) {
    // SAFETY: the environment is null, or a list of C strings that ends in null; both stay as they are meanwhile, see
    // above.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let variable = CStr::from_ptr(*entry).to_bytes();
            if variable.starts_with(prefix.as_bytes()) {
                show(variable);
            }
            entry = entry.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_shown_once() {
        let mut shown = Vec::new();
        for_each_with_prefix("CARGO_PKG_", &mut |variable| shown.push(String::from_utf8(variable.to_vec()).unwrap()));
        let expected = std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_"));
        let expected: Vec<_> = expected.map(|(name, value)| format!("{name}={value}")).collect();
        assert!(!expected.is_empty() && shown.len() == expected.len(), "{shown:?} {expected:?}");
        assert!(expected.iter().all(|variable| shown.contains(variable)), "{shown:?} {expected:?}");
    }
}
