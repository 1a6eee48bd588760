// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What a kernel with `CONFIG_KEXEC_PE_DEBUG` tells root in debugfs of how each load ended.
//!
//! Lines of a word and its value: `load`, how many loads there were; `class`, who is to blame in
//! `envelope`'s words, `loaded`, or `left to other loaders`; `errno`, positive, 0 for a load, none
//! for what was left to others; then of a refusal `said`, the message; of a load `kernel`, `initrd`
//! and `cmdline`, each with bytes and SHA-256 as they are handed on (of the command line, without
//! the NUL), or `none`.
//!
//! UNSAFETY: Calls into C, and reads the load's buffers.

use core::ffi::{c_char, c_int, c_ulong, c_void};
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

use super::border::{bytes, Load};
use super::envelope::error::Error;

/// Bytes of a SHA-256.
const DIGEST: usize = 32;

/// Loads told of.
static LOADS: AtomicU64 = AtomicU64::new(0);

extern "C" {
    fn kexec_pe_debug_begin();
    fn kexec_pe_debug_write(more: *const c_char, len: c_ulong);
    fn kexec_pe_debug_end();
    fn kexec_pe_debug_sha256(data: *const c_void, len: c_ulong, digest: *mut [u8; DIGEST]);
}

/// Tells of a load that succeeded, whose buffers are those to be handed on.
pub(crate) fn loaded(load: &Load) {
    tell("loaded", Some(0), |text| {
        let cmdline_len = load.cmdline_len.saturating_sub(1);
        resource(text, "kernel", load.kernel, load.kernel_len)?;
        resource(text, "initrd", load.initrd, load.initrd_len)?;
        resource(text, "cmdline", load.cmdline.cast(), cmdline_len)
    });
}

/// Tells of a refused load, for which the caller gets this positive errno.
pub(crate) fn refused(error: &Error, errno: c_int) {
    tell(error.class, Some(errno), |text| {
        writeln!(text, "said {error}")
    });
}

/// Tells of an image that brings no parser.
pub(crate) fn left() {
    tell("left to other loaders", None, |_| Ok(()));
}

/// The text being written; C's lock is held while it lives.
struct Text;

fn tell(
    class: impl fmt::Display,
    errno: Option<c_int>,
    rest: impl FnOnce(&mut Text) -> fmt::Result,
) {
    let mut text = Text::begin();
    let load = LOADS.fetch_add(1, Ordering::Relaxed) + 1;
    // Writing to C's text does not fail.
    let _ = writeln!(text, "load {load}\nclass {class}");
    if let Some(errno) = errno {
        let _ = writeln!(text, "errno {errno}");
    }
    let _ = rest(&mut text);
}

fn resource(text: &mut Text, name: &str, data: *const c_void, len: c_ulong) -> fmt::Result {
    // SAFETY: The load's buffers are as long as it says, and nobody changes them.
    let data = unsafe { bytes(data, len) };
    if data.is_empty() {
        return writeln!(text, "{name} none");
    }
    write!(text, "{name} {} ", data.len())?;
    let mut digest = [0; DIGEST];
    // SAFETY: The bytes are there, and the digest's may be written.
    unsafe { kexec_pe_debug_sha256(data.as_ptr().cast(), len, &mut digest) };
    for byte in digest {
        write!(text, "{byte:02x}")?;
    }
    writeln!(text)
}

impl Text {
    fn begin() -> Self {
        // SAFETY: No other text of this thread lives, so the lock is not ours yet.
        unsafe { kexec_pe_debug_begin() };
        Self
    }
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        // SAFETY: The bytes are there; the lock is held.
        unsafe { kexec_pe_debug_write(more.as_ptr().cast(), more.len() as c_ulong) };
        Ok(())
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        // SAFETY: The lock is held.
        unsafe { kexec_pe_debug_end() };
    }
}
