//! One region's bytes.

use alloc::vec::Vec;
use bytes::Bytes;

/// What stands behind a region id.
///
/// Bytes below `head.len()` are in `head`, all others in `body`, at their own offset. So one check finds
/// both kinds of owned and shared bytes: owned regions have no body, shared ones no head.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) head: Vec<u8>,
    pub(crate) body: Bytes,
    pub(crate) kind: Kind,
    pub(crate) writable: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Never mapped, or no longer.
    #[default]
    Free,
    /// `body` only, or `body` with its start replaced by `head`.
    Shared,
    /// `head` only.
    Owned,
    /// `head` only; belongs to the machine.
    Frame,
}

impl Slot {
    pub(crate) fn len(&self) -> usize {
        self.head.len().max(self.body.len())
    }

    /// Reads `N` bytes at `offset`, if all of them are in the region.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let end = offset.checked_add(N)?;
        if let Some(bytes) = self.head.get(offset..end) {
            return bytes.try_into().ok();
        }
        if offset >= self.head.len() {
            return self.body.get(offset..end)?.try_into().ok();
        }
        self.load_across(offset, end)
    }

    /// Writes at `offset`, if the region may be written and all bytes are in it.
    #[inline(always)]
    pub(crate) fn store<const N: usize>(&mut self, offset: usize, value: [u8; N]) -> Option<()> {
        let end = offset.checked_add(N)?;
        if !self.writable {
            return None;
        }
        self.head.get_mut(offset..end)?.copy_from_slice(&value);
        Some(())
    }

    /// The two parts of a range, the first from `head`, the second from `body`; either may be empty.
    pub(crate) fn parts(&self, offset: usize, end: usize) -> Option<(&[u8], &[u8])> {
        if offset > end || end > self.len() {
            return None;
        }
        let cut = self.head.len();
        let head = self.head.get(offset.min(cut)..end.min(cut))?;
        // A range that ends in the head must not ask an owned region's empty body for anything.
        let body = if end > cut {
            self.body.get(offset.max(cut)..end)?
        } else {
            &[]
        };
        Some((head, body))
    }

    /// The range as a view into `body`, when it lies wholly there.
    pub(crate) fn shared(&self, offset: usize, end: usize) -> Option<Bytes> {
        let inside = self.head.len() <= offset && offset <= end && end <= self.body.len();
        inside.then(|| self.body.slice(offset..end))
    }

    #[cold]
    fn load_across<const N: usize>(&self, offset: usize, end: usize) -> Option<[u8; N]> {
        let (head, body) = self.parts(offset, end)?;
        let mut value = [0; N];
        for (to, from) in value.iter_mut().zip(head.iter().chain(body)) {
            *to = *from;
        }
        Some(value)
    }
}
