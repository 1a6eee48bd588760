//! Signed PE images, and the same images tampered with: what must be accepted, what refused, and
//! why.
//!
//! ```text
//! Authority (openssl) ──┐
//! base ──> sbsign ──────┴──> signed base ──> variants: a byte changed, a table bent, ...
//! base ──> other layout ───> signed by sbsign's rules, or with a PKCS#7 that no tool makes
//! ```
//! Everything here is made without kpeel: images by binutils, signatures by sbsign and openssl. What
//! those cannot make, because it is wrong, is put together byte by byte; an untouched twin made the
//! same way is among the variants, so that a mistake here would be seen.
//!
//! The authority is the key that Debian's `ovmf` package publishes for tests, which its "snakeoil"
//! variable store trusts: the same variants can be shown to real firmware.
#![forbid(unsafe_code)]

mod authority;
mod base;
mod der;
mod digest;
mod firmware;
mod pe;
mod pkcs7;
mod tool;
mod variants;

pub use authority::Authority;
pub use base::{Base, bases};
pub use firmware::{DIFFERENCES, Difference, Opinion, disagreements};
pub use variants::{Reason, Variant, Verdict, all};

/// What a step here may fail with.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
