//! The counts of all functions, as Prometheus reads them.

use std::fmt::Write;

use super::Platform;
use super::core::Phase;
use super::journal::{BOUNDS, Histogram};

/// The text at `/_fc/metrics`.
pub fn text(platform: &Platform) -> String {
    let mut text = String::new();
    let counts = platform.shared.journal.counts();
    head(&mut text, "fc_calls_total", "counter", "Calls that are over, by the status that the caller got.");
    for (name, counts) in &counts {
        for (status, count) in &counts.calls {
            line(&mut text, &format!("fc_calls_total{{function=\"{name}\",status=\"{status}\"}}"), *count);
        }
    }
    head(&mut text, "fc_call_errors_total", "counter", "Calls with an error of the platform or of the function.");
    for (name, counts) in &counts {
        line(&mut text, &format!("fc_call_errors_total{{function=\"{name}\"}}"), counts.errors);
    }
    head(&mut text, "fc_calls_found_total", "counter", "Calls by the state in which they found their instance.");
    for (name, counts) in &counts {
        for (found, count) in &counts.found {
            line(&mut text, &format!("fc_calls_found_total{{function=\"{name}\",found=\"{found}\"}}"), *count);
        }
    }
    head(&mut text, "fc_call_seconds", "histogram", "Durations of calls, with the wait for an instance.");
    for (name, counts) in &counts {
        for (found, histogram) in [("any", &counts.took), ("cold", &counts.cold), ("thawed", &counts.thawed)] {
            classes(&mut text, &format!("function=\"{name}\",found=\"{found}\""), histogram);
        }
    }
    head(&mut text, "fc_instances", "gauge", "Instances by phase.");
    for (name, function) in &platform.functions {
        let instances = function.look(|scheduler| scheduler.instances().to_vec());
        for phase in Phase::ALL {
            let count = instances.iter().filter(|instance| instance.phase == phase).count() as u64;
            line(&mut text, &format!("fc_instances{{function=\"{name}\",phase=\"{}\"}}", phase.name()), count);
        }
    }
    head(&mut text, "fc_calls_waiting", "gauge", "Calls that wait for an instance.");
    for (name, function) in &platform.functions {
        let waiting = function.look(|scheduler| scheduler.waiting() as u64);
        line(&mut text, &format!("fc_calls_waiting{{function=\"{name}\"}}"), waiting);
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn line(text: &mut String, series: &str, count: u64) {
    let _ = writeln!(text, "{series} {count}");
}

fn classes(text: &mut String, labels: &str, histogram: &Histogram) {
    let mut below = 0;
    for (bound, count) in BOUNDS.iter().zip(histogram.counts) {
        below += count;
        line(text, &format!("fc_call_seconds_bucket{{{labels},le=\"{bound}\"}}"), below);
    }
    line(text, &format!("fc_call_seconds_bucket{{{labels},le=\"+Inf\"}}"), histogram.count());
    let _ = writeln!(text, "fc_call_seconds_sum{{{labels}}} {}", histogram.sum);
    line(text, &format!("fc_call_seconds_count{{{labels}}}"), histogram.count());
}
