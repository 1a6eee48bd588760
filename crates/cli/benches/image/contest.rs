//! Two programs at the same work.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::Outcome;
use crate::run::{Usage, run};

/// Memory that kpeel may take beside the image's own size.
const ROOM: u64 = 16 << 20;

/// Two commands for the same work.
#[derive(Debug)]
pub(crate) struct Contest {
    pub(crate) name: &'static str,
    pub(crate) kpeel: Vec<OsString>,
    pub(crate) peer_name: &'static str,
    pub(crate) peer: Vec<OsString>,
    /// How many times as fast kpeel means to be.
    pub(crate) goal: f64,
    /// The image that is made or looked at, in the end.
    pub(crate) image: PathBuf,
    /// Whether the work was done, asked after each round.
    pub(crate) check: fn(&Contest) -> Outcome<()>,
    /// What the peer leaves, if it leaves something.
    pub(crate) peer_image: PathBuf,
}

/// What one program used in all rounds.
#[derive(Debug, Default)]
struct Total {
    times: Vec<Duration>,
    peak: u64,
}

impl Contest {
    pub(crate) const HEAD: &'static str =
        "work     peer           ratio   goal  peak memory (kpeel, peer, allowed)";

    /// Runs both in turn; the first round warms up and does not count. The result is a line.
    pub(crate) fn fight(&self, rounds: usize) -> Outcome<String> {
        let (mut ours, mut theirs) = (Total::default(), Total::default());
        for round in 0..=rounds {
            let (our, their) = (run(&self.kpeel)?, run(&self.peer)?);
            (self.check)(self)?;
            if round != 0 {
                ours.add(our);
                theirs.add(their);
            }
        }
        let ratio = theirs.median().as_secs_f64() / ours.median().as_secs_f64();
        let allowed = std::fs::metadata(&self.image)?.len() + ROOM;
        Ok(format!(
            "{:8} {:12} {ratio:6.1} x {:3} x  {}, {}, {}: {}, {}",
            self.name,
            self.peer_name,
            self.goal,
            mebibytes(ours.peak),
            mebibytes(theirs.peak),
            mebibytes(allowed),
            met("speed", ratio >= self.goal),
            met("memory", ours.peak <= allowed),
        ))
    }
}

impl Total {
    fn add(&mut self, usage: Usage) {
        self.times.push(usage.elapsed);
        self.peak = self.peak.max(usage.peak);
    }

    fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn met(what: &str, met: bool) -> String {
    format!("{what} {}", if met { "as wanted" } else { "MISSED" })
}
