//! Panics without a backtrace, for 200 kB less: the feature `no_backtrace`.
//!
//! The standard library can print a backtrace, so every binary carries what that takes: readers of ELF and DWARF files,
//! a decompressor, a demangler. It asks the unwinder for frames through `_Unwind_Backtrace`, a symbol of C. Where
//! this crate defines it, optimisation across crates sees that no frame ever comes, and removes all of that. Unwinding
//! itself takes other ways into the unwinder, so panics are caught as before.
//!
//! The other functions are here because the object file of the unwinder that holds `_Unwind_Backtrace` holds them too:
//! the linker leaves that file out only if no code asks for it. They do what the originals do. With a toolchain that
//! divides its unwinder in another way the linker says "duplicate symbol"; the build cannot go wrong silently.

use std::ffi::{c_int, c_void};

/// `_URC_END_OF_STACK`.
const END_OF_STACK: c_int = 5;

unsafe extern "C" {
    fn _Unwind_GetIP(context: *mut c_void) -> usize;
}

// SAFETY of the names: they are the unwinder's own, with its signatures, and nothing else in a static binary has them.

/// Walks over no frame at all.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_visit: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// The address that a frame returns to. Frames of signal handlers, which are not at a call, need no special case: the
/// handlers of this crate do not unwind.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetIPInfo(context: *mut c_void, is_before_call: *mut c_int) -> usize {
    // SAFETY: by the contract of this function both pointers are the caller's own and valid.
    unsafe {
        *is_before_call = 0;
        _Unwind_GetIP(context)
    }
}

/// Asked of the frames of a backtrace only, and there are none. Without optimisation across crates the standard library
/// still names it, and the linker would take the file of the unwinder for it.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetCFA(_context: *mut c_void) -> usize {
    0
}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_FindEnclosingFunction(_address: *mut c_void) -> *mut c_void {
    std::ptr::null_mut()
}

/// Never called for this kind of object file, here as in the original.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetDataRelBase(_context: *mut c_void) -> usize {
    std::process::abort()
}

/// Never called for this kind of object file, here as in the original.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetTextRelBase(_context: *mut c_void) -> usize {
    std::process::abort()
}
