//! Fuzz targets: built once with AddressSanitizer and coverage, then run for some seconds each.
//!
//! No cargo-fuzz: what it does that is needed here is a build with these flags. On a stable
//! compiler the sanitiser needs `RUSTC_BOOTSTRAP`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
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
/// What one input may take: seconds, MiB.
const BOUNDS: [&str; 3] = ["-timeout=20", "-rss_limit_mb=1024", "-malloc_limit_mb=512"];
/// The longest input.
const MAX_LEN: &str = "-max_len=16384";

/// Builds every target and runs those named, or all, for `--seconds` each (10).
pub(crate) fn fuzz(args: &[String]) -> Result<(), Failure> {
    let options = Options::parse(args)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let host = host()?;
    build(&root, &host)?;
    let built = root.join("target").join(&host).join("debug");
    for batch in options.targets.chunks(threads()) {
        let started: Vec<_> = batch
            .iter()
            .map(|target| start(&root, &built, target, options.seconds))
            .collect();
        for (target, child) in batch.iter().zip(started) {
            finish(&root, target, child?)?;
        }
    }
    Ok(())
}

struct Options {
    seconds: u64,
    targets: Vec<String>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, Failure> {
        let usage = || Failure::Step("usage: cargo xtask fuzz [--seconds N] [TARGET...]".into());
        let (mut seconds, mut targets) = (10, Vec::new());
        let mut args = args.iter().filter(|arg| *arg != "--yes");
        let known = targets_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/targets"))?;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--seconds" => {
                    let number = args.next().and_then(|number| number.parse().ok());
                    seconds = number.ok_or_else(usage)?;
                }
                target if known.iter().any(|known| known == target) => {
                    targets.push(target.to_owned());
                }
                other => {
                    let known = known.join(" ");
                    return Err(Failure::Step(format!(
                        "no target {other}; there are {known}"
                    )));
                }
            }
        }
        if targets.is_empty() {
            targets = known;
        }
        Ok(Self { seconds, targets })
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

fn finish(root: &Path, target: &str, mut child: std::process::Child) -> Result<(), Failure> {
    let status = child
        .wait()
        .map_err(|error| Failure::Step(format!("{target}: {error}")))?;
    let log = std::fs::read_to_string(log(root, target)).unwrap_or_default();
    let figure = |name: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("?", str::trim).to_owned()
    };
    let executed = figure("stat::number_of_executed_units:");
    let peak = figure("stat::peak_rss_mb:");
    if !status.success() {
        eprintln!("{}", told(&log));
        return Err(Failure::Step(format!(
            "fuzz target {target}: {status}; the input is in fuzz/artifacts/{target}"
        )));
    }
    eprintln!("    {target:13} {executed} executions, peak {peak} MiB");
    Ok(())
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
