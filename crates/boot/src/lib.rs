//! Boot loader entries (Boot Loader Specification types 1 and 2), and the caller's part of a load.
//!
//! Nothing here is needed to load an image by its path: entries only find images.
//!
//! Source: UAPI.1 Boot Loader Specification, UAPI.5 Unified Kernel Image, UAPI.10 Version Format.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod cmdline;
mod discover;
mod entry;
mod error;
mod file;
mod loader_conf;
mod order;
mod type1;
mod type2;

pub use cmdline::{CmdlineInputs, Origin, Part, compose, reuse};
pub use discover::{Boot, Partitions};
pub use entry::{Entry, Kind};
pub use error::{Error, Result};
