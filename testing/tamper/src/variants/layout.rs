//! Layouts that were signed as they are: what the image hash leaves out, and headers that no image
//! may have, signature or not.

use super::{Maker, Reason, Verdict, shape, signed};
use crate::Outcome;
use crate::authority::Signer;
use crate::digest::Hash;
use crate::pe::{Image, coff, optional, section};

const HEADERS: Verdict = Verdict::Refused(Reason::Headers);
const UNCOVERED: Verdict = Verdict::Refused(Reason::Uncovered);

/// The program's sections by their place in the table.
const DATA: usize = 1;
const SBAT: usize = 2;
const BPF: usize = 3;

/// What is done to the unsigned image.
type Change = fn(&mut Image);

const LAYOUTS: [(&str, Verdict, &str, Change); 18] = [
    (
        "signed-anew",
        Verdict::Accepted,
        "the base, signed by a certificate that the root issued",
        |_| {},
    ),
    (
        "signed-overlay",
        Verdict::Accepted,
        "bytes behind the sections are hashed",
        |image| image.bytes.extend_from_slice(&[0xaa; 100]),
    ),
    (
        "signed-check-sum",
        Verdict::Accepted,
        "CheckSum is not covered, and nothing depends on it",
        |image| image.put_u32(image.check_sum(), 0x1234_5678),
    ),
    (
        "signed-sections-out-of-order",
        Verdict::Accepted,
        "sections are hashed by their place in the file, not in the table",
        |image| swap(image, SBAT, BPF),
    ),
    (
        "signed-section-without-data",
        Verdict::Accepted,
        "a section without data has no place in the file",
        |image| {
            // Behind the sections, so that .bpf's bytes are hashed with what follows.
            let entry = image.section(BPF);
            image.put_u32(entry + section::SIZE_OF_RAW_DATA, 0);
        },
    ),
    (
        "signed-gap",
        UNCOVERED,
        "bytes between two sections are covered by no signature",
        |image| {
            let entry = image.section(DATA);
            image.put_u32(entry + section::SIZE_OF_RAW_DATA, 0x200);
        },
    ),
    (
        "signed-gap-behind-headers",
        UNCOVERED,
        "bytes between headers and sections are covered by no signature",
        |image| image.put_u32(image.size_of_headers(), 0x300),
    ),
    (
        "signed-two-bpf",
        Verdict::Accepted,
        "the signature covers both; that one image has two .bpf is for its loader to refuse",
        |image| image.put(image.section(SBAT), b".bpf\0\0\0\0"),
    ),
    (
        "signed-sections-share-bytes",
        HEADERS,
        "the data of two sections may not overlap",
        |image| {
            let (start, _) = image.raw(DATA);
            let entry = image.section(SBAT);
            image.put_u32(entry + section::POINTER_TO_RAW_DATA, start);
        },
    ),
    (
        "signed-sections-share-addresses",
        HEADERS,
        "two sections may not overlap in memory",
        |image| image.put_u32(image.section(SBAT) + 12, 0x2000),
    ),
    (
        "signed-section-past-end",
        HEADERS,
        "section data must lie inside the file",
        |image| {
            let entry = image.section(BPF);
            image.put_u32(entry + section::SIZE_OF_RAW_DATA, 0x10_0000);
        },
    ),
    (
        "signed-section-in-headers",
        HEADERS,
        "section data must lie behind the headers",
        |image| {
            let entry = image.section(BPF);
            image.put_u32(entry + section::POINTER_TO_RAW_DATA, 0x200);
        },
    ),
    (
        "signed-headers-short",
        HEADERS,
        "SizeOfHeaders must hold the section table",
        |image| image.put_u32(image.size_of_headers(), 0x200),
    ),
    (
        "signed-headers-past-end",
        HEADERS,
        "SizeOfHeaders must end inside the file",
        |image| image.put_u32(image.size_of_headers(), 0x10_0000),
    ),
    (
        "signed-optional-header-longer",
        HEADERS,
        "SizeOfOptionalHeader and NumberOfRvaAndSizes must agree",
        |image| {
            image.put_u32(image.optional() + optional::NUMBER_OF_DIRECTORIES, 15);
        },
    ),
    (
        "signed-too-many-directories",
        HEADERS,
        "there are at most 16 directories",
        |image| {
            image.put_u32(image.optional() + optional::NUMBER_OF_DIRECTORIES, 17);
        },
    ),
    (
        "signed-file-alignment",
        HEADERS,
        "alignments are powers of two",
        |image| image.put_u32(image.optional() + optional::FILE_ALIGNMENT, 0x201),
    ),
    (
        "signed-too-many-sections",
        HEADERS,
        "an image has at most 96 sections",
        |image| {
            let at = image.coff() + coff::NUMBER_OF_SECTIONS;
            image.put(at, &97_u16.to_le_bytes());
        },
    ),
];

pub(super) fn add(maker: &mut Maker<'_>, signer: &Signer) -> Outcome<()> {
    for (name, expected, why, change) in LAYOUTS {
        let mut image = maker.unsigned();
        change(&mut image);
        let image = image.padded();
        let shape = shape(&image, signer, Hash::Sha256)?;
        maker.add(name, expected, why, signed(image, &shape)?);
    }
    unaligned(maker, signer)
}

/// The table right behind bytes whose number is no multiple of 8.
fn unaligned(maker: &mut Maker<'_>, signer: &Signer) -> Outcome<()> {
    let mut image = maker.unsigned().padded();
    image.bytes.extend_from_slice(&[0xaa; 4]);
    let shape = shape(&image, signer, Hash::Sha256)?;
    maker.add(
        "signed-table-unaligned",
        Verdict::Refused(Reason::Table),
        "the table must start at a multiple of 8",
        signed(image, &shape)?,
    );
    Ok(())
}

/// Swaps two entries of the section table.
fn swap(image: &mut Image, a: usize, b: usize) {
    let (a, b) = (image.section(a), image.section(b));
    for byte in 0..section::SIZE {
        image.bytes.swap(a + byte, b + byte);
    }
}
