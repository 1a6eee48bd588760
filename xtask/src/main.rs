//! The project's own commands: `cargo xtask COMMAND`. It dispatches; the work is in the crates.

mod deny;
mod fuzz;
mod fuzz_record;
mod packages;
mod parsers;
mod steps;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use packages::{DEMO, LINT, Missing, TOOLS};
use steps::{cargo, cargo_env};

/// One command: its name, what it does, and the function that does it.
type Task = (
    &'static str,
    &'static str,
    fn(&[String]) -> Result<(), Failure>,
);

/// Every command.
const TASKS: &[Task] = &[
    (
        "test",
        "all tests without the VM matrix; --vm: that matrix; --full: it with its long rows, and all mutations",
        test,
    ),
    (
        "demo",
        "boot a stock kernel in QEMU and kexec from it into a UKI",
        demo,
    ),
    (
        "lint",
        "formatting and lints, warnings are errors; --kernel: Linux's checkpatch, and clippy on what is compiled into it",
        lint,
    ),
    (
        "parsers",
        "rebuild the prebuilt parsers; --check: compare with those in the tree",
        parsers_,
    ),
    (
        "bench",
        "machine | codec FILE | load | linux | unfold [--json] | image: kpeel beside its peers, as ratios",
        bench,
    ),
    (
        "deny",
        "licences, bans and sources of all dependencies, by cargo-deny",
        |_| deny::deny(),
    ),
    (
        "fuzz",
        "run every fuzz target, or those named: --seconds N (10), --record adds the counts to fuzz/record.json",
        fuzz_,
    ),
    (
        "gates",
        "instructions executed, beside the baseline in the tree; --update: take a new one",
        gates,
    ),
    (
        "kernel",
        "build a test kernel: --arch ARCH [--debug | --sanitize | --stock] [--image IMAGE | --sizes]",
        kernel,
    ),
    (
        "documents",
        "write man pages and shell completions to target/documents",
        documents,
    ),
    (
        "picture",
        "make the nested image that docs/layers.svg shows, and draw it anew",
        picture,
    ),
    (
        "setup",
        "install the Debian packages that the tests need",
        setup,
    ),
];

/// Why a command failed, which decides the exit code.
#[derive(Debug)]
enum Failure {
    /// A step failed; the step has printed why.
    Step(String),
    /// Packages are missing and may not be installed.
    Packages(Missing),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Step(what) => f.write_str(what),
            Self::Packages(missing) => missing.fmt(f),
        }
    }
}

/// Exit code when packages are missing and cannot be installed from here.
const EXIT_PACKAGES: u8 = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        return usage();
    };
    let Some((_, _, task)) = TASKS.iter().find(|(task, ..)| task == name) else {
        return usage();
    };
    let Err(failure) = task(rest) else {
        return ExitCode::SUCCESS;
    };
    eprintln!("xtask: {name}: {failure}");
    match failure {
        Failure::Step(_) => ExitCode::FAILURE,
        Failure::Packages(_) => ExitCode::from(EXIT_PACKAGES),
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: cargo xtask COMMAND [--yes]");
    for (name, help, _) in TASKS {
        eprintln!("  {name:10} {help}");
    }
    ExitCode::from(2)
}

fn test(args: &[String]) -> Result<(), Failure> {
    packages::ensure(TOOLS, has(args, "--yes")).map_err(Failure::Packages)?;
    if has(args, "--full") {
        lint(&[args, &["--kernel".into()]].concat())?;
        release("kpeel-hostile", &[])?;
        damage()?;
        soak()?;
        return vm(&["--full"]);
    }
    if has(args, "--vm") {
        return vm(&[]);
    }
    lint(args)?;
    cargo(&["test", "--workspace", "--quiet"])?;
    without_c()?;
    tokens()?;
    parsers_(&["--check".into()])?;
    // The verifier's guest is the boot of x86_64.
    release("kpeel-verifier", &[])?;
    release("kpeel-vm", &["boot", "aarch64"])
}

/// Linux's decompressors over as many damaged streams as a release is to stand.
fn damage() -> Result<(), Failure> {
    let test = [
        "test",
        "--package",
        "kpeel-kernel",
        "--test",
        "decompressors",
    ];
    cargo_env(&test, &[("KPEEL_DAMAGE", "2000")])
}

/// Linux under watch: loads, failing allocations and damaged streams on the debugging kernels. Goes on where the last run
/// ended; the records lie in `target/soak`.
fn soak() -> Result<(), Failure> {
    let soak = ["--package", "kpeel-matrix", "--bin", "kpeel-soak", "--"];
    let run = [&["run", "--quiet", "--release"], &soak[..]].concat();
    let parts: [&[&str]; 5] = [
        &["faults"],
        &["faults", "--image", "uki"],
        &["loads-sanitize"],
        &["loads"],
        &["streams"],
    ];
    parts
        .iter()
        .try_for_each(|part| cargo(&[&run[..], part].concat()))
}

/// The crates that can do without a C compiler, built and tested without one.
fn without_c() -> Result<(), Failure> {
    let no_c = ["CC", "CXX"].map(|name| (name, "/bin/false"));
    for package in ["kpeel-codec", "kpeel-sandbox", "kpeel-cli"] {
        cargo_env(
            &[
                "test",
                "--quiet",
                "--package",
                package,
                "--no-default-features",
            ],
            &no_c,
        )?;
    }
    Ok(())
}

/// Keys in tokens, which no default build can reach.
fn tokens() -> Result<(), Failure> {
    let test = [
        "test",
        "--quiet",
        "--package",
        "kpeel-trust",
        "--test",
        "token",
    ];
    cargo(&[&test[..], &["--features", "pkcs11"]].concat())
}

/// The matrix of guests; `rows` are its arguments.
fn vm(rows: &[&str]) -> Result<(), Failure> {
    release("kpeel-vm", &["selftest"])?;
    release("kpeel-matrix", rows)
}

fn demo(args: &[String]) -> Result<(), Failure> {
    packages::ensure(DEMO, has(args, "--yes")).map_err(Failure::Packages)?;
    let run = [
        "run",
        "--quiet",
        "--release",
        "--package",
        "kpeel-matrix",
        "--bin",
        "kpeel-demo",
    ];
    cargo(&run)
}

/// Runs a package's program, optimised.
fn release(package: &str, args: &[&str]) -> Result<(), Failure> {
    let run = ["run", "--quiet", "--release", "--package", package, "--"];
    cargo(&[&run[..], args].concat())
}

fn lint(args: &[String]) -> Result<(), Failure> {
    if has(args, "--kernel") {
        let packages = [TOOLS, LINT].concat();
        packages::ensure(&packages, has(args, "--yes")).map_err(Failure::Packages)?;
        return release("kpeel-kernel", &["lint"]);
    }
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&[
        "clippy",
        "--quiet",
        "--workspace",
        "--all-targets",
        "--",
        "--deny",
        "warnings",
    ])
}

fn parsers_(args: &[String]) -> Result<(), Failure> {
    parsers::run(args).map_err(Failure::Step)
}

fn documents(_args: &[String]) -> Result<(), Failure> {
    let out = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/documents");
    cargo(&[
        "run",
        "--quiet",
        "--package",
        "kpeel-cli",
        "--example",
        "documents",
        "--",
        out,
    ])
}

fn picture(args: &[String]) -> Result<(), Failure> {
    packages::ensure(TOOLS, has(args, "--yes")).map_err(Failure::Packages)?;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let image = format!("{root}/target/picture/linux.efi");
    let run = ["run", "--quiet", "--package", "kpeel-cli"];
    cargo(&[&run[..], &["--example", "nested_image", "--", &image]].concat())?;
    let picture = format!("{root}/docs/layers.svg");
    let inspect = ["--bin", "kpeel", "--", "inspect", &image, "--svg", &picture];
    cargo(&[&run[..], &inspect].concat())
}

fn bench(args: &[String]) -> Result<(), Failure> {
    packages::ensure(TOOLS, has(args, "--yes")).map_err(Failure::Packages)?;
    match args.first().map(String::as_str) {
        Some("machine") => cargo(&["bench", "--quiet", "--package", "kpeel-bpf"]),
        Some("codec") => {
            let file = args.get(1).map_or("", String::as_str);
            let example = ["--example", "codec_bench", "--", file];
            let run = ["run", "--quiet", "--release", "--package", "kpeel-codec"];
            cargo(&[&run[..], &example].concat())
        }
        Some(name @ ("load" | "linux")) => cargo(&[
            "run",
            "--quiet",
            "--release",
            "--package",
            "kpeel-matrix",
            "--bin",
            "kpeel-bench",
            "--",
            name,
        ]),
        Some("unfold") => speed("unfold", &["--package", "kpeel-cli"], &args[1..]),
        Some("image") => {
            let bench = ["bench", "--quiet", "--package", "kpeel-cli"];
            let rest = args.iter().skip(1).map(String::as_str);
            let rest: Vec<&str> = rest.filter(|arg| *arg != "--yes").collect();
            cargo(&[&bench[..], &["--bench", "image", "--"], &rest].concat())
        }
        _ => Err(Failure::Step(
            "usage: cargo xtask bench machine | codec FILE | load | linux | unfold [--json] [--rounds N] | image [--rounds N]"
                .into(),
        )),
    }
}

fn fuzz_(args: &[String]) -> Result<(), Failure> {
    packages::ensure(TOOLS, has(args, "--yes")).map_err(Failure::Packages)?;
    fuzz::fuzz(args)
}

fn gates(args: &[String]) -> Result<(), Failure> {
    packages::ensure(TOOLS, has(args, "--yes")).map_err(Failure::Packages)?;
    speed("gates", &[], args)
}

/// Builds what measures, with what else it needs, and runs it. Which packages are built together decides the code.
fn speed(command: &str, packages: &[&str], args: &[String]) -> Result<(), Failure> {
    // Incremental builds make other code.
    let env = [("CARGO_INCREMENTAL", "0")];
    let build = ["build", "--quiet", "--release", "--package", "kpeel-speed"];
    cargo_env(&[&build[..], packages].concat(), &env)?;
    let mut measure = Command::new(release_directory().join("kpeel-speed"));
    measure.arg(command);
    measure.args(args.iter().filter(|arg| *arg != "--yes"));
    steps::run(measure, &format!("kpeel-speed {command}"))
}

/// Where cargo leaves release builds: beside the directory that this program runs in.
fn release_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let target = own.ancestors().nth(2).unwrap_or(&own);
    target.join("release")
}

fn kernel(args: &[String]) -> Result<(), Failure> {
    packages::ensure(TOOLS, has(args, "--yes")).map_err(Failure::Packages)?;
    let rest: Vec<&str> = args
        .iter()
        .map(String::as_str)
        .filter(|arg| *arg != "--yes")
        .collect();
    release("kpeel-kernel", &[&["path"], &rest[..]].concat())
}

fn setup(args: &[String]) -> Result<(), Failure> {
    packages::ensure(TOOLS, has(args, "--yes")).map_err(Failure::Packages)
}

fn has(args: &[String], flag: &str) -> bool {
    args.iter().any(|arg| arg == flag)
}
