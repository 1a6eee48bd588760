//! Real boot images for tests, and test images made from them by tools that are not kpeel's.
//!
//! [`fetch`] takes an [`Item`] out of Debian's packages, into a cache outside the checkout, through an apt root of its
//! own: nothing is installed, and the archive's address is the one that the system's apt already uses. `images.lock`
//! pins name, version and SHA-256 of every package.
//!
//! [`make`] builds UKIs and zboot images around them with binutils and the compressors' command-line tools;
//! [`oracle`] takes images apart with the same independent tools, so that a test never compares kpeel with itself.
#![forbid(unsafe_code)]

mod apt;
mod cache;
mod error;
mod fetch;
mod install;
mod item;
mod lock;
pub mod make;
pub mod oracle;
mod resolve;
mod sources;
mod store;
mod tool;

pub use cache::cache_dir;
pub use error::{Error, Result};
pub use fetch::{Origin, fetch, origins, refresh_lock};
pub use item::Item;
pub use item::kernel_release;
