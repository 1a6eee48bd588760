//! The LZMA decoder: literals, matches and repeated matches, decoded straight into the result.
//!
//! The result is the dictionary, so nothing is kept twice. A match may reach back to the start of the
//! dictionary's data even when the declared dictionary is smaller.
#![expect(
    clippy::indexing_slicing,
    reason = "only tables of probabilities are indexed, by numbers whose bits were counted out; data go through `get`"
)]

use super::range::{INITIAL, Range};

/// Shortest match.
const MIN_MATCH: usize = 2;
/// Longest match: the room a symbol may need.
pub(crate) const MAX_MATCH: usize = 273;
/// States below this follow a literal.
const LITERAL_STATES: usize = 7;
const STATES: usize = 12;
const POSITION_STATES: usize = 16;
/// Distance slots from which the distance has low bits.
const FIRST_MODEL_SLOT: usize = 4;
/// Distance slots from which middle bits have even probability.
const FIRST_DIRECT_SLOT: usize = 14;
const ALIGN_BITS: u32 = 4;
/// The distance that ends the stream.
const END_MARK: u32 = u32::MAX;

/// lc, lp and pb: how literals and positions choose probabilities.
#[derive(Clone, Copy)]
pub(crate) struct Properties {
    literal_context_bits: u32,
    literal_position_bits: u32,
    position_bits: u32,
}

impl Properties {
    /// From the properties byte, `(pb * 5 + lp) * 9 + lc`; `None` if there is no such combination.
    pub(crate) fn new(byte: u8) -> Option<Self> {
        let byte = u32::from(byte);
        let properties = Properties {
            literal_context_bits: byte % 9,
            literal_position_bits: byte / 9 % 5,
            position_bits: byte / 45,
        };
        (properties.position_bits <= 4).then_some(properties)
    }

    /// Bits that choose a literal's probabilities.
    pub(crate) fn literal_bits(&self) -> u32 {
        self.literal_context_bits
            .saturating_add(self.literal_position_bits)
    }
}

/// Why [`Decoder::run`] stopped without a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The asked number of bytes is there.
    Position,
    /// The end mark was read.
    EndMark,
}

/// What is wrong with the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The input ends inside a symbol.
    Input,
    /// A match reaches back past the start.
    Distance,
    /// A symbol needs more room than there is.
    Room,
}

/// Probabilities of match lengths.
struct Lengths {
    choice: [u16; 2],
    low: [[u16; 8]; POSITION_STATES],
    middle: [[u16; 8]; POSITION_STATES],
    high: [u16; 256],
}

impl Lengths {
    const NEW: Self = Lengths {
        choice: [INITIAL; 2],
        low: [[INITIAL; 8]; POSITION_STATES],
        middle: [[INITIAL; 8]; POSITION_STATES],
        high: [INITIAL; 256],
    };

    #[inline(always)]
    fn decode(&mut self, range: &mut Range<'_>, position_state: usize) -> usize {
        let state = position_state & (POSITION_STATES - 1);
        let [is_not_low, is_high] = &mut self.choice;
        let length = if range.bit(is_not_low) == 0 {
            range.tree(&mut self.low[state])
        } else if range.bit(is_high) == 0 {
            range.tree(&mut self.middle[state]).wrapping_add(8)
        } else {
            range.tree(&mut self.high).wrapping_add(16)
        };
        length.wrapping_add(MIN_MATCH)
    }
}

/// All probabilities but the literals'.
struct Model {
    is_match: [[u16; POSITION_STATES]; STATES],
    is_rep: [u16; STATES],
    is_rep0: [u16; STATES],
    is_rep1: [u16; STATES],
    is_rep2: [u16; STATES],
    is_rep0_long: [[u16; POSITION_STATES]; STATES],
    slots: [[u16; 64]; 4],
    low_bits: [[u16; 32]; FIRST_DIRECT_SLOT - FIRST_MODEL_SLOT],
    align: [u16; 1 << ALIGN_BITS],
    match_lengths: Lengths,
    rep_lengths: Lengths,
}

impl Model {
    const NEW: Self = Model {
        is_match: [[INITIAL; POSITION_STATES]; STATES],
        is_rep: [INITIAL; STATES],
        is_rep0: [INITIAL; STATES],
        is_rep1: [INITIAL; STATES],
        is_rep2: [INITIAL; STATES],
        is_rep0_long: [[INITIAL; POSITION_STATES]; STATES],
        slots: [[INITIAL; 64]; 4],
        low_bits: [[INITIAL; 32]; FIRST_DIRECT_SLOT - FIRST_MODEL_SLOT],
        align: [INITIAL; 1 << ALIGN_BITS],
        match_lengths: Lengths::NEW,
        rep_lengths: Lengths::NEW,
    };

    /// The distance of a match of `length`, less one.
    #[inline(always)]
    fn distance(&mut self, range: &mut Range<'_>, length: usize) -> u32 {
        let slot = range.tree(&mut self.slots[length.wrapping_sub(MIN_MATCH).min(3)]);
        if slot < FIRST_MODEL_SLOT {
            return slot as u32;
        }
        let bits = (slot as u32 >> 1).wrapping_sub(1);
        let high = 2 | slot as u32 & 1;
        match self.low_bits.get_mut(slot.wrapping_sub(FIRST_MODEL_SLOT)) {
            Some(probabilities) => high << bits | range.reverse_tree(probabilities, bits),
            None => {
                let high = range.direct(high, bits.wrapping_sub(ALIGN_BITS));
                high << ALIGN_BITS | range.reverse_tree(&mut self.align, ALIGN_BITS)
            }
        }
    }
}

/// An LZMA decoder between symbols.
pub(crate) struct Decoder {
    properties: Properties,
    literals: Vec<[u16; 0x300]>,
    model: Box<Model>,
    state: usize,
    /// The last four distances, less one.
    reps: [u32; 4],
}

impl Decoder {
    /// A decoder in its first state; memory is `1536 << literal_bits` bytes and 20 KiB.
    pub(crate) fn new(properties: Properties) -> Self {
        let literals = vec![[INITIAL; 0x300]; 1 << properties.literal_bits()];
        Decoder {
            properties,
            literals,
            model: Box::new(Model::NEW),
            state: 0,
            reps: [0; 4],
        }
    }

    /// Back to the first state, under other properties.
    pub(crate) fn reset(&mut self, properties: Properties) {
        self.properties = properties;
        self.literals.clear();
        self.literals
            .resize(1 << properties.literal_bits(), [INITIAL; 0x300]);
        *self.model = Model::NEW;
        self.state = 0;
        self.reps = [0; 4];
    }

    /// The properties in force.
    pub(crate) fn properties(&self) -> Properties {
        self.properties
    }

    /// Decodes symbols into `out` from `*at` until `*at` is at least `stop`.
    ///
    /// The dictionary's data start at the front of `out`. `*at` is left behind the last whole symbol.
    pub(crate) fn run(
        &mut self,
        range: &mut Range<'_>,
        out: &mut [u8],
        at: &mut usize,
        stop: usize,
    ) -> Result<Stop, Fault> {
        let position_mask = (1_usize << self.properties.position_bits).wrapping_sub(1);
        while *at < stop {
            let position_state = *at & position_mask & (POSITION_STATES - 1);
            if range.bit(&mut self.model.is_match[self.state][position_state]) == 0 {
                self.literal(range, out, *at)?;
                *at = at.wrapping_add(1);
            } else {
                let length = self.match_length(range, position_state);
                if self.reps[0] == END_MARK {
                    return if range.overrun() {
                        Err(Fault::Input)
                    } else {
                        Ok(Stop::EndMark)
                    };
                }
                copy(out, *at, self.reps[0] as usize, length)
                    .map_err(|fault| if range.overrun() { Fault::Input } else { fault })?;
                *at = at.wrapping_add(length);
            }
            if range.overrun() {
                return Err(Fault::Input);
            }
        }
        Ok(Stop::Position)
    }

    #[inline(always)]
    fn literal(&mut self, range: &mut Range<'_>, out: &mut [u8], at: usize) -> Result<(), Fault> {
        let context_bits = self.properties.literal_context_bits;
        let position_mask = (1_usize << self.properties.literal_position_bits).wrapping_sub(1);
        let previous = at
            .checked_sub(1)
            .and_then(|at| out.get(at))
            .copied()
            .unwrap_or(0);
        let context = usize::from(previous) >> 8_u32.wrapping_sub(context_bits);
        let index = (at & position_mask) << context_bits | context;
        let Some(probabilities) = self.literals.get_mut(index) else {
            return Err(Fault::Distance);
        };
        let symbol = if self.state < LITERAL_STATES {
            plain_literal(range, probabilities)
        } else {
            let back = (self.reps[0] as usize).wrapping_add(1);
            let reference = at.checked_sub(back).and_then(|at| out.get(at));
            let reference = usize::from(*reference.ok_or(Fault::Distance)?);
            matched_literal(range, probabilities, reference)
        };
        *out.get_mut(at).ok_or(Fault::Room)? = symbol as u8;
        self.state = match self.state {
            0..=3 => 0,
            4..=9 => self.state.wrapping_sub(3),
            _ => self.state.wrapping_sub(6),
        };
        Ok(())
    }

    /// A match's length; its distance less one is `reps[0]` then.
    #[inline(always)]
    fn match_length(&mut self, range: &mut Range<'_>, position_state: usize) -> usize {
        let after_literal = self.state < LITERAL_STATES;
        let model = &mut *self.model;
        let [r0, r1, r2, r3] = self.reps;
        if range.bit(&mut model.is_rep[self.state]) == 0 {
            let length = model.match_lengths.decode(range, position_state);
            self.reps = [model.distance(range, length), r0, r1, r2];
            self.state = if after_literal { 7 } else { 10 };
            return length;
        }
        if range.bit(&mut model.is_rep0[self.state]) == 0 {
            if range.bit(&mut model.is_rep0_long[self.state][position_state]) == 0 {
                self.state = if after_literal { 9 } else { 11 };
                return 1;
            }
        } else if range.bit(&mut model.is_rep1[self.state]) == 0 {
            self.reps = [r1, r0, r2, r3];
        } else if range.bit(&mut model.is_rep2[self.state]) == 0 {
            self.reps = [r2, r0, r1, r3];
        } else {
            self.reps = [r3, r0, r1, r2];
        }
        self.state = if after_literal { 8 } else { 11 };
        model.rep_lengths.decode(range, position_state)
    }
}

#[inline(always)]
fn plain_literal(range: &mut Range<'_>, probabilities: &mut [u16; 0x300]) -> usize {
    let mut symbol = 1;
    while symbol < 0x100 {
        symbol = symbol << 1 | range.bit(&mut probabilities[symbol]);
    }
    symbol
}

/// A literal after a match: the byte the match would have continued with chooses probabilities while it agrees.
#[inline(always)]
fn matched_literal(
    range: &mut Range<'_>,
    probabilities: &mut [u16; 0x300],
    mut reference: usize,
) -> usize {
    let mut symbol = 1;
    let mut agreed = 0x100;
    while symbol < 0x100 {
        reference <<= 1;
        let expected = reference & agreed;
        let index = agreed.wrapping_add(expected).wrapping_add(symbol);
        let bit = range.bit(&mut probabilities[index]);
        symbol = symbol << 1 | bit;
        agreed &= if bit == 0 { !expected } else { expected };
    }
    symbol
}

/// Copies `length` bytes from `distance + 1` before `at` to `at`.
#[inline(always)]
fn copy(out: &mut [u8], at: usize, distance: usize, length: usize) -> Result<(), Fault> {
    let back = distance.wrapping_add(1);
    let from = at.checked_sub(back).ok_or(Fault::Distance)?;
    let end = at.wrapping_add(length);
    if end > out.len() {
        return Err(Fault::Room);
    }
    if back >= length {
        out.copy_within(from..from.wrapping_add(length), at);
        return Ok(());
    }
    // The match overlaps what it writes: copy what is there, which doubles each time.
    let mut written = at;
    while written < end {
        let available = written.wrapping_sub(from);
        let step = available.min(end.wrapping_sub(written));
        out.copy_within(from..from.wrapping_add(step), written);
        written = written.wrapping_add(step);
    }
    Ok(())
}
