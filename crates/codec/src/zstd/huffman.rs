//! Huffman-coded literals (RFC 8878, 4.2).

use super::bits::Backward;
use super::fault::{Fault, Result};
use super::fse;

/// Longest code. The RFC says 11, libzstd takes 12.
const MAX_BITS: u32 = 12;
/// Symbols a refilled stream is good for.
const PER_REFILL: usize = 4;
/// 4.2.1.1: header bytes from here on are a count of weights of four bits.
const DIRECT: u8 = 128;
const MAX_WEIGHTS: usize = 255;
const MAX_WEIGHTS_LOG: u32 = 6;

/// A decoding table, indexed by the next bits of the stream.
pub(super) struct Table {
    /// Symbol and length of its code.
    cells: Vec<(u8, u8)>,
    bits: u32,
}

impl Table {
    /// Reads a tree description from the front of `bytes`; gives the table and what follows.
    pub(super) fn read(bytes: &[u8]) -> Result<(Self, &[u8])> {
        const FAULT: Fault = Fault("huffman tree description");
        let (&header, bytes) = bytes.split_first().ok_or(FAULT)?;
        if header >= DIRECT {
            let count = usize::from(header.wrapping_sub(DIRECT)).saturating_add(1);
            let (packed, rest) = bytes.split_at_checked(count.div_ceil(2)).ok_or(FAULT)?;
            let mut weights: Vec<u8> = packed
                .iter()
                .flat_map(|byte| [byte >> 4, byte & 15])
                .collect();
            weights.truncate(count);
            return Ok((Table::new(weights)?, rest));
        }
        let (packed, rest) = bytes.split_at_checked(header.into()).ok_or(FAULT)?;
        Ok((Table::new(compressed_weights(packed)?)?, rest))
    }

    /// 4.2.1.3: from all weights but the last, which makes the sum a power of two.
    fn new(mut weights: Vec<u8>) -> Result<Self> {
        const FAULT: Fault = Fault("huffman weights");
        let states = |weight: u8| 1_u32 << weight >> 1;
        if weights.iter().any(|&weight| u32::from(weight) > MAX_BITS) {
            return Err(FAULT);
        }
        let sum = weights
            .iter()
            .fold(0_u32, |sum, &weight| sum.saturating_add(states(weight)));
        let bits = sum.checked_ilog2().ok_or(FAULT)?.wrapping_add(1);
        let left = (1_u32 << bits).wrapping_sub(sum);
        if bits > MAX_BITS || !left.is_power_of_two() {
            return Err(FAULT);
        }
        weights.push(left.ilog2().wrapping_add(1) as u8);
        let mut cells = Vec::with_capacity(1 << bits);
        // Longest codes first; among equals, by symbol.
        for weight in 1..=bits as u8 {
            let length = bits.wrapping_add(1).wrapping_sub(weight.into()) as u8;
            for (symbol, _) in weights
                .iter()
                .enumerate()
                .filter(|(_, found)| **found == weight)
            {
                let cell = (symbol as u8, length);
                cells.extend((0..states(weight)).map(|_| cell));
            }
        }
        Ok(Table { cells, bits })
    }

    /// Decodes one stream, which has to fill `literals` exactly.
    pub(super) fn decode(&self, stream: &[u8], literals: &mut [u8]) -> Result<()> {
        const FAULT: Fault = Fault("huffman stream");
        let mut bits = Backward::new(stream).ok_or(FAULT)?;
        let (chunks, rest) = literals.as_chunks_mut::<PER_REFILL>();
        for chunk in chunks {
            bits.refill();
            for literal in chunk {
                *literal = self.symbol(&mut bits);
            }
        }
        bits.refill();
        for literal in rest {
            *literal = self.symbol(&mut bits);
        }
        if bits.finished() { Ok(()) } else { Err(FAULT) }
    }

    /// Decodes four streams; each but the last has a quarter of the literals, rounded up.
    pub(super) fn decode_4(&self, bytes: &[u8], literals: &mut [u8]) -> Result<()> {
        const FAULT: Fault = Fault("huffman jump table");
        let (&[a, b, c, d, e, f], mut rest) = bytes.split_first_chunk().ok_or(FAULT)?;
        let sizes = [[a, b], [c, d], [e, f]].map(|size| usize::from(u16::from_le_bytes(size)));
        let quarter = literals.len().div_ceil(4);
        let mut literals = literals;
        for size in sizes {
            let (stream, after) = rest.split_at_checked(size).ok_or(FAULT)?;
            let (part, left) = literals.split_at_mut_checked(quarter).ok_or(FAULT)?;
            self.decode(stream, part)?;
            (rest, literals) = (after, left);
        }
        self.decode(rest, literals)
    }

    #[inline(always)]
    fn symbol(&self, bits: &mut Backward<'_>) -> u8 {
        let (symbol, length) = self
            .cells
            .get(bits.peek(self.bits) as usize)
            .copied()
            .unwrap_or_default();
        bits.skip(length.into());
        symbol
    }
}

/// 4.2.1.2: weights coded with FSE, two states by turns, to the end of the stream.
fn compressed_weights(bytes: &[u8]) -> Result<Vec<u8>> {
    const FAULT: Fault = Fault("huffman weights");
    let (table, stream) = fse::Table::read(bytes, MAX_WEIGHTS_LOG, MAX_BITS as usize + 1)?;
    let mut bits = Backward::new(stream).ok_or(FAULT)?;
    let mut cell = table.start(&mut bits);
    let mut other = table.start(&mut bits);
    if bits.overrun() {
        return Err(FAULT);
    }
    let mut weights = Vec::new();
    while weights.len() < MAX_WEIGHTS {
        bits.refill();
        weights.push(cell.symbol);
        cell = table.next(cell, &mut bits);
        if bits.overrun() {
            weights.push(other.symbol);
            break;
        }
        core::mem::swap(&mut cell, &mut other);
    }
    if weights.len() > MAX_WEIGHTS || !bits.overrun() {
        Err(FAULT)
    } else {
        Ok(weights)
    }
}
