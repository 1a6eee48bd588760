//! kpeel's own parsers, prebuilt: light skeleton carriers ready for a PE section `.bpf`.
//!
//! `cargo xtask parsers` makes them from `parsers/`; embedding the result lets everything else
//! build without a BPF toolchain.
#![no_std]
#![forbid(unsafe_code)]

/// A parser that comes with kpeel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bundled {
    /// Name on the command line.
    pub name: &'static str,
    /// The carrier: an ELF object with `opts_insn` and `opts_data`.
    pub carrier: &'static [u8],
}

/// All of them, in the order in which a host tries them on an image without `.bpf`.
pub const BUNDLED: &[Bundled] = &[
    Bundled {
        name: "uki",
        carrier: include_bytes!("../../../parsers/uki/carrier.o"),
    },
    Bundled {
        name: "zboot",
        carrier: include_bytes!("../../../parsers/zboot/carrier.o"),
    },
];

/// The bundled parser of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Bundled> {
    BUNDLED.iter().find(|bundled| bundled.name == name)
}
