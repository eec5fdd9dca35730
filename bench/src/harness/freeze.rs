//! Freezes many instances as close together as possible.

use rustix::time::Timespec;

use super::instance::{Instance, now};
use fc_emulator::clock::Deadline;
use fc_emulator::error::{Error, Result};
use fc_emulator::freezer::{FREEZE_WAIT, stood_still};

/// Freezes all these instances as close together as possible, and proves that they do not run. Returns the time at
/// which the kernel had frozen the last one, and the outcome for each. An instance whose freeze failed is not frozen.
pub fn freeze_all(instances: &[&Instance]) -> (Timespec, Vec<Result<()>>) {
    let mut outcomes: Vec<Result<()>> = instances.iter().map(|instance| request(instance)).collect();
    let deadline = Deadline::after(FREEZE_WAIT);
    for (instance, outcome) in frozen(instances, &mut outcomes) {
        if deadline.until(|| instance.is_frozen().then_some(())).is_none() {
            *outcome = give_up(instance, Error::new("the freeze did not come into force"));
        }
    }
    let frozen_at = now();
    // One proof for all instances. Only if it fails, each gets a proof of its own, to find the one that ran.
    let pids = |instance: &Instance| instance.group().map_or(Vec::new(), |group| group.pids(instance.pid()));
    let all: Vec<&Instance> = frozen(instances, &mut outcomes).map(|(instance, _)| instance).collect();
    let proven = stood_still("the freeze", || all.iter().flat_map(|instance| pids(instance)).collect());
    if proven.is_err() {
        for (instance, outcome) in frozen(instances, &mut outcomes) {
            if let Err(cause) = stood_still("the freeze", || pids(instance)) {
                *outcome = give_up(instance, cause);
            }
        }
    }
    (frozen_at, outcomes)
}

fn request(instance: &Instance) -> Result<()> {
    match instance.try_exit() {
        Some(status) => Err(Error::new(format!("it ended before the freeze: {status}"))),
        None => instance.group()?.request_freeze(instance.pid()),
    }
}

fn frozen<'a>(
    instances: &'a [&'a Instance],
    outcomes: &'a mut [Result<()>],
) -> impl Iterator<Item = (&'a Instance, &'a mut Result<()>)> {
    instances.iter().copied().zip(outcomes).filter(|(_, outcome)| outcome.is_ok())
}

fn give_up(instance: &Instance, cause: Error) -> Result<()> {
    instance.thaw()?;
    Err(cause)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::harness::{Contender, Contenders, Start};
    use fc_emulator::freezer::{FreezeGroup, FreezeWith};

    fn contender(words: &str) -> Contender {
        let mut list = Contenders::default();
        list.give(&format!("it={words}")).unwrap();
        list.contenders.remove(0)
    }

    #[test]
    fn a_frozen_instance_stands_still_and_can_be_removed() {
        for method in [FreezeWith::CgroupV1, FreezeWith::CgroupV2, FreezeWith::Sigstop] {
            let start = |words| {
                let group = Some(Arc::new(FreezeGroup::new(method)?));
                Instance::start(&contender(words), &Start { group, ..Start::default() })
            };
            let (busy, asleep, ended) = match (start("yes"), start("sleep 600"), start("true")) {
                (Ok(busy), Ok(asleep), Ok(ended)) => (busy, asleep, ended),
                (Err(cause), ..) if method != FreezeWith::Sigstop => {
                    fc_testkit::skip(format!("freezes of many: {cause}"));
                    continue;
                }
                (busy, asleep, ended) => panic!("{method:?}: {:?}", [busy.err(), asleep.err(), ended.err()]),
            };
            assert!(Deadline::after(Duration::from_secs(10)).until(|| ended.try_exit()).is_some());
            let (_, outcomes) = freeze_all(&[&busy, &ended, &asleep]);
            assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true], "{outcomes:?}");
            assert!(busy.is_frozen() && asleep.is_frozen());
            asleep.thaw().unwrap();
            assert!(busy.is_frozen() && !asleep.is_frozen());
            let process = format!("/proc/{}", busy.pid());
            let group = busy.group().unwrap().entry();
            drop(busy);
            assert!(!Path::new(&process).exists(), "{method:?}");
            assert!(group.is_none_or(|group| !group.exists()), "{method:?}");
        }
    }

    #[test]
    fn no_instance_is_frozen_without_a_group_or_once_its_group_was_killed() {
        let free = Instance::start(&contender("sleep 600"), &Start::default()).unwrap();
        assert!(freeze_all(&[&free]).1[0].as_ref().is_err_and(|cause| cause.to_string().contains("without a freeze")));
        let group = FreezeGroup::new(FreezeWith::Sigstop).unwrap();
        group.kill(free.pid());
        assert!(group.request_freeze(free.pid()).unwrap_err().to_string().contains("being removed"));
    }
}
