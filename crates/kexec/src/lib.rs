//! The kexec system calls.
//!
//! `kexec_file_load(2)` takes files and lets the kernel check and place them; `kexec_load(2)`
//! takes ready segments, so this crate places them, edits the device tree and writes the few
//! instructions that enter the kernel. Only aarch64 needs the second: its distribution kernels
//! often lack the first.
//!
//! Source: `kernel/kexec.c`, `kernel/kexec_file.c`, `include/uapi/linux/kexec.h`.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod error;
mod explain;
mod file;
mod host;
mod memfd;
pub mod segments;
mod status;
mod syscall;

pub use error::{Error, Part, Result};
pub use explain::{Circumstances, Explanation, explain};
pub use file::{FileLoad, file_load, file_unload};
pub use host::KernelHost;
pub use memfd::{seal, sealed};
pub use status::{Lockdown, Status};
pub use syscall::{Call, reboot, supported};
