//! The contract between a parser and the host that runs it.
//!
//! A parser is a BPF program of type TRACING (`fentry.s`) on one of two anchors. The host calls it
//! with one argument, a pointer to [`Context`], and answers the kfuncs in [`KFUNCS`]. Both hosts
//! (the sandbox in user space and Linux) implement exactly what this crate states; the C layout in
//! `linux/` is asserted against it.
//!
//! Source: the Linux series "kexec: Use BPF lskel to enable kexec to load PE format boot image",
//! v4 (July 2025), with its holes closed; `ARCHITECTURE.md` lists the differences.
#![no_std]
#![forbid(unsafe_code)]

mod context;
mod helper;
mod kfunc;
mod loader;
mod resource;
mod verdict;

pub use context::{Context, MemRangeResult};
pub use helper::{Helper, LOADER_HELPERS, PARSER_HELPERS};
pub use kfunc::{KFUNCS, Kfunc, Param, Return};
pub use loader::{
    BpfCmd, LOADER_COMMANDS, MAX_LOADER_MAPS, MapType, PROG_FLAGS_SLEEPABLE, ProgType, TRACE_FENTRY,
};
pub use resource::{Mode, RESOURCES, Resource, ResourceName, resource};
pub use verdict::{MAX_FIELD, VerdictCode};

/// The anchor every parser attaches to: `void bpf_handle_pefile(struct kexec_context *context)`.
pub const ANCHOR: &str = "bpf_handle_pefile";

/// The optional second anchor, run after the stage's resources are taken. A program on it may not
/// publish.
pub const POST_ANCHOR: &str = "bpf_post_handle_pefile";

/// Longest string a host reads from a parser, in bytes without its NUL.
pub const MAX_NAME: usize = 63;

/// Results of `bpf_decompress` that a parser may hold at one time; one more is NULL.
pub const MAX_RESULTS: usize = 16;

/// Version of this contract, announced by the kernel host in `/sys/kernel/kexec_pe`.
pub const VERSION: u32 = 1;
