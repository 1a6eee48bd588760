//! What a boot of a Unified Kernel Image extends PCR 11 with, and event logs to compare it with.
//!
//! - [`Measured`] lists the events that sd-stub makes for a profile of an image, in its order, with
//!   their digests in each [`Bank`]; [`Pcr`] says what they come to.
//! - [`phase`] has the words that systemd extends the same PCR with later, while the system starts.
//! - [`EventLog`] reads a firmware's log; [`compare`] says where a boot differed.
//!
//! Which sections count, and in which order, `kpeel-formats` decides; this crate hashes.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod bank;
pub mod compare;
mod log;
mod measured;
pub mod phase;

pub use bank::{Bank, Digest, Pcr};
pub use log::{EventLog, LogEvent};
pub use measured::{Event, Measured, Part, Table};

/// The PCR that sd-stub measures an image's sections into ("TPM2_PCR_KERNEL_BOOT" in systemd's
/// `src/fundamental/tpm2-pcr.h`).
pub const PCR: u32 = 11;
