//! Ends what earlier runs of the emulator left behind because they were killed.
//!
//! The supervisor of a target ends it when the emulator is killed, so mostly there is nothing. But it can be killed
//! too, and no supervisor watches containers. A thing is removed only if its name says that a run of the emulator
//! created it, and if that run has ended.

use crate::freezer::end_what_dead_runs_left;
use crate::owner::Owner;
use crate::target::{Spec, end_containers_of_dead_runs};

/// Ends what dead runs left: control groups, and containers if this run needs the engine anyhow. Returns a sentence
/// about each thing.
pub fn end(spec: &Spec) -> Vec<String> {
    let containers = match spec {
        Spec::Image { .. } => end_containers_of_dead_runs(),
        Spec::Command(_) | Spec::Addr(_) => Vec::new(),
    };
    let containers = containers
        .into_iter()
        .map(|(owner, name)| format!("removed the container {name} that an earlier run (pid {}) left", owner.pid()));
    end_groups().into_iter().chain(containers).collect()
}

/// Ends what dead runs left in control groups that freeze. Returns a sentence about each run.
pub fn end_groups() -> Vec<String> {
    let sentence = |(owner, count): (Owner, usize)| {
        let es = if count == 1 { "" } else { "es" };
        format!("ended {count} process{es} that an earlier run (pid {}) left in a control group", owner.pid())
    };
    end_what_dead_runs_left().into_iter().map(sentence).collect()
}
