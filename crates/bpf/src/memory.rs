//! Regions and the addresses that reach them.

use crate::error::{Direction, Fault, FaultKind, MapError};
use crate::region::{Kind, Slot};
use alloc::borrow::Cow;
use alloc::vec::Vec;
use bytes::Bytes;

/// Bytes of a frame's stack.
pub const FRAME_SIZE: usize = 512;

/// Frames that may be live at once, the entry function's included.
pub const MAX_FRAMES: usize = 8;

/// Longest region. The rest of the 4 GiB behind a region id stays empty, so that no 16-bit displacement
/// of an instruction leads from one region into another.
pub const MAX_REGION: u64 = (1 << 32) - (1 << 16);

/// Regions that a memory maps in its life. Ids are never used twice, so this bounds the table
/// (64 bytes per region) however often a program makes the host map and unmap.
pub const MAX_REGIONS: usize = 1 << 18;

/// What a program may do with a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Load from it.
    ReadOnly,
    /// Load from it and store to it.
    ReadWrite,
}

/// A mapped region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Address of its first byte.
    pub base: u64,
    /// Its bytes.
    pub len: u64,
    /// What a program may do with it.
    pub access: Access,
}

/// All memory that a program can reach.
///
/// An address is `id << 32 | offset`: a region and a byte in it. No region has id 0, so small numbers are
/// never addresses; ids stay below 2^31, so addresses are positive as signed numbers. Ids are never used
/// twice: an address of a region that was unmapped faults for ever. The ids 1 to [`MAX_FRAMES`] are the
/// stack frames, by depth; they are mapped only while their frame is live.
///
/// The accessors here serve the host. Reads and writes check as a program's own do: a host cannot write
/// to a read-only region through an address either.
#[derive(Debug)]
pub struct Memory {
    slots: Vec<Slot>,
    /// Live frames, over all nested runs.
    depth: usize,
}

impl Memory {
    /// Makes a memory without any region.
    pub fn new() -> Self {
        let mut slots = Vec::new();
        slots.resize_with(1 + MAX_FRAMES, Slot::default);
        Self { slots, depth: 0 }
    }

    /// Maps `bytes` read-only, without a copy, and returns the region's address.
    pub fn map_shared(&mut self, bytes: Bytes) -> Result<u64, MapError> {
        self.map(Slot {
            body: bytes,
            kind: Kind::Shared,
            ..Slot::default()
        })
    }

    /// Maps `body` read-only with its first `head.len()` bytes replaced by `head`, without a copy.
    ///
    /// The head must not be longer than the body.
    pub fn map_patched(&mut self, head: Vec<u8>, body: Bytes) -> Result<u64, MapError> {
        if head.len() > body.len() {
            return Err(MapError::Head {
                head: head.len(),
                body: body.len(),
            });
        }
        self.map(Slot {
            head,
            body,
            kind: Kind::Shared,
            writable: false,
        })
    }

    /// Maps bytes that the program may change, if `access` says so. They are not touched here.
    pub fn map_owned(&mut self, bytes: Vec<u8>, access: Access) -> Result<u64, MapError> {
        let writable = access == Access::ReadWrite;
        self.map(Slot {
            head: bytes,
            kind: Kind::Owned,
            writable,
            ..Slot::default()
        })
    }

    /// Changes what a program may do with the owned region at `base`.
    pub fn protect(&mut self, base: u64, access: Access) -> Result<(), MapError> {
        let slot = self.owned(base).ok_or(MapError::NotOwned { base })?;
        slot.writable = access == Access::ReadWrite;
        Ok(())
    }

    /// Unmaps the region at `base`; says whether there was one.
    pub fn unmap(&mut self, base: u64) -> bool {
        match self.slot_at_base(base) {
            Some(slot) if matches!(slot.kind, Kind::Shared | Kind::Owned) => {
                *slot = Slot::default();
                true
            }
            _ => false,
        }
    }

    /// Unmaps the owned region at `base` and returns its bytes.
    pub fn take(&mut self, base: u64) -> Option<Vec<u8>> {
        let slot = self.owned(base)?;
        Some(core::mem::take(slot).head)
    }

    /// The bytes of a range, to keep: a view where they are shared already, otherwise a copy.
    pub fn share(&self, address: u64, len: u64) -> Result<Bytes, Fault> {
        let (slot, offset, end) = self.range(address, len, Direction::Read)?;
        if let Some(view) = slot.shared(offset, end) {
            return Ok(view);
        }
        Ok(Bytes::from(self.bytes(address, len)?.into_owned()))
    }

    /// The bytes of a range, to look at; copied only where a patched region's head meets its body.
    pub fn bytes(&self, address: u64, len: u64) -> Result<Cow<'_, [u8]>, Fault> {
        Ok(match self.parts(address, len)? {
            (head, []) => Cow::Borrowed(head),
            ([], body) => Cow::Borrowed(body),
            (head, body) => Cow::Owned([head, body].concat()),
        })
    }

    /// The bytes of a range, to look at without a copy: what a patched region's head has of them, or all of an owned
    /// region's, and then what the body has. Either may be empty.
    pub fn parts(&self, address: u64, len: u64) -> Result<(&[u8], &[u8]), Fault> {
        let (slot, offset, end) = self.range(address, len, Direction::Read)?;
        slot.parts(offset, end)
            .ok_or_else(|| self.fault(address, len, Direction::Read))
    }

    /// Fills `dst` from `address` on.
    pub fn read(&self, address: u64, dst: &mut [u8]) -> Result<(), Fault> {
        let (head, body) = self.parts(address, dst.len() as u64)?;
        let (first, second) = dst.split_at_mut(head.len());
        first.copy_from_slice(head);
        second.copy_from_slice(body);
        Ok(())
    }

    /// Writes `src` from `address` on.
    pub fn write(&mut self, address: u64, src: &[u8]) -> Result<(), Fault> {
        let len = src.len() as u64;
        self.bytes_mut(address, len)?.copy_from_slice(src);
        Ok(())
    }

    /// A writable range, to change in place.
    pub fn bytes_mut(&mut self, address: u64, len: u64) -> Result<&mut [u8], Fault> {
        let (_, offset, end) = self.range(address, len, Direction::Write)?;
        let fault = Fault {
            address,
            len,
            direction: Direction::Write,
            kind: FaultKind::ReadOnly,
        };
        let slot = self
            .slots
            .get_mut(id(address))
            .filter(|slot| slot.writable)
            .ok_or(fault)?;
        slot.head.get_mut(offset..end).ok_or(fault)
    }

    /// The region that `address` points into, or whose end it points at.
    pub fn region(&self, address: u64) -> Option<Region> {
        let slot = self
            .slots
            .get(id(address))
            .filter(|slot| slot.kind != Kind::Free)?;
        (offset(address) <= slot.len()).then(|| Region {
            base: address & !0xffff_ffff,
            len: slot.len() as u64,
            access: if slot.writable {
                Access::ReadWrite
            } else {
                Access::ReadOnly
            },
        })
    }

    /// Reads a byte.
    pub fn read_u8(&self, address: u64) -> Result<u8, Fault> {
        self.value(address).map(u8::from_le_bytes)
    }

    /// Reads a little-endian 16-bit value.
    pub fn read_u16(&self, address: u64) -> Result<u16, Fault> {
        self.value(address).map(u16::from_le_bytes)
    }

    /// Reads a little-endian 32-bit value.
    pub fn read_u32(&self, address: u64) -> Result<u32, Fault> {
        self.value(address).map(u32::from_le_bytes)
    }

    /// Reads a little-endian 64-bit value.
    pub fn read_u64(&self, address: u64) -> Result<u64, Fault> {
        self.value(address).map(u64::from_le_bytes)
    }

    /// Writes a byte.
    pub fn write_u8(&mut self, address: u64, value: u8) -> Result<(), Fault> {
        self.write(address, &value.to_le_bytes())
    }

    /// Writes a little-endian 16-bit value.
    pub fn write_u16(&mut self, address: u64, value: u16) -> Result<(), Fault> {
        self.write(address, &value.to_le_bytes())
    }

    /// Writes a little-endian 32-bit value.
    pub fn write_u32(&mut self, address: u64, value: u32) -> Result<(), Fault> {
        self.write(address, &value.to_le_bytes())
    }

    /// Writes a little-endian 64-bit value.
    pub fn write_u64(&mut self, address: u64, value: u64) -> Result<(), Fault> {
        self.write(address, &value.to_le_bytes())
    }

    /// A program's load: no reason is worked out, [`Memory::fault`] does that when one is wanted.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        self.slots.get(id(address))?.load(offset(address))
    }

    /// A program's store.
    #[inline(always)]
    pub(crate) fn store<const N: usize>(&mut self, address: u64, value: [u8; N]) -> Option<()> {
        self.slots
            .get_mut(id(address))?
            .store(offset(address), value)
    }

    /// Why a load or store found nothing.
    #[cold]
    pub(crate) fn fault(&self, address: u64, len: u64, direction: Direction) -> Fault {
        match self.range(address, len, direction) {
            Err(fault) => fault,
            // The range is there, so only permission can be missing.
            Ok(_) => Fault {
                address,
                len,
                direction,
                kind: FaultKind::ReadOnly,
            },
        }
    }

    /// Makes the next frame, zeroed, and returns the address of its end; `None` when all are live.
    pub(crate) fn push_frame(&mut self) -> Option<u64> {
        let depth = self
            .depth
            .checked_add(1)
            .filter(|depth| *depth <= MAX_FRAMES)?;
        let slot = self.slots.get_mut(depth)?;
        slot.head.clear();
        slot.head.resize(FRAME_SIZE, 0);
        slot.kind = Kind::Frame;
        slot.writable = true;
        self.depth = depth;
        Some(((depth as u64) << 32) | FRAME_SIZE as u64)
    }

    /// Takes the last frame away; its allocation stays for the next one.
    pub(crate) fn pop_frame(&mut self) {
        if let Some(slot) = self.slots.get_mut(self.depth) {
            slot.head.clear();
            slot.kind = Kind::Free;
            slot.writable = false;
        }
        self.depth = self.depth.saturating_sub(1);
    }

    /// Live frames.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    fn map(&mut self, slot: Slot) -> Result<u64, MapError> {
        reachable(slot.len())?;
        let id = self.slots.len();
        if id > MAX_REGIONS + MAX_FRAMES {
            return Err(MapError::TooMany {
                allowed: MAX_REGIONS,
            });
        }
        self.slots.push(slot);
        Ok((id as u64) << 32)
    }

    fn slot_at_base(&mut self, base: u64) -> Option<&mut Slot> {
        if offset(base) != 0 {
            return None;
        }
        self.slots.get_mut(id(base))
    }

    fn owned(&mut self, base: u64) -> Option<&mut Slot> {
        self.slot_at_base(base)
            .filter(|slot| slot.kind == Kind::Owned)
    }

    /// Finds the region of a range and checks that the range is in it.
    fn range(
        &self,
        address: u64,
        len: u64,
        direction: Direction,
    ) -> Result<(&Slot, usize, usize), Fault> {
        let fault = |kind| Fault {
            address,
            len,
            direction,
            kind,
        };
        let slot = self
            .slots
            .get(id(address))
            .filter(|slot| slot.kind != Kind::Free);
        let slot = slot.ok_or(fault(FaultKind::Unmapped))?;
        let region = slot.len() as u64;
        let start = address & 0xffff_ffff;
        match start.checked_add(len).filter(|end| *end <= region) {
            Some(end) => Ok((slot, start as usize, end as usize)),
            None => Err(fault(FaultKind::Bounds { region })),
        }
    }

    fn value<const N: usize>(&self, address: u64) -> Result<[u8; N], Fault> {
        self.load(address)
            .ok_or_else(|| self.fault(address, N as u64, Direction::Read))
    }
}

/// Refuses a length that addresses cannot reach.
fn reachable(found: usize) -> Result<(), MapError> {
    if found as u64 > MAX_REGION {
        return Err(MapError::TooLong {
            found,
            allowed: MAX_REGION,
        });
    }
    Ok(())
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[inline(always)]
fn id(address: u64) -> usize {
    (address >> 32) as usize
}

#[inline(always)]
fn offset(address: u64) -> usize {
    (address & 0xffff_ffff) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_too_long_for_addresses_is_refused() {
        let longest = MAX_REGION as usize;
        assert_eq!(reachable(longest), Ok(()));
        let (found, allowed) = (longest + 1, MAX_REGION);
        assert_eq!(reachable(found), Err(MapError::TooLong { found, allowed }));
    }
}
