//! Which run of the emulator created a thing: the id and the start of its process, the namespace of the id, and the
//! boot of the machine.
//!
//! The name stands in every control group and on every container, for two reasons. Two runs never use one name. And a
//! run that was killed can be told from one that lives, so a later run removes what the first one left, and nothing
//! else.

use std::fmt;
use std::str::FromStr;

use crate::process;

/// One run of the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pid: u32,
    started: u64,
    namespace: u64,
    boot: u32,
}

/// The beginning of every name. Users look for it, too.
const PREFIX: &str = "fc-emulator";

impl Owner {
    /// This process.
    pub(crate) fn this_run() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: process::started(pid).unwrap_or_default(),
            namespace: process::pid_namespace().unwrap_or_default(),
            boot: boot().unwrap_or_default(),
        }
    }

    /// The id of its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether that run has certainly ended. Nothing is known of a run in another namespace or on another machine.
    pub(crate) fn is_dead(&self) -> bool {
        let is_known = process::pid_namespace() == Some(self.namespace) && boot() == Some(self.boot);
        is_known && process::started(self.pid) != Some(self.started)
    }
}

/// The beginning of the id that the kernel gives each boot of each machine.
fn boot() -> Option<u32> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u32::from_str_radix(id.get(..8)?, 16).ok()
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}-{}-{}-{}-{:08x}", self.pid, self.started, self.namespace, self.boot)
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = text.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-')).ok_or(())?.split('-');
        let mut next = || numbers.next().ok_or(());
        let owner = Self {
            pid: next()?.parse().map_err(drop)?,
            started: next()?.parse().map_err(drop)?,
            namespace: next()?.parse().map_err(drop)?,
            boot: u32::from_str_radix(next()?, 16).map_err(drop)?,
        };
        if numbers.next().is_none() { Ok(owner) } else { Err(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_run() {
        let own = Owner::this_run();
        assert_eq!(own.to_string().parse(), Ok(own));
        for foreign in ["fc-emulator-1-0", "fc-emulator-1-2-3-4-5", "fc-emulator-x-2-3-4", "my-fc-emulator-1-2-3-4", ""]
        {
            assert_eq!(foreign.parse::<Owner>(), Err(()), "{foreign}");
        }
    }

    #[test]
    fn only_a_run_that_has_ended_is_dead() {
        let own = Owner::this_run();
        assert!(!own.is_dead());
        // Its id was given to another process.
        assert!(Owner { started: own.started + 1, ..own }.is_dead() || cfg!(not(target_os = "linux")));
        // Nobody here knows it.
        for unknown in [Owner { namespace: 1, ..own }, Owner { boot: !own.boot, ..own }] {
            assert!(!Owner { started: own.started + 1, ..unknown }.is_dead());
        }
    }
}
