//! The plots of bursts, of shares of a processor and of restores: a dot for every sample.

use super::plots::{ratio_text, spread_picture, told};
use super::{Figure, Section};
use crate::report::plot::{Distribution, Distributions};
use crate::report::units::{duration, number};
use crate::results::Results;
use crate::stats::figures::{self, BurstFigures, ContenderInfo, QuotaFigures, RestoreFigures};
use crate::stats::{Estimate, Sorted};

/// A row: the samples, their ratio to the baseline's, and a time to compare with.
fn row(contender: ContenderInfo, samples: &Sorted, ratio: Option<Estimate>, mark: Option<f64>) -> Distribution {
    Distribution {
        label: contender.label.to_owned(),
        kind: contender.kind,
        aside: ratio_text(contender.kind, ratio),
        words: told(contender.label, samples.estimate(), ratio, samples.outliers()),
        samples: samples.clone(),
        mark,
    }
}

fn figure(title: String, caption: String, rows: Vec<Distribution>, axis: &str) -> Option<Figure> {
    let plot = Distributions { rows, axis: axis.to_owned(), aside: "× baseline" };
    Some(Figure { picture: spread_picture(&plot, &title)?, title, caption, wide: true })
}

pub(super) fn bursts(results: &Results) -> Section {
    let figures = figures::bursts(results);
    Section { title: "Bursts of cold starts", figures: figures.iter().filter_map(burst).collect() }
}

fn burst(figures: &BurstFigures) -> Option<Figure> {
    let rows = figures.rows.iter().map(|it| row(it.contender, &it.last, it.ratio, it.middle.median())).collect();
    let ratios = match figures.client_limits {
        true => "The client was busy, so the ratios are those of processor time.",
        false => "The ratios are those of the last.",
    };
    let title = match figures.instances {
        1 => "One start, for comparison".to_owned(),
        many => format!("{many} at once"),
    };
    let caption = format!(
        "Each dot is one burst on one processor, from when all instances were let go until the last has answered its \
         first POST /initialize. The small triangle is the median time until half of them had. {ratios}"
    );
    figure(title, caption, rows, "all let go → the last has answered /initialize")
}

pub(super) fn quota(results: &Results) -> Section {
    let Some(quota) = &results.quota else {
        return Section { title: "Shares of a processor", figures: Vec::new() };
    };
    let (process, container) = (figures::quota(results, &quota.process), figures::quota(results, &quota.container));
    let of_process = |it: &QuotaFigures| {
        let ms = number(it.vcpu * quota.period_us / 1e3, 0);
        let from = format!("exec, with {ms} ms of processor time in every {}", duration(quota.period_us));
        share(it, format!("A process at {} vCPU", it.vcpu), &from, "exec → first /initialize answered")
    };
    let of_container = |it: &QuotaFigures| {
        let title = format!("A container at {} vCPU", it.vcpu);
        share(it, title, "docker run of a scratch image", "docker run → first /initialize answered")
    };
    let figures = process.iter().filter_map(of_process).chain(container.iter().filter_map(of_container)).collect();
    Section { title: "Shares of a processor", figures }
}

fn share(figures: &QuotaFigures, title: String, from: &str, axis: &str) -> Option<Figure> {
    let rows = figures.rows.iter().map(|it| row(it.contender, &it.initialize, it.ratio, None)).collect();
    let caption = format!(
        "Each dot is one start, from the {from}. A start that needs more than its share stands still until the next \
         period, so the dots form steps."
    );
    figure(title, caption, rows, axis)
}

pub(super) fn restores(results: &Results) -> Section {
    let figures = figures::restores(results);
    Section { title: "Restores", figures: figures.iter().filter_map(restore).collect() }
}

fn restore(figures: &RestoreFigures) -> Option<Figure> {
    let rows = figures.rows.iter().map(|it| row(it.contender, &it.reply, it.ratio, it.call_us)).collect();
    let title = match figures.way {
        "criu" => "Of a process by CRIU",
        _ => "Of a virtual machine",
    };
    let caption = "Each dot is one restore, from its beginning until a call was answered; most of it is the tool's own \
                   time. The small triangle is the median of the part after the instance ran again, which is what the \
                   server adds.";
    figure(title.to_owned(), caption.to_owned(), rows, "restore → reply")
}
