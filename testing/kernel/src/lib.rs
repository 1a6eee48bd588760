//! Linux kernels built from source for test guests, cached by everything they are made of.
//!
//! Debian ships no arm64 kernel with `kexec_file_load` and no bootable zboot image for it; [`path`] builds both out of
//! Debian's source package, or takes them from the cache. Kernels with kpeel's own side in them are built of the same
//! source with `linux/overlay` copied into it and `linux/patches` applied.
//!
//! ```text
//! Kernel ─> Inputs ──key──> cache hit ──────────────────────────────────────> path of an image
//!   │          │               └─ miss: lock, Source ─> Config ─> Make ─> check ─> rename ─┘
//! fragment  package, tools, recipe
//! ```
//!
//! A kernel appears in the cache whole or not at all. One build runs at a time; others wait for it.
#![forbid(unsafe_code)]

mod bindgen;
mod build;
mod cache;
mod check;
mod config;
mod error;
mod harness;
mod inputs;
mod kernel;
mod key;
mod linux;
mod make;
mod progress;
mod size;
mod source;
mod tools;

pub use cache::{dir, lint, path, sizes};
pub use error::{Error, Result};
pub use harness::harness;
pub use kernel::{Arch, Image, Kernel, Variant};
pub use tools::packages;
