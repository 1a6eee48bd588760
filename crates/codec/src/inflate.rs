//! DEFLATE (RFC 1951), straight into the result.
//!
//! Accepts what libdeflate accepts: a code with a single word of one bit stands for its symbol whatever that bit is,
//! an empty code for symbol 0, and symbols without a meaning repeat the last that has one. No encoder makes these.

mod bits;
mod code;

use bits::Bits;
use code::Code;

use crate::Error;
use crate::output::Output;

const LITERALS: usize = 288;
const DISTANCES: usize = 32;
/// Literal and length symbol that ends a block.
const END: usize = 256;
/// Longest match.
const MAX_MATCH: usize = 258;
/// Room made at a time.
const STEP: usize = 1 << 20;

/// 3.2.5: first value and extra bits of lengths from symbol 257 on, and of distances.
const LENGTH: [(u16, u8); 31] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
    (258, 0),
    (258, 0),
];
const DISTANCE: [(u16, u8); DISTANCES] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12289, 12),
    (16385, 13),
    (24577, 13),
    (24577, 13),
    (24577, 13),
];
/// 3.2.7: the order in which the lengths of the code of code lengths come.
const LENGTH_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// Why a stream was not inflated.
pub(crate) enum Stop {
    /// The input ends inside the stream.
    Input,
    /// What is wrong.
    Fault(&'static str),
    /// The result may not grow further.
    Room,
    /// There is no memory.
    Other(Error),
}

/// Inflates the stream at the front of `input`; gives the bytes it takes, or where and why that failed.
pub(crate) fn inflate(input: &[u8], output: &mut Output) -> Result<usize, (usize, Stop)> {
    let mut inflater = Inflater {
        bits: Bits::new(input),
        at: output.len(),
        literals: Code::new(),
        distances: Code::new(),
    };
    let done = inflater.blocks(output);
    let offset = inflater.bits.offset();
    output.truncate(inflater.at);
    done.map(|()| offset).map_err(|stop| (offset, stop))
}

struct Inflater<'a> {
    bits: Bits<'a>,
    /// The end of what was inflated; behind it the result has room.
    at: usize,
    literals: Code<LITERALS>,
    distances: Code<DISTANCES>,
}

impl Inflater<'_> {
    fn blocks(&mut self, output: &mut Output) -> Result<(), Stop> {
        loop {
            self.bits.refill();
            let last = self.bits.take(1) != 0;
            match self.bits.take(2) {
                0 => self.stored(output)?,
                1 => {
                    self.fixed_codes()?;
                    self.symbols(output)?;
                }
                2 => {
                    self.dynamic_codes()?;
                    self.symbols(output)?;
                }
                _ => return Err(self.fault("deflate block type")),
            }
            if self.bits.overrun() {
                return Err(Stop::Input);
            }
            if last {
                return Ok(());
            }
        }
    }

    fn fault(&self, field: &'static str) -> Stop {
        if self.bits.overrun() {
            Stop::Input
        } else {
            Stop::Fault(field)
        }
    }

    /// 3.2.4.
    fn stored(&mut self, output: &mut Output) -> Result<(), Stop> {
        let rest = self.bits.align().ok_or(Stop::Input)?;
        let (&[a, b, c, d], rest) = rest.split_first_chunk().ok_or(Stop::Input)?;
        let len = u16::from_le_bytes([a, b]);
        if len != !u16::from_le_bytes([c, d]) {
            return Err(Stop::Fault("deflate stored length"));
        }
        let bytes = rest.get(..usize::from(len)).ok_or(Stop::Input)?;
        output.truncate(self.at);
        if bytes.len() > output.limit().saturating_sub(self.at) {
            return Err(Stop::Room);
        }
        output.reserve_more(bytes.len()).map_err(Stop::Other)?;
        output.push(bytes);
        self.at = output.len();
        self.bits.skip_bytes(bytes.len().saturating_add(4));
        Ok(())
    }

    /// 3.2.6.
    fn fixed_codes(&mut self) -> Result<(), Stop> {
        let mut lengths = [8; LITERALS];
        lengths.get_mut(144..256).unwrap_or_default().fill(9);
        lengths.get_mut(256..280).unwrap_or_default().fill(7);
        let built = self.literals.build(&lengths) && self.distances.build(&[5; DISTANCES]);
        if built {
            Ok(())
        } else {
            Err(Stop::Fault("deflate fixed codes"))
        }
    }

    /// 3.2.7.
    fn dynamic_codes(&mut self) -> Result<(), Stop> {
        let literals = self.bits.take(5).wrapping_add(257) as usize;
        let distances = self.bits.take(5).wrapping_add(1) as usize;
        let count = self.bits.take(4).wrapping_add(4) as usize;
        let mut lengths = [0; LENGTH_ORDER.len()];
        for &symbol in LENGTH_ORDER.iter().take(count) {
            self.bits.refill();
            let length = self.bits.take(3) as u8;
            lengths
                .get_mut(symbol)
                .into_iter()
                .for_each(|slot| *slot = length);
        }
        let mut code = Code::<{ LENGTH_ORDER.len() }>::new();
        if !code.build(&lengths) {
            return Err(self.fault("deflate code of code lengths"));
        }
        let mut lengths = [0; LITERALS + DISTANCES];
        let all = lengths
            .get_mut(..literals.saturating_add(distances))
            .unwrap_or_default();
        self.code_lengths(&code, all)?;
        let (literal_lengths, distance_lengths) =
            all.split_at_checked(literals).unwrap_or_default();
        if !self.literals.build(literal_lengths) || !self.distances.build(distance_lengths) {
            return Err(self.fault("deflate code lengths"));
        }
        Ok(())
    }

    /// Reads code lengths, which are themselves coded, until `lengths` is full.
    fn code_lengths(
        &mut self,
        code: &Code<{ LENGTH_ORDER.len() }>,
        lengths: &mut [u8],
    ) -> Result<(), Stop> {
        const FIELD: &str = "deflate code lengths";
        let mut at = 0_usize;
        while at < lengths.len() {
            self.bits.refill();
            let symbol = code.decode(&mut self.bits);
            let (value, repeat) = match symbol {
                16 => {
                    let last = at.checked_sub(1).and_then(|at| lengths.get(at)).copied();
                    (
                        last.ok_or_else(|| self.fault(FIELD))?,
                        self.bits.take(2).wrapping_add(3),
                    )
                }
                17 => (0, self.bits.take(3).wrapping_add(3)),
                18 => (0, self.bits.take(7).wrapping_add(11)),
                length => (length as u8, 1),
            };
            let end = at.saturating_add(repeat as usize);
            let Some(slots) = lengths.get_mut(at..end) else {
                return Err(self.fault(FIELD));
            };
            slots.fill(value);
            at = end;
        }
        Ok(())
    }

    /// Decodes symbols to the end of the block, making room as it goes.
    fn symbols(&mut self, output: &mut Output) -> Result<(), Stop> {
        loop {
            if output.len().saturating_sub(self.at) < MAX_MATCH {
                let room = output.limit().saturating_sub(output.len()).min(STEP);
                output.expand(room).map_err(Stop::Other)?;
            }
            let len = output.len();
            // At the limit there is no more room to wait for: symbols have to fit.
            let stop = if len < output.limit() {
                len.saturating_sub(MAX_MATCH)
            } else {
                usize::MAX
            };
            if self.symbols_before(output.bytes_mut(), stop)? {
                return Ok(());
            }
        }
    }

    /// Decodes symbols until the end of the block (true) or past `stop` (false).
    fn symbols_before(&mut self, out: &mut [u8], stop: usize) -> Result<bool, Stop> {
        let Inflater {
            bits,
            at,
            literals,
            distances,
        } = self;
        while *at <= stop {
            bits.refill();
            if bits.exhausted() {
                return Err(Stop::Input);
            }
            let mut symbol = literals.decode(bits);
            if symbol < END {
                *out.get_mut(*at).ok_or(Stop::Room)? = symbol as u8;
                *at = at.wrapping_add(1);
                // What was refilled is enough for one more literal before a match.
                symbol = literals.decode(bits);
                if symbol < END {
                    *out.get_mut(*at).ok_or(Stop::Room)? = symbol as u8;
                    *at = at.wrapping_add(1);
                    continue;
                }
                bits.refill();
            }
            if symbol == END {
                return Ok(true);
            }
            let length = extra(&LENGTH, symbol.wrapping_sub(END + 1), bits);
            let symbol = distances.decode(bits);
            let distance = extra(&DISTANCE, symbol, bits);
            copy(out, *at, distance, length).map_err(|stop| match stop {
                _ if bits.overrun() => Stop::Input,
                stop => stop,
            })?;
            *at = at.wrapping_add(length);
        }
        Ok(false)
    }
}

/// A length or distance from its symbol and extra bits.
#[inline(always)]
fn extra(table: &[(u16, u8)], symbol: usize, bits: &mut Bits<'_>) -> usize {
    let (first, count) = table.get(symbol).copied().unwrap_or((1, 0));
    usize::from(first).wrapping_add(bits.take(count.into()) as usize)
}

/// Copies `length` bytes from `distance` before `at` to `at`.
#[inline(always)]
fn copy(out: &mut [u8], at: usize, distance: usize, length: usize) -> Result<(), Stop> {
    let from = at
        .checked_sub(distance)
        .ok_or(Stop::Fault("deflate distance"))?;
    let end = at.wrapping_add(length);
    if end > out.len() {
        return Err(Stop::Room);
    }
    let mut written = at;
    while written < end {
        // What is there doubles each time.
        let step = written.wrapping_sub(from).min(end.wrapping_sub(written));
        out.copy_within(from..from.wrapping_add(step), written);
        written = written.wrapping_add(step);
    }
    Ok(())
}
