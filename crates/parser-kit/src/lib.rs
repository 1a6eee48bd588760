//! What an author of a parser writes with: a BPF program in Rust that opens one boot format.
//!
//! A parser is a `no_std`, `no_main` library of crate type `cdylib`, built for
//! `bpfel-unknown-none` and linked by `kpeel parser link`. All of one, for images whose kernel
//! stands behind a length (`examples/trio` is a format with builder, parser and how to build it):
//!
//! ```no_run
//! use kpeel_parser_kit::{Context, Name, malformed, not_mine, parser, resource};
//!
//! parser!(open);
//!
//! fn open(context: Context) -> Option<()> {
//!     let image = context.image();
//!     let magic: u32 = image.read(4)?;
//!     if magic != 0x6b70_6c31 {
//!         return not_mine(Name::new(c"magic"), magic.into(), 0x6b70_6c31);
//!     }
//!     let length: u32 = image.read(8)?;
//!     let Some(kernel) = image.sub(12, length.into()) else {
//!         return malformed(Name::new(c"length"), length.into(), image.len());
//!     };
//!     kernel.publish(resource::KERNEL)
//! }
//! ```
//!
//! Everything a parser may touch goes through the five kfuncs of `kpeel-abi`; no helper is called.
//! What the kit does for its author:
//!
//! - [`Bytes`] is a range the host lets a parser see; reading is checked here against the range
//!   and once more by the host.
//! - [`malformed`], [`unsupported`], [`warn()`] and [`not_mine`] say why, since the program's own
//!   return value must be 0.
//! - [`sections()`] finds sections of the image by name.
//! - `?` on `Option` is the way out; a panic cannot be expressed in BPF. Indexing that may fail,
//!   unchecked arithmetic and `unwrap` leave a call to a panic function in the object, and the
//!   linker refuses it by name.
//! - [`unknown_zeros`] is for loops that Linux's verifier must be able to cut short.
#![no_std]

mod bytes;
mod context;
mod kfunc;
mod opaque;
pub mod resource;
mod sections;
mod unpacked;
mod verdict;

pub use bytes::{Bytes, Plain};
pub use context::Context;
pub use kfunc::Name;
pub use kpeel_abi::VerdictCode;
pub use opaque::unknown_zeros;
pub use sections::{section, sections};
pub use unpacked::Unpacked;
pub use verdict::{malformed, not_mine, unsupported, verdict, warn};

/// Defines the BPF program and its licence around `fn open(Context) -> Option<()>`.
///
/// The program is attached to `bpf_handle_pefile` and always returns 0, as Linux demands of fentry
/// programs; what `open` returns only serves its own `?`.
#[macro_export]
macro_rules! parser {
    ($open:path) => {
        /// Kfuncs are for GPL-compatible programs only.
        #[unsafe(link_section = "license")]
        #[unsafe(no_mangle)]
        static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

        /// The program.
        ///
        /// # Safety
        ///
        /// The host passes the argument array of `bpf_handle_pefile`.
        #[unsafe(link_section = "fentry.s/bpf_handle_pefile")]
        #[unsafe(no_mangle)]
        unsafe extern "C" fn parse(arguments: *const u64) -> i32 {
            // SAFETY: the caller keeps the same promise.
            let context = unsafe { $crate::Context::from_arguments(arguments) };
            let _ = $open(context);
            0
        }
    };
}

/// BPF has no way to panic: this body exists because the language asks for one, and any path to it
/// is an unresolved call that the linker refuses.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
