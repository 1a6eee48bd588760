//! Authenticode signatures of PE images: verify them, make them, and the stores of keys that say
//! whose count.
//!
//! [`verify`] judges an image against a [`Store`] under a [`Policy`] and reports all it found;
//! [`sign`] adds signatures. Both can do with digests that were made while the image was read
//! ([`Reading`]), or with an image that is not in memory at all ([`Outline`]). Which bytes a signature covers, [`kpeel_envelope::authenticode`] says.
//!
//! Everything read here is hostile until proven: sizes, counts and the work of verifying are bounded,
//! DER is decoded without recursion, nothing panics.
//!
//! Sources: "Windows Authenticode Portable Executable Signature Format"; RFC 5652 (CMS); RFC 5280
//! (certificates); UEFI specification, "Secure Boot and Driver Signing".
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod authenticode;
mod certificate;
mod chain;
mod cms;
mod crypto;
mod error;
mod hash;
mod key;
mod oid;
mod outline;
mod policy;
mod reading;
mod report;
mod sign;
mod store;
mod token;
mod verify;
mod walk;

pub use certificate::Certificate;
pub use error::{Error, Result};
pub use hash::Hash;
pub use key::{Identity, Key, Passphrase};
pub use outline::{Outline, Passing};
pub use policy::{Policy, Usage, Validity};
pub use reading::Reading;
pub use report::{CertificateReport, Reason, Report, SignatureReport, Source, Uncovered, Verdict};
pub use sign::{Existing, SignOptions, sign, sign_outline};
pub use store::{Skipped, Store, Variable, system_variables};
pub use verify::{verify, verify_outline, verify_pe, verify_read};
