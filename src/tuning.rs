//! Numbers that nobody sets: sizes of buffers, lengths of turns, thresholds. Each has its reason.

#[cfg(doc)]
use crate::limits::Limits;
use std::time::Duration;

const KIB: usize = 1024;

/// Room on the stack for the headers of a usual request. A larger array would be touched page by page on every call, by
/// the stack's overflow probes, however few headers come.
pub(crate) const HEADERS_USUAL: usize = 48;

/// Room for headers where that is too little; the most that `headers_max` can be set to.
pub(crate) const HEADERS_CAPACITY: usize = 256;

/// The buffer that is lent to a connection while it has bytes pending, as it begins. With what the allocator adds it
/// fills one page, so the first request costs one, not five and a mapping of their own; most requests fit whole.
pub(crate) const FIRST_READ_BYTES: usize = 4 * KIB - 32;

/// What a buffer grows by where that is too little. 16 KiB: any usual head whole.
pub(crate) const READ_BYTES: usize = 16 * KIB;

/// The most that a buffer grows by at a time, and so about the most that one read takes while others wait.
pub(crate) const READ_BYTES_MAX: usize = 256 * KIB;

/// The buffer for a reply's head and a small body, as it begins.
pub(crate) const FIRST_WRITE_BYTES: usize = KIB;

/// Buffers up to this size are kept for the next connection and are not counted by
/// [`Limits::buffered_bytes_max`]; larger ones go back to the allocator.
pub(crate) const SPARE_BYTES_MAX: usize = 32 * KIB;

/// A reply's body up to this size is copied behind its head, so that both leave in one plain write.
pub(crate) const COALESCE_BYTES_MAX: usize = 4 * KIB;

/// What a streamed reply holds in memory at a time: one chunk.
pub(crate) const STREAM_CHUNK_BYTES: usize = 16 * KIB;

/// All headers of a reply together. 8 KiB: beyond it the platform answers 502 BadResponse to the client.
pub(crate) const REPLY_HEAD_BYTES_MAX: usize = 8 * KIB;

/// What a chunked body may carry beside its data: extensions and trailers, each chunk's own framing (its digits and
/// line ends) not counted. 16 KiB, as hyper.
pub(crate) const CHUNK_OVERHEAD_BYTES_MAX: usize = 16 * KIB;

/// What a refused client may still send while we linger. Twice the body limit's default.
pub(crate) const LINGER_BYTES_MAX: usize = 64 * KIB * KIB;

/// Pipelined requests that one connection is served in a row before the others get their turn.
pub(crate) const PIPELINE_RUN_MAX: usize = 16;

/// Pieces of one streamed reply that are sent in a row before the others get their turn.
pub(crate) const STREAM_RUN_MAX: usize = 4;

/// How long a stopping instance lingers on a closed connection: its exit must not depend on clients.
pub(crate) const DRAIN_LINGER_TIME_MAX: Duration = Duration::from_millis(500);

/// How long an instance that cannot accept connections says nothing more about it in its log.
pub(crate) const EXHAUSTION_SILENCE: Duration = Duration::from_secs(10);

/// How long a connection that was used may idle before it may be closed for another one, where there is no room for
/// more: what the platform asks for at least (C-CONN-1).
pub(crate) const KEEP_ALIVE_TIME_MIN: Duration = Duration::from_secs(15 * 60);

/// How long a connection has for its first head before it may be closed for another one, where there is no room for
/// more. 1 s: what opens a connection to use it sends at once.
pub(crate) const UNUSED_TIME_MIN: Duration = Duration::from_secs(1);

/// Connections accepted in a row before those that are open get their turn.
pub(crate) const ACCEPT_RUN_MAX: usize = 16;

/// The most that one turn of the loop adds to the awake clock, and the longest wait while a deadline is pending.
/// A freeze of any length therefore costs a deadline at most this much.
pub(crate) const TURN_TIME_MAX: Duration = Duration::from_millis(250);

/// How much longer than asked a wait must last to count as evidence of a freeze. A busy machine delays a
/// wake-up by milliseconds, a throttled one by a few hundred.
pub(crate) const OVERSLEPT_MIN: Duration = Duration::from_secs(1);

/// How far the two clocks must drift apart between two requests to count as evidence of a freeze. A clock
/// being slewed drifts by less than 1 ms a second.
pub(crate) const CLOCK_JUMP_MIN: Duration = Duration::from_secs(1);

/// How long the listener rests when the kernel has no descriptor or memory for another connection and none of ours
/// was closed meanwhile.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(250);

/// A request id longer than this is cut in log lines; the platform's are 36 characters.
pub(crate) const LOGGED_ID_BYTES_MAX: usize = 128;

const _: () = assert!(CHUNK_OVERHEAD_BYTES_MAX <= LINGER_BYTES_MAX);
const _: () = assert!(COALESCE_BYTES_MAX + REPLY_HEAD_BYTES_MAX <= SPARE_BYTES_MAX / 2, "its buffer is kept");
const _: () = assert!(OVERSLEPT_MIN.as_millis() > TURN_TIME_MAX.as_millis(), "a turn is no freeze");
