//! Guests in which kpeel loads a kernel and starts it; what both programs of this package share.
//!
//! ```text
//! Row ──guest──> Guest: kernel, initramfs { init, kpeel, image, job } ──run──> second kernel's init
//!       Shop: kernels from packages and builds, UKIs, static programs
//! ```
//! A row passes only when the *second* kernel's init has found its own command line, the marker
//! file of the initrd it was given and its version, and has said so in one exact line.
#![forbid(unsafe_code)]

mod agree;
pub mod demo;
mod firmware;
pub mod fixtures;
pub mod guest;
pub mod row;
mod rows;
mod secure_boot;
pub mod shop;
pub mod soak;

pub use rows::all;

/// What any step here may fail with.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
