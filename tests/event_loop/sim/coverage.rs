//! Counts of what happened: a kind of event, or a transition, that no world shows any more must not go unnoticed.

use crate::server::{accept, connection};

macro_rules! kinds {
    ($($kind:ident)*) => {
        /// A kind of event of a world.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($kind),* }

        impl Kind {
            pub(super) const ALL: &'static [Kind] = &[$(Kind::$kind),*];
        }
    };
}

kinds! {
    ShortRead ShortWrite BlockedWrite ReadError WriteError EndOfInput ClientReset ClientHalfClosed ClientLeft
    SpuriousReady NothingToRead AcceptExhausted AcceptAborted ListenerWatchFailed WatchFailed SlotsFull Interrupted
    InterruptedBySignal WakeEvent Jump LongJump FreezeInWait FreezeInCall FreezeBetweenCalls FreezeSigcont
    FreezeSilent FreezeInterrupts FreezeVm StopInWait StopInCallback StopBetweenCalls StopAtRest DrainCutShort
    ExitInOrder CallbackFails CallbackPanics StreamWhole StreamFails StreamPanics StreamShort StreamCut
    InterruptedReader InitializeRan InitializeFailed InitializeReplayed PreFreezeRan PreFreezeReplayed PreStopCalled
    PreStopReplayed PreStopAtExit HookRefused HookUnimplemented HookUnauthorised HookFromOutside Thaw
    ThawWithoutHook FreezeInTurn LifeGoesOn Event Call Head Continue Http10 AskedToClose KeptHttp10 Chunked Sized
    Pipelined OverLimit Malformed BodyTooLarge Health NotFound WrongMethod NoContent HeadTimeout BodyTimeout
    StallCut StallSpared LingerTimeout LingerToTheEnd InfiniteWait Crowd Evicted EvictionSpared Overloaded
}

/// Counts of kinds, and of the rows of both tables.
pub(super) struct Seen {
    kinds: [u64; Kind::ALL.len()],
    connection_rows: [u64; connection::TRANSITIONS.len()],
    accept_rows: [u64; accept::TRANSITIONS.len()],
}

impl Seen {
    pub(super) fn new() -> Seen {
        Seen {
            kinds: [0; Kind::ALL.len()],
            connection_rows: [0; connection::TRANSITIONS.len()],
            accept_rows: [0; accept::TRANSITIONS.len()],
        }
    }

    pub(super) fn count(&mut self, kind: Kind) {
        self.kinds[kind as usize] += 1;
    }

    pub(super) fn connection_row(&mut self, index: usize) {
        self.connection_rows[index] += 1;
    }

    pub(super) fn accept_row(&mut self, index: usize) {
        self.accept_rows[index] += 1;
    }

    pub(super) fn add(&mut self, other: &Seen) {
        let mine = self.kinds.iter_mut().chain(&mut self.connection_rows).chain(&mut self.accept_rows);
        let more = other.kinds.iter().chain(&other.connection_rows).chain(&other.accept_rows);
        mine.zip(more).for_each(|(mine, more)| *mine += more);
    }

    /// Every kind and every row, with its count.
    fn counts(&self) -> impl Iterator<Item = (String, u64)> {
        let kinds = Kind::ALL.iter().map(|kind| format!("{kind:?}")).zip(self.kinds);
        let rows = connection::TRANSITIONS.iter().map(|row| format!("{row:?}")).zip(self.connection_rows);
        let accept_rows = accept::TRANSITIONS.iter().map(|row| format!("{row:?}")).zip(self.accept_rows);
        kinds.chain(rows).chain(accept_rows)
    }

    pub(super) fn never(&self) -> Vec<String> {
        self.counts().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
    }

    pub(super) fn table(&self) -> String {
        self.counts().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }
}
