//! What the command promises: exit codes, files, messages, documents.
#![forbid(unsafe_code)]

mod attach;
#[cfg(feature = "native")]
mod build;
#[cfg(all(feature = "native", feature = "trust"))]
mod build_signed;
mod example_format;
mod exit_codes;
mod inspect;
#[cfg(target_arch = "x86_64")]
mod load;
mod measure;
mod parser;
mod picture;
mod support;
#[cfg(target_arch = "x86_64")]
mod system;
mod third_party;
#[cfg(feature = "trust")]
mod trust;
#[cfg(not(feature = "trust"))]
mod trust_absent;
mod unfold;
#[cfg(feature = "trust")]
mod verify_outer;
