//! FSE tables (RFC 8878, 4.1).

use super::bits::{Backward, Forward};
use super::fault::{Fault, Result};

/// A state: what it stands for and how to get to the next one.
#[derive(Clone, Copy, Default)]
pub(super) struct Cell {
    /// The symbol.
    pub(super) symbol: u8,
    /// Bits to read for the next state.
    bits: u8,
    /// What they are added to.
    next: u16,
}

/// A decoding table.
#[derive(Default)]
pub(super) struct Table {
    cells: Vec<Cell>,
    /// The logarithm of the number of states.
    log: u32,
}

impl Table {
    /// Reads a table description from the front of `bytes`; gives the table and what follows.
    pub(super) fn read(bytes: &[u8], max_log: u32, max_symbols: usize) -> Result<(Self, &[u8])> {
        const FAULT: Fault = Fault("fse table description");
        let mut bits = Forward::new(bytes);
        let log = bits.read(4).wrapping_add(5);
        if log > max_log {
            return Err(FAULT);
        }
        let mut counts = Vec::with_capacity(max_symbols);
        let mut left = 1_u32 << log;
        while left > 0 && counts.len() < max_symbols {
            let count = read_count(&mut bits, left);
            left = left
                .checked_sub(u32::from(count.unsigned_abs()))
                .ok_or(FAULT)?;
            counts.push(count);
            let mut more = count == 0;
            while more {
                let zeros = bits.read(2);
                counts.extend((0..zeros).map(|_| 0));
                more = zeros == 3 && counts.len() <= max_symbols;
            }
        }
        if left > 0 || counts.len() > max_symbols {
            return Err(FAULT);
        }
        Ok((Table::new(&counts, log)?, bits.finish()?))
    }

    /// From counts that add up to `1 << log`, -1 being a symbol of less than one state.
    pub(super) fn new(counts: &[i16], log: u32) -> Result<Self> {
        const FAULT: Fault = Fault("fse distribution");
        let size = 1_usize << log;
        let mut cells = vec![Cell::default(); size];
        let mut free = size;
        for (symbol, _) in counts.iter().enumerate().filter(|(_, count)| **count == -1) {
            free = free.checked_sub(1).ok_or(FAULT)?;
            cells.get_mut(free).ok_or(FAULT)?.symbol = symbol as u8;
        }
        spread(counts, &mut cells, free)?;
        let mut seen: Vec<u32> = counts
            .iter()
            .map(|count| u32::from(count.unsigned_abs()))
            .collect();
        for cell in &mut cells {
            let seen = seen.get_mut(usize::from(cell.symbol)).ok_or(FAULT)?;
            let state = *seen;
            *seen = seen.wrapping_add(1);
            let bits = log
                .checked_sub(state.checked_ilog2().ok_or(FAULT)?)
                .ok_or(FAULT)?;
            cell.bits = bits as u8;
            cell.next = (state << bits).wrapping_sub(size as u32) as u16;
        }
        Ok(Table { cells, log })
    }

    /// A table of one state that reads no bits.
    pub(super) fn single(symbol: u8) -> Self {
        Table {
            cells: vec![Cell {
                symbol,
                bits: 0,
                next: 0,
            }],
            log: 0,
        }
    }

    /// The first state.
    #[inline(always)]
    pub(super) fn start(&self, bits: &mut Backward<'_>) -> Cell {
        self.at(bits.read(self.log) as usize)
    }

    /// The state after `cell`.
    #[inline(always)]
    pub(super) fn next(&self, cell: Cell, bits: &mut Backward<'_>) -> Cell {
        let low = bits.read(cell.bits.into()) as usize;
        self.at(usize::from(cell.next).wrapping_add(low))
    }

    #[inline(always)]
    fn at(&self, state: usize) -> Cell {
        self.cells.get(state).copied().unwrap_or_default()
    }
}

/// 4.1.1: a count less one takes as many bits as the states left need; small ones one bit less.
fn read_count(bits: &mut Forward<'_>, left: u32) -> i16 {
    let needed = left.wrapping_add(1).ilog2().wrapping_add(1);
    let value = bits.peek(needed);
    let low_mask = (1_u32 << needed.wrapping_sub(1)).wrapping_sub(1);
    let short = (1_u32 << needed).wrapping_sub(left).wrapping_sub(2);
    let (value, taken) = if value & low_mask < short {
        (value & low_mask, needed.wrapping_sub(1))
    } else if value > low_mask {
        (value.wrapping_sub(short), needed)
    } else {
        (value, needed)
    };
    bits.skip(taken);
    (value as i16).wrapping_sub(1)
}

/// Deals the states below `free` out to the symbols.
fn spread(counts: &[i16], cells: &mut [Cell], free: usize) -> Result<()> {
    const FAULT: Fault = Fault("fse distribution");
    let size = cells.len();
    let mask = size.wrapping_sub(1);
    let step = (size >> 1).wrapping_add(size >> 3).wrapping_add(3);
    let mut at = 0_usize;
    let mut dealt = 0_usize;
    for (symbol, &count) in counts.iter().enumerate() {
        for _ in 0..count.max(0) {
            if dealt == free {
                return Err(FAULT);
            }
            cells.get_mut(at).ok_or(FAULT)?.symbol = symbol as u8;
            dealt = dealt.wrapping_add(1);
            at = at.wrapping_add(step) & mask;
            // The step is odd, so every state is visited; those above were dealt out before.
            while at >= free && dealt < free {
                at = at.wrapping_add(step) & mask;
            }
        }
    }
    if dealt == free { Ok(()) } else { Err(FAULT) }
}
