//! Loads again and again, in one guest: what the soak, fault injection and damaged streams have in common.
//!
//! ```text
//! Subject: a patched kernel with its key ──images()──> Images, signed, kept beside each other in the cache
//! Subject, Images ──run()──> guest with kpeel-soak ──> lines of JSON, if the kernel has not complained
//! ```

mod health;
mod images;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kpeel_vm::{Arch, Report};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use images::{Image, Images};

use crate::Outcome;
use crate::guest::Guest;
use crate::row::{Make, Row};
use crate::shop::{Kernel, Shop};

/// The program in the guest, which `testing/init` describes.
const SOAK: &str = "/bin/soak";
/// Begins its lines, after the kernel's time stamp.
const PREFIX: &str = "kpeel-soak: {";
/// What Linux begins a complaint with: warnings, oopses, sanitizers, lockdep, hung tasks, stalls.
const COMPLAINTS: &[&str] = &[
    "WARNING:",
    "BUG",
    "Oops",
    "UBSAN:",
    "INFO: possible",
    "INFO: trying",
    "INFO: task",
    "rcu: INFO",
];
/// Sanitizers take memory of their own, in MiB.
const MEMORY: u32 = 2048;
/// Programs may write as much into the log as they like.
const APPEND: &str = "printk.devkmsg=on log_buf_len=1M";

/// A patched kernel, and the key that it trusts.
pub struct Subject {
    /// The image it is started from.
    pub kernel: Kernel,
    /// Where `kpeel.key` and `kpeel.crt` lie.
    pub keys: PathBuf,
    /// The image's SHA-256, in hexadecimal.
    pub sha256: String,
    /// Words for its command line.
    pub append: String,
    /// Whether freed objects wait in KASAN's quarantine.
    quarantine: bool,
}

/// Memory that may be in use at a guest's end and was not before its first sample: caches that grow, in KiB.
const DRIFT: u64 = 16 << 10;
/// Of the memory, what KASAN's quarantine may hold (`QUARANTINE_FRACTION`, `mm/kasan/quarantine.c`).
const QUARANTINE_FRACTION: u64 = 32;

impl Subject {
    /// The kernel of a directory as `cargo xtask kernel` leaves it.
    ///
    /// # Errors
    /// When there is no kernel in it.
    pub fn of(dir: &Path) -> Outcome<Self> {
        let kernel = Kernel::of(dir.join("bzImage"))?;
        let config = std::fs::read_to_string(dir.join("config"))?;
        Ok(Self {
            quarantine: config.lines().any(|line| line == "CONFIG_KASAN=y"),
            sha256: sha256(&kernel.bytes()?),
            keys: dir.to_owned(),
            append: String::new(),
            kernel,
        })
    }

    /// How much less memory may be free at a guest's end, in KiB.
    fn drift(&self) -> u64 {
        let quarantine = u64::from(MEMORY) * 1024 / QUARANTINE_FRACTION;
        DRIFT + if self.quarantine { quarantine } else { 0 }
    }
}

/// Runs kpeel-soak with these arguments, one guest for all: its lines of JSON.
///
/// # Errors
/// When it fails, when the kernel complains, with its first complaint, or when it has lost something.
pub fn run(
    shop: &Shop,
    row: &Row,
    subject: &Subject,
    images: &[&Image],
    commands: &[String],
) -> Outcome<(Report, Vec<Value>)> {
    let program = kpeel_vm::guest::build(row.arch, "kpeel-init", "kpeel-soak")?;
    let mut guest = Guest::new(shop, row.arch, &subject.kernel)?
        .append(APPEND)
        .append(&subject.append)
        .memory(MEMORY)
        .with(|archive| Ok(archive.program("bin/soak", &program)?))?
        .file("list", Images::list(images).as_bytes());
    for image in images {
        guest = guest.file(&image.name, &image.bytes);
    }
    for command in commands {
        guest = guest.step(format!("run {SOAK} {command}"));
    }
    let report = guest.stays().run(row)?;
    let told: Vec<Value> = lines(&report.lines)?
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()?;
    health::check(&told, subject.drift())?;
    Ok((report, told))
}

/// The SHA-256 in lower-case hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row for this name, which has this much time.
#[must_use]
pub fn row(name: &'static str, seconds: u64) -> Row {
    let nothing = |_: &Shop, _: &Row| Err("runs only through kpeel-soak".into());
    Row {
        name,
        arch: Arch::X86_64,
        claim: "",
        full: true,
        deadline: Duration::from_secs(seconds),
        guest: Make::Other(nothing),
    }
}

/// What kpeel-soak told, or the kernel's first complaint.
fn lines(console: &[String]) -> Outcome<Vec<String>> {
    let complaint = |line: &&String| COMPLAINTS.iter().any(|words| line.contains(words));
    if let Some(line) = console.iter().find(complaint) {
        return Err(format!("the kernel complains: {line}").into());
    }
    let told = console.iter().filter_map(|line| line.split_once(PREFIX));
    Ok(told
        .map(|(_, rest)| format!("{{{}", rest.trim_end()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::lines;

    fn console(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn takes_the_lines_out_of_the_kernels_log() {
        let log = console("[    1.5] Linux\n[    2.0] kpeel-soak: {\"loads\": 3}\r\nother");
        assert_eq!(lines(&log).unwrap(), ["{\"loads\": 3}"]);
    }

    #[test]
    fn a_complaint_fails_and_is_told() {
        for line in [
            "[ 3.1] WARNING: CPU: 0 PID: 7 at kernel/x.c:1",
            "[ 3.1] BUG: KASAN: use-after-free in f",
            "[ 3.1] UBSAN: shift-out-of-bounds in f",
        ] {
            let error = lines(&console(line)).unwrap_err().to_string();
            assert!(error.ends_with(line), "{error}");
        }
    }
}
