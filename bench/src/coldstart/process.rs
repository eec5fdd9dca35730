//! Starts as processes. The client and the server have a processor each. The child itself reads the clock, just before
//! its exec.

use std::time::Duration;

use super::client::{Client, PollInterval};
use super::{Series, ending};
use crate::harness::{Contender, Instance, Pinned, Processors, Progress, Start};
use crate::results::{Skipped, Starts};
use fc_emulator::error::Result;

/// Short compared with the quickest start, and long enough that the client mostly sleeps.
const POLL_INTERVAL: PollInterval =
    PollInterval { pause_ns: 10_000..30_000, of_elapsed: 0.0, patience: Duration::from_secs(20) };

/// Measures all contenders.
///
/// # Errors
/// If no processor is known to measure from.
pub fn measure(
    series: &Series<'_>,
    client: &mut Client,
    progress: &mut dyn Progress,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Starts>> {
    let processors = Processors::split()?;
    if !processors.apart() {
        let reason =
            "there is only one processor, so the times of processes include some time of the client".to_owned();
        skipped.push(Skipped { what: "a processor for the client".to_owned(), reason });
    }
    let contenders: Vec<&Contender> = series.plan.contenders.iter().collect();
    progress.begin("cold start, process", series.steps(contenders.len()));
    let _pinned = Pinned::to(&processors.client)?;
    Ok(series.run(&contenders, progress, |contender| {
        let start = Start { processors: &processors.server, ..Start::default() };
        let instance = Instance::start(contender, &start).map_err(|cause| cause.to_string())?;
        let timestamps =
            client.first_replies(contender, instance.address(), &POLL_INTERVAL, || instance.try_exit().map(ending))?;
        Ok((instance.exec_at(), timestamps))
    }))
}
