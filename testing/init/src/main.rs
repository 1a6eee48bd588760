//! PID 1 of the test guests: does one job and powers off.
//!
//! It mounts proc, sysfs, devtmpfs and two tmpfs, reads its job, does it step by step, prints
//! exactly one line (`kpeel-init: passed NAME` or `kpeel-init: failed NAME: REASON`) and powers
//! the machine off. The job is the file `/job`, or the one that `kpeel.job=PATH` on the kernel's
//! command line names. [`job`] lists the words it may hold.
//!
//! The runner, `kpeel-vm`, takes nothing but the exact line for success.

mod job;
mod steps;
mod sys;

use std::process::ExitCode;

/// Where the job is, unless the command line says otherwise.
const JOB: &str = "/job";
/// The word of the command line that says otherwise.
const JOB_WORD: &str = "kpeel.job=";

fn main() -> ExitCode {
    if std::process::id() != 1 {
        eprintln!("kpeel-init is meant to be the first process of a test guest");
        return ExitCode::FAILURE;
    }
    // A panic of PID 1 would be a panic of the kernel; this one at least names its cause.
    let outcome = std::panic::catch_unwind(work)
        .unwrap_or_else(|_| Err(("?".to_owned(), "kpeel-init panicked".to_owned())));
    // From here on the console is ours alone.
    sys::silence_kernel();
    match outcome {
        Ok(name) => println!("\nkpeel-init: passed {name}"),
        Err((name, reason)) => {
            let reason = reason.replace('\n', " / ");
            println!("\nkpeel-init: failed {name}: {reason}");
        }
    }
    sys::power_off()
}

/// Does the job; gives its name, and on failure the reason.
fn work() -> Result<String, (String, String)> {
    let unnamed = |reason| ("?".to_owned(), reason);
    sys::mount_all().map_err(unnamed)?;
    let cmdline = steps::command_line().map_err(unnamed)?;
    let path = cmdline
        .split_whitespace()
        .find_map(|word| word.strip_prefix(JOB_WORD))
        .unwrap_or(JOB);
    let text =
        std::fs::read_to_string(path).map_err(|error| unnamed(format!("job {path}: {error}")))?;
    let job = job::Job::parse(&text).map_err(|reason| unnamed(format!("job {path}: {reason}")))?;
    println!("kpeel-init: job {}", job.name);
    for step in &job.steps {
        println!("kpeel-init: {step}");
        steps::take(step).map_err(|reason| (job.name.clone(), format!("{step}: {reason}")))?;
    }
    Ok(job.name)
}
