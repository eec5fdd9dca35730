//! The calls that the platform makes: its hooks, and the event.
//!
//! A hook is one row of the table below. What a row cannot say stands where the compiler asks for it: the constructor
//! of its row in `function/route.rs`, and its phases and transitions in `function/lifecycle.rs`.

use super::headers;

macro_rules! hooks {
    ($($(#[$doc:meta])* $hook:ident: $method:literal $path:literal $marker:literal $time_limit:expr;)*) => {
        /// The hooks that the platform calls.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Hook {
            $(#[doc = concat!("`", $method, " ", $path, "`: ")] $(#[$doc])* $hook,)*
        }

        impl Hook {
            /// Every hook, in the order of a life.
            pub const ALL: &'static [Hook] = &[$(Hook::$hook),*];

            /// The method of the platform's request.
            pub const fn method(self) -> &'static str {
                match self { $(Hook::$hook => $method,)* }
            }

            /// The path of the platform's request, which is also its control path (C-DISP-1).
            pub const fn path(self) -> &'static str {
                match self { $(Hook::$hook => $path,)* }
            }

            /// The word for the hook in log markers.
            pub(crate) const fn marker(self) -> &'static str {
                match self { $(Hook::$hook => $marker,)* }
            }

            /// The header that says how many seconds the platform waits for the hook, if there is one.
            pub(crate) const fn time_limit(self) -> Option<&'static str> {
                match self { $(Hook::$hook => $time_limit,)* }
            }

            pub(crate) fn from_path(path: &str) -> Option<Hook> {
                match path { $($path => Some(Hook::$hook),)* _ => None }
            }
        }
    };
}

hooks! {
    // Hook: method, path, word in log markers, header with the time limit.

    /// once before any traffic (C-INIT-1).
    Initialize: "POST" "/initialize" "Initialize" Some(headers::INITIALIZATION_TIMEOUT);
    /// before each freeze, in FC 2.0 only (C-FRZ-2). Its time limit is not documented (C-FRZ-7).
    PreFreeze: "GET" "/pre-freeze" "PreFreeze" None;
    /// before the instance is destroyed (C-STOP-1). Its time limit is a setting that no header tells.
    PreStop: "GET" "/pre-stop" "PreStop" None;
}

impl Hook {
    /// The path without its slash: `initialize`, `pre-freeze`, `pre-stop`.
    pub fn name(self) -> &'static str {
        &self.path()[1..]
    }
}

/// The call with an event (C-INV-1). An HTTP call needs no row: every control path that is not listed here, such as
/// `/http-invoke`, stands for one.
pub(crate) const INVOKE_METHOD: &str = "POST";
pub(crate) const INVOKE_PATH: &str = "/invoke";

/// The control path of HTTP calls.
pub(crate) const HTTP_PATH: &str = "/http-invoke";

/// The word for events and HTTP calls in log markers.
pub(crate) const INVOKE_MARKER: &str = "Invoke";

/// The header that says how many seconds the platform waits for an event or an HTTP call.
pub(crate) const INVOKE_TIME_LIMIT: &str = headers::FUNCTION_TIMEOUT;
