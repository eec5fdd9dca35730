//! Which paths a route or the health check can have. One function decides for the table, when it is compiled, and for
//! the environment, when the instance starts.

use crate::platform::hooks::{Hook, INVOKE_PATH};
use std::fmt;

macro_rules! path_errors {
    ($($(#[$doc:meta])* $kind:ident: $message:literal;)*) => {
        /// What is wrong with a path.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum PathError {
            $($(#[$doc])* $kind,)*
        }

        impl PathError {
            /// Also for the compiler, which stops at a wrong table.
            pub(crate) const fn message(self) -> &'static str {
                match self {
                    $(PathError::$kind => $message,)*
                }
            }
        }

        impl fmt::Display for PathError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.message())
            }
        }
    };
}

path_errors! {
    Empty: "the path is empty";
    NoSlash: "the path does not begin with '/'";
    /// No request path holds such a character, so the path could never match.
    Character: "the path holds a blank, '?', '#', a control character or a character beyond ASCII";
    Hook: "the path belongs to a hook; only the hook's own constructor in Route can serve it";
    Event: "the path belongs to events; only Route::invoke can serve it";
    /// The health check would hide the route.
    Route: "a route of the table has the health check's path";
}

/// Whether a route or the health check can have this path.
pub(crate) const fn check(path: &str) -> Result<(), PathError> {
    let bytes = path.as_bytes();
    match bytes {
        [] => return Err(PathError::Empty),
        [b'/', ..] => {}
        _ => return Err(PathError::NoSlash),
    }
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] <= b' ' || bytes[index] >= 0x7f || bytes[index] == b'?' || bytes[index] == b'#' {
            return Err(PathError::Character);
        }
        index += 1;
    }
    let mut hook = 0;
    while hook < Hook::ALL.len() {
        if same(path, Hook::ALL[hook].path()) {
            return Err(PathError::Hook);
        }
        hook += 1;
    }
    if same(path, INVOKE_PATH) { Err(PathError::Event) } else { Ok(()) }
}

/// `==` for text, which is not `const` yet.
pub(crate) const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut index = 0;
    while index < a.len() {
        if a[index] != b[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let cases = [
            ("/", Ok(())),
            ("/a/b~c%20", Ok(())),
            ("/invoke/", Ok(())),
            ("/Initialize", Ok(())),
            ("", Err(PathError::Empty)),
            ("a", Err(PathError::NoSlash)),
            ("*", Err(PathError::NoSlash)),
            ("/a?b", Err(PathError::Character)),
            ("/a#b", Err(PathError::Character)),
            ("/a b", Err(PathError::Character)),
            ("/a\n", Err(PathError::Character)),
            ("/\x7f", Err(PathError::Character)),
            ("/ä", Err(PathError::Character)),
            ("/initialize", Err(PathError::Hook)),
            ("/pre-freeze", Err(PathError::Hook)),
            ("/pre-stop", Err(PathError::Hook)),
            ("/invoke", Err(PathError::Event)),
        ];
        for (path, expected) in cases {
            assert_eq!(check(path), expected, "{path:?}");
        }
    }
}
