//! PE boot images as stacks of envelopes.
//!
//! This crate reads a PE image, finds the parser that it carries in its `.bpf` section, and drives
//! the pipeline that opens envelope after envelope over a [`Host`]. It knows PE, Authenticode's
//! coverage and the carrier; it knows no boot format and runs no BPF itself.
//!
//! It has no dependencies and allocates nothing, so that Linux can compile these same files.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod authenticode;
pub mod carrier;
pub mod certificate;
pub mod compose;
pub mod error;
pub mod headers;
pub mod host;
pub mod limits;
pub mod pe;
pub mod pipeline;
pub mod publication;
pub mod reader;
pub mod section;
