//! What the gates count: this project's own code at work, over images made here byte for byte.

use std::hint::black_box;
use std::sync::Arc;

use kpeel_bpf::{Access, Budget, Calls, Memory, Program, Pseudo, Resolver, Unresolved};
use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::limits::{Limits, Meter};
use kpeel_envelope::pe::Pe;
use kpeel_envelope::pipeline::{self, Parser, Request};
use kpeel_sandbox::{Buffer, Sandbox};

use crate::Outcome;

/// Does a workload so many times.
type Workload = fn(u64) -> Outcome<()>;

/// Workloads by name.
pub(crate) const WORKLOADS: [(&str, Workload); 8] = [
    ("machine-arithmetic", |turns| machine(&ARITHMETIC, turns)),
    ("machine-memory", |turns| machine(&MEMORY, turns)),
    ("machine-branches", |turns| machine(&BRANCHES, turns)),
    ("machine-calls", |turns| machine(&CALLS, turns)),
    ("pe-60-sections", sections),
    ("carrier", carriers),
    ("unfold-uki", uki),
    ("unfold-zboot", zboot),
];

/// Does the named workload.
pub(crate) fn turns(name: &str, turns: u64) -> Outcome<()> {
    let found = WORKLOADS.iter().find(|(known, _)| *known == name);
    let (_, workload) = found.ok_or_else(|| format!("no workload {name}"))?;
    workload(turns)
}

/// Rounds of each machine program's loop.
const LOOPS: i32 = 2000;
/// Bytes of memory that programs get.
const MEMORY_LEN: usize = 4096;

/// One instruction: opcode, destination, source, offset, immediate (RFC 9669, section 3).
type Insn = (u8, u8, u8, i16, i32);

// Bodies of loops: r6 holds the memory, r7 counts down, r0 collects.
const ARITHMETIC: [Insn; 8] = [
    (0x0f, 0, 7, 0, 0),
    (0x27, 0, 0, 0, 31),
    (0xbf, 2, 0, 0, 0),
    (0x74, 2, 0, 0, 13),
    (0xaf, 0, 2, 0, 0),
    (0x04, 0, 0, 0, 12345),
    (0x67, 2, 0, 0, 3),
    (0x1f, 0, 2, 0, 0),
];
const MEMORY: [Insn; 8] = [
    (0xbf, 2, 7, 0, 0),
    (0x57, 2, 0, 0, 0xff8),
    (0x0f, 2, 6, 0, 0),
    (0x79, 3, 2, 0, 0),
    (0x0f, 0, 3, 0, 0),
    (0x7b, 10, 0, -8, 0),
    (0x71, 4, 10, -4, 0),
    (0x63, 2, 4, 0, 0),
];
const BRANCHES: [Insn; 7] = [
    (0xbf, 2, 7, 0, 0),
    (0x57, 2, 0, 0, 3),
    (0x15, 2, 0, 2, 0),
    (0x25, 2, 0, 1, 2),
    (0x07, 0, 0, 0, 5),
    (0x2d, 7, 0, 1, 0),
    (0x1f, 0, 7, 0, 0),
];
/// A helper, then the function that stands behind the loop's end: three more slots to its exit.
const CALLS: [Insn; 6] = [
    (0xbf, 1, 0, 0, 0),
    (0xbf, 2, 7, 0, 0),
    (0x85, 0, 0, 0, HELPER),
    (0xbf, 1, 0, 0, 0),
    (0xbf, 2, 7, 0, 0),
    (0x85, 0, 1, 0, 3),
];
const HELPER: i32 = 7;

struct Sum;

impl Resolver for Sum {
    fn immediate(&mut self, _: usize, _: Pseudo, _: i32, _: i32) -> Result<u64, Unresolved> {
        Err("no maps".into())
    }

    fn helper(&mut self, _: usize, _: u32) -> Result<(), Unresolved> {
        Ok(())
    }

    fn kfunc(&mut self, _: usize, _: i32, _: i16) -> Result<u32, Unresolved> {
        Err("no kfuncs".into())
    }
}

impl Calls for Sum {
    type Error = std::convert::Infallible;

    fn helper(&mut self, _: &mut Memory, _: u32, args: [u64; 5]) -> Result<u64, Self::Error> {
        Ok(args[0].wrapping_add(args[1]))
    }

    fn kfunc(&mut self, _: &mut Memory, _: u32, _: [u64; 5]) -> Result<u64, Self::Error> {
        Ok(0)
    }
}

fn machine(body: &[Insn], turns: u64) -> Outcome<()> {
    let back = -1 - i16::try_from(body.len())? - 1;
    let before = [
        (0xbf, 6, 1, 0, 0),
        (0xb7, 7, 0, 0, LOOPS),
        (0xb7, 0, 0, 0, 1),
    ];
    let after = [
        (0x17, 7, 0, 0, 1),
        (0x55, 7, 0, back, 0),
        (0x95, 0, 0, 0, 0),
        // What CALLS calls.
        (0xbf, 0, 1, 0, 0),
        (0x0f, 0, 2, 0, 0),
        (0x95, 0, 0, 0, 0),
    ];
    let code: Vec<u8> = [&before[..], body, &after]
        .concat()
        .into_iter()
        .flat_map(slot)
        .collect();
    let program = Program::decode(&code, &mut Sum).map_err(|error| error.to_string())?;
    for _ in 0..turns {
        let mut memory = Memory::new();
        let base = memory
            .map_owned(vec![7; MEMORY_LEN], Access::ReadWrite)
            .map_err(|error| format!("{error:?}"))?;
        let arguments = [base, MEMORY_LEN as u64];
        let mut budget = Budget::new(1 << 30);
        let result = kpeel_bpf::run(&program, &arguments, &mut memory, &mut Sum, &mut budget);
        black_box(result.map_err(|error| format!("{error:?}"))?);
    }
    Ok(())
}

fn slot((opcode, dst, src, offset, imm): Insn) -> [u8; 8] {
    let [offset_low, offset_high] = offset.to_le_bytes();
    let [a, b, c, d] = imm.to_le_bytes();
    [opcode, dst | src << 4, offset_low, offset_high, a, b, c, d]
}

/// Parses an image of 60 sections and looks for what its digest leaves out, ten times a turn.
fn sections(turns: u64) -> Outcome<()> {
    let names: Vec<String> = (0..60).map(|index| format!(".s{index}")).collect();
    let content = [7; 100];
    let sections: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), &content[..]))
        .collect();
    let image = pe(&sections);
    for _ in 0..turns * 10 {
        let pe = Pe::parse(black_box(&image)).map_err(|error| error.to_string())?;
        check_coverage(&pe).map_err(|error| error.to_string())?;
        black_box(pe.find(".s59").count());
    }
    Ok(())
}

/// Runs the loaders of the bundled parsers.
fn carriers(turns: u64) -> Outcome<()> {
    for _ in 0..turns {
        for parser in kpeel_parsers::BUNDLED {
            let carrier = Carrier::parse(parser.carrier).map_err(|error| error.to_string())?;
            black_box(kpeel_sandbox::describe(&carrier).map_err(|error| error.to_string())?);
        }
    }
    Ok(())
}

/// A UKI that holds a plain kernel of 4 MiB: a copy of it, or a hash, would show.
fn uki(turns: u64) -> Outcome<()> {
    let kernel = kernel(4 << 20);
    let image = pe(&[
        (".osrel", b"ID=sample\n"),
        (".cmdline", b"root=/dev/vda ro"),
        (".initrd", &[1; 4096]),
        (".linux", &kernel),
    ]);
    unfold(image, turns)
}

/// A zboot image, its kernel in a stream without compression: what counts is all but the codec.
fn zboot(turns: u64) -> Outcome<()> {
    let stream = stored(&kernel(64 << 10))?;
    let mut image = pe(&[(".gzdata", &stream)]);
    let header: [(usize, &[u8]); 5] = [
        (4, b"zimg"),
        (8, &u32::try_from(headers(1))?.to_le_bytes()),
        (12, &u32::try_from(stream.len())?.to_le_bytes()),
        (0x18, b"zstd"),
        (0x38, &[0xcd, 0x23, 0x82, 0x81]),
    ];
    for (at, bytes) in header {
        put(&mut image, at, bytes);
    }
    unfold(image, turns)
}

fn unfold(image: Vec<u8>, turns: u64) -> Outcome<()> {
    let meter = Arc::new(Meter::new(Limits::default()));
    let image = Buffer::from_vec(image, &meter).map_err(|error| error.to_string())?;
    let parsers: Vec<_> = kpeel_parsers::BUNDLED
        .iter()
        .map(|parser| Parser {
            name: parser.name,
            carrier: parser.carrier,
        })
        .collect();
    for _ in 0..turns {
        let mut sandbox = Sandbox::new(Limits::default());
        let request = Request {
            image: image.clone(),
            initrd: None,
            cmdline: None,
            crash: false,
            enforced: false,
            embedded: true,
            parsers: &parsers,
        };
        let unfolded =
            pipeline::unfold(&mut sandbox, request).map_err(|error| error.to_string())?;
        assert_eq!(unfolded.provenance.opened, 1);
        black_box(unfolded);
    }
    Ok(())
}

/// A plain arm64 kernel by its header (`Documentation/arch/arm64/booting.rst`).
fn kernel(len: usize) -> Vec<u8> {
    let mut kernel = vec![0x5a; len];
    kernel[..64].fill(0);
    put(&mut kernel, 16, &(len as u64).to_le_bytes());
    put(&mut kernel, 56, b"ARM\x64");
    kernel
}

/// A Zstandard frame of one raw block at most 128 KiB long (RFC 8878, section 3.1.1).
fn stored(bytes: &[u8]) -> Outcome<Vec<u8>> {
    let len = u32::try_from(bytes.len())?;
    let mut frame = 0xfd2f_b528_u32.to_le_bytes().to_vec();
    // Single segment, content size in four bytes, no checksum.
    frame.push(0b1010_0000);
    frame.extend(len.to_le_bytes());
    // The last block, raw.
    frame.extend_from_slice(&(len << 3 | 1).to_le_bytes()[..3]);
    frame.extend_from_slice(bytes);
    Ok(frame)
}

const FILE_ALIGNMENT: usize = 512;
const SECTION_ALIGNMENT: usize = 4096;
/// The COFF header, the optional header and the section table (PE format).
const COFF: usize = 0x44;
const OPTIONAL: usize = COFF + 20;
const OPTIONAL_LEN: usize = 240;
const TABLE: usize = OPTIONAL + OPTIONAL_LEN;

/// Bytes of headers for so many sections, which the first section follows.
fn headers(sections: usize) -> usize {
    (TABLE + 40 * sections).next_multiple_of(FILE_ALIGNMENT)
}

/// An EFI application for arm64 with these sections.
fn pe(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut image = vec![0; headers(sections.len())];
    let headers = image.len();
    let mut address = headers.next_multiple_of(SECTION_ALIGNMENT);
    for (index, (name, content)) in sections.iter().enumerate() {
        let (at, start) = (TABLE + 40 * index, image.len());
        put(&mut image, at, name.as_bytes());
        let raw = content.len().next_multiple_of(FILE_ALIGNMENT);
        for (field, value) in [(8, content.len()), (12, address), (16, raw), (20, start)] {
            put(&mut image, at + field, &(value as u32).to_le_bytes());
        }
        image.extend_from_slice(content);
        image.resize(start + raw, 0);
        address += content.len().max(1).next_multiple_of(SECTION_ALIGNMENT);
    }
    let fields: [(usize, &[u8]); 14] = [
        (0, b"MZ"),
        (0x3c, &0x40_u32.to_le_bytes()),
        (0x40, b"PE\0\0"),
        (COFF, &0xaa64_u16.to_le_bytes()),
        (COFF + 2, &(sections.len() as u16).to_le_bytes()),
        (COFF + 16, &(OPTIONAL_LEN as u16).to_le_bytes()),
        (COFF + 18, &0x0206_u16.to_le_bytes()),
        (OPTIONAL, &0x020b_u16.to_le_bytes()),
        (OPTIONAL + 32, &(SECTION_ALIGNMENT as u32).to_le_bytes()),
        (OPTIONAL + 36, &(FILE_ALIGNMENT as u32).to_le_bytes()),
        (OPTIONAL + 56, &(address as u32).to_le_bytes()),
        (OPTIONAL + 60, &(headers as u32).to_le_bytes()),
        (OPTIONAL + 68, &10_u16.to_le_bytes()),
        (OPTIONAL + 108, &16_u32.to_le_bytes()),
    ];
    for (at, bytes) in fields {
        put(&mut image, at, bytes);
    }
    image
}

fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_works() {
        for (name, workload) in WORKLOADS {
            workload(1).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
