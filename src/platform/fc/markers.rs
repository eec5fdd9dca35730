//! The texts of log markers, the lines that delimit one call in the log (C-LOG-1 to C-LOG-4).
//!
//! A marker is `FC <word> Start RequestId: <id>` or `FC <word> End RequestId: <id>`; the words are in the table of
//! hooks. The console finds them at the beginning of a line.

pub(crate) const PREFIX: &str = "FC ";
pub(crate) const START: &str = " Start";
pub(crate) const END: &str = " End";
pub(crate) const REQUEST_ID: &str = " RequestId: ";

/// Stands at the end of the second marker if the call failed (C-LOG-3).
pub(crate) const ERROR_TAIL: &str = ", Error: Unhandled function error";

/// The line that marks the end of a cold start (C-LOG-4).
pub(crate) const RUNTIME_INITED: &str = "FunctionCompute fc-hooks runtime inited.\n";
