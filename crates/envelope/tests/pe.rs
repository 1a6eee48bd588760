//! The PE view accepts what real images look like and refuses each broken field by name.

mod support;

use kpeel_envelope::error::{Class, Error, Field, Needed};
use kpeel_envelope::pe::{looks_like_pe, Pe};
use support::{
    get32, image, put16, put32, section_field, signed, CERTIFICATE_ENTRY, CHECK_SUM, COFF, HEADERS,
    OPTIONAL,
};

fn two_sections() -> Vec<u8> {
    image(&[(".text", &[1; 700]), (".linux", &[2; 100])])
}

fn rejected(image: &[u8]) -> Error {
    Pe::parse(image).expect_err("a broken image was accepted")
}

/// Breaks one field of a good image and returns what the reader says.
fn broken(change: impl FnOnce(&mut Vec<u8>)) -> Error {
    let mut image = two_sections();
    Pe::parse(&image).expect("the unbroken twin is accepted");
    change(&mut image);
    rejected(&image)
}

#[test]
fn reads_sections_with_their_contents() {
    let image = two_sections();
    let pe = Pe::parse(&image).unwrap();
    let names: Vec<_> = pe
        .sections()
        .map(|section| section.name().to_vec())
        .collect();
    assert_eq!(names, [b".text".to_vec(), b".linux".to_vec()]);
    let linux = pe.find(".linux").next().unwrap();
    assert_eq!((linux.data(), linux.index), (&[2; 100][..], 1));
    assert_eq!(pe.find(".lin").count(), 0);
}

#[test]
fn section_data_is_the_smaller_of_both_sizes() {
    let mut image = two_sections();
    put32(&mut image, section_field(1, 8), 0x900);
    assert_eq!(
        Pe::parse(&image)
            .unwrap()
            .find(".linux")
            .next()
            .unwrap()
            .data()
            .len(),
        0x200
    );
    put32(&mut image, section_field(1, 8), 7);
    assert_eq!(
        Pe::parse(&image)
            .unwrap()
            .find(".linux")
            .next()
            .unwrap()
            .data()
            .len(),
        7
    );
    put32(&mut image, section_field(1, 8), 0);
    assert_eq!(
        Pe::parse(&image)
            .unwrap()
            .find(".linux")
            .next()
            .unwrap()
            .data()
            .len(),
        0
    );
}

#[test]
fn names_compare_over_all_eight_bytes() {
    let mut image = image(&[(".cmdline", b"quiet"), (".linux", b"k")]);
    let count = |image: &[u8], name| Pe::parse(image).unwrap().find(name).count();
    assert_eq!(count(&image, ".cmdline"), 1);
    image[section_field(0, 7)] = b'x';
    assert_eq!(
        (count(&image, ".cmdline"), count(&image, ".cmdlin")),
        (0, 0)
    );
}

#[test]
fn no_name_goes_on_behind_its_nul() {
    for (name, at) in [(".linux", 7), (".dtb", 5), ("", 1)] {
        let mut image = image(&[(".text", b"t"), (name, b"k")]);
        image[section_field(1, at)] = b'x';
        let error = Pe::parse(&image).unwrap_err();
        let expected = "Name of entry 1: found bytes behind the first NUL, needed NULs to the end";
        assert_eq!(error.class, Class::Malformed);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn rejects_each_broken_dos_and_coff_field() {
    let magic = broken(|image| image[0] = b'N');
    assert_eq!(
        (magic.class, magic.field),
        (Class::Malformed, Field::Named("e_magic"))
    );
    let near = broken(|image| put32(image, 0x3c, 0x3f));
    assert_eq!(
        near,
        Error::malformed("e_lfanew", 0x3f, Needed::AtLeast(0x40))
    );
    let far = broken(|image| put32(image, 0x3c, u32::MAX));
    assert_eq!(far.field, Field::Named("e_lfanew"));
    assert_eq!(
        broken(|image| image[0x40] = b'p').field,
        Field::Named("Signature")
    );
    let many = broken(|image| put16(image, COFF + 2, 97));
    assert_eq!(
        many,
        Error::malformed("NumberOfSections", 97, Needed::AtMost(96))
    );
}

#[test]
fn rejects_each_broken_optional_header_field() {
    let pe32 = broken(|image| put16(image, OPTIONAL, 0x10b));
    assert_eq!(
        (pe32.class, pe32.field),
        (Class::Unsupported, Field::Named("Magic"))
    );
    assert_eq!(
        broken(|image| put16(image, OPTIONAL, 0x107)).class,
        Class::Malformed
    );
    let size = broken(|image| put16(image, COFF + 16, 168));
    assert_eq!(
        size,
        Error::malformed("SizeOfOptionalHeader", 168, Needed::Exactly(160))
    );
    let directories = broken(|image| put32(image, OPTIONAL + 108, 17));
    assert_eq!(
        directories,
        Error::malformed("NumberOfRvaAndSizes", 17, Needed::AtMost(16))
    );
    let fewer = broken(|image| put32(image, OPTIONAL + 108, 5));
    assert_eq!(
        fewer,
        Error::malformed("SizeOfOptionalHeader", 160, Needed::Exactly(152))
    );
    let alignment = broken(|image| put32(image, OPTIONAL + 36, 0x300));
    assert_eq!(
        alignment,
        Error::malformed("FileAlignment", 0x300, Needed::PowerOfTwo)
    );
    let section = broken(|image| put32(image, OPTIONAL + 32, 0x100));
    assert_eq!(
        section,
        Error::malformed("SectionAlignment", 0x100, Needed::AtLeast(0x200))
    );
    let small = broken(|image| put32(image, OPTIONAL + 60, 0x100));
    assert_eq!(small.field, Field::Named("SizeOfHeaders"));
    let large = broken(|image| put32(image, OPTIONAL + 60, 1 << 30));
    assert_eq!(large.field, Field::Named("SizeOfHeaders"));
}

#[test]
fn rejects_section_past_end_of_file() {
    let error = broken(|image| put32(image, section_field(1, 16), 0x201));
    let len = two_sections().len() as u64;
    assert_eq!(
        error,
        Error::malformed(
            "PointerToRawData + SizeOfRawData",
            len + 1,
            Needed::AtMost(len)
        )
        .of_entry(1)
    );
}

#[test]
fn rejects_sums_that_wrap() {
    let raw = broken(|image| {
        put32(image, section_field(1, 16), u32::MAX);
        put32(image, section_field(1, 20), u32::MAX);
    });
    assert_eq!(raw.field, Field::Named("PointerToRawData + SizeOfRawData"));
    let memory = broken(|image| put32(image, section_field(1, 8), u32::MAX));
    assert_eq!(memory.field, Field::Named("VirtualAddress + VirtualSize"));
}

#[test]
fn rejects_sections_that_overlap_in_file_or_memory() {
    let file = broken(|image| {
        let first = get32(image, section_field(0, 20));
        put32(image, section_field(1, 20), first + 0x200);
    });
    assert_eq!(
        (file.field, file.index),
        (Field::Named("PointerToRawData"), Some(1))
    );
    let memory = broken(|image| put32(image, section_field(0, 8), 0x1001));
    assert_eq!(
        (memory.field, memory.index),
        (Field::Named("VirtualAddress"), Some(1))
    );
}

#[test]
fn rejects_a_section_inside_the_headers() {
    let error = broken(|image| put32(image, section_field(0, 20), 0x200));
    let needed = Needed::AtLeast(HEADERS as u64);
    assert_eq!(
        error,
        Error::malformed("PointerToRawData", 0x200, needed).of_entry(0)
    );
}

#[test]
fn a_section_without_raw_data_may_point_anywhere() {
    let mut image = two_sections();
    put32(&mut image, section_field(0, 16), 0);
    put32(&mut image, section_field(0, 20), 0xffff_fff0);
    assert!(Pe::parse(&image)
        .unwrap()
        .find(".text")
        .next()
        .unwrap()
        .data()
        .is_empty());
}

#[test]
fn accepts_the_oddities_of_real_images() {
    let mut image = two_sections();
    // rEFInd, systemd 252: addresses off the section alignment; zboot: SizeOfImage too.
    put32(&mut image, section_field(1, 12), 0x2010);
    put32(&mut image, OPTIONAL + 56, 0x2075);
    // bzImage: NumberOfSymbols without a table.
    put32(&mut image, COFF + 12, 1);
    // shim: a COFF symbol table after the sections.
    let end = image.len() as u32;
    put32(&mut image, COFF + 8, end);
    image.resize(image.len() + 18 + 4, 0);
    assert_eq!(Pe::parse(&image).unwrap().sections().count(), 2);
}

#[test]
fn finds_the_certificate_table_and_its_entries() {
    let image = signed(two_sections(), &[b"one", b"second"]);
    let pe = Pe::parse(&image).unwrap();
    let start = two_sections().len();
    assert_eq!(pe.certificate_table(), Some(start..image.len()));
    let data: Vec<_> = pe
        .certificates()
        .map(|entry| entry.unwrap().data.to_vec())
        .collect();
    assert_eq!(data, [b"one".to_vec(), b"second".to_vec()]);
    assert_eq!(
        Pe::parse(&two_sections()).unwrap().certificates().count(),
        0
    );
}

#[test]
fn rejects_each_broken_certificate_directory() {
    let good = signed(two_sections(), &[b"sig"]);
    let table = two_sections().len() as u32;
    for (offset, size, field) in [
        (table + 1, 16, "certificate table offset"),
        (table, 4, "certificate table Size"),
        (table, 0, "certificate table Size"),
        (table, 24, "certificate table end"),
        (8, 16, "certificate table offset"),
        (u32::MAX - 7, 16, "certificate table end"),
        (HEADERS as u32, 16, "PointerToRawData"),
    ] {
        let mut image = good.clone();
        put32(&mut image, CERTIFICATE_ENTRY, offset);
        put32(&mut image, CERTIFICATE_ENTRY + 4, size);
        assert_eq!(
            rejected(&image).field,
            Field::Named(field),
            "{offset:#x}+{size:#x}"
        );
    }
}

#[test]
fn covered_bytes_end_at_the_certificate_table_and_hide_what_signing_changes() {
    let unsigned = two_sections();
    let image = signed(unsigned.clone(), &[b"sig"]);
    let covered = Pe::parse(&image).unwrap().covered();
    assert_eq!(covered.len, unsigned.len());
    let mut head = image[..covered.head_len()].to_vec();
    covered.zero(&mut head);
    assert_eq!(head[CHECK_SUM..CHECK_SUM + 4], [0; 4]);
    assert_eq!(head[CERTIFICATE_ENTRY..CERTIFICATE_ENTRY + 8], [0; 8]);
    // Nothing else changed.
    let differing = image
        .iter()
        .zip(&head)
        .filter(|(one, other)| one != other)
        .count();
    assert!(differing <= 12);
}

#[test]
fn tells_pe_from_other_bytes() {
    assert!(looks_like_pe(&two_sections()));
    for other in [&b""[..], b"MZ", b"\x7fELF", &[0; 0x100]] {
        assert!(!looks_like_pe(other));
    }
}

#[test]
fn every_truncation_is_an_error_or_loses_only_padding() {
    let image = signed(two_sections(), &[b"sig"]);
    for len in 0..image.len() {
        assert_eq!(
            rejected(&image[..len]).class,
            Class::Malformed,
            "{len} bytes"
        );
    }
}

#[test]
fn every_byte_of_the_headers_may_hold_anything() {
    let image = signed(two_sections(), &[b"sig"]);
    for at in 0..HEADERS {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = image.clone();
            changed[at] = value;
            if let Ok(pe) = Pe::parse(&changed) {
                // What was accepted must hold the invariants.
                let covered = pe.covered();
                assert!(covered.len <= changed.len());
                for section in pe.sections() {
                    assert!(section.raw_range().end <= covered.len.max(1));
                }
            }
        }
    }
}
