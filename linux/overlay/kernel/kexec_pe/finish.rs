// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The end of a load: its results take the place of the kimage's buffers.
//!
//! UNSAFETY: Frees and moves the kimage's own buffers.

use core::ffi::{c_char, c_ulong, c_void};

use kernel::alloc::{KVec, VVec};

use super::border::{kfree, vfree, Load};
use super::buffer::{gfp, no_memory, Buffer};
use super::envelope::error::Result;
use super::envelope::pipeline::Unfolded;

/// Replaces the load's buffers by what unfolding found. Everything that can fail comes first.
pub(crate) fn replace(load: &mut Load, unfolded: Unfolded<Buffer>) -> Result<()> {
    let Unfolded {
        kernel,
        initrd,
        cmdline,
        ..
    } = unfolded;
    let cmdline = match cmdline {
        Some(line) => terminated(line.as_ref())?,
        None => KVec::new(),
    };
    let initrd = match initrd {
        Some(initrd) => initrd.into_vvec()?,
        None => VVec::new(),
    };
    let kernel = kernel.into_vvec()?;

    // SAFETY: No buffer is left that shares these; each is of the allocator named.
    unsafe {
        vfree(load.kernel);
        vfree(load.initrd);
        kfree(load.cmdline.cast());
    }
    (load.kernel, load.kernel_len) = parts(kernel);
    (load.initrd, load.initrd_len) = parts(initrd);
    let (line, len, _) = cmdline.into_raw_parts();
    load.cmdline_len = len as c_ulong;
    load.cmdline = if len == 0 {
        core::ptr::null_mut()
    } else {
        line.cast::<c_char>()
    };
    Ok(())
}

/// A command line as architectures want it: in kmalloc's memory, a NUL at its end.
fn terminated(text: &[u8]) -> Result<KVec<u8>> {
    let failed = |_| no_memory("kexec:cmdline");
    let mut line = KVec::with_capacity(text.len().saturating_add(1), gfp()).map_err(failed)?;
    line.extend_from_slice(text, gfp()).map_err(failed)?;
    line.push(0, gfp()).map_err(failed)?;
    Ok(line)
}

fn parts(memory: VVec<u8>) -> (*mut c_void, c_ulong) {
    let (data, len, _) = memory.into_raw_parts();
    if len == 0 {
        return (core::ptr::null_mut(), 0);
    }
    (data.cast(), len as c_ulong)
}
