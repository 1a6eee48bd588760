// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Buffers of a load: shared, immutable runs of bytes.
//!
//! UNSAFETY: Lent memory of C and memory of the decompressors are taken over by their addresses;
//! copies fill memory by its address.

use core::ffi::c_void;
use core::ptr::{self, NonNull};

use kernel::alloc::flags::{__GFP_NOWARN, GFP_KERNEL, GFP_KERNEL_ACCOUNT};
use kernel::alloc::{Flags, VVec};
use kernel::sync::Arc;

use super::border::{bytes, cancelled, EINTR, ENOMEM};
use super::envelope::error::{Class, Error, Result};
use super::envelope::limits::Meter;

/// Copies let others run after this many bytes.
const COPY_STEP: usize = 1 << 20;

/// A run of bytes that shares its memory with its clones.
#[derive(Clone)]
pub(crate) struct Buffer {
    area: Arc<Area>,
    start: usize,
    len: usize,
}

struct Area {
    memory: Memory,
    _charge: Option<Charge>,
}

enum Memory {
    /// The kimage's, which outlives every buffer.
    Lent(&'static [u8]),
    Own(VVec<u8>),
}

/// Bytes charged to the load's meter until dropped.
pub(crate) struct Charge {
    meter: Arc<Meter>,
    bytes: u64,
}

/// Memory for a load is the caller's memory cgroup's; that there is none left is no news.
pub(crate) fn gfp() -> Flags {
    GFP_KERNEL_ACCOUNT | __GFP_NOWARN
}

/// There is no memory left.
pub(crate) fn no_memory(field: &'static str) -> Error {
    Error::reason(Class::System(ENOMEM), field, "there is no memory left")
}

impl Buffer {
    /// Memory that the kimage owns.
    ///
    /// # Safety
    /// `data` points to `len` bytes that live and do not change while this buffer or a clone does.
    pub(crate) unsafe fn lent(data: *const c_void, len: u64) -> Result<Self> {
        // SAFETY: The caller's promise stands for a lifetime that ends with the last clone.
        let memory = unsafe { bytes(data, len) };
        Self::new(Memory::Lent(memory), None)
    }

    /// Memory that a decompressor filled.
    ///
    /// # Safety
    /// `data` is vmalloc's, nobody else's, `allocated` bytes long, of which `len` are data.
    pub(crate) unsafe fn decompressed(
        data: NonNull<u8>,
        len: usize,
        allocated: usize,
        meter: &Arc<Meter>,
    ) -> Result<Self> {
        // SAFETY: The caller's promise.
        let memory = unsafe { VVec::from_raw_parts(data.as_ptr(), len, allocated) };
        let charge = Charge::new(meter, allocated as u64)?;
        Self::new(Memory::Own(memory), Some(charge))
    }

    /// All parts, one after the other, in memory of its own.
    pub(crate) fn joined(parts: &[&[u8]], meter: &Arc<Meter>) -> Result<Self> {
        let len = parts
            .iter()
            .fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        let charge = Charge::new(meter, len as u64)?;
        Self::new(Memory::Own(copy(parts, len)?), Some(charge))
    }

    fn new(memory: Memory, charge: Option<Charge>) -> Result<Self> {
        let len = memory.as_slice().len();
        let area = Area {
            memory,
            _charge: charge,
        };
        let area = Arc::new(area, GFP_KERNEL).map_err(|_| no_memory("buffer"))?;
        Ok(Self {
            area,
            start: 0,
            len,
        })
    }

    /// The part of `len` bytes at `start`; `None` if it is not wholly inside.
    pub(crate) fn part(&self, start: usize, len: usize) -> Option<Self> {
        let end = start.checked_add(len)?;
        (end <= self.len).then_some(())?;
        Some(Self {
            area: self.area.clone(),
            start: self.start.checked_add(start)?,
            len,
        })
    }

    /// The buffer's memory as vmalloc's, without a copy if nobody else has a hold of it.
    pub(crate) fn into_vvec(self) -> Result<VVec<u8>> {
        let whole = self.start == 0 && self.len == self.area.memory.as_slice().len();
        if !whole || matches!(self.area.memory, Memory::Lent(_)) {
            return copy(&[self.as_ref()], self.len);
        }
        let Self { area, .. } = self;
        let Some(mut area) = area.into_unique_or_drop() else {
            return Err(Error::reason(Class::Bug, "buffer", "is still held"));
        };
        match core::mem::replace(&mut area.memory, Memory::Lent(&[])) {
            Memory::Own(memory) => Ok(memory),
            Memory::Lent(_) => Err(Error::reason(Class::Bug, "buffer", "is lent")),
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        let all = self.area.memory.as_slice();
        let end = self.start.saturating_add(self.len);
        all.get(self.start..end).unwrap_or(&[])
    }
}

impl Memory {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Lent(bytes) => bytes,
            Self::Own(bytes) => bytes,
        }
    }
}

impl Charge {
    /// Charges `bytes` of memory.
    ///
    /// # Errors
    /// `Refused` past the meter's bound.
    pub(crate) fn new(meter: &Arc<Meter>, bytes: u64) -> Result<Self> {
        meter.charge(bytes)?;
        Ok(Self {
            meter: meter.clone(),
            bytes,
        })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.release(self.bytes);
    }
}

/// A copy of all parts, `len` bytes together.
pub(crate) fn copy(parts: &[&[u8]], len: usize) -> Result<VVec<u8>> {
    let mut memory = VVec::with_capacity(len, gfp()).map_err(|_| no_memory("copy"))?;
    for step in parts.iter().flat_map(|part| part.chunks(COPY_STEP)) {
        if cancelled() {
            return Err(Error::reason(Class::System(EINTR), "copy", "was cancelled"));
        }
        append(&mut memory, step)?;
    }
    Ok(memory)
}

/// `Vec::extend_from_slice` of Linux 6.12 clones item by item, and an initrd has tens of millions.
fn append(memory: &mut VVec<u8>, bytes: &[u8]) -> Result<()> {
    let len = memory.len();
    let room = memory.spare_capacity_mut().get_mut(..bytes.len());
    let room = room.ok_or(Error::reason(
        Class::Bug,
        "copy",
        "is longer than its memory",
    ))?;
    // SAFETY: Both are `bytes.len()` bytes long; the room is nobody else's.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), room.as_mut_ptr().cast(), bytes.len()) };
    // SAFETY: The room lay within the capacity and has just been filled.
    unsafe { memory.set_len(len.saturating_add(bytes.len())) };
    Ok(())
}
