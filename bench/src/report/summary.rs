//! The few figures that represent all others, for the README's table and the head of the page.

use crate::results::{Kind, Results};
use crate::stats::figures::{
    self, ContenderInfo, CountFigures, FleetFigures, Fleets, LoadBlock, LoadFigures, PayloadFigures, PayloadRow,
    StartFigures, ThawFigures,
};

/// The number of connections of the load that represents all: it keeps one thread busy, and requests do not queue for
/// long.
const CONNECTIONS: u32 = 16;

/// The size of the fleet that represents all.
const INSTANCES: u32 = 200;

/// The figures that represent a run.
pub struct Summary<'a> {
    contenders: Vec<ContenderInfo<'a>>,
    starts: Vec<StartFigures<'a>>,
    counts: Vec<CountFigures<'a>>,
    thaws: Vec<ThawFigures<'a>>,
    /// The closed loop, on 16 connections if that was measured.
    pub closed: Option<LoadBlock<'a>>,
    /// A fixed rate, on the most connections that were measured.
    pub open: Option<LoadBlock<'a>>,
    /// The largest payload.
    pub payload: Option<PayloadFigures<'a>>,
    /// 200 instances, or else the most that were measured.
    pub fleets: Option<Fleets<'a>>,
}

/// The figures that represent a contender.
pub struct SummaryRow<'d, 'a> {
    /// The contender.
    pub contender: ContenderInfo<'a>,
    /// Its starts as a process.
    pub start: Option<&'d StartFigures<'a>>,
    /// Its counts.
    pub counts: Option<&'d CountFigures<'a>>,
    /// Its thaws.
    pub thaw: Option<&'d ThawFigures<'a>>,
    /// Its load in the closed loop, without log markers if it can turn them off.
    pub closed: Option<&'d LoadFigures<'a>>,
    /// The same with log markers, if it has them.
    pub with_markers: Option<&'d LoadFigures<'a>>,
    /// Its load at a fixed rate, without log markers if it can turn them off.
    pub open: Option<&'d LoadFigures<'a>>,
    /// The first of its echoes.
    pub echo: Option<&'d PayloadRow<'a>>,
    /// Its instances in a fleet.
    pub fleet: Option<&'d FleetFigures<'a>>,
}

impl<'a> Summary<'a> {
    /// The figures of a whole run.
    pub fn new(results: &'a Results) -> Self {
        let (closed, open): (Vec<LoadBlock>, Vec<LoadBlock>) =
            figures::load(results).into_iter().partition(|block| block.pattern.rate.is_none());
        let mut fleets = figures::fleets(results);
        let fleet = fleets.iter().position(|fleets| fleets.wanted == INSTANCES);
        Self {
            contenders: results.contenders.iter().map(|it| figures::contender(results, &it.name)).collect(),
            starts: results.coldstart.as_ref().map(|it| figures::starts(results, &it.process)).unwrap_or_default(),
            counts: figures::counts(results),
            thaws: figures::thaw(results),
            closed: closed
                .into_iter()
                .filter(|block| !block.pattern.reconnect)
                .min_by_key(|block| block.pattern.connections.abs_diff(CONNECTIONS)),
            open: open.into_iter().max_by_key(|block| block.pattern.connections),
            payload: figures::payloads(results).into_iter().max_by_key(|block| block.body_bytes),
            fleets: fleet.map(|index| fleets.swap_remove(index)).or_else(|| fleets.pop()),
        }
    }

    /// One row for each contender.
    pub fn lines(&self) -> impl Iterator<Item = SummaryRow<'_, 'a>> {
        self.contenders.iter().map(|contender| self.line(*contender))
    }

    /// The first of our contenders represents all of ours.
    pub fn ours(&self) -> Option<SummaryRow<'_, 'a>> {
        self.lines().find(|line| line.contender.kind == Kind::Ours)
    }

    fn line(&self, contender: ContenderInfo<'a>) -> SummaryRow<'_, 'a> {
        let name = contender.name;
        let fleet = self.fleets.as_ref().map_or(&[][..], |fleets| &fleets.rows);
        SummaryRow {
            contender,
            start: self.starts.iter().find(|it| it.contender.name == name),
            counts: self.counts.iter().find(|it| it.contender.name == name),
            thaw: self.thaws.iter().find(|it| it.contender.name == name),
            closed: row(&self.closed, name, |markers| markers != Some(true)),
            with_markers: row(&self.closed, name, |markers| markers == Some(true)),
            open: row(&self.open, name, |markers| markers != Some(true)),
            echo: self.payload.as_ref().and_then(|block| block.rows.iter().find(|row| row.of == name)),
            fleet: fleet.iter().find(|it| it.contender.name == name),
        }
    }
}

fn row<'d, 'a>(
    block: &'d Option<LoadBlock<'a>>,
    name: &str,
    wanted: fn(Option<bool>) -> bool,
) -> Option<&'d LoadFigures<'a>> {
    block.as_ref()?.rows.iter().find(|row| row.contender.name == name && wanted(row.markers))
}
