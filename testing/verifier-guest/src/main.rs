//! Loads carriers into the running kernel, as a host of user space does, and tells what became of
//! them.
//!
//! `kpeel-verifier-guest CASES`: each line of the file CASES is `NAME INSN DATA`, where the two
//! files hold what the carrier's symbols `opts_insn` and `opts_data` hold. For each case it prints
//!
//! ```text
//! carrier NAME: program PROG: N processed instructions, ATTACH
//! carrier NAME: loaded M programs            (or: refused STEP errno E)
//! carrier NAME: left K descriptors open
//! ```
//!
//! after a refusal the end of the verifier's log, and where it spent its time if that was long.
//! Whether that is right is for the reader of the console to decide; this program fails only if it
//! cannot read its input.

mod attr;
mod descriptors;
mod hot;
mod load;
mod sys;

use std::process::ExitCode;

use load::{Carrier, Failure, Program};

/// Lines of the verifier's log that a refusal prints.
const LOG_LINES: usize = 120;
/// From this many processed instructions on it is worth knowing which they were.
const COSTLY: u32 = 10_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: kpeel-verifier-guest CASES");
        return ExitCode::FAILURE;
    };
    match run_all(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("kpeel-verifier-guest: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run_all(path: &str) -> Result<(), String> {
    let cases = String::from_utf8(read(path)?).map_err(|error| format!("{path}: {error}"))?;
    for line in cases.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(insn), Some(data), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("{path}: found {line:?}, needed `NAME INSN DATA`"));
        };
        let carrier = Carrier {
            insns: read(insn)?,
            data: read(data)?,
        };
        run(name, &carrier);
    }
    Ok(())
}

fn run(name: &str, carrier: &Carrier) {
    let before = descriptors::open();
    match load::load(carrier, None) {
        Ok(programs) => tell_programs(name, carrier, programs),
        Err(failure) => tell_failure(name, carrier, failure),
    }
    let left = descriptors::open().difference(&before).count();
    println!("carrier {name}: left {left} descriptors open");
}

fn tell_programs(name: &str, carrier: &Carrier, programs: Vec<Program>) {
    for program in &programs {
        let attach = match program.attach() {
            Ok(()) => "attaches".to_owned(),
            Err(error) => format!("does not attach: {error}"),
        };
        let (label, count) = (&program.name, program.verified_insns);
        println!("carrier {name}: program {label}: {count} processed instructions, {attach}");
    }
    let count = programs.len();
    let costly = programs
        .iter()
        .any(|program| program.verified_insns >= COSTLY);
    // Closed before the statistics are taken and the descriptors counted.
    drop(programs);
    for line in statistics(carrier) {
        println!("  {line}");
    }
    if costly {
        tell_hot(&verifier_log(carrier, load::LOG_ALL));
    }
    println!("carrier {name}: loaded {count} programs");
}

fn tell_failure(name: &str, carrier: &Carrier, failure: Failure) {
    println!(
        "carrier {name}: refused {} errno {}",
        failure.step, failure.errno
    );
    if failure.step != load::RESULT {
        // The loader's own log is printed already.
        return;
    }
    let log = verifier_log(carrier, load::LOG_PATH);
    let skipped = log.len().saturating_sub(LOG_LINES);
    if skipped > 0 {
        println!("  log: ... {skipped} lines before");
    }
    for line in log.iter().skip(skipped) {
        println!("  log: {line}");
    }
    if log.len() >= COSTLY as usize {
        tell_hot(&log);
    }
}

/// The instructions the verifier processed most.
fn tell_hot(log: &[String]) {
    for line in hot::spots(log) {
        println!("  hot: {line}");
    }
}

/// What the verifier says about its own work.
fn statistics(carrier: &Carrier) -> Vec<String> {
    verifier_log(carrier, load::LOG_STATISTICS)
        .into_iter()
        .filter(|line| line.starts_with("processed ") || line.starts_with("stack depth "))
        .collect()
}

/// Loads once more, for the log alone.
fn verifier_log(carrier: &Carrier, level: u32) -> Vec<String> {
    let mut log = load::Log::new(level);
    // The first load's outcome counts; this one may also fail for want of room for the log.
    let _ = load::load(carrier, Some(&mut log));
    log.lines()
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{path}: {error}"))
}
