//! One contender in a virtual machine, saved and restored.

use std::time::Duration;

use super::Way;
use crate::harness::{Call, Client, Contender, Tree, micros, now};
use fc_emulator::clock::Deadline;
use fc_emulator::error::Result;
use fc_emulator::platform::PORT_NAMES;
use fc_emulator::vm::{Guest, Method, Options, Program, Snapshot, Tools};
use fc_testkit::proc::Faults;

/// The port of the contender in its guest.
const PORT: u16 = 9000;

/// The memory of a guest with CRIU, in MiB. CRIU asks the kernel for all that a process has mapped, and a runtime maps
/// far more than it uses.
const CRIU_MEMORY_MIB: u64 = 2048;

/// Calls before it is saved, so that it has touched all memory that a call needs.
const WARM_CALLS: usize = 5;

/// From the start of the contender to an open port; an emulated guest takes its time.
const READY_WAIT: Duration = Duration::from_secs(120);

/// How long a call may take.
const CALL_WAIT: Duration = Duration::from_secs(60);

/// A contender that can be restored.
pub struct Saved<'a> {
    contender: &'a Contender,
    client: Client,
    state: State,
    /// The bytes that were saved.
    pub bytes: Option<u64>,
}

enum State {
    Snapshot(Snapshot),
    /// The guest runs on, and the contender in it was restored.
    ByCriu(Box<Guest>),
}

impl<'a> Saved<'a> {
    /// Boots it, calls it, and saves it for the first time.
    ///
    /// # Errors
    /// If it cannot be booted or saved, or does not answer.
    pub fn make(tools: &Tools, contender: &'a Contender, way: Way) -> Result<Self> {
        let program = program(contender)?;
        let criu = way == Way::Criu;
        let options = Options { criu, memory_mib: criu.then_some(CRIU_MEMORY_MIB), ..Options::default() };
        let mut guest = Guest::boot(tools, &program, PORT, &options)?;
        guest.wait_ready(READY_WAIT)?;
        let client = Client::default();
        call(&client, contender, &guest, Call::Initialize)?;
        for _ in 0..WARM_CALLS {
            call(&client, contender, &guest, Call::Invoke)?;
        }
        let (state, bytes) = match way {
            Way::VmSnapshot => {
                let snapshot = guest.snapshot()?;
                let bytes = snapshot.bytes();
                (State::Snapshot(snapshot), bytes)
            }
            Way::Criu => {
                guest.freeze(Method::Criu)?;
                let bytes = guest.saved_bytes()?;
                guest.thaw()?;
                call(&client, contender, &guest, Call::Invoke)?;
                (State::ByCriu(Box::new(guest)), bytes)
            }
        };
        Ok(Self { contender, client, state, bytes: Some(bytes) })
    }

    /// Restores it and calls it: microseconds until it ran and until it had answered, and page faults between the two
    /// if they can be read without taking time.
    ///
    /// # Errors
    /// If it cannot be restored, or does not answer.
    pub fn restore(&mut self) -> Result<(f64, f64, Option<u64>)> {
        match &mut self.state {
            State::Snapshot(snapshot) => {
                let from = now();
                let guest = Guest::restore(snapshot)?;
                let restored = now();
                let faults = || guest.vmm_pid().and_then(|pid| Faults::of(pid).ok());
                let before = faults();
                call(&self.client, self.contender, &guest, Call::Invoke)?;
                let replied = now();
                let since = faults().zip(before).map(|(after, before)| after.since(before));
                let faults = since.map(|since| since.minor + since.major);
                Ok((micros(from, restored), micros(from, replied), faults))
            }
            State::ByCriu(guest) => {
                guest.freeze(Method::Criu)?;
                let from = now();
                guest.thaw()?;
                let restored = now();
                call(&self.client, self.contender, guest, Call::Invoke)?;
                Ok((micros(from, restored), micros(from, now()), None))
            }
        }
    }

    /// The page faults in the guest between a restore and the reply, by one further restore. `None` for snapshots.
    pub fn faults(self) -> Option<Result<u64>> {
        let State::ByCriu(mut guest) = self.state else { return None };
        let mut count = || -> Result<u64> {
            guest.freeze(Method::Criu)?;
            guest.thaw()?;
            let before = guest.faults()?;
            call(&self.client, self.contender, &guest, Call::Invoke)?;
            let after = guest.faults()?;
            Ok((after.0 + after.1).saturating_sub(before.0 + before.1))
        };
        Some(count())
    }
}

/// The contender with its files, as a guest gets it.
fn program(contender: &Contender) -> Result<Program> {
    let mut words = contender.words(PORT);
    let own = contender.described.env.iter().cloned();
    let env: Vec<(String, String)> = own.chain(PORT_NAMES.map(|name| (name.to_owned(), PORT.to_string()))).collect();
    if contender.static_file.is_some() {
        return Program::command(&words, &env);
    }
    let tree = Tree::of(contender)?;
    if let Some(first) = words.first_mut() {
        *first = tree.program().to_owned();
    }
    Program::archive(tree.archive()?.file, &words, &env)
}

/// One call on a connection of its own.
fn call(client: &Client, contender: &Contender, guest: &Guest, which: Call) -> Result<()> {
    let deadline = Deadline::after(CALL_WAIT);
    client.connect_to(contender, guest.addr(), deadline, || None)?.call(which, deadline)
}
