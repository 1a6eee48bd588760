// SPDX-License-Identifier: GPL-2.0 OR MIT

//! PE boot images that bring their own parser.
//!
//! Everything that is decided is decided here: `envelope` drives the pipeline (the same files as
//! in user space), [`host`] executes its stages on Linux. C provides what Rust cannot reach; the
//! border is `kexec_pe.h` on that side and [`border`] on this one.
//!
//! One load is at work at a time: kexec's lock sees to it. All but [`kexec_pe_rs_claims`]
//! and [`kexec_pe_rs_not_started`] runs in the loader thread.

mod border;
mod buffer;
#[cfg(CONFIG_KEXEC_PE_DEBUG)]
mod debug;
#[cfg(not(CONFIG_KEXEC_PE_DEBUG))]
#[path = "debug_off.rs"]
mod debug;
mod finish;
mod host;
mod kfunc;
mod loader;
mod program;
mod session;

#[allow(dead_code, missing_docs, unreachable_pub, unused)]
#[path = "abi/lib.rs"]
mod abi;
#[allow(dead_code, missing_docs, unreachable_pub, unused)]
#[path = "envelope/lib.rs"]
mod envelope;

use core::ffi::{c_int, c_ulong, c_void};

use envelope::error::{Class, Error, Result};
use envelope::limits::Limits;
use envelope::pe::{looks_like_pe, Pe};
use envelope::pipeline::{unfold, Request, SECTION_BPF};

use border::{bytes, Load};
use buffer::Buffer;
use host::Linux;

const __LOG_PREFIX: &[u8] = b"kexec_pe\0";

/// Whether an image is a PE image that brings a parser. What is not is left to other loaders.
///
/// # Safety
/// `image` points to `len` bytes that do not change.
#[no_mangle]
pub(crate) unsafe extern "C" fn kexec_pe_rs_claims(image: *const c_void, len: c_ulong) -> bool {
    // SAFETY: The caller's promise.
    let claimed = claims(unsafe { bytes(image, len) });
    if !claimed {
        debug::left();
    }
    claimed
}

/// Unfolds one load in the loader thread: 0, and the load's buffers are replaced, or a negative
/// errno, and they are as they were.
///
/// # Safety
/// `load` describes the buffers of one kimage, which nobody else touches meanwhile.
#[no_mangle]
pub(crate) unsafe extern "C" fn kexec_pe_rs_unfold(load: *mut Load) -> c_int {
    // SAFETY: The caller's promise.
    let load = unsafe { &mut *load };
    match work(load) {
        Ok(()) => {
            debug::loaded(load);
            0
        }
        Err(error) if border::cancelled() => {
            kernel::pr_notice!("the load was cancelled: {}\n", error);
            debug::refused(&error, border::EINTR);
            -border::EINTR
        }
        Err(error) => refuse(&error),
    }
}

/// Tells that there was no thread to unfold in, for this negative errno, which it returns.
#[no_mangle]
pub(crate) extern "C" fn kexec_pe_rs_not_started(error: c_int) -> c_int {
    let class = Class::System(error.wrapping_neg());
    refuse(&Error::reason(class, "loader thread", "does not start"))
}

/// Version of the contract with parsers.
#[no_mangle]
pub(crate) extern "C" fn kexec_pe_rs_version() -> u32 {
    abi::VERSION
}

/// Most envelopes opened one inside the other.
#[no_mangle]
pub(crate) extern "C" fn kexec_pe_rs_depth() -> u32 {
    Limits::default().depth
}

/// Tells why a load is refused: the negative errno.
fn refuse(error: &Error) -> c_int {
    kernel::pr_err!("{}\n", error);
    debug::refused(error, error.errno());
    -error.errno()
}

fn claims(image: &[u8]) -> bool {
    if !looks_like_pe(image) {
        return false;
    }
    match Pe::parse(image) {
        Ok(pe) => pe.find(SECTION_BPF).next().is_some(),
        Err(error) => {
            kernel::pr_info!("left to other loaders: {}\n", error);
            false
        }
    }
}

fn work(load: &mut Load) -> Result<()> {
    let mut host = Linux::new(load.signature)?;
    let request = Request {
        // SAFETY: The load's buffers stay until `finish`, which comes after the last use.
        image: unsafe { Buffer::lent(load.kernel, load.kernel_len)? },
        // SAFETY: As above.
        initrd: unsafe { lent(load.initrd, load.initrd_len)? },
        // SAFETY: As above. The syscall has checked that a NUL ends the command line.
        cmdline: unsafe { lent(load.cmdline, load.cmdline_len.saturating_sub(1))? },
        crash: load.crash,
        enforced: load.enforced,
        embedded: true,
        parsers: &[],
    };
    let unfolded = unfold(&mut host, request)?;
    let opened = unfolded.provenance.opened;
    finish::replace(load, unfolded)?;
    kernel::pr_info!(
        "envelopes opened: {}; kernel {} bytes, initrd {} bytes, command line {} bytes\n",
        opened,
        load.kernel_len,
        load.initrd_len,
        load.cmdline_len.saturating_sub(1)
    );
    Ok(())
}

/// A buffer of the caller, if there is one.
///
/// # Safety
/// As for [`Buffer::lent`].
unsafe fn lent<T>(data: *const T, len: c_ulong) -> Result<Option<Buffer>> {
    if data.is_null() || len == 0 {
        return Ok(None);
    }
    // SAFETY: The caller's promise.
    unsafe { Buffer::lent(data.cast(), len) }.map(Some)
}
