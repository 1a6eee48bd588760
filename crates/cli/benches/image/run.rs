//! One run of a program: how long it took, and the most memory it had.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::Outcome;

/// First argument of this program when it only runs another one.
pub(crate) const MEASURED: &str = "--measured";

/// What a run used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) elapsed: Duration,
    /// User and system time.
    pub(crate) cpu: Duration,
    /// Largest resident set in bytes.
    pub(crate) peak: u64,
}

/// Runs the command in a process that has no other children, so that what the kernel tells of its
/// children is told of this one.
pub(crate) fn run(command: &[OsString]) -> Outcome<Usage> {
    let output = Command::new(std::env::current_exe()?)
        .arg(MEASURED)
        .args(command)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = said
        .lines()
        .last()
        .unwrap_or_default()
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers.as_slice() {
        [elapsed, cpu, peak] if output.status.success() => Ok(Usage {
            elapsed: Duration::from_nanos(*elapsed),
            cpu: Duration::from_micros(*cpu),
            peak: *peak,
        }),
        _ => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}", complaint.trim()).into())
        }
    }
}

/// Does it, and prints nanoseconds, microseconds of CPU time, and bytes.
pub(crate) fn measured(command: &[&str]) -> Outcome<()> {
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let started = Instant::now();
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    let elapsed = started.elapsed();
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        return Err(format!("{program}: {}: {said}", output.status).into());
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = usage.user_time() + usage.system_time();
    let peak = usage.max_rss().saturating_mul(1024);
    println!("{} {} {peak}", elapsed.as_nanos(), cpu.num_microseconds());
    Ok(())
}
