//! Executes rows of conformance tests: `bpf_conformance_rows FILE`.
//!
//! FILE holds one JSON object per line: `id`, `prog` and `mem` in hexadecimal, and either `r0` in
//! hexadecimal or `error` with the `phase` (`load`, or `any`) in which the program has to be refused.
//! Rows of `level` "policy" are counted, and fail nothing: the instruction set does not decide them.
//! Exits with 1 when any other row is not as expected.

use kpeel_bpf::conformance::{Failure, execute, parse_hex};
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: bpf_conformance_rows FILE");
        return ExitCode::from(2);
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return ExitCode::from(2);
        }
    };
    match all(&text) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::from(2)
        }
    }
}

/// Rows of one level.
#[derive(Default)]
struct Count {
    right: usize,
    wrong: usize,
}

fn all(text: &str) -> Result<bool, Box<dyn Error>> {
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for (number, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let row = serde_json::from_str(line)?;
        let at = |error| format!("line {}: {error}", number + 1);
        let level = text_of(&row, "level").map_err(at)?;
        let count = counts.entry(level.to_owned()).or_default();
        match check(&row).map_err(at)? {
            None => count.right += 1,
            Some(difference) => {
                count.wrong += 1;
                println!("{level} {}: {difference}", text_of(&row, "id").map_err(at)?);
            }
        }
    }
    for (level, Count { right, wrong }) in &counts {
        println!("{level}: {right} right, {wrong} wrong");
    }
    let rows: usize = counts.values().map(|count| count.right + count.wrong).sum();
    println!("{rows} rows");
    let failed = counts
        .iter()
        .any(|(level, count)| level != "policy" && count.wrong > 0);
    Ok(rows > 0 && !failed)
}

/// How the machine's answer differs from the row's.
fn check(row: &Value) -> Result<Option<String>, String> {
    let hex = |field| parse_hex(text_of(row, field)?).map_err(|error| format!("{field}: {error}"));
    let result = execute(&hex("prog")?, &hex("mem")?);
    if row.get("error").is_none() {
        let r0 = text_of(row, "r0")?;
        let needed = u64::from_str_radix(r0.trim_start_matches("0x"), 16)
            .map_err(|error| format!("r0: {error}"))?;
        return Ok(match result {
            Ok(found) if found == needed => None,
            Ok(found) => Some(format!("r0 is {found:#x}, needs {needed:#x}")),
            Err(failure) => Some(format!("{failure}, needs r0 {needed:#x}")),
        });
    }
    let phase = text_of(&row["error"], "phase")?;
    Ok(match (phase, result) {
        (_, Ok(found)) => Some(format!("r0 is {found:#x}, needs an error")),
        ("load", Err(Failure::Load(_))) | ("any", Err(_)) => None,
        (phase, Err(failure)) => Some(format!("{failure}, needs an error in phase {phase}")),
    })
}

fn text_of<'a>(row: &'a Value, field: &str) -> Result<&'a str, String> {
    row.get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("{field}: no such text"))
}
