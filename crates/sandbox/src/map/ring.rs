//! Ring buffers without a consumer: records are reserved one after the other until it is full.
//!
//! Source: `kernel/bpf/ringbuf.c`. Nobody consumes here, as nobody does while Linux runs a parser, so
//! positions never wrap and a record is always in one piece.

use std::collections::BTreeSet;

use kpeel_bpf::Memory;

/// `BPF_RINGBUF_HDR_SZ`: length and flags, then the page offset.
const HEADER: u64 = 8;
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
/// `RINGBUF_MAX_RECORD_SZ`.
const MAX_RECORD: u64 = (u32::MAX / 4) as u64;
/// Pages before the data, for the record header's `pg_off`: bookkeeping, consumer, producer.
const PAGES_BEFORE_DATA: u64 = 3;
const PAGE: u64 = 4096;
/// Records open at one time; Linux's verifier follows far fewer.
const MAX_OPEN: usize = 1024;

/// Positions of a ring buffer; `mask` is its size less one.
#[derive(Debug)]
pub(crate) struct Ring {
    mask: u64,
    produced: u64,
    /// Record addresses handed out and not yet submitted or discarded.
    open: BTreeSet<u64>,
}

/// What `bpf_ringbuf_query` is asked.
const AVAILABLE: u64 = 0;
const RING_SIZE: u64 = 1;
const CONSUMER: u64 = 2;
const PRODUCER: u64 = 3;

impl Ring {
    pub(crate) fn new(size: u64) -> Self {
        Self {
            mask: size.saturating_sub(1),
            produced: 0,
            open: BTreeSet::new(),
        }
    }

    /// `bpf_ringbuf_reserve`: the record's address, or 0 when there is no room.
    pub(crate) fn reserve(&mut self, base: u64, size: u64, memory: &mut Memory) -> u64 {
        if size > MAX_RECORD || self.open.len() >= MAX_OPEN {
            return 0;
        }
        let room = size.saturating_add(HEADER).next_multiple_of(HEADER);
        let end = self.produced.saturating_add(room);
        // One byte of the ring always stays free.
        if end > self.mask {
            return 0;
        }
        let header = base.wrapping_add(self.produced);
        let pages = PAGES_BEFORE_DATA.saturating_add(self.produced / PAGE);
        let word = u64::from(size as u32 | BUSY) | pages << 32;
        if memory.write_u64(header, word).is_err() {
            return 0;
        }
        self.produced = end;
        let record = header.wrapping_add(HEADER);
        self.open.insert(record);
        record
    }

    /// `bpf_ringbuf_submit` or `_discard`; false if this is no open record.
    pub(crate) fn commit(&mut self, record: u64, discard: bool, memory: &mut Memory) -> bool {
        if !self.open.remove(&record) {
            return false;
        }
        let header = record.wrapping_sub(HEADER);
        if let Ok(length) = memory.read_u32(header) {
            let flag = if discard { DISCARD } else { 0 };
            // The ring is mapped writable as long as it lives.
            let _ = memory.write_u32(header, (length & !BUSY) | flag);
        }
        true
    }

    /// `bpf_ringbuf_query`.
    pub(crate) fn query(&self, what: u64) -> u64 {
        match what {
            AVAILABLE | PRODUCER => self.produced,
            RING_SIZE => self.mask.saturating_add(1),
            CONSUMER => 0,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kpeel_bpf::Access;

    fn ring(size: usize) -> (Ring, u64, Memory) {
        let mut memory = Memory::new();
        let base = memory.map_owned(vec![0; size], Access::ReadWrite).unwrap();
        (Ring::new(size as u64), base, memory)
    }

    #[test]
    fn a_record_fits_only_a_ring_that_is_larger_than_it_and_its_header() {
        let (mut small, base, mut memory) = ring(4096);
        assert_eq!(small.reserve(base, 4096 - 8, &mut memory), 0);
        assert_eq!(small.reserve(base, 4096 - 16, &mut memory), base + 8);
        assert_eq!(small.reserve(base, 0, &mut memory), 0);
    }

    #[test]
    fn refuses_records_over_a_gibibyte() {
        let mut ring = Ring::new(1 << 31);
        assert_eq!(ring.reserve(1 << 32, (1 << 30) + 1, &mut Memory::new()), 0);
    }

    #[test]
    fn headers_tell_length_and_state() {
        let (mut ring, base, mut memory) = ring(4096);
        let first = ring.reserve(base, 5, &mut memory);
        let second = ring.reserve(base, 1, &mut memory);
        assert_eq!((first, second), (base + 8, base + 24));
        assert_eq!(memory.read_u64(base), Ok(3 << 32 | 1 << 31 | 5));
        assert!(ring.commit(first, false, &mut memory));
        assert!(ring.commit(second, true, &mut memory));
        assert_eq!(memory.read_u32(base), Ok(5));
        assert_eq!(memory.read_u32(base + 16), Ok(1 << 30 | 1));
        assert!(!ring.commit(first, false, &mut memory));
        assert_eq!(ring.query(AVAILABLE), 32);
        assert_eq!(ring.query(RING_SIZE), 4096);
    }
}
