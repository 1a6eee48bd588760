//! One run of a program: how long it took, and the most memory it had.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::Outcome;

/// First argument of this program when it only runs another one.
pub(crate) const MEASURED: &str = "--measured";

/// What a run used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) elapsed: Duration,
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
        [nanoseconds, peak] if output.status.success() => Ok(Usage {
            elapsed: Duration::from_nanos(*nanoseconds),
            peak: *peak,
        }),
        _ => {
            let complaint = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}", complaint.trim()).into())
        }
    }
}

/// Does it, and prints nanoseconds and bytes.
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
    let kibibytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    println!("{} {}", elapsed.as_nanos(), kibibytes.saturating_mul(1024));
    Ok(())
}
