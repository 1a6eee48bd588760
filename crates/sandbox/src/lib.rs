//! The user-space host: runs the parsers of boot images in a sandbox.
//!
//! [`Sandbox`] implements [`Host`](kpeel_envelope::host::Host) for the pipeline of `kpeel-envelope`. A
//! carrier's loader program runs in the eBPF machine of `kpeel-bpf`; the commands of bpf(2) that it issues
//! are answered here, under a short list of what a loader may do. The parser it makes then runs in the same
//! machine, over its own maps and the stage's image, and publishes through the kfuncs of `kpeel-abi`.
//!
//! Nothing a carrier holds is trusted: every access is checked, instructions, memory and the work done on a
//! program's behalf are bounded, and nothing depends on the machine, the time or the environment.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod answer;
mod btf;
mod buffer;
mod codec;
mod core;
mod describe;
mod env;
mod event;
mod helpers;
mod host;
mod loader;
mod map;
mod mapping;
mod parser;
mod printk;
mod recognise;
mod text;
mod whole;

pub use buffer::{Buffer, read_chunk, read_onto};
pub use describe::{CarrierInfo, Describer, MapInfo, ProgramInfo, describe};
pub use event::{Caller, Event, Warning};
pub use host::{Armed, Sandbox};
pub use recognise::Machine;
pub use whole::unpack_whole;

// Tests say what calls hold beside what is charged.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: kpeel_counting::Counting = kpeel_counting::Counting;
