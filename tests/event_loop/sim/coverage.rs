//! What happened, counted: a simulator must not lose a kind of event without anybody noticing.

macro_rules! kinds {
    ($($kind:ident)*) => {
        /// What can happen in a world.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind { $($kind),* }

        impl Kind {
            pub(super) const ALL: &'static [Kind] = &[$(Kind::$kind),*];
        }
    };
}

kinds! {
    ShortRead ShortWrite BlockedWrite ReadError WriteError EndOfInput ClientReset ClientHalfClosed ClientLeft
    SpuriousReady NothingToRead AcceptExhausted AcceptAborted ListenerWatchFailed WatchFailed SlotsFull
    Interrupted InterruptedBySignal WakeEvent Jump LongJump
    FreezeInWait FreezeInCall FreezeBetweenCalls FreezeSigcont FreezeSilent FreezeInterrupts FreezeVm
    StopInWait StopInCallback StopBetweenCalls StopAtRest DrainCutShort ExitInOrder
    CallbackFails CallbackPanics StreamWhole StreamFails StreamPanics StreamShort StreamCut InterruptedReader
    InitializeRan InitializeFailed InitializeReplayed PreFreezeRan PreFreezeReplayed PreStopCalled PreStopReplayed
    PreStopAtExit HookRefused HookUnimplemented HookUnauthorised HookFromOutside Thaw ThawWithoutHook
    Event Call Head Continue Http10 AskedToClose KeptHttp10 Chunked Sized Pipelined OverLimit Malformed
    BodyTooLarge Health NotFound WrongMethod NoContent HeadTimeout BodyTimeout StallCut StallSpared LingerTimeout
    LingerToTheEnd InfiniteWait Crowd MadeRoom Overloaded
}

pub(super) struct Seen([u64; Kind::ALL.len()]);

impl Seen {
    pub(super) fn new() -> Seen {
        Seen([0; Kind::ALL.len()])
    }

    pub(super) fn count(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub(super) fn add(&mut self, other: &Seen) {
        for (mine, more) in self.0.iter_mut().zip(other.0) {
            *mine += more;
        }
    }

    pub(super) fn never(&self) -> Vec<Kind> {
        Kind::ALL.iter().copied().filter(|kind| self.0[*kind as usize] == 0).collect()
    }

    pub(super) fn table(&self) -> String {
        Kind::ALL.iter().map(|kind| format!("{kind:?} {}", self.0[*kind as usize])).collect::<Vec<_>>().join(", ")
    }
}
