//! Compressed blocks (RFC 8878, 3.1.1.3): literals, then the sequences that place them and copy what was before.

use super::fault::{Fault, Result};
use super::{huffman, sequences};
use crate::Error;
use crate::output::Output;

/// What carries over from block to block.
pub(super) struct Decoder {
    huffman: Option<huffman::Table>,
    sequences: sequences::Decoder,
    literals: Vec<u8>,
}

/// Why a block was not decoded.
pub(super) enum Stop {
    Fault(Fault),
    /// It does not fit what the result may still have.
    Room,
    /// Something else.
    Other(Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

/// Makes room for `added` bytes, if the result may then not pass `end`.
#[inline(always)]
fn room(output: &mut Output, added: usize, end: usize) -> core::result::Result<(), Stop> {
    if output.len().saturating_add(added) > end {
        return Err(Stop::Room);
    }
    output.reserve_more(added).map_err(Stop::Other)
}

impl Decoder {
    pub(super) fn new() -> Self {
        let sequences = sequences::Decoder::new();
        Decoder {
            huffman: None,
            sequences,
            literals: Vec::new(),
        }
    }

    /// Decodes a block of at most `max` literals; the result may grow to `end`.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        max: usize,
        output: &mut Output,
        end: usize,
    ) -> core::result::Result<(), Stop> {
        let rest = self.read_literals(block, max)?;
        let mut literals = &self.literals[..];
        let mut stopped = None;
        let done = self.sequences.decode(rest, |sequence| {
            const FAULT: Fault = Fault("sequence");
            let (before, after) = literals.split_at_checked(sequence.literals).ok_or(FAULT)?;
            literals = after;
            let added = before.len().wrapping_add(sequence.length);
            if let Err(stop) = room(output, added, end) {
                stopped = Some(stop);
                return Err(FAULT);
            }
            output.push(before);
            let copied = output.repeat(sequence.offset, sequence.length);
            if copied {
                Ok(())
            } else {
                Err(Fault("match offset"))
            }
        });
        if let Some(stop) = stopped {
            return Err(stop);
        }
        done?;
        room(output, literals.len(), end)?;
        output.push(literals);
        Ok(())
    }

    /// 3.1.1.3.1: reads the literals section; gives the sequences section.
    fn read_literals<'a>(&mut self, block: &'a [u8], max: usize) -> Result<&'a [u8]> {
        let header = Header::read(block).ok_or(Fault("literals section header"))?;
        let Header {
            kind,
            size,
            packed,
            streams,
            len,
        } = header;
        if size > max {
            return Err(Fault("literals size"));
        }
        let rest = block.get(len..).unwrap_or_default();
        let (mut bytes, rest) = rest
            .split_at_checked(packed)
            .ok_or(Fault("literals section size"))?;
        self.literals.clear();
        match (kind, bytes) {
            (Kind::Raw, _) => self.literals.extend_from_slice(bytes),
            (Kind::Repeated, &[byte]) => self.literals.resize(size, byte),
            (Kind::Repeated, _) => return Err(Fault("literals section size")),
            (Kind::Compressed | Kind::Treeless, _) => {
                if kind == Kind::Compressed {
                    let (table, after) = huffman::Table::read(bytes)?;
                    self.huffman = Some(table);
                    bytes = after;
                }
                let table = self
                    .huffman
                    .as_ref()
                    .ok_or(Fault("repeated huffman tree"))?;
                self.literals.resize(size, 0);
                match streams {
                    Streams::One => table.decode(bytes, &mut self.literals)?,
                    Streams::Four => table.decode_4(bytes, &mut self.literals)?,
                }
            }
        }
        Ok(rest)
    }
}

/// 3.1.1.3.1.1: Literals_Block_Type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Raw,
    Repeated,
    Compressed,
    Treeless,
}

enum Streams {
    One,
    Four,
}

struct Header {
    kind: Kind,
    /// Bytes of literals.
    size: usize,
    /// Bytes they take here.
    packed: usize,
    streams: Streams,
    /// Bytes of this header.
    len: usize,
}

impl Header {
    fn read(block: &[u8]) -> Option<Self> {
        let first = *block.first()?;
        let format = first >> 2 & 3;
        let kind = match first & 3 {
            0 => Kind::Raw,
            1 => Kind::Repeated,
            2 => Kind::Compressed,
            _ => Kind::Treeless,
        };
        let word = |len: usize| {
            let bytes = block.get(..len)?;
            Some(
                bytes
                    .iter()
                    .rev()
                    .fold(0_u64, |word, &byte| word << 8 | u64::from(byte)),
            )
        };
        let streams = if format == 0 {
            Streams::One
        } else {
            Streams::Four
        };
        if let Kind::Raw | Kind::Repeated = kind {
            let (len, shift) = match format {
                1 => (2, 4),
                3 => (3, 4),
                _ => (1, 3),
            };
            let size = (word(len)? >> shift) as usize;
            let packed = if kind == Kind::Raw { size } else { 1 };
            return Some(Header {
                kind,
                size,
                packed,
                streams,
                len,
            });
        }
        let (len, bits) = match format {
            0 | 1 => (3, 10),
            2 => (4, 14),
            _ => (5, 18),
        };
        let word = word(len)? >> 4;
        let mask = (1_u64 << bits).wrapping_sub(1);
        let (size, packed) = ((word & mask) as usize, (word >> bits & mask) as usize);
        Some(Header {
            kind,
            size,
            packed,
            streams,
            len,
        })
    }
}
