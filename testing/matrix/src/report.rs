//! What the matrix prints, and the JSON it leaves.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use kpeel_matrix::Outcome;
use kpeel_matrix::guest::logs;
use kpeel_matrix::row::Row;
use kpeel_vm::{Accel, Report as Run};

/// Rows that have ended.
#[derive(Default)]
pub(crate) struct Report {
    ended: Vec<Ended>,
}

struct Ended {
    name: &'static str,
    accel: Option<Accel>,
    /// Of the guest alone; of everything, where there was none.
    guest: Duration,
    failure: Option<String>,
}

impl Report {
    /// Notes and prints how a row ended; `whole` is the time with making its images.
    pub(crate) fn add(&mut self, row: &Row, whole: Duration, outcome: Outcome<Run>) {
        let ended = match outcome {
            Ok(run) => Ended {
                name: row.name,
                accel: Some(run.accel),
                guest: run.elapsed,
                failure: None,
            },
            Err(error) => Ended {
                name: row.name,
                accel: None,
                guest: whole,
                failure: Some(error.to_string()),
            },
        };
        let seconds = whole.as_secs_f32();
        match &ended.failure {
            None => println!("pass {:24} {seconds:6.1} s  {}", row.name, row.claim),
            Some(why) => println!("FAIL {:24} {seconds:6.1} s  {}\n{why}", row.name, row.claim),
        }
        self.ended.push(ended);
    }

    /// Prints the sum and writes `matrix.json` beside the serial logs; whether all rows passed.
    pub(crate) fn finish(self, took: Duration) -> Outcome<bool> {
        let failed: Vec<&str> = self
            .ended
            .iter()
            .filter(|ended| ended.failure.is_some())
            .map(|ended| ended.name)
            .collect();
        let json = logs().join("matrix.json");
        fs::create_dir_all(logs())?;
        fs::write(&json, self.to_json(took))?;
        println!(
            "{} of {} rows passed in {:.0} s; serial logs: {}",
            self.ended.len() - failed.len(),
            self.ended.len(),
            took.as_secs_f32(),
            logs().display()
        );
        if !failed.is_empty() {
            println!("failed: {}", failed.join(" "));
        }
        Ok(failed.is_empty())
    }

    fn to_json(&self, took: Duration) -> String {
        let mut rows = String::new();
        for ended in &self.ended {
            let accel = match ended.accel {
                Some(Accel::Kvm) => "\"kvm\"",
                Some(Accel::Tcg) => "\"tcg\"",
                None => "null",
            };
            let separator = if rows.is_empty() { "" } else { "," };
            // Names are plain words, so nothing needs quoting.
            let _ = write!(
                rows,
                "{separator}\n  {{\"row\": \"{}\", \"passed\": {}, \"accel\": {accel}, \
                 \"seconds\": {:.1}}}",
                ended.name,
                ended.failure.is_none(),
                ended.guest.as_secs_f32()
            );
        }
        format!(
            "{{\"schema\": 1, \"seconds\": {:.1}, \"rows\": [{rows}\n]}}\n",
            took.as_secs_f32()
        )
    }
}
