//! From a restore to the first reply, and how much was saved for it.
//!
//! Each contender runs alone in a virtual machine of the emulator, is initialized and warmed up, and saved. In every
//! round each of them is restored, in shuffled order, and gets one call:
//!
//! - `vm-snapshot`: the guest is saved whole, and every round starts another QEMU with the state, as a platform of
//!   virtual machines does. QEMU reads all of it before the guest runs.
//! - `criu`: CRIU saves the process in the guest, the process ends, and CRIU restores it. The guest runs on.
//!
//! Without hardware virtualisation the guest is emulated, several times slower than a processor; ratios are what counts
//! then. The files of a contender that is no static program lie in the guest's memory, so its snapshot has them, too.

mod guest;

use clap::Args as Arguments;

use crate::harness::{Contender, Plan, Progress, shuffled};
use crate::results::{Restore, RestoreSample, Restores, Skipped};
use fc_emulator::error::{Error, Result};
use fc_emulator::vm;
use guest::Saved;

/// The contenders of a run that names none: a boot takes seconds, and the guests of all would take most of an hour.
const CONTENDERS: [&str; 5] = ["hello", "hyper", "go", "node", "python"];
const CONTENDERS_QUICK: [&str; 2] = ["hello", "go"];

/// After this many failures in a row a contender is not restored again.
const FAILURES_MAX: u32 = 3;

/// Options of the measure.
#[derive(Clone, Debug, Arguments)]
#[group(skip)]
pub struct Args {
    /// Restores of each contender in each way [default: 10, or 2 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    restore_rounds: Option<u32>,

    /// The ways to save and restore
    #[arg(long, value_delimiter = ',', default_value = "vm-snapshot,criu", value_name = "LIST")]
    restore_with: Vec<Way>,

    /// The kernel to boot [default: the newest of Debian's cloud kernels that is unpacked or installed here]
    #[arg(long, value_name = "FILE")]
    vm_kernel: Option<std::path::PathBuf>,
}

/// A way to save and restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Way {
    /// A snapshot of a virtual machine.
    VmSnapshot,
    /// CRIU, inside of a virtual machine.
    Criu,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::VmSnapshot => "vm-snapshot",
            Self::Criu => "criu",
        }
    }
}

/// Measures the contenders in all ways. A failure of a contender is written beside its samples.
///
/// # Errors
/// If there can be no virtual machine here, or nobody answered after a restore.
pub fn run(
    plan: &Plan,
    all: bool,
    args: &Args,
    progress: &mut dyn Progress,
    skipped: &mut Vec<Skipped>,
) -> Result<Restore> {
    let tools = vm::requirements(args.vm_kernel.as_deref()).map_err(|missing| Error::new(missing.to_string()))?;
    let rounds = args.restore_rounds.unwrap_or(if plan.quick { 2 } else { 10 });
    let some = if plan.quick { &CONTENDERS_QUICK[..] } else { &CONTENDERS };
    let baseline = crate::results::Kind::Baseline;
    let takes_part = |it: &&Contender| all || it.described.kind == baseline || some.contains(&it.name());
    let contenders: Vec<&Contender> = plan.contenders.iter().filter(takes_part).collect();
    let mut found = Restore { tools: tools.versions(), restores: Vec::new() };
    for &way in &args.restore_with {
        if let (Way::Criu, Err(cause)) = (way, vm::requires_criu()) {
            skipped.push(Skipped { what: "restores by CRIU".to_owned(), reason: cause.to_string() });
            continue;
        }
        let steps = contenders.len() as u64 * u64::from(rounds + 1);
        progress.begin(&format!("restore, {}", way.name()), steps);
        found.restores.extend(measure(plan, &contenders, (way, rounds), &tools, progress));
    }
    let all = || found.restores.iter();
    if all().all(|restores| restores.samples.is_empty()) {
        let why = all().flat_map(|restores| &restores.failures).next().or(skipped.last().map(|last| &last.reason));
        return Err(Error::failed("restore", "any contender", why.map_or("there are no contenders", String::as_str)));
    }
    Ok(found)
}

fn measure(
    plan: &Plan,
    contenders: &[&Contender],
    (way, rounds): (Way, u32),
    tools: &vm::Tools,
    progress: &mut dyn Progress,
) -> Vec<Restores> {
    let mut all = Vec::new();
    let mut saved = Vec::new();
    for contender in contenders {
        let mut restores =
            Restores { name: contender.name().to_owned(), way: way.name().to_owned(), ..Restores::default() };
        match Saved::make(tools, contender, way) {
            Ok(it) => {
                restores.saved_bytes = it.bytes;
                saved.push(Some(it));
            }
            Err(cause) => {
                restores.failures.push(format!("it could not be saved: {cause}"));
                saved.push(None);
            }
        }
        all.push(restores);
        progress.step(contender.name());
    }
    let mut in_a_row = vec![0; all.len()];
    for round in 0..rounds {
        for index in shuffled(all.len(), plan.seed, round) {
            let restores = &mut all[index];
            if let (Some(it), true) = (&mut saved[index], in_a_row[index] < FAILURES_MAX) {
                match it.restore() {
                    Ok((restored_us, reply_us, faults)) => {
                        in_a_row[index] = 0;
                        restores.samples.push(RestoreSample { round, restored_us, reply_us });
                        restores.faults.extend(faults);
                    }
                    Err(cause) => {
                        in_a_row[index] += 1;
                        restores.failures.push(format!("round {round}: {cause}"));
                        if in_a_row[index] == FAILURES_MAX {
                            restores.failures.push(format!("given up after {FAILURES_MAX} failures in a row"));
                        }
                    }
                }
            }
            progress.step(&restores.name);
        }
    }
    for (restores, it) in all.iter_mut().zip(saved) {
        if let Some(faults) = it.and_then(Saved::faults) {
            match faults {
                Ok(faults) => restores.faults.push(faults),
                Err(cause) => restores.failures.push(format!("page faults: {cause}")),
            }
        }
    }
    all
}
