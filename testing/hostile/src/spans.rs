//! Where the parts of a sound image lie, according to the `object` crate: what mutations aim at.

use std::ops::Range;
use std::sync::LazyLock;

use kpeel_bpf::{Program, Pseudo, Resolver, Unresolved};
use object::LittleEndian as LE;
use object::pe::{ImageDosHeader, ImageNtHeaders64};
use object::read::elf::ElfFile64;
use object::read::pe::ImageNtHeaders;
use object::{Object, ObjectSection, ObjectSymbol};

use crate::write::get;

/// Bytes of one section header.
pub const ENTRY: usize = 40;
/// Bytes of one BPF instruction.
pub const SLOT: usize = 8;

/// One envelope of an image, with offsets in the whole file.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    /// DOS, COFF and optional header.
    pub headers: Range<usize>,
    /// The COFF header.
    pub coff: usize,
    /// The section table.
    pub table: Range<usize>,
    /// Name and contents of each section, in the table's order.
    pub sections: Vec<(String, Range<usize>)>,
    /// The compressed stream, if the envelope is a zboot image.
    pub stream: Option<Range<usize>>,
    /// The carrier, if the envelope has one.
    pub carrier: Option<Carrier>,
}

/// A carrier, with offsets in the whole file.
#[derive(Clone, Debug)]
pub struct Carrier {
    /// All of it.
    pub whole: Range<usize>,
    /// Its loader program.
    pub loader: Range<usize>,
    /// The loader's data.
    pub data: Range<usize>,
    /// The parser's instructions, inside the data.
    pub parser: Range<usize>,
}

/// The envelopes of `image` that lie uncompressed in it, the outermost first.
#[must_use]
pub fn layers(image: &[u8]) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut at = 0..image.len();
    while let Some(layer) = layer(image, at.clone()) {
        let inner = layer.sections.iter().find(|(name, _)| name == ".linux");
        let inner = inner.map(|(_, range)| range.clone());
        layers.push(layer);
        match inner {
            Some(inner) if inner.start > at.start => at = inner,
            // No kernel, or a section that a mutation laid over the image that it belongs to.
            _ => break,
        }
    }
    layers
}

fn layer(image: &[u8], place: Range<usize>) -> Option<Layer> {
    let base = place.start;
    let bytes = image.get(place)?;
    let dos = ImageDosHeader::parse(bytes).ok()?;
    let mut offset = u64::from(dos.nt_headers_offset());
    let coff = base + offset as usize + 4;
    let (headers, _) = ImageNtHeaders64::parse(bytes, &mut offset).ok()?;
    let table = headers.sections(bytes, offset).ok()?;
    let start = base + offset as usize;
    let sections = table.iter().map(|section| {
        let name = String::from_utf8_lossy(section.raw_name()).into_owned();
        let raw = base + section.pointer_to_raw_data.get(LE) as usize;
        let size = section.size_of_raw_data.get(LE);
        let size = size.min(section.virtual_size.get(LE)) as usize;
        (name, raw..raw + size)
    });
    let sections: Vec<_> = sections.collect();
    let stream = (bytes.get(4..8) == Some(b"zimg")).then(|| {
        let start = base + get(bytes, 8, 4) as usize;
        start..start + get(bytes, 12, 4) as usize
    });
    let bpf = sections.iter().find(|(name, _)| name == ".bpf");
    let carrier = bpf.and_then(|(_, range)| carrier(range.clone()));
    Some(Layer {
        headers: base..start,
        coff,
        table: start..start + table.len() * ENTRY,
        sections,
        stream,
        carrier,
    })
}

/// A carrier's parts where it starts at 0, for each bundled one.
static BUNDLED: LazyLock<Vec<Carrier>> = LazyLock::new(|| {
    let carriers = kpeel_parsers::BUNDLED.iter();
    let parts = carriers.filter_map(|bundled| parts(bundled.carrier));
    parts.collect()
});

/// The carrier at `whole`. Mutations keep its length, and that tells bundled ones apart: so its
/// parts are known however broken it is.
fn carrier(whole: Range<usize>) -> Option<Carrier> {
    let known = BUNDLED
        .iter()
        .find(|known| known.whole.len() == whole.len())?;
    let moved = |part: &Range<usize>| part.start + whole.start..part.end + whole.start;
    Some(Carrier {
        whole: moved(&known.whole),
        loader: moved(&known.loader),
        data: moved(&known.data),
        parser: moved(&known.parser),
    })
}

fn parts(bytes: &[u8]) -> Option<Carrier> {
    let elf = ElfFile64::<object::Endianness>::parse(bytes).ok()?;
    let symbol = |name: &str| {
        let symbol = elf.symbols().find(|symbol| symbol.name() == Ok(name))?;
        let section = elf.section_by_index(symbol.section_index()?).ok()?;
        let (offset, _) = section.file_range()?;
        // In an object file a symbol's address is its offset in the section.
        let start = offset as usize + symbol.address() as usize;
        Some(start..start + symbol.size() as usize)
    };
    let (loader, data) = (symbol("opts_insn")?, symbol("opts_data")?);
    Some(Carrier {
        whole: 0..bytes.len(),
        parser: parser(bytes, &data)?,
        loader,
        data,
    })
}

/// The first run of the data that decodes as a program of the parser's length.
fn parser(bytes: &[u8], data: &Range<usize>) -> Option<Range<usize>> {
    let carrier = kpeel_envelope::carrier::Carrier::parse(bytes).ok()?;
    let info = kpeel_sandbox::describe(&carrier).ok()?;
    let len = info.programs.first()?.instructions * SLOT;
    let starts = (data.start..data.end.checked_sub(len)?).step_by(SLOT);
    let mut runs = starts.map(|start| start..start + len);
    runs.find(|run| {
        let bytes = bytes.get(run.clone());
        bytes.is_some_and(|bytes| Program::decode(bytes, &mut Anything).is_ok())
    })
}

/// Takes every name that an instruction may hold.
struct Anything;

impl Resolver for Anything {
    fn immediate(&mut self, _: usize, _: Pseudo, _: i32, _: i32) -> Result<u64, Unresolved> {
        Ok(0)
    }

    fn helper(&mut self, _: usize, _: u32) -> Result<(), Unresolved> {
        Ok(())
    }

    fn kfunc(&mut self, _: usize, _: i32, _: i16) -> Result<u32, Unresolved> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_loader_data_and_parser_of_every_bundled_carrier() {
        assert_eq!(BUNDLED.len(), kpeel_parsers::BUNDLED.len());
        for (known, bundled) in BUNDLED.iter().zip(kpeel_parsers::BUNDLED) {
            let carrier = kpeel_envelope::carrier::Carrier::parse(bundled.carrier).unwrap();
            assert_eq!(&bundled.carrier[known.loader.clone()], carrier.insns);
            assert_eq!(&bundled.carrier[known.data.clone()], carrier.data);
            // No other run of that length is a program: its jumps would lead elsewhere.
            let len = known.parser.len();
            let starts = (known.data.start..=known.data.end - len).step_by(SLOT);
            let decodes = |start: &usize| {
                Program::decode(&bundled.carrier[*start..*start + len], &mut Anything).is_ok()
            };
            assert_eq!(starts.filter(decodes).count(), 1, "{}", bundled.name);
        }
        let lengths = |at: usize| BUNDLED[at].whole.len();
        assert_ne!(lengths(0), lengths(1), "lengths must tell carriers apart");
    }

    #[test]
    fn ends_where_a_kernel_is_said_to_be_the_image_it_lies_in() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/unfold");
        let mut tried = 0;
        for file in std::fs::read_dir(corpus).unwrap() {
            let mut image = std::fs::read(file.unwrap().path()).unwrap();
            let outer = layers(&image).into_iter().next().unwrap_or_default();
            let mut sections = outer.sections.iter();
            let Some(at) = sections.position(|(name, _)| name == ".linux") else {
                continue;
            };
            // PointerToRawData of the section's header.
            let field = outer.table.start + at * ENTRY + 20;
            image[field..field + 4].fill(0);
            assert_eq!(layers(&image).len(), 1);
            tried += 1;
        }
        assert_ne!(tried, 0);
    }
}
