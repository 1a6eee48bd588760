//! What was run, as machines counted it: the files that documents quote, and the tables that they quote.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::campaign::{Row, sums};
use crate::class::Class;

/// The rows of a campaign, which may have been stopped and gone on.
#[derive(Debug, Default, Deserialize)]
pub struct Mutations {
    schema: u32,
    /// What ran it: a hash of the program, which has all of kpeel in it.
    #[serde(default)]
    program: String,
    /// How many rows the campaign has when it is done.
    #[serde(default)]
    pub planned: usize,
    /// The rows that are done.
    pub rows: Vec<Row>,
}

/// What `cargo xtask fuzz --record` adds up.
#[derive(Debug, Deserialize)]
pub struct Fuzzing {
    targets: BTreeMap<String, Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    runs: u64,
    seconds: u64,
    processor_seconds: u64,
    executions: u64,
    peak_mib: u64,
}

impl Mutations {
    /// Reads the file; without one, nothing was run yet.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn load(path: &Path) -> Result<Self, String> {
        if path.exists() {
            return read(path);
        }
        Ok(Self {
            schema: 1,
            ..Self::default()
        })
    }

    /// Goes on with what this very program ran; what another one did says nothing about this one.
    #[must_use]
    pub fn gone_on_by(self, program: String) -> Self {
        if self.program == program {
            return self;
        }
        Self {
            schema: 1,
            program,
            ..Self::default()
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// What the system says.
    pub fn store(&self, path: &Path) -> Result<(), String> {
        // A line for each row, so that a change shows which.
        let rows = self.rows.iter().map(serde_json::to_string);
        let rows: Vec<String> = rows
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let text = format!(
            "{{\"schema\":{},\"program\":\"{}\",\"planned\":{},\"rows\":[\n{}\n]}}\n",
            self.schema,
            self.program,
            self.planned,
            rows.join(",\n")
        );
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|error| error.to_string())?;
        }
        let new = path.with_extension("new");
        let written = fs::write(&new, text).and_then(|()| fs::rename(&new, path));
        written.map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A line for each class, in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut lines = vec![
            "| class | images | mutations | refused | of them `stricter` | the same | other parser | longest |"
                .to_owned(),
            "|---|---|---|---|---|---|---|---|".to_owned(),
        ];
        for sum in sums(&self.rows) {
            let of_class = self.rows.iter().filter(|row| row.class == sum.class);
            let images: BTreeSet<&str> = of_class.map(|row| row.image.as_str()).collect();
            let count = |end: &str| sum.ends.get(end).copied().unwrap_or(0);
            let (same, other) = (count("same"), count("other parser"));
            let asked = Class::ALL
                .into_iter()
                .filter(|class| class.asks_whether_stricter());
            let stricter = match asked.map(Class::name).any(|name| name == sum.class) {
                true => grouped(sum.stricter),
                false => "not asked".to_owned(),
            };
            lines.push(format!(
                "| `{}` | {} | {} | {} | {stricter} | {} | {} | {} ms |",
                sum.class,
                images.len(),
                grouped(sum.runs),
                grouped(sum.ends.values().sum::<u64>() - same - other),
                grouped(same),
                grouped(other),
                grouped(sum.slowest_ms),
            ));
        }
        lines.join("\n") + "\n"
    }

    /// How much of the campaign is done, in words.
    #[must_use]
    pub fn summary(&self) -> String {
        let runs: u64 = self.rows.iter().map(|row| row.runs).sum();
        let faults: usize = self.rows.iter().map(|row| row.faults.len()).sum();
        format!(
            "{} of {} rows, {} mutations, {faults} faults",
            self.rows.len(),
            self.planned,
            grouped(runs)
        )
    }
}

impl Fuzzing {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn load(path: &Path) -> Result<Self, String> {
        read(path)
    }

    /// A line for each target, in Markdown.
    #[must_use]
    pub fn table(&self) -> String {
        let mut lines = vec![
            "| target | runs | seconds | of them on a processor | executions | peak |".to_owned(),
            "|---|---|---|---|---|---|".to_owned(),
        ];
        for (name, target) in &self.targets {
            lines.push(format!(
                "| `{name}` | {} | {} | {} | {} | {} MiB |",
                target.runs,
                grouped(target.seconds),
                grouped(target.processor_seconds),
                grouped(target.executions),
                target.peak_mib
            ));
        }
        lines.join("\n") + "\n"
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_from_the_right() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn what_is_stored_is_loaded_and_summed() {
        let row = |image: &str, same, malformed| Row {
            image: image.into(),
            class: "payload".into(),
            runs: 1000,
            ends: [("same".into(), same), ("malformed".into(), malformed)].into(),
            slowest_ms: same,
            ..Row::default()
        };
        let mutations = Mutations {
            schema: 1,
            program: "1f".into(),
            planned: 9,
            rows: vec![row("a", 100, 900), row("b", 7, 993)],
        };
        let path = std::env::temp_dir().join(format!("kpeel-record-{}.json", std::process::id()));
        mutations.store(&path).unwrap();
        let loaded = Mutations::load(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(loaded.rows, mutations.rows);
        let loaded = loaded.gone_on_by("1f".into());
        assert_eq!(loaded.rows, mutations.rows);
        assert_eq!(loaded.summary(), "2 of 9 rows, 2,000 mutations, 0 faults");
        let line = "| `payload` | 2 | 2,000 | 1,893 | not asked | 107 | 0 | 100 ms |";
        assert_eq!(loaded.table().lines().last(), Some(line));
        assert!(loaded.gone_on_by("2e".into()).rows.is_empty());
        assert!(Mutations::load(&path).unwrap().rows.is_empty());
    }
}
