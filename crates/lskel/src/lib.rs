//! Turns a parser object into a light skeleton carrier.
//!
//! A parser is compiled to a relocatable BPF ELF object (`llc` from Rust, `clang -target bpf` from
//! C). [`link`] makes of it the bytes of a `.bpf` section: an ELF object that carries a *loader
//! program* (`opts_insn`) and its data (`opts_data`). A host runs the loader over a zeroed context;
//! the loader looks up anchors and kfuncs by name, creates the map of the parser's constants and
//! loads the parser's programs.
//!
//! What an object may contain: the program sections `fentry.s/bpf_handle_pefile` (needed) and
//! `fentry.s/bpf_post_handle_pefile`, functions they call in any other code section, `.rodata*`,
//! calls of the kfuncs in [`kpeel_abi::KFUNCS`], and a `license` section. Everything else (other
//! maps, writable data, CO-RE records, ...) is refused by its name. What nothing refers to is left
//! out of the carrier. The same object always gives the same bytes.
//!
//! The loader issues `MAP_CREATE`, `MAP_UPDATE_ELEM`, `MAP_FREEZE`, `PROG_LOAD`, and calls the
//! helpers 166 to 168 only: neither `bpf_probe_read_kernel` nor `bpf_copy_from_user`, so that it
//! also passes Linux's verifier under confidentiality lockdown.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod asm;
mod attr;
mod blob;
mod carrier;
mod error;
mod input;
mod insn;
mod layout;
mod loader;
mod program;
mod rodata;
mod site;

pub use carrier::carrier;
pub use error::Error;

/// Makes the carrier (the bytes of a `.bpf` section) of a parser object.
///
/// # Errors
///
/// [`Error::Malformed`] if `object` is no sound BPF relocatable, [`Error::Unsupported`] if it holds
/// something outside the list in the crate's description.
pub fn link(object: &[u8]) -> Result<Vec<u8>, Error> {
    let object = input::Object::parse(object)?;
    let parser = program::Parser::link(&object)?;
    let loader = loader::Loader::generate(&parser)?;
    Ok(carrier(&loader.insns, &loader.data))
}
