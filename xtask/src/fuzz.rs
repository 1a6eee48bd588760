//! Fuzz targets: built once with AddressSanitizer and coverage, then run for some seconds each.
//!
//! No cargo-fuzz: what it does that is needed here is a build with these flags. On a stable
//! compiler the sanitiser needs `RUSTC_BOOTSTRAP`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Failure;
use crate::fuzz_record::{Done, Record};
use crate::steps::run;

/// Coverage as libFuzzer wants it (LLVM, "SanitizerCoverage"), and the sanitiser.
const RUSTFLAGS: &str = "-Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";
/// The C decoders are checked by the same sanitiser.
const CFLAGS: &str = "-fsanitize=address";
const CC: &str = "clang-22";
/// A leak check needs to trace the process, which containers forbid.
const ASAN_OPTIONS: &str = "detect_leaks=0:allocator_may_return_null=1";
/// What one input may take: seconds, of which a busy processor gives few, and MiB; and what all the inputs kept by an
/// hour's run may.
const BOUNDS: [&str; 3] = ["-timeout=60", "-malloc_limit_mb=512", "-rss_limit_mb=2048"];
/// The longest input.
const MAX_LEN: &str = "-max_len=16384";

/// Builds every target and runs those named, or all, for `--seconds` each (10), `--jobs` at a time (as many as there
/// are processors). With `--record`, what was run is added to the record.
pub(crate) fn fuzz(args: &[String]) -> Result<(), Failure> {
    let options = Options::parse(args)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let host = host()?;
    build(&root, &host)?;
    let built = root.join("target").join(&host).join("debug");
    let record = options.record.then(|| Mutex::new(root.join("record.json")));
    let run = |target: &str| {
        let child = start(&root, &built, target, options.seconds)?;
        let done = finish(&root, target, child)?;
        record
            .as_ref()
            .map_or(Ok(()), |path| Record::add(&locked(path), target, &done))
    };
    let queue = Mutex::new(options.targets.iter());
    let next = || locked(&queue).next();
    // A target that finds something stops neither the others nor their being counted.
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(target) = next() {
            if let Err(failure) = run(target) {
                locked(&failures).push(failure.to_string());
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(work);
        }
    });
    let failures = locked(&failures);
    if failures.is_empty() {
        return Ok(());
    }
    Err(Failure::Step(failures.join("\n")))
}

fn locked<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Options {
    seconds: u64,
    jobs: usize,
    record: bool,
    targets: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, Failure> {
        let usage = || {
            let usage = "usage: cargo xtask fuzz [--seconds N] [--jobs N] [--record] [TARGET...]";
            Failure::Step(usage.into())
        };
        let mut options = Self {
            seconds: 10,
            jobs: threads(),
            record: false,
            targets: Vec::new(),
        };
        let mut args = args.iter().filter(|arg| *arg != "--yes");
        let known = targets_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/targets"))?;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--seconds" | "--jobs" => {
                    let number = args.next().and_then(|number| number.parse().ok());
                    let number: u32 = number.filter(|&number| number > 0).ok_or_else(usage)?;
                    match arg.as_str() {
                        "--seconds" => options.seconds = number.into(),
                        _ => options.jobs = number as usize,
                    }
                }
                "--record" => options.record = true,
                target if known.iter().any(|known| known == target) => {
                    options.targets.push(target.to_owned());
                }
                other => {
                    let known = known.join(" ");
                    return Err(Failure::Step(format!(
                        "no target {other}; there are {known}"
                    )));
                }
            }
        }
        if options.targets.is_empty() {
            options.targets = known;
        }
        Ok(options)
    }
}

/// The targets, by their files.
fn targets_of(dir: &Path) -> Result<Vec<String>, Failure> {
    let failed = |error| Failure::Step(format!("{}: {error}", dir.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if let Some(name) = path.file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn build(root: &Path, host: &str) -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    let underscored = host.replace('-', "_");
    command
        .current_dir(root)
        .args(["build", "--quiet", "--bins", "--target", host])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", RUSTFLAGS)
        .env(format!("CC_{underscored}"), CC)
        .env(format!("CFLAGS_{underscored}"), CFLAGS);
    run(command, "cargo build of the fuzz targets")
}

fn host() -> Result<String, Failure> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output();
    let output = output.map_err(|error| Failure::Step(format!("rustc -vV: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Failure::Step("rustc -vV names no host".into()))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Starts a target. What it finds new goes to a directory of its own; the corpus stays as it is.
fn start(
    root: &Path,
    built: &Path,
    target: &str,
    seconds: u64,
) -> Result<std::process::Child, Failure> {
    let failed = |error: std::io::Error| Failure::Step(format!("{target}: {error}"));
    let found = root.join("target/found").join(target);
    let artifacts = root.join("artifacts").join(target);
    for dir in [&found, &artifacts] {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let mut command = Command::new(built.join(target));
    command
        .args(BOUNDS)
        .args([MAX_LEN, "-use_value_profile=1", "-print_final_stats=1"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([&found, &root.join("corpus").join(target)])
        .env("ASAN_OPTIONS", ASAN_OPTIONS)
        .stdout(Stdio::null())
        .stderr(Stdio::from(
            std::fs::File::create(log(root, target)).map_err(failed)?,
        ));
    command.spawn().map_err(failed)
}

fn finish(root: &Path, target: &str, mut child: std::process::Child) -> Result<Done, Failure> {
    let failed =
        |why: &dyn std::fmt::Display| Failure::Step(format!("fuzz target {target}: {why}"));
    let processor = processor_seconds(&child).map_err(|error| failed(&error))?;
    let status = child.wait().map_err(|error| failed(&error))?;
    let log = std::fs::read_to_string(log(root, target)).map_err(|error| failed(&error))?;
    if !status.success() {
        eprintln!("{}", told(&log));
        return Err(failed(&format_args!(
            "{status}; the input is in fuzz/artifacts/{target}"
        )));
    }
    let done = Done::of_log(&log, processor).ok_or_else(|| failed(&"its log tells no counts"))?;
    eprintln!(
        "    {target:13} {} executions, peak {} MiB",
        done.executions, done.peak_mib
    );
    Ok(done)
}

/// Waits for the end of a process; gives the processor time that it took. It is still to be waited for.
fn processor_seconds(child: &std::process::Child) -> std::io::Result<u64> {
    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
    let id = WaitId::Pid(Pid::from_child(child));
    waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
    ticks(&stat)
        .map(|ticks| ticks / rustix::param::clock_ticks_per_second())
        .ok_or_else(|| std::io::Error::other("/proc/PID/stat is none"))
}

/// `utime` and `stime`, the 14th and 15th field (proc_pid_stat(5)); the second is in parentheses and may hold blanks.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(14 - 3);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// What went wrong: the log without its lines about progress, which start with `#` and a number.
fn told(log: &str) -> String {
    let progress = |line: &&str| {
        let number = line.strip_prefix('#');
        number.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    let lines: Vec<&str> = log.lines().filter(|line| !progress(line)).collect();
    lines.join("\n")
}

fn log(root: &Path, target: &str) -> PathBuf {
    root.join("target").join(format!("{target}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_processor_time_whatever_a_process_is_called() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4 100 0 0 0 41 2 0 0 20 0 1 0 5";
        assert_eq!(ticks(stat), Some(43));
        assert_eq!(ticks("7 (cut"), None);
    }

    #[test]
    fn waits_for_the_end_and_leaves_the_status() {
        let mut child = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        processor_seconds(&child).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}
