//! How long each fuzz target was run so far: `fuzz/record.json`, which documents quote.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Failure;

/// All runs that were recorded.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Record {
    schema: u32,
    targets: BTreeMap<String, Sum>,
}

/// The runs of one target. All of them ended without a find: one that finds something is no run to count.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct Sum {
    runs: u64,
    seconds: u64,
    /// How much of them the process was on a processor.
    processor_seconds: u64,
    executions: u64,
    peak_mib: u64,
}

/// What libFuzzer and the system tell at the end of a run.
#[derive(Debug, PartialEq)]
pub(crate) struct Done {
    seconds: u64,
    processor_seconds: u64,
    pub(crate) executions: u64,
    /// Most memory resident, in MiB.
    pub(crate) peak_mib: u64,
}

impl Done {
    /// Reads the last lines of a log: `Done N runs in M second(s)`, then `-print_final_stats=1`.
    pub(crate) fn of_log(log: &str, processor_seconds: u64) -> Option<Self> {
        let rest = |start: &str| log.lines().find_map(|line| line.strip_prefix(start));
        let number = |name: &str| rest(name)?.trim().parse().ok();
        let (_, seconds) = rest("Done ")?.split_once(" runs in ")?;
        Some(Self {
            seconds: seconds.split(' ').next()?.parse().ok()?,
            processor_seconds,
            executions: number("stat::number_of_executed_units:")?,
            peak_mib: number("stat::peak_rss_mb:")?,
        })
    }
}

impl Record {
    /// Adds one run of `target` to the record in `path`, which is made if it is not there.
    pub(crate) fn add(path: &Path, target: &str, done: &Done) -> Result<(), Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::Step(format!("{}: {error}", path.display()));
        let mut record = if path.exists() {
            let text = std::fs::read(path).map_err(|error| failed(&error))?;
            serde_json::from_slice(&text).map_err(|error| failed(&error))?
        } else {
            Self::default()
        };
        record.count(target, done);
        let text = serde_json::to_string_pretty(&record).map_err(|error| failed(&error))?;
        let new = path.with_extension("new");
        std::fs::write(&new, text + "\n")
            .and_then(|()| std::fs::rename(&new, path))
            .map_err(|error| failed(&error))
    }

    fn count(&mut self, target: &str, done: &Done) {
        self.schema = 1;
        let sum = self.targets.entry(target.to_owned()).or_default();
        sum.runs += 1;
        sum.seconds += done.seconds;
        sum.processor_seconds += done.processor_seconds;
        sum.executions += done.executions;
        sum.peak_mib = sum.peak_mib.max(done.peak_mib);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "#2\tINITED cov: 3\n#90\tDONE cov: 4\nDone 90 runs in 11 second(s)\n\
        stat::number_of_executed_units: 90\nstat::average_exec_per_sec:     8\nstat::peak_rss_mb:              61\n";

    #[test]
    fn reads_what_libfuzzer_tells_and_sums_it() {
        let done = Done::of_log(LOG, 7).unwrap();
        let expected = Done {
            seconds: 11,
            processor_seconds: 7,
            executions: 90,
            peak_mib: 61,
        };
        assert_eq!(done, expected);
        let mut record = Record::default();
        record.count("pe", &done);
        record.count("pe", &done);
        let sum = Sum {
            runs: 2,
            seconds: 22,
            processor_seconds: 14,
            executions: 180,
            peak_mib: 61,
        };
        assert_eq!(record.targets.get("pe"), Some(&sum));
    }

    #[test]
    fn counts_nothing_of_a_run_that_did_not_end() {
        assert_eq!(
            Done::of_log("#2\tINITED cov: 3\n==1==ERROR: AddressSanitizer\n", 7),
            None
        );
    }
}
