//! Defects that this simulation found and that are not mended yet. Where they show, its rules look away; with `false`
//! they do not, and this file can go.

/// - A connection that yields between pipelined requests, its socket full, has no time limit.
/// - A reply's stall is judged by what an earlier stall had queued: cut too early, or too late.
/// - What a connection held for its last reply counts against its next request, though it is sent.
/// - HEAD is refused with 503 and a body.
/// - A connection makes room though nobody is known to wait, or the instance is stopping.
/// - The first event of a turn is served beyond the drain's end.
pub(super) const KNOWN_DEFECTS: bool = true;
