//! From the guest's lines to a table and JSON.

use std::fmt::Write as _;

use kpeel_matrix::Outcome;
use kpeel_vm::Accel;

/// Begins each line of a run.
const PREFIX: &str = "kpeel-measure: ";

/// What the guest measures of each run, and how the table shows it.
const MEASURES: [Measure; 4] = [
    Measure::new("wall", "time", 1e3, "ms"),
    Measure::new("cpu", "CPU time", 1e3, "ms"),
    Measure::new("peak", "peak memory, all", 1048576.0, "MiB"),
    Measure::new("resident", "largest process", 1048576.0, "MiB"),
];

struct Measure {
    key: &'static str,
    title: &'static str,
    divisor: f64,
    unit: &'static str,
}

impl Measure {
    const fn new(key: &'static str, title: &'static str, divisor: f64, unit: &'static str) -> Self {
        Self {
            key,
            title,
            divisor,
            unit,
        }
    }
}

/// All contests.
#[derive(Default)]
pub(crate) struct Report(Vec<Contest>);

/// Programs that loaded one image.
#[derive(Debug)]
pub(crate) struct Contest {
    name: &'static str,
    version: String,
    accel: &'static str,
    entrants: Vec<Entrant>,
}

/// One of them: the first is kpeel.
#[derive(Debug)]
struct Entrant {
    name: String,
    /// Whether every run reached the system call.
    reached: bool,
    /// By measure: every run.
    values: [Vec<u64>; MEASURES.len()],
}

impl Contest {
    /// Reads the runs of these programs.
    ///
    /// # Errors
    /// When one has none, or a line cannot be read.
    pub(crate) fn read(
        name: &'static str,
        version: &str,
        accel: Accel,
        names: &[String],
        lines: &[String],
    ) -> Outcome<Self> {
        Ok(Self {
            name,
            version: version.to_owned(),
            accel: match accel {
                Accel::Kvm => "kvm",
                Accel::Tcg => "tcg",
            },
            entrants: names
                .iter()
                .map(|name| Entrant::read(name, lines))
                .collect::<Outcome<_>>()?,
        })
    }
}

impl Entrant {
    fn read(name: &str, lines: &[String]) -> Outcome<Self> {
        let mut entrant = Self {
            name: name.rsplit('/').next().unwrap_or(name).to_owned(),
            reached: true,
            values: Default::default(),
        };
        let begins = format!("{PREFIX}{name} ");
        for line in lines {
            let Some(rest) = line.strip_prefix(&begins) else {
                continue;
            };
            let value = |key: &str| -> Outcome<u64> {
                let mut words = rest.split_whitespace();
                let value = words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
                let value = value.and_then(|value| value.parse().ok());
                value.ok_or_else(|| format!("no {key} in {line:?}").into())
            };
            entrant.reached &= value("reached")? == 1;
            for (measure, values) in MEASURES.iter().zip(&mut entrant.values) {
                values.push(value(measure.key)?);
            }
        }
        match entrant.values[0].is_empty() {
            true => Err(format!("no run of {name}").into()),
            false => Ok(entrant),
        }
    }

    fn median(&self, measure: usize) -> f64 {
        let mut sorted = self.values[measure].clone();
        sorted.sort_unstable();
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) as f64 / 2.0,
            _ => sorted[middle] as f64,
        }
    }
}

impl Report {
    pub(crate) fn add(&mut self, contest: Contest) {
        self.0.push(contest);
    }

    pub(crate) fn all_reached(&self) -> bool {
        let mut entrants = self.0.iter().flat_map(|contest| &contest.entrants);
        entrants.all(|entrant| entrant.reached)
    }

    /// Medians, and how many times kpeel's the others' are.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for contest in &self.0 {
            let runs = contest.entrants[0].values[0].len();
            let _ = writeln!(
                text,
                "\n{}: medians of {runs} runs ({}; kexec-tools {})",
                contest.name, contest.accel, contest.version
            );
            for (index, measure) in MEASURES.iter().enumerate() {
                let _ = write!(text, "  {:17}", measure.title);
                let ours = contest.entrants[0].median(index);
                for entrant in &contest.entrants {
                    let value = entrant.median(index);
                    let shown = value / measure.divisor;
                    let _ = write!(text, "  {} {shown:.1} {}", entrant.name, measure.unit);
                    if entrant.name != contest.entrants[0].name {
                        text.push_str(&ratio(contest, entrant, value / ours));
                    }
                }
                text.push('\n');
            }
        }
        text
    }

    pub(crate) fn to_json(&self) -> String {
        let contests: Vec<String> = self.0.iter().map(Contest::to_json).collect();
        format!(
            "{{\"schema\": 1, \"contests\": [\n{}\n]}}\n",
            contests.join(",\n")
        )
    }
}

/// A ratio counts only if both did the same work.
fn ratio(contest: &Contest, entrant: &Entrant, ratio: f64) -> String {
    match contest.entrants[0].reached && entrant.reached {
        true => format!(" (x{ratio:.2})"),
        false => " (does not count: the call was not reached)".to_owned(),
    }
}

impl Contest {
    /// Names are plain words, so nothing needs quoting.
    fn to_json(&self) -> String {
        let entrants: Vec<String> = self.entrants.iter().map(Entrant::to_json).collect();
        format!(
            "  {{\"image\": \"{}\", \"accel\": \"{}\", \"kexec_tools\": \"{}\", \"programs\": [\n{}\n  ]}}",
            self.name,
            self.accel,
            self.version,
            entrants.join(",\n")
        )
    }
}

impl Entrant {
    fn to_json(&self) -> String {
        let mut text = format!(
            "    {{\"program\": \"{}\", \"reached\": {}",
            self.name, self.reached
        );
        for (measure, values) in MEASURES.iter().zip(&self.values) {
            let unit = if measure.unit == "ms" { "us" } else { "bytes" };
            let _ = write!(text, ", \"{}_{unit}\": {values:?}", measure.key);
        }
        text.push('}');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(reached: u8) -> Report {
        let run = |name: &str, reached: u8, wall: u64| {
            format!("{PREFIX}i/{name} reached={reached} wall={wall} cpu=2 resident=3 peak=4")
        };
        let mut lines = vec!["noise".to_owned()];
        for wall in [1000, 9000, 2000] {
            lines.push(run("kpeel", 1, wall));
            lines.push(run("peer", reached, wall * 2));
        }
        let names = ["i/kpeel".to_owned(), "i/peer".to_owned()];
        let contest = Contest::read("i", "2.0.32", Accel::Tcg, &names, &lines).unwrap();
        Report(vec![contest])
    }

    #[test]
    fn tells_medians_and_ratios() {
        let report = report(1);
        let table = report.table();
        assert!(
            table.contains("kpeel 2.0 ms  peer 4.0 ms (x2.00)"),
            "{table}"
        );
        assert!(report.all_reached());
        let json = report.to_json();
        assert!(json.contains("\"wall_us\": [1000, 9000, 2000]"), "{json}");
    }

    #[test]
    fn gives_no_ratio_for_a_peer_that_gave_up() {
        let report = report(0);
        assert!(!report.table().contains("(x"));
        assert!(!report.all_reached());
    }

    #[test]
    fn rejects_a_program_that_never_ran() {
        let names = ["i/peer".to_owned()];
        assert!(Contest::read("i", "2.0.32", Accel::Tcg, &names, &[]).is_err());
    }
}
