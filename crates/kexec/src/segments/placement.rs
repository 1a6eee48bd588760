//! Free memory, handed out piece by piece.

use std::ops::Range;

use super::PAGE;
use super::iomem::Memory;
use crate::error::{Error, Result};

/// Memory that nothing is placed on yet; apart, in ascending order.
#[derive(Clone, Debug)]
pub(super) struct Free {
    pieces: Vec<Range<u64>>,
    end: End,
}

/// Which end of memory is handed out first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The lowest place that fits. Kernels that cannot use memory below themselves need it.
    Low,
    /// The highest place that fits. The running kernel takes its own memory from the low end, and
    /// while it loads, it must take and put aside every page that belongs to a segment: segments
    /// that lie low make `kexec_load` many times slower.
    High,
}

/// One piece asked for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// What messages call it.
    pub(super) part: &'static str,
    /// Bytes.
    pub(super) size: u64,
    /// A power of two that the address, less `offset`, is a multiple of.
    pub(super) align: u64,
    /// See `align`.
    pub(super) offset: u64,
    /// Where it must lie.
    pub(super) window: Range<u64>,
}

/// `value` rounded up to a multiple of `align`, a power of two.
pub(super) fn align_up(value: u64, align: u64) -> u64 {
    value.saturating_add(align - 1) & !(align - 1)
}

impl Free {
    /// All RAM but what is taken and `reserved`; for a crash load, only what is reserved for it.
    pub(super) fn new(
        memory: &Memory,
        reserved: &[Range<u64>],
        crash: bool,
        end: End,
    ) -> Result<Self> {
        let mut free = if crash {
            let reservation = memory.crash.clone().ok_or(Error::NoCrashReservation)?;
            Self {
                pieces: vec![reservation],
                end,
            }
        } else {
            let taken = memory.taken.iter().chain(reserved).chain(&memory.crash);
            let mut taken: Vec<_> = taken.cloned().collect();
            taken.sort_by_key(|range| range.start);
            Self {
                pieces: without(&memory.ram, &taken),
                end,
            }
        };
        for piece in &mut free.pieces {
            piece.start = align_up(piece.start, PAGE);
            piece.end -= piece.end % PAGE;
        }
        free.pieces.retain(|piece| piece.start < piece.end);
        free.pieces.sort_by_key(|piece| piece.start);
        Ok(free)
    }

    /// The outermost place that fits.
    pub(super) fn take(&mut self, request: &Request) -> Result<u64> {
        let found = match self.end {
            End::Low => self.pieces.iter().find_map(|piece| {
                let address = first_fit(piece, request);
                fits(piece, request, address).then_some(address)
            }),
            End::High => self.pieces.iter().rev().find_map(|piece| {
                let address = last_fit(piece, request)?;
                fits(piece, request, address).then_some(address)
            }),
        };
        let Some(address) = found else {
            return Err(Error::NoRoom {
                part: request.part,
                needed: request.size,
                largest: self.largest(request),
            });
        };
        self.remove(&(address..address.saturating_add(request.size)));
        Ok(address)
    }

    fn remove(&mut self, range: &Range<u64>) {
        self.pieces = without(&self.pieces, std::slice::from_ref(range));
    }

    fn largest(&self, request: &Request) -> u64 {
        let room = |piece: &Range<u64>| {
            let end = piece.end.min(request.window.end);
            end.saturating_sub(first_fit(piece, request))
        };
        self.pieces.iter().map(room).max().unwrap_or(0)
    }
}

/// The pieces but what is `taken`, which is sorted by its starts. One pass for each piece: a device tree may reserve a
/// hundred thousand places.
fn without(pieces: &[Range<u64>], taken: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut left = Vec::new();
    for piece in pieces {
        let mut start = piece.start;
        for range in taken.iter().filter(|range| range.start < range.end) {
            if range.start >= piece.end {
                break;
            }
            if range.start > start {
                left.push(start..range.start);
            }
            start = start.max(range.end);
        }
        if start < piece.end {
            left.push(start..piece.end);
        }
    }
    left
}

fn first_fit(piece: &Range<u64>, request: &Request) -> u64 {
    let start = piece
        .start
        .max(request.window.start)
        .saturating_sub(request.offset);
    align_up(start, request.align).saturating_add(request.offset)
}

fn last_fit(piece: &Range<u64>, request: &Request) -> Option<u64> {
    let end = piece.end.min(request.window.end);
    let base = end.checked_sub(request.size)?.checked_sub(request.offset)?;
    Some((base - base % request.align).saturating_add(request.offset))
}

fn fits(piece: &Range<u64>, request: &Request, address: u64) -> bool {
    let start = piece.start.max(request.window.start);
    let end = address.checked_add(request.size);
    start <= address && end.is_some_and(|end| end <= piece.end && end <= request.window.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn memory() -> Memory {
        Memory {
            ram: [0x4000_0000..0x8000_0000].into(),
            taken: vec![0x4000_0000..0x4010_0000, 0x5000_0000..0x6000_0000],
            crash: Some(0x7000_0000..0x7800_0000),
        }
    }

    fn request(size: u64) -> Request {
        Request {
            part: "part",
            size,
            align: 2 * MIB,
            offset: 0,
            window: 0..u64::MAX,
        }
    }

    #[test]
    fn hands_out_the_lowest_place_that_fits() {
        let mut free = Free::new(&memory(), &[0x4020_0000..0x4020_1000], false, End::Low).unwrap();
        assert_eq!(free.take(&request(MIB)).unwrap(), 0x4040_0000);
        assert_eq!(free.take(&request(0x1000_0000)).unwrap(), 0x6000_0000);
        // Never on the crash reservation.
        assert_eq!(free.take(&request(0x0800_0000)).unwrap(), 0x4060_0000);
    }

    #[test]
    fn what_is_taken_may_overlap_touch_or_lie_outside() {
        let pieces = [10..20, 30..40];
        let left = |taken: &[Range<u64>]| without(&pieces, taken);
        assert_eq!(left(&[]), pieces);
        assert_eq!(left(&[0..12, 11..13, 13..15, 38..50]), [15..20, 30..38]);
        assert_eq!(left(&[12..14, 18..32]), [10..12, 14..18, 32..40]);
        assert_eq!(left(&[5..9, 12..12, 20..30, 41..u64::MAX]), pieces);
        assert_eq!(left(&[0..u64::MAX]), []);
    }

    #[test]
    fn many_reservations_take_one_pass() {
        let reserved: Vec<_> = (0..131_000_u64)
            .map(|at| 0x4000_0000 + at * 8192)
            .map(|start| start..start + 4096)
            .collect();
        let free = Free::new(&memory(), &reserved, false, End::Low).unwrap();
        // Pages are of 64 KiB: among reservations every 8 KiB nothing is free.
        assert_eq!(free.pieces, [0x7ff7_0000..0x8000_0000]);
    }

    #[test]
    fn hands_out_the_highest_place_that_fits() {
        let mut free = Free::new(&memory(), &[], false, End::High).unwrap();
        assert_eq!(free.take(&request(MIB)).unwrap(), 0x7fe0_0000);
        assert_eq!(free.take(&request(MIB)).unwrap(), 0x7fc0_0000);
        // Neither on the crash reservation nor on what is taken.
        assert_eq!(free.take(&request(0x0800_0000)).unwrap(), 0x6800_0000);
        assert_eq!(free.take(&request(0x0810_0000)).unwrap(), 0x47e0_0000);
        let within = Request {
            window: 0x4000_0000..0x4100_0000,
            ..request(MIB)
        };
        assert_eq!(free.take(&within).unwrap(), 0x40e0_0000);
    }

    #[test]
    fn names_what_was_needed_and_what_there_is() {
        let mut free = Free::new(&memory(), &[], false, End::Low).unwrap();
        let error = free.take(&request(0x4000_0000)).unwrap_err();
        let Error::NoRoom {
            part: "part",
            needed: 0x4000_0000,
            largest: 0x1000_0000,
        } = error
        else {
            panic!("{error}");
        };
    }

    #[test]
    fn keeps_to_the_window() {
        let mut free = Free::new(&memory(), &[], false, End::Low).unwrap();
        let window = 0x6100_0000..0x6200_0000;
        let within = Request {
            window: window.clone(),
            ..request(MIB)
        };
        assert_eq!(free.take(&within).unwrap(), 0x6100_0000);
        assert!(
            free.take(&Request {
                window,
                ..request(0x0100_0000)
            })
            .is_err()
        );
    }

    #[test]
    fn a_crash_load_stays_inside_its_reservation() {
        let mut free = Free::new(&memory(), &[], true, End::Low).unwrap();
        assert_eq!(free.take(&request(MIB)).unwrap(), 0x7000_0000);
        assert!(free.take(&request(0x0800_0000)).is_err());
        let without = Memory {
            crash: None,
            ..memory()
        };
        assert!(matches!(
            Free::new(&without, &[], true, End::Low),
            Err(Error::NoCrashReservation)
        ));
    }

    #[test]
    fn no_place_is_handed_out_twice() {
        for end in [End::Low, End::High] {
            let mut free = Free::new(&memory(), &[], false, end).unwrap();
            let mut taken: Vec<Range<u64>> = Vec::new();
            while let Ok(address) = free.take(&request(33 * MIB)) {
                let range = address..address + 33 * MIB;
                assert!(
                    taken
                        .iter()
                        .all(|other| other.end <= range.start || range.end <= other.start)
                );
                taken.push(range);
            }
            assert!(taken.len() > 10);
        }
    }
}
