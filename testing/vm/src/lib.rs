//! Boots test guests in QEMU and decides, by one rule, whether they passed.
//!
//! A guest passes only if one exact line appears on its serial console exactly once, QEMU reports
//! that the guest itself powered off, and QEMU exits with status 0. Silence, a panic after the
//! line, a reset or a timeout are failures. The serial log of every run is kept.
//!
//! ```text
//! Initramfs (newc) ─┐
//! kernel, append  ──┼─> Machine ──run──> serial lines + power-off reason ──judge──> Report | Error
//! firmware        ──┘
//! ```
//!
//! [`guest::build`] makes the static binaries that go into the initramfs; `kpeel-init` is PID 1
//! and prints the line, see [`init::passed`].
#![forbid(unsafe_code)]

mod accel;
mod arch;
mod console;
mod error;
pub mod guest;
pub mod init;
mod initramfs;
mod judge;
mod machine;
mod qmp;
mod run;

pub use accel::Accel;
pub use arch::Arch;
pub use error::Error;
pub use initramfs::Initramfs;
pub use judge::Failure;
pub use machine::{Firmware, Machine, Reset};
pub use run::Report;
