//! Which run of a tool created a thing: the id and the start of its process, the namespace of the id, and the boot of
//! the machine.
//!
//! The name stands in every control group, on every container and on every folder, for two reasons. Two runs never use
//! one name. And a run that was killed can be told from one that lives, so a later run removes what the first one left,
//! and nothing else.

use std::fmt;
use std::str::FromStr;

use crate::process;

/// One run of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pid: u32,
    started: u64,
    namespace: u64,
    boot: u32,
}

/// The beginning of every name that the emulator gives. Users look for it, too.
const PREFIX: &str = "fc-emulator";

impl Owner {
    /// This process.
    pub fn this_run() -> Self {
        let pid = std::process::id();
        Self {
            pid,
            started: process::started(pid).unwrap_or_default(),
            namespace: process::pid_namespace().unwrap_or_default(),
            boot: boot().unwrap_or_default(),
        }
    }

    /// The name of a thing of this run, after a prefix of the tool's own.
    pub fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}-{}-{}-{:08x}", self.pid, self.started, self.namespace, self.boot)
    }

    /// The run that gave a thing this name. `None` if the name is another.
    pub fn of_name(name: &str, prefix: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix(prefix)?.strip_prefix('-')?.split('-');
        let owner = Self {
            pid: numbers.next()?.parse().ok()?,
            started: numbers.next()?.parse().ok()?,
            namespace: numbers.next()?.parse().ok()?,
            boot: u32::from_str_radix(numbers.next()?, 16).ok()?,
        };
        numbers.next().is_none().then_some(owner)
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether that run has certainly ended. Nothing is known of a run in another namespace or on another machine.
    pub fn is_dead(&self) -> bool {
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
        f.write_str(&self.name(PREFIX))
    }
}

impl FromStr for Owner {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::of_name(text, PREFIX).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_run() {
        let own = Owner::this_run();
        assert_eq!(own.to_string().parse(), Ok(own));
        assert_eq!(Owner::of_name(&own.name("tool-x"), "tool-x"), Some(own));
        assert_eq!(Owner::of_name(&own.name("tool-x"), "tool"), None);
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
