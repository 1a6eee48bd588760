//! `kpeel-speed gates`: instructions executed, counted by valgrind's callgrind, against a baseline in the tree.
//!
//! A count does not depend on how busy the machine is. Each workload runs twice, with few turns and with many; the
//! difference is the cost of a turn, free of the program's start. Workloads spend their instructions in this
//! project's own code: no decoder and no hash, for whose libraries choose other instructions on other processors; the C
//! library's copies are pinned to the plainest ones.
//!
//! Policy: with the baseline's compiler, a workload that needs over [`TOLERANCE`] more than its baseline fails. Another
//! compiler makes other code from the same source: then the counts are shown and nothing fails, and the last line
//! says so. A workload that got cheaper by more than the tolerance is told, so that the baseline follows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::child;
use crate::workloads::WORKLOADS;

/// How many parts of a hundred a workload may grow.
const TOLERANCE: u64 = 3;
/// The baseline's file.
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gates.json");
/// glibc copies and fills as on the oldest x86-64 processor. Else the processor chooses, and of a string instruction
/// callgrind counts every byte.
const PLAIN_COPIES: &str =
    "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM,-AVX512VL,-AVX512BW";
const FEW: u64 = 1;
const MANY: u64 = 5;

/// Counts, and what they were taken with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    /// What decides the counts: the compiler with its host.
    rustc: String,
    /// What hardly does; told only.
    valgrind: String,
    /// Instructions a turn, by workload.
    instructions: BTreeMap<String, u64>,
}

/// Compares with the baseline, or writes a new one.
pub(crate) fn run(update: bool) -> Outcome<()> {
    let found = Baseline {
        rustc: rustc()?,
        valgrind: said(Command::new("valgrind").arg("--version"))?,
        instructions: WORKLOADS
            .iter()
            .map(|(name, _)| Ok(((*name).to_owned(), count(name)?)))
            .collect::<Outcome<_>>()?,
    };
    let file = Path::new(BASELINE);
    if update {
        let text = serde_json::to_string_pretty(&found)? + "\n";
        print!("{text}");
        return write(file, &text);
    }
    let baseline: Baseline = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let judgement = judge(&baseline, &found);
    print!("{}", judgement.told);
    match judgement.failed {
        true => Err(format!("a workload needs over {TOLERANCE} % more instructions").into()),
        false => Ok(()),
    }
}

struct Judgement {
    told: String,
    failed: bool,
}

fn judge(baseline: &Baseline, found: &Baseline) -> Judgement {
    let same = baseline.rustc == found.rustc;
    let mut told = String::new();
    let mut failed = false;
    for (name, now) in &found.instructions {
        let Some(before) = baseline.instructions.get(name) else {
            failed |= same;
            told.push_str(&format!("{name:20} {now:>12}  has no baseline\n"));
            continue;
        };
        let change = (*now as f64 / *before as f64 - 1.0) * 100.0;
        // In whole numbers: a count right at the bound must pass.
        let hundredths = now.saturating_mul(100);
        let over = hundredths > before.saturating_mul(100 + TOLERANCE);
        let word = match over {
            true => "REGRESSION",
            false if hundredths < before.saturating_mul(100 - TOLERANCE) => {
                "cheaper: take a new baseline"
            }
            false => "",
        };
        failed |= same && over;
        told.push_str(&format!("{name:20} {now:>12}  {change:+6.2} %  {word}\n"));
    }
    for name in baseline.instructions.keys() {
        if !found.instructions.contains_key(name) {
            failed |= same;
            told.push_str(&format!(
                "{name:20} has a baseline and is not measured any more\n"
            ));
        }
    }
    if baseline.valgrind != found.valgrind {
        let (then, now) = (&baseline.valgrind, &found.valgrind);
        told.push_str(&format!("note: counted by {now}, the baseline by {then}\n"));
    }
    if !same {
        told.push_str(&format!(
            "NOT JUDGED: built by {}, the baseline by {}; `cargo xtask gates --update` takes a new one\n",
            found.rustc, baseline.rustc
        ));
    }
    Judgement { told, failed }
}

/// Instructions of one turn.
fn count(workload: &str) -> Outcome<u64> {
    let [few, many] = [FEW, MANY].map(|turns| callgrind(workload, turns));
    let more = many?
        .checked_sub(few?)
        .ok_or("more turns, fewer instructions")?;
    Ok(more / (MANY - FEW))
}

fn callgrind(workload: &str, turns: u64) -> Outcome<u64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([child::COMMAND, "turns", workload, &turns.to_string()])
        // The dynamic linker's and the allocator's work depends on these.
        .env_clear()
        .env("GLIBC_TUNABLES", PLAIN_COPIES);
    let output = command
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{told}", output.status).into());
    }
    let collected = told.lines().find_map(|line| line.split_once("Collected :"));
    let (_, count) = collected.ok_or_else(|| format!("valgrind counts nothing: {told}"))?;
    Ok(count.trim().parse()?)
}

/// The compiler that builds here: version, commit and host.
fn rustc() -> Outcome<String> {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let verbose = said(Command::new(rustc).arg("-vV"))?;
    let host = verbose.lines().find_map(|line| line.strip_prefix("host: "));
    let version = verbose.lines().next().unwrap_or_default();
    Ok(format!("{version}, {}", host.unwrap_or("no host")))
}

fn said(command: &mut Command) -> Outcome<String> {
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Whole or not at all.
fn write(file: &Path, text: &str) -> Outcome<()> {
    let new = file.with_extension("json.new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(&new, file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(rustc: &str, counts: &[(&str, u64)]) -> Baseline {
        Baseline {
            rustc: rustc.to_owned(),
            valgrind: "valgrind-3.19.0".to_owned(),
            instructions: counts
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
        }
    }

    #[test]
    fn fails_over_the_tolerance_and_passes_at_it() {
        let before = baseline("1", &[("a", 1000), ("b", 1000)]);
        let at = judge(&before, &baseline("1", &[("a", 1030), ("b", 10)]));
        assert!(!at.failed, "{}", at.told);
        assert!(at.told.contains("cheaper"), "{}", at.told);
        let over = judge(&before, &baseline("1", &[("a", 1031), ("b", 1000)]));
        assert!(
            over.failed && over.told.contains("REGRESSION"),
            "{}",
            over.told
        );
    }

    #[test]
    fn fails_when_workloads_and_baseline_are_not_the_same() {
        let before = baseline("1", &[("a", 1000)]);
        assert!(judge(&before, &baseline("1", &[])).failed);
        assert!(judge(&before, &baseline("1", &[("a", 1000), ("b", 1)])).failed);
    }

    #[test]
    fn another_compiler_is_told_and_not_judged() {
        let before = baseline("1", &[("a", 1000)]);
        let other = judge(&before, &baseline("2", &[("a", 9000)]));
        assert!(
            !other.failed && other.told.contains("NOT JUDGED"),
            "{}",
            other.told
        );
    }

    #[test]
    fn the_baseline_in_the_tree_has_every_workload() {
        let text = std::fs::read_to_string(BASELINE).unwrap();
        let baseline: Baseline = serde_json::from_str(&text).unwrap();
        let mut names: Vec<&str> = WORKLOADS.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        assert_eq!(baseline.instructions.keys().collect::<Vec<_>>(), names);
    }
}
