//! Constants that no user sets: sizes of buffers, lengths of turns, thresholds. Each has its reason.

#[cfg(doc)]
use crate::limits::Limits;
use std::time::Duration;

const KIB: usize = 1024;

/// Headers that most requests need at most: the platform sends 26, and HTTP a handful.
pub(crate) const HEADERS_USUAL: usize = 32;

/// The largest value of `headers_max`.
pub(crate) const HEADERS_CAPACITY: usize = 256;

/// The first size of the buffer that a connection has while bytes are pending. With the allocator's own bytes it fills
/// one page, so the first request costs one page and no mapping of its own. Most requests fit.
pub(crate) const FIRST_READ_BYTES: usize = 4 * KIB - 32;

/// The bytes that a buffer grows by at first if that is too little: as much as counts against no limit.
pub(crate) const GROWTH_BYTES: usize = SPARE_BYTES_MAX - FIRST_READ_BYTES;

/// The bytes of a buffer that most heads fit into. 16 KiB.
pub(crate) const READ_BYTES: usize = 16 * KIB;

/// The most bytes that a buffer grows by at a time, and so about the most that one read takes while others wait.
pub(crate) const READ_BYTES_MAX: usize = 256 * KIB;

/// The first size of the buffer for a reply's head and a small body.
pub(crate) const FIRST_WRITE_BYTES: usize = KIB;

/// Buffers up to this size are kept for the next connection, and [`Limits::buffered_bytes_max`] does not count them.
/// Larger ones go back to the allocator.
pub(crate) const SPARE_BYTES_MAX: usize = 32 * KIB;

/// A reply's body up to this size is copied behind its head, so that one plain write sends both.
pub(crate) const COALESCE_BYTES_MAX: usize = 4 * KIB;

/// The bytes of a streamed reply that are in memory at a time: one chunk.
pub(crate) const STREAM_CHUNK_BYTES: usize = 16 * KIB;

/// The bytes of all headers of a reply. 8 KiB: beyond it the platform answers 502 BadResponse to the client.
pub(crate) const REPLY_HEAD_BYTES_MAX: usize = 8 * KIB;

/// The bytes of extensions and trailers in a chunked body. The size digits and line ends of the chunks do not count.
/// 16 KiB, like hyper.
pub(crate) const CHUNK_OVERHEAD_BYTES_MAX: usize = 16 * KIB;

/// The bytes that a rejected client can still send before the close. Twice the default of the body limit.
pub(crate) const LINGER_BYTES_MAX: usize = 64 * KIB * KIB;

/// The pipelined requests of one connection that are served in a row before other connections get their turn.
pub(crate) const PIPELINE_RUN_MAX: usize = 16;

/// The pieces of one streamed reply that are sent in a row before other connections get their turn.
pub(crate) const STREAM_RUN_MAX: usize = 4;

/// The time that a stopping instance waits for a client before a close: its exit must not depend on clients.
pub(crate) const DRAIN_LINGER_TIME_MAX: Duration = Duration::from_millis(500);

/// The time between two warnings of an instance that cannot accept connections.
pub(crate) const EXHAUSTION_SILENCE: Duration = Duration::from_secs(10);

/// The idle time after which a used connection can be evicted if the table is full: the least that the platform asks
/// for (C-CONN-1).
pub(crate) const KEEP_ALIVE_TIME_MIN: Duration = Duration::from_secs(15 * 60);

/// The time after which a connection without a complete head can be evicted if the table is full. 1 s: a client that
/// opens a connection to use it sends at once.
pub(crate) const UNUSED_TIME_MIN: Duration = Duration::from_secs(1);

/// The connections that are accepted in a row before the open ones get their turn.
pub(crate) const ACCEPT_RUN_MAX: usize = 16;

/// The most that one turn of the loop adds to the awake clock, and the longest wait while a deadline is pending. So a
/// freeze of any length takes at most this much from a deadline.
pub(crate) const TURN_TIME_MAX: Duration = Duration::from_millis(250);

/// A wait that lasts this much too long is evidence of a freeze. A busy machine delays a wake-up by milliseconds, a
/// throttled one by a few hundred.
pub(crate) const OVERSLEPT_MIN: Duration = Duration::from_secs(1);

/// Two clocks that drift apart by this much between two requests are evidence of a freeze. A clock that is being slewed
/// drifts by less than 1 ms a second.
pub(crate) const CLOCK_JUMP_MIN: Duration = Duration::from_secs(1);

/// The time for which the listener is not polled after the kernel had no descriptor or memory for another connection,
/// unless a connection closes before.
pub(crate) const ACCEPT_RETRY: Duration = Duration::from_millis(250);

/// The bytes that the adapter reads at a time from either side, and the most that it holds of a body in each direction
/// of a call. 64 KiB: a head fits, and the system calls for a large body are few.
#[cfg(feature = "adapter")]
pub(crate) const RELAY_BYTES: usize = 64 * KIB;

/// The same once all calls together hold more than [`RELAY_HELD_BYTES_MANY`] that their receivers do not take. With
/// 1,024 connections these are 32 MiB at most.
#[cfg(feature = "adapter")]
pub(crate) const RELAY_BYTES_CROWDED: usize = 16 * KIB;

/// 1 MiB: some slow receivers cost no other call its large pieces.
#[cfg(feature = "adapter")]
pub(crate) const RELAY_HELD_BYTES_MANY: usize = KIB * KIB;

/// The bytes behind a head of the largest size that one read can take with it.
#[cfg(feature = "adapter")]
pub(crate) const SCRATCH_BYTES_BEHIND_HEAD: usize = 4 * KIB;

/// A connection to the program that was used so recently is taken for open without a look at it: the wait that has
/// just ended would have reported its end.
#[cfg(feature = "adapter")]
pub(crate) const KEPT_TRUSTED_TIME_MAX: Duration = Duration::from_millis(50);

/// Connections to the program without a request. 256: an instance has at most 200 calls at a time (C-INV-7).
#[cfg(feature = "adapter")]
pub(crate) const KEPT_MAX: usize = 256;

/// The longest pause between two looks whether a starting program serves.
#[cfg(feature = "adapter")]
pub(crate) const READY_RETRY_MAX: Duration = Duration::from_millis(50);

/// A connection to the program that was idle for longer gets no request that cannot be repeated. 1 s: no server in
/// wide use closes an idle connection sooner.
#[cfg(feature = "adapter")]
pub(crate) const KEPT_IDLE_TIME_MAX: Duration = Duration::from_secs(1);

/// The bytes of a command's output that become the body of the hook's answer. 64 KiB: a message is shorter.
#[cfg(feature = "adapter")]
pub(crate) const COMMAND_OUTPUT_BYTES_MAX: usize = 64 * KIB;

/// The reads of a command's output in a row before other work gets its turn. A pipe holds 64 KiB, so two reads empty
/// one whose command has ended.
#[cfg(feature = "adapter")]
pub(crate) const COMMAND_READ_RUN_MAX: usize = 4;

/// Log lines show at most this many bytes of a request id; the platform's ids have 36 characters.
pub(crate) const LOGGED_ID_BYTES_MAX: usize = 128;

const _: () = assert!(CHUNK_OVERHEAD_BYTES_MAX <= LINGER_BYTES_MAX);
const _: () = assert!(COALESCE_BYTES_MAX + REPLY_HEAD_BYTES_MAX <= SPARE_BYTES_MAX / 2, "its buffer is kept");
const _: () = assert!(OVERSLEPT_MIN.as_millis() > TURN_TIME_MAX.as_millis(), "a turn is no freeze");
