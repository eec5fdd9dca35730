//! One fleet: its instances are started, called, counted, frozen, thawed and killed.
//!
//! The client does not spin. It sends each call to all instances before it waits for the first reply, so all instances
//! work at the same time, and each wait blocks until the reply is there. Connections stay open, as the platform keeps
//! them. The memory of both ends of a connection counts in the decrease of the machine's free memory.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Call, Capacity, Client, Conn, Contender, Instance, Start, freeze_all, micros, now};
use crate::results::Fleet;
use fc_emulator::clock::{Deadline, seconds};
use fc_emulator::error::Result;
use fc_emulator::freezer::{FreezeGroup, FreezeWith};
use fc_testkit::proc::{Memory, available_kb};

/// What all fleets have in common.
pub struct Host {
    /// The client that calls them.
    pub client: Client,
    /// How they are frozen.
    pub freeze_with: FreezeWith,
    /// Time limit to start all, again to get all answers, and again to freeze and thaw all.
    pub limit: Duration,
}

/// An instance that has answered.
struct Member<'a> {
    instance: Instance,
    conn: Conn<'a>,
}

/// The instances that have reached this step, and the reasons why others have not.
struct Rest<T> {
    members: Vec<T>,
    stopped_by: Option<String>,
}

impl Host {
    /// Runs one fleet from its start to its end. No instance of it is left afterwards.
    ///
    /// # Errors
    /// If the machine does not tell its limits, or has no freezer for so many instances.
    pub fn gather(&self, contender: &Contender, wanted: u32) -> Result<Fleet> {
        let capacity = Capacity::make(wanted)?;
        let groups =
            (0..wanted).map(|_| FreezeGroup::new(self.freeze_with).map(Arc::new)).collect::<Result<Vec<_>>>()?;
        let before_kb = available_kb()?;
        let first = now();
        let started = self.start(contender, groups, &capacity);
        let mut fleet = Fleet { name: contender.name().to_owned(), wanted, ..Fleet::default() };
        fleet.started = started.members.len() as u32;
        fleet.started_us = micros(first, now());
        let answered = self.ask(contender, started.members, &capacity);
        fleet.answered = answered.members.len() as u32;
        fleet.all_answered_us = micros(first, now());
        let after_kb = available_kb()?;
        fleet.stopped_by = started.stopped_by.or(answered.stopped_by);
        let mut members = answered.members;
        count(&members, &mut fleet);
        if fleet.answered == fleet.started {
            weigh(before_kb as f64 - after_kb as f64, &mut fleet);
        }
        self.freeze_and_thaw(&mut members, &mut fleet);
        // All at once, because a kill that waits takes time.
        members.iter().for_each(|member| member.instance.signal(Signal::KILL));
        Ok(fleet)
    }

    fn start(&self, contender: &Contender, groups: Vec<Arc<FreezeGroup>>, capacity: &Capacity) -> Rest<Instance> {
        let deadline = Deadline::after(self.limit);
        let mut members = Vec::with_capacity(groups.len());
        for group in groups {
            let stopped_by = capacity.shortage(members.len()).or_else(|| self.late(deadline)).or_else(|| {
                let started = Instance::start(contender, &Start { group: Some(group), ..Start::default() });
                started.map(|instance| members.push(instance)).err().map(|cause| cause.to_string())
            });
            if stopped_by.is_some() {
                return Rest { members, stopped_by };
            }
        }
        Rest { members, stopped_by: None }
    }

    /// Sends `/initialize`, `/invoke` and `/pre-freeze`, each to all instances before it waits for the first reply.
    fn ask(&self, contender: &Contender, instances: Vec<Instance>, capacity: &Capacity) -> Rest<Member<'_>> {
        let deadline = Deadline::after(self.limit);
        let mut complaints = Complaints::default();
        let mut members = Vec::with_capacity(instances.len());
        for (number, instance) in instances.into_iter().enumerate() {
            // Instances take more memory when they are called, so the limits are checked again.
            if let Some(shortage) = capacity.shortage(number) {
                complaints.add(shortage);
                break;
            }
            let conn = self.client.connect(contender, &instance, deadline);
            let sent = conn.and_then(|mut conn| conn.send(Call::Initialize, deadline).map(|()| conn));
            members.extend(complaints.sift(sent).map(|conn| Member { instance, conn }));
        }
        for (answered, next) in [(Call::Initialize, Call::Invoke), (Call::Invoke, Call::PreFreeze)] {
            members.retain_mut(|Member { conn, .. }| {
                let next = conn.reply(answered, deadline).and_then(|()| conn.send(next, deadline));
                complaints.sift(next).is_some()
            });
        }
        members.retain_mut(|member| complaints.sift(member.conn.reply(Call::PreFreeze, deadline)).is_some());
        Rest { members, stopped_by: self.reason(complaints, deadline) }
    }

    /// Freezes all, and then thaws one after the other, each with a call that was sent while it was frozen.
    fn freeze_and_thaw(&self, members: &mut [Member<'_>], fleet: &mut Fleet) {
        if members.is_empty() {
            return;
        }
        let mut complaints = Complaints::default();
        let deadline = Deadline::after(self.limit);
        let instances: Vec<&Instance> = members.iter().map(|member| &member.instance).collect();
        let first_freeze = now();
        let (frozen_at, outcomes) = freeze_all(&instances);
        if outcomes.iter().all(Result::is_ok) {
            fleet.all_frozen_us = Some(micros(first_freeze, frozen_at));
        }
        let first_thaw = now();
        for (member, frozen) in members.iter_mut().zip(outcomes) {
            let thawed = complaints.sift(frozen.and_then(|()| member.thaw(deadline)));
            fleet.thaws_us.extend(thawed);
        }
        if fleet.thaws_us.len() == members.len() {
            fleet.all_thawed_us = Some(micros(first_thaw, now()));
        }
        fleet.failures.extend(self.reason(complaints, deadline));
    }

    /// The reason why some failed. Running out of time comes first, because it explains the others.
    fn reason(&self, complaints: Complaints, deadline: Deadline) -> Option<String> {
        complaints.text().map(|text| self.late(deadline).unwrap_or(text))
    }

    fn late(&self, deadline: Deadline) -> Option<String> {
        deadline.passed().then(|| format!("time: it took more than {}", seconds(self.limit)))
    }
}

impl Member<'_> {
    /// From the thaw to the reply, in microseconds.
    fn thaw(&mut self, deadline: Deadline) -> Result<f64> {
        self.conn.send(Call::Invoke, deadline)?;
        let thawed = now();
        self.instance.thaw()?;
        self.conn.reply(Call::Invoke, deadline)?;
        Ok(micros(thawed, now()))
    }
}

/// The memory of each instance.
fn count(members: &[Member<'_>], fleet: &mut Fleet) {
    let mut complaints = Complaints::default();
    for member in members {
        if let Some(memory) = complaints.sift(Memory::of_family(member.instance.pid())) {
            fleet.proportional_kb.push(memory.proportional_kb as f64);
            fleet.private_kb.push(memory.private_kb as f64);
            fleet.resident_kb.push(memory.resident_kb as f64);
        }
    }
    fleet.failures.extend(complaints.text());
}

/// The memory that each instance costs the machine. `None` if other programs gave back so much that the figure cannot
/// be true.
fn weigh(fallen_kb: f64, fleet: &mut Fleet) {
    let private_kb: f64 = fleet.private_kb.iter().sum();
    if fleet.answered > 0 && fallen_kb >= private_kb {
        fleet.machine_kb = Some(fallen_kb / f64::from(fleet.answered));
    } else if fleet.answered > 0 {
        let cause = "the machine's free memory fell by less than their private memory: other programs freed some";
        fleet.failures.push(cause.to_owned());
    }
}

/// Failures of the same kind: how many there were, and the text of the first.
#[derive(Default)]
struct Complaints {
    first: Option<String>,
    count: usize,
}

impl Complaints {
    fn add(&mut self, cause: impl Display) {
        self.first.get_or_insert_with(|| cause.to_string());
        self.count += 1;
    }

    fn sift<T, E: Display>(&mut self, outcome: std::result::Result<T, E>) -> Option<T> {
        outcome.map_err(|cause| self.add(cause)).ok()
    }

    fn text(self) -> Option<String> {
        let first = self.first?;
        Some(if self.count == 1 { first } else { format!("{first}; and {} more", self.count - 1) })
    }
}
