//! The digest's ranges, and the layouts refused when signatures count.

mod support;

use kpeel_envelope::authenticode::{check_coverage, DigestRanges};
use kpeel_envelope::error::{Class, Refusal};
use kpeel_envelope::pe::Pe;
use support::{get32, image, put32, section_field, signed, CERTIFICATE_ENTRY, CHECK_SUM, OPTIONAL};

fn two_sections() -> Vec<u8> {
    image(&[(".text", &[1; 700]), (".linux", &[2; 100])])
}

fn refused(image: &[u8]) -> &'static str {
    let error = check_coverage(&Pe::parse(image).unwrap()).expect_err("was accepted");
    assert_eq!(error.class, Class::Refused(Refusal::Signature));
    match error.field {
        kpeel_envelope::error::Field::Named(name) => name,
        kpeel_envelope::error::Field::Parser(_) => unreachable!(),
    }
}

#[test]
fn digest_covers_all_but_the_three_ranges_signing_writes() {
    let unsigned = two_sections();
    let image = signed(unsigned.clone(), &[b"signature"]);
    let pe = Pe::parse(&image).unwrap();
    let mut hashed = vec![false; image.len()];
    for range in DigestRanges::new(&pe) {
        for byte in &mut hashed[range] {
            assert!(!*byte, "no byte counts twice");
            *byte = true;
        }
    }
    for (at, covered) in hashed.into_iter().enumerate() {
        let written_by_signing = (CHECK_SUM..CHECK_SUM + 4).contains(&at)
            || (CERTIFICATE_ENTRY..CERTIFICATE_ENTRY + 8).contains(&at)
            || at >= unsigned.len();
        assert_eq!(covered, !written_by_signing, "byte {at:#x}");
    }
    check_coverage(&pe).unwrap();
}

#[test]
fn sections_count_by_file_offset_not_by_table_order() {
    let mut image = two_sections();
    // Swap the two headers, keeping the addresses apart.
    let (first, second) = (section_field(0, 0), section_field(1, 0));
    let header: Vec<u8> = image[first..first + 40].to_vec();
    image.copy_within(second..second + 40, first);
    image[second..second + 40].copy_from_slice(&header);
    let pe = Pe::parse(&image).unwrap();
    let starts: Vec<usize> = DigestRanges::new(&pe).map(|range| range.start).collect();
    assert!(starts.is_sorted());
    check_coverage(&pe).unwrap();
}

#[test]
fn accepts_unsigned_bytes_behind_the_sections_as_part_of_the_digest() {
    let mut image = two_sections();
    image.extend_from_slice(&[3; 24]);
    check_coverage(&Pe::parse(&image).unwrap()).unwrap();
}

#[test]
fn refuses_gaps_between_headers_and_sections() {
    let mut image = two_sections();
    let headers = get32(&image, OPTIONAL + 60);
    put32(&mut image, OPTIONAL + 60, headers - 8);
    assert_eq!(refused(&image), "start of signed bytes after a gap");
}

#[test]
fn refuses_gaps_between_sections() {
    let mut image = two_sections();
    let raw = get32(&image, section_field(0, 16));
    put32(&mut image, section_field(0, 16), raw - 0x200);
    assert_eq!(refused(&image), "start of signed bytes after a gap");
}

#[test]
fn refuses_bytes_behind_the_certificate_table() {
    let mut image = signed(two_sections(), &[b"signature"]);
    check_coverage(&Pe::parse(&image).unwrap()).unwrap();
    image.extend_from_slice(&[0; 8]);
    assert_eq!(refused(&image), "end of the certificate table");
}
