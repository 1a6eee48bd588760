//! Writers of PE boot images.
//!
//! An [`Editor`] takes an image apart along its section table, lets sections be added and removed,
//! and writes it again. It keeps what it does not understand: bytes that belong to no section, COFF
//! symbols, overlays. File offsets that it does know (symbol table, debug directory, zboot's
//! payload) follow the bytes they point at; addresses in memory never change.
//!
//! What it writes has no gaps: every byte is one that a signature covers
//! ([`kpeel_envelope::authenticode::check_coverage`]).
//!
//! [`with_signatures`] writes the certificate table, [`signed_ends`] that of an image which is not in
//! memory.
//!
//! [`attach`] gives an image its parser, [`detach`] takes it away again. [`uki`] builds Unified Kernel
//! Images, [`zboot`] EFI zboot images.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

mod attach;
mod checksum;
mod directory;
mod editor;
mod emit;
mod entry;
mod fixed;
mod layout;
mod moves;
mod number;
mod parts;
mod signatures;
pub mod uki;
mod undo;
pub mod zboot;

pub use attach::{AttachOptions, DetachOptions, SECTION_BPF, attach, detach};
pub use checksum::{Sum, check_sum};
pub use editor::{Certificates, Contents, Editor};
pub use kpeel_envelope::error::{Error, Result};
pub use parts::{Part, Parts};
pub use signatures::{
    CERT_REVISION_2_0, Ends, body_start, signature_entry, signature_padding, signed_ends,
    with_signatures,
};
