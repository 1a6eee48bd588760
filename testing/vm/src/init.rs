//! What `kpeel-init`, PID 1 of the guests, reads and prints.
//!
//! Its job is a text file, `/job` unless the kernel command line says `kpeel.job=PATH`; see
//! `testing/init` for the words.

/// Begins the line of a guest whose job failed.
pub const FAILED_PREFIX: &str = "kpeel-init: failed ";

/// Where PID 1 looks for its job, as a path inside an initramfs.
pub const JOB: &str = "job";

/// The line that the guest prints when every step of the job with this name succeeded.
#[must_use]
pub fn passed(name: &str) -> String {
    format!("kpeel-init: passed {name}")
}
