//! `cargo xtask parsers [--check]`: the BPF programs, from source to carrier.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Parsers by directory under `parsers/`.
const PARSERS: [&str; 2] = ["uki", "zboot"];

/// Largest carrier in bytes that still counts as small.
const MAX_CARRIER: usize = 8 * 1024;

const TARGET: &str = "bpfel-unknown-none";

/// Debian's compiler: rustup's has no library sources and cannot be relied on to have `bpfel`.
const RUSTC: &str = "/usr/bin/rustc";
const LLC: &str = "llc-22";
const LLC_FLAGS: [&str; 3] = ["-march=bpfel", "-mcpu=v3", "-filetype=obj"];

/// The carrier and the record of what made it, in a parser's directory.
const CARRIER: &str = "carrier.o";
const RECORD: &str = "TOOLCHAIN";

/// Debian packages that [`run`] needs.
pub const PACKAGES: &[&str] = &["rustc-web", "rust-web-src", "llvm-22"];

/// Rebuilds the carriers in the tree; with `--check` compares instead.
///
/// Where the recorded tools are installed, a rebuild must give the same bytes. With other tools
/// the bytes may differ: then the parsers' tests run on the rebuild.
///
/// # Errors
///
/// What failed, as one line or a tool's own output.
pub fn run(args: &[String]) -> Result<(), String> {
    let check = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => false,
        ["--check"] => true,
        _ => return Err("usage: cargo xtask parsers [--check]".into()),
    };
    let root = root();
    let out = root.join("target/parsers");
    let toolchain = toolchain()?;
    let mut other_tools = false;
    for name in PARSERS {
        let home = root.join("parsers").join(name);
        let carrier = build(&root, &out, name)?;
        println!("{name}: {} bytes", carrier.len());
        if !check {
            write(&home.join(CARRIER), &carrier)?;
            write(&home.join(RECORD), toolchain.as_bytes())?;
            continue;
        }
        write(&out.join("rebuilt").join(format!("{name}.o")), &carrier)?;
        let recorded = read(&home.join(RECORD))?;
        if recorded != toolchain.as_bytes() {
            other_tools = true;
        } else if read(&home.join(CARRIER))? != carrier {
            return Err(format!(
                "parsers/{name}/{CARRIER} is not what its source gives with the recorded tools; \
                 run cargo xtask parsers and commit the result"
            ));
        } else {
            println!("{name}: same bytes as parsers/{name}/{CARRIER}");
        }
    }
    if other_tools {
        test_rebuilt(&root, &out.join("rebuilt"), &toolchain)?;
    }
    Ok(())
}

/// Builds one parser: Rust to LLVM bitcode, bitcode to a BPF object, object to carrier.
fn build(root: &Path, out: &Path, name: &str) -> Result<Vec<u8>, String> {
    output(
        Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .current_dir(root.join("parsers").join(name))
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", RUSTC)
            .env("CARGO_TARGET_DIR", out)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("RUSTC_WRAPPER")
            .env("RUSTFLAGS", remap(root))
            .args(["rustc", "--quiet", "--release", "--locked"])
            .args(["-Z", "build-std=core", "--target", TARGET, "--"])
            // A BPF object needs no linker, but the crate type makes rustc call one.
            .args(["--emit=obj", "-C", "linker=/bin/true"]),
    )?;
    let bitcode = format!("{TARGET}/release/deps/kpeel_parser_{name}.o");
    let object = out.join(format!("{name}.bpf.o"));
    output(
        Command::new(LLC)
            .args(LLC_FLAGS)
            .arg(out.join(bitcode))
            .arg("-o")
            .arg(&object),
    )?;
    let carrier = kpeel_lskel::link(&read(&object)?).map_err(|error| format!("{name}: {error}"))?;
    if carrier.len() >= MAX_CARRIER {
        let len = carrier.len();
        return Err(format!(
            "{name}: carrier of {len} bytes, needed under {MAX_CARRIER}"
        ));
    }
    Ok(carrier)
}

/// The parsers' tests, with `carriers` in place of the ones in the tree.
fn test_rebuilt(root: &Path, carriers: &Path, toolchain: &str) -> Result<(), String> {
    println!("the recorded tools are not installed; testing the rebuild made by\n{toolchain}");
    let status = Command::new("cargo")
        .current_dir(root)
        .env("KPEEL_CARRIERS", carriers)
        .args(["test", "--quiet", "--package", "kpeel-parsers"])
        .status()
        .map_err(|error| format!("cargo test: {error}"))?;
    if !status.success() {
        return Err("the rebuilt parsers fail their tests".into());
    }
    println!("the rebuilt parsers pass their tests; bytes were not compared");
    Ok(())
}

/// What decides the bytes besides the sources.
fn toolchain() -> Result<String, String> {
    let rustc = output(Command::new(RUSTC).arg("--version"))?;
    let llc = output(Command::new(LLC).arg("--version"))?;
    let llc = llc
        .lines()
        .find(|line| line.contains("LLVM version"))
        .ok_or_else(|| format!("{LLC} --version names no version"))?;
    let flags = LLC_FLAGS.join(" ");
    Ok(format!("{}\nllc: {} {flags}\n", rustc.trim(), llc.trim()))
}

/// No path of this machine gets into an object.
fn remap(root: &Path) -> String {
    format!("--remap-path-prefix={}=/kpeel", root.display())
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{program}: {error} (packages: {})", PACKAGES.join(" ")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program}: {}\n{said}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent)
        .and_then(|()| fs::write(path, bytes))
        .map_err(|error| format!("{}: {error}", path.display()))
}
