//! Classes of mutations.

mod instruction;
mod table;

use std::ops::Range;

use crate::random::Random;
use crate::spans::Layer;
use crate::subject::Subject;
use crate::write::{copy, get, put, swap};

/// What a mutation changes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Fields of the DOS, COFF and optional headers.
    PeHeaders,
    /// Entries of the section table.
    SectionTable,
    /// Fields of the zboot header.
    ZbootHeader,
    /// Names, order and sizes of a UKI's sections.
    UkiScopes,
    /// The compressed stream, or sections' contents.
    Payload,
    /// The carrier's ELF structures and the loader's data.
    Carrier,
    /// The loader program's instructions.
    Loader,
    /// The parser program's instructions.
    Parser,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 8] = [
        Self::PeHeaders,
        Self::SectionTable,
        Self::ZbootHeader,
        Self::UkiScopes,
        Self::Payload,
        Self::Carrier,
        Self::Loader,
        Self::Parser,
    ];

    /// Its name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeHeaders => "pe-headers",
            Self::SectionTable => "section-table",
            Self::ZbootHeader => "zboot-header",
            Self::UkiScopes => "uki-scopes",
            Self::Payload => "payload",
            Self::Carrier => "carrier",
            Self::Loader => "loader",
            Self::Parser => "parser",
        }
    }

    /// Whether a mutation of this class can be made in `subject`.
    #[must_use]
    pub fn applies(self, subject: &Subject) -> bool {
        subject.layers.iter().any(|layer| self.is_in(layer))
    }

    /// Whether the parser may be another one afterwards, which may rightly publish other parts.
    #[must_use]
    pub const fn changes_parser(self) -> bool {
        matches!(self, Self::Carrier | Self::Loader | Self::Parser)
    }

    /// Whether the extractor is asked what it makes of refused images: only where that costs little and says something.
    #[must_use]
    pub const fn asks_whether_stricter(self) -> bool {
        matches!(self, Self::PeHeaders | Self::SectionTable | Self::UkiScopes)
    }

    fn is_in(self, layer: &Layer) -> bool {
        match self {
            Self::PeHeaders | Self::SectionTable | Self::Payload => true,
            Self::ZbootHeader => layer.stream.is_some(),
            Self::UkiScopes => layer.sections.iter().any(|(name, _)| name == ".linux"),
            Self::Carrier | Self::Loader | Self::Parser => layer.carrier.is_some(),
        }
    }
}

/// Mutation `number` of this class.
#[must_use]
pub fn mutate(subject: &Subject, class: Class, number: u64) -> Vec<u8> {
    let mut random = Random::of(&[&subject.name, class.name()], number);
    let mut bytes = subject.bytes.clone();
    change(&mut bytes, &subject.layers, class, &mut random);
    bytes
}

/// Changes `bytes`, whose envelopes are `layers`, in one to three places of one envelope.
pub fn change(bytes: &mut [u8], layers: &[Layer], class: Class, random: &mut Random) {
    let layers: Vec<&Layer> = layers.iter().filter(|layer| class.is_in(layer)).collect();
    let Some(layer) = random.pick(&layers) else {
        return;
    };
    for _ in 0..1 + random.below(3) {
        match class {
            Class::PeHeaders => headers(bytes, layer, random),
            Class::SectionTable => table::fields(bytes, layer, random),
            Class::ZbootHeader => zboot(bytes, layer, random),
            Class::UkiScopes => table::scopes(bytes, layer, random),
            Class::Payload => payload(bytes, layer, random),
            Class::Carrier => carrier(bytes, layer, random),
            Class::Loader => program(bytes, layer, random, |spans| spans.loader.clone()),
            Class::Parser => program(bytes, layer, random, |spans| spans.parser.clone()),
        }
    }
}

/// Changes one instruction of a program.
pub fn change_instruction(program: &mut [u8], random: &mut Random) {
    let whole = 0..program.len();
    instruction::change(program, &whole, random);
}

/// Bytes of the DOS header, in which `e_lfanew` is the last field.
const DOS_HEADER: usize = 0x40;
const E_LFANEW: usize = 0x3c;
/// Offset and width of fields behind the start of the COFF header: it, then the optional header
/// (PE format, "COFF File Header", "Optional Header Windows-Specific Fields").
const COFF_FIELDS: &[(usize, usize)] = &[
    (0, 2),   // Machine
    (2, 2),   // NumberOfSections
    (8, 4),   // PointerToSymbolTable
    (12, 4),  // NumberOfSymbols
    (16, 2),  // SizeOfOptionalHeader
    (18, 2),  // Characteristics
    (20, 2),  // Magic
    (36, 4),  // AddressOfEntryPoint
    (44, 8),  // ImageBase
    (52, 4),  // SectionAlignment
    (56, 4),  // FileAlignment
    (76, 4),  // SizeOfImage
    (80, 4),  // SizeOfHeaders
    (84, 4),  // CheckSum
    (88, 2),  // Subsystem
    (128, 4), // NumberOfRvaAndSizes
    (164, 4), // certificate table: offset
    (168, 4), // and size
];

fn headers(bytes: &mut [u8], layer: &Layer, random: &mut Random) {
    let (at, width) = match random.below(8) {
        0 => (layer.headers.start + E_LFANEW, 4),
        1 => (layer.headers.start + random.below(DOS_HEADER), 1),
        2 => (layer.coff + random.below(layer.table.start - layer.coff), 1),
        _ => match random.pick(COFF_FIELDS) {
            Some((offset, width)) => (layer.coff + offset, *width),
            None => return,
        },
    };
    number(bytes, at, width, random);
}

/// Offset and width of fields of the zboot header.
const ZBOOT_FIELDS: &[(usize, usize)] = &[(0, 2), (4, 4), (8, 4), (12, 4), (0x38, 4), (0x3c, 4)];
const CODEC_NAME: usize = 0x18;
const CODECS: &[&[u8]] = &[
    b"gzip\0",
    b"zstd\0",
    b"zstd22\0",
    b"xzkern\0",
    b"xz\0",
    b"lzma\0",
    b"lz4\0",
    b"lzo\0",
    b"bzip2\0",
    b"none\0",
];

fn zboot(bytes: &mut [u8], layer: &Layer, random: &mut Random) {
    let start = layer.headers.start;
    match random.below(4) {
        0 => {
            let name = random.pick(CODECS).copied().unwrap_or_default();
            let place = start + CODEC_NAME;
            if let Some(field) = bytes.get_mut(place..place + name.len()) {
                field.copy_from_slice(name);
            }
        }
        1 => number(bytes, start + random.below(DOS_HEADER), 1, random),
        _ => {
            if let Some((offset, width)) = random.pick(ZBOOT_FIELDS) {
                number(bytes, start + offset, *width, random);
            }
        }
    }
}

fn payload(bytes: &mut [u8], layer: &Layer, random: &mut Random) {
    let sections: Vec<&Range<usize>> = layer
        .sections
        .iter()
        .filter(|(name, range)| name != ".bpf" && !range.is_empty())
        .map(|(_, range)| range)
        .collect();
    let place = match (&layer.stream, random.pick(&sections)) {
        (Some(stream), _) => stream.clone(),
        (None, Some(section)) => (*section).clone(),
        (None, None) => return,
    };
    content(bytes, &place, random);
}

fn carrier(bytes: &mut [u8], layer: &Layer, random: &mut Random) {
    let Some(spans) = &layer.carrier else { return };
    let around = [
        spans.whole.start..spans.loader.start.min(spans.data.start),
        spans.loader.end.max(spans.data.end)..spans.whole.end,
        // The loader's data, its parser left out.
        spans.data.start..spans.parser.start,
        spans.parser.end..spans.data.end,
    ];
    let around: Vec<&Range<usize>> = around.iter().filter(|range| !range.is_empty()).collect();
    let Some(range) = random.pick(&around) else {
        return;
    };
    let width = random.pick(&[1, 2, 4, 8]).copied().unwrap_or(1);
    let at = range.start + random.below(range.len()) / width * width;
    number(bytes, at, width, random);
}

fn program(
    bytes: &mut [u8],
    layer: &Layer,
    random: &mut Random,
    part: fn(&crate::spans::Carrier) -> Range<usize>,
) {
    if let Some(spans) = &layer.carrier {
        instruction::change(bytes, &part(spans), random);
    }
}

/// Changes a run of bytes that has no fields; half of the changes go where formats keep headers.
fn content(bytes: &mut [u8], place: &Range<usize>, random: &mut Random) {
    let reach = match random.below(4) {
        0 | 1 => place.len().min(64),
        2 => place.len(),
        // Where formats keep checksums and sizes.
        _ => place.len().min(32),
    };
    let from_end = reach != place.len() && random.below(2) == 0;
    let start = if from_end {
        place.end - reach
    } else {
        place.start
    };
    let at = start + random.below(reach);
    let run = (1 + random.below(16)).min(place.end - at);
    match random.below(6) {
        0..=2 => number(bytes, at, 1, random),
        3 => number(bytes, at, 4, random),
        4 => copy(bytes, place.start..place.start + run, at),
        _ => {
            let other = place.start + random.below(place.len());
            let run = run.min(place.end - other).min(at.abs_diff(other));
            swap(bytes, at..at + run, other..other + run);
        }
    }
}

/// Gives a field a value that readers stumble over.
fn number(bytes: &mut [u8], at: usize, width: usize, random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    let old = get(bytes, at, width);
    let all = u64::MAX >> (64 - 8 * width);
    let len = bytes.len() as u64;
    let value = match random.below(16) {
        0 => 0,
        1 => 1,
        2 => all,
        3 => all >> 1,
        4 => (all >> 1) + 1,
        5 => old.wrapping_add(1),
        6 => old.wrapping_sub(1),
        7 => old.wrapping_mul(2),
        8 => old / 2,
        9 => len,
        10 => len - 1,
        11 => len + 1 - old.min(len),
        12 => random.number(),
        13 => random.number() % len,
        _ => old ^ (1 << random.below(8 * width)),
    };
    put(bytes, at, width, value & all);
}
