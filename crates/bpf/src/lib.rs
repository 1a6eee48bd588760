//! An eBPF machine for bytecode that nobody vouches for.
//!
//! [`Program::decode`] checks instruction bytes once and keeps them in a dense form; [`run`] executes
//! that form over a [`Memory`]. A pointer is a region and an offset in it, packed into a plain `u64`,
//! so programs may store pointers and load them back; every access is checked for bounds and
//! permission. Execution is bounded by a [`Budget`] of instructions and by [`MAX_FRAMES`] frames of
//! [`FRAME_SIZE`] bytes. Nothing here panics on any program, and equal inputs give equal results.
//!
//! The instruction set is RFC 9669 with all its conformance groups except the deprecated packet access:
//! what clang emits for `-mcpu=v1` to `v4`. What instructions only name (maps, kernel objects, helpers,
//! kfuncs) is answered by the embedder through [`Resolver`] at decode time and [`Calls`] at run time;
//! this crate knows nothing of any of them.
//!
//! ```
//! use kpeel_bpf::{Budget, Memory, NoCalls, Program, run};
//!
//! // r0 = r1; r0 += 1; exit
//! let code = [0xbf, 0x10, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
//! let program = Program::decode(&code, &mut NoCalls).unwrap();
//! let r0 = run(&program, &[41], &mut Memory::new(), &mut NoCalls, &mut Budget::new(10));
//! assert_eq!(r0, Ok(42));
//! ```

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

extern crate alloc;

pub mod conformance;
mod decode;
mod error;
mod isa;
mod machine;
mod memory;
mod op;
mod region;

pub use decode::{MAX_INSTRUCTIONS, Program, Pseudo, Resolver};
pub use error::{DecodeError, Direction, Fault, FaultKind, MapError, Trap, Unresolved};
pub use machine::{Budget, Calls, MAX_ARGUMENTS, NoCalls, run};
pub use memory::{Access, FRAME_SIZE, MAX_FRAMES, MAX_REGION, MAX_REGIONS, Memory, Region};

#[cfg(test)]
mod checked {
    /// This crate is optimised for tests too; its checks must not be optimised away.
    #[test]
    #[should_panic(expected = "attempt to add with overflow")]
    fn tests_run_with_overflow_checks() {
        let one = core::hint::black_box(1_u8);
        assert_eq!(core::hint::black_box(u8::MAX) + one, 0);
    }
}
