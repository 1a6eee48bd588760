//! Two programs at the same work.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

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
    /// How many times as fast kpeel means to be; `None` where it does more than the peer.
    pub(crate) goal: Option<f64>,
    /// Whether both have to make the image's digest, which then nobody can be faster than.
    pub(crate) hashes: bool,
    /// The image that is made or looked at, in the end.
    pub(crate) image: PathBuf,
    /// Whether the work was done, asked after each round.
    pub(crate) check: fn(&Contest) -> Outcome<()>,
    /// What both leave, if they leave something.
    pub(crate) made: Vec<PathBuf>,
}

/// What one program used in all rounds.
#[derive(Debug, Default)]
struct Total {
    times: Vec<Duration>,
    cpu: Vec<Duration>,
    peak: u64,
}

impl Contest {
    pub(crate) const HEAD: &'static str = "work           peer          ratio (of CPU time)   goal  peak memory (kpeel, peer, allowed)";

    /// Runs both in turn; the first round warms up and does not count. The result is a line.
    ///
    /// Images are made where there is none: what it costs to replace one is the file system's doing. ext4 writes a new
    /// file to the disk before it takes an old one's name.
    pub(crate) fn fight(&self, rounds: usize) -> Outcome<String> {
        let (mut ours, mut theirs, mut digests) = (Total::default(), Total::default(), Vec::new());
        for round in 0..=rounds {
            for made in &self.made {
                remove(made)?;
            }
            let (our, their) = (run(&self.kpeel)?, run(&self.peer)?);
            (self.check)(self)?;
            if round != 0 {
                ours.add(our);
                theirs.add(their);
                digests.push(self.digest()?);
            }
        }
        let ratio = over(&theirs.times, &ours.times);
        let allowed = std::fs::metadata(&self.image)?.len() + ROOM;
        let speed = match self.goal {
            Some(goal) => format!("{goal:3} x  {}", met("speed", ratio >= goal)),
            None => "      no goal".to_owned(),
        };
        let floor = match self.hashes {
            true => {
                let floor = over(&theirs.times, &digests);
                format!(
                    "\n{:29}{floor:5.1} x is what the image's SHA-256 alone allows",
                    ""
                )
            }
            false => String::new(),
        };
        Ok(format!(
            "{:14} {:12} {ratio:6.1} x ({:6.1} x)       {speed}; {}, {}, {}: {}{floor}",
            self.name,
            self.peer_name,
            over(&theirs.cpu, &ours.cpu),
            mebibytes(ours.peak),
            mebibytes(theirs.peak),
            mebibytes(allowed),
            met("memory", ours.peak <= allowed),
        ))
    }

    /// How long the bare digest of the image takes, in memory.
    fn digest(&self) -> Outcome<Duration> {
        let image = std::fs::read(&self.image)?;
        let started = Instant::now();
        std::hint::black_box(Sha256::digest(&image));
        Ok(started.elapsed())
    }
}

impl Total {
    fn add(&mut self, usage: Usage) {
        self.times.push(usage.elapsed);
        self.cpu.push(usage.cpu);
        self.peak = self.peak.max(usage.peak);
    }
}

/// Takes away what an earlier round has made.
fn remove(path: &Path) -> Outcome<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The ratio of medians.
fn over(one: &[Duration], other: &[Duration]) -> f64 {
    median(one).as_secs_f64() / median(other).as_secs_f64()
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn met(what: &str, met: bool) -> String {
    format!("{what} {}", if met { "as wanted" } else { "MISSED" })
}
