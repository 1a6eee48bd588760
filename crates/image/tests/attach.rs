//! `attach` and `detach`: what they keep, refuse and give back.

mod support;

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::{Class, Field, Refusal};
use kpeel_envelope::pe::Pe;
use kpeel_image::{AttachOptions, DetachOptions, attach, check_sum, detach};
use object::Object;
use object::read::pe::PeFile64;
use support::judge::{PLAIN, attached, check, full_headers, sections};
use support::{MACHINE_ARM64, Maker, OPTIONAL, assert_same, carrier, carrier_of, part, put};

#[test]
fn keeps_symbols_and_overlay_behind_the_new_section() {
    let maker = Maker {
        symbols: true,
        overlay: b"appended by somebody".to_vec(),
        ..Maker::default()
    };
    for maker in [
        maker.clone(),
        Maker {
            parts: full_headers(15).parts,
            ..maker
        },
    ] {
        let output = check(&maker.make());
        assert!(output.ends_with(b"appended by somebody"));
        let file = PeFile64::parse(&output[..]).unwrap();
        let names: Vec<_> = file
            .symbols()
            .map(|s| object::ObjectSymbol::name(&s).unwrap())
            .collect();
        assert_eq!(names, ["_text"]);
    }
}

#[test]
fn recomputes_a_checksum_and_leaves_none_alone() {
    for (check_sum_wanted, len) in [(true, 5000), (true, 5001), (false, 5000)] {
        let overlay = vec![9; len];
        let image = Maker {
            check_sum: check_sum_wanted,
            overlay,
            ..Maker::default()
        }
        .make();
        let output = check(&image);
        let at = 0x80 + 4 + OPTIONAL + 64;
        let sum = u32::from_le_bytes(output[at..at + 4].try_into().unwrap());
        if check_sum_wanted {
            assert_eq!(sum, support::slow_check_sum(&output, at));
            assert_eq!(sum, check_sum(&output, at));
        } else {
            assert_eq!(sum, 0);
        }
    }
}

#[test]
fn detaching_gives_back_a_checksum_that_was_wrong() {
    let mut image = Maker::default().make();
    put(&mut image, 0x80 + 4 + OPTIONAL + 64, &[1, 2, 3, 4]);
    check(&image);
}

#[test]
fn carries_the_payload_offset_of_zboot_along() {
    for count in [3, 15] {
        let mut maker = Maker {
            machine: MACHINE_ARM64,
            ..full_headers(count)
        };
        maker.dos = vec![(4, b"zimg".to_vec()), (0x38, vec![0xcd, 0x23, 0x82, 0x81])];
        let plain = maker.make();
        let payload = maker.first + 512 + 7;
        maker.dos.push((8, (payload as u32).to_le_bytes().to_vec()));
        maker.dos.push((12, 200_u32.to_le_bytes().to_vec()));
        let image = maker.make();
        assert_same(&image[0x40..], &plain[0x40..]);
        let output = check(&image);
        let field = |at: usize| u32::from_le_bytes(output[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(output[field(8)..][..field(12)], image[payload..][..200]);
    }
}

#[test]
fn keeps_the_debug_directory_pointing_at_its_data() {
    let mut maker = full_headers(15);
    maker.parts[2] = part(".rdata", 1000);
    let offset = maker.first + 1024 + 100;
    maker.debug = Some((0x3000 + 100, offset));
    let image = maker.make();
    let output = attached(&image);
    let data = sections(&output)[2].2.clone();
    let pointer = u32::from_le_bytes(data[124..128].try_into().unwrap()) as usize;
    assert_eq!(&output[pointer..pointer + 8], b"debugged");
    assert_eq!(pointer, offset + 28 + 512);
    assert_same(&detach(&output, DetachOptions::default()).unwrap(), &image);
}

#[test]
fn refuses_a_signed_image_unless_the_signature_is_dropped() {
    let unsigned = Maker {
        overlay: vec![3; 16],
        ..Maker::default()
    }
    .make();
    let signed = Maker {
        overlay: vec![3; 16],
        certificate: vec![7; 90],
        ..Maker::default()
    }
    .make();
    let error = attach(&signed, &carrier(), PLAIN).unwrap_err();
    assert_eq!(error.class, Class::Refused(Refusal::Signature));
    assert!(error.to_string().contains("--drop-signature"), "{error}");
    let dropping = AttachOptions {
        drop_signature: true,
        ..PLAIN
    };
    let output = attach(&signed, &carrier(), dropping).unwrap();
    assert_same(&output, &attached(&unsigned));
    assert_same(
        &detach(&output, DetachOptions::default()).unwrap(),
        &unsigned,
    );
}

#[test]
fn keeps_bytes_behind_a_dropped_certificate_table() {
    let mut signed = Maker {
        certificate: vec![7; 90],
        ..Maker::default()
    }
    .make();
    signed.extend(b"tail");
    let dropping = AttachOptions {
        drop_signature: true,
        ..PLAIN
    };
    let output = attach(&signed, &carrier(), dropping).unwrap();
    assert!(output.ends_with(b"tail"));
    check_coverage(&Pe::parse(&output).unwrap()).unwrap();
}

#[test]
fn refuses_a_second_parser_unless_it_replaces_the_first() {
    let image = Maker::default().make();
    let once = attached(&image);
    let error = attach(&once, &carrier(), PLAIN).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Misuse, Field::Named(".bpf"))
    );
    let replacing = AttachOptions {
        replace: true,
        ..PLAIN
    };
    assert_same(&attach(&once, &carrier(), replacing).unwrap(), &once);
    let other = carrier_of(&[0x95, 0, 0, 0, 0, 0, 0, 0], &[5; 3000]);
    let twice = attach(&once, &other, replacing).unwrap();
    assert_same(&twice, &attach(&image, &other, PLAIN).unwrap());
    assert_same(&attach(&image, &carrier(), replacing).unwrap(), &once);
}

#[test]
fn replaces_and_removes_a_parser_that_another_tool_attached() {
    let mut maker = Maker::default();
    let plain = sections(&maker.make());
    maker.parts.insert(1, part(".bpf", 800));
    let foreign = maker.make();
    let replacing = AttachOptions {
        replace: true,
        ..PLAIN
    };
    let output = attach(&foreign, &carrier(), replacing).unwrap();
    let names: Vec<_> = sections(&output)
        .into_iter()
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(names, [".text", ".data", ".linux", ".bpf"]);
    let bare = detach(&foreign, DetachOptions::default()).unwrap();
    let contents = |all: Vec<(String, u64, Vec<u8>)>| -> Vec<_> {
        all.into_iter()
            .map(|(name, _, data)| (name, data))
            .collect()
    };
    assert!(contents(sections(&bare)) == contents(plain));
    check_coverage(&Pe::parse(&bare).unwrap()).unwrap();
}

#[test]
fn a_forged_undo_record_gives_no_other_bytes() {
    let image = Maker::default().make();
    let output = attached(&image);
    let record = output
        .windows(8)
        .position(|window| window == b"kpeelund")
        .unwrap();
    // Every byte of the record, wrong: the section is taken out, or the bytes of before come back.
    for at in record..output.len() {
        let mut forged = output.clone();
        forged[at] ^= 0xff;
        let bare = detach(&forged, DetachOptions::default()).unwrap();
        assert!(
            !Pe::parse(&bare)
                .unwrap()
                .sections()
                .any(|section| section.is_named(".bpf"))
        );
        assert!(bare != forged);
    }
}

#[test]
fn refuses_to_detach_nothing_or_from_a_signed_image() {
    let image = Maker::default().make();
    assert_eq!(
        detach(&image, DetachOptions::default()).unwrap_err().class,
        Class::Misuse
    );
    let maker = Maker {
        certificate: vec![1; 8],
        ..Maker::default()
    };
    let mut parts = maker.parts.clone();
    parts.push(part(".bpf", 100));
    let signed = Maker { parts, ..maker }.make();
    let refused = detach(&signed, DetachOptions::default()).unwrap_err();
    assert_eq!(refused.class, Class::Refused(Refusal::Signature));
    assert!(
        detach(
            &signed,
            DetachOptions {
                drop_signature: true
            }
        )
        .is_ok()
    );
}

#[test]
fn refuses_a_carrier_that_is_none() {
    let image = Maker::default().make();
    let error = attach(&image, b"not an ELF object", PLAIN).unwrap_err();
    assert_eq!(error.class, Class::Malformed);
}

#[test]
fn no_corrupt_header_byte_makes_it_panic() {
    let base = Maker {
        symbols: true,
        debug: Some((0x1000, 0x400)),
        ..Maker::default()
    };
    let image = base.make();
    let with = attached(&image);
    for at in 0..0x400 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = image.clone();
            bad[at] = value;
            let _ = attach(
                &bad,
                &carrier(),
                AttachOptions {
                    drop_signature: true,
                    replace: true,
                },
            );
            let mut bad = with.clone();
            bad[at] = value;
            let _ = detach(
                &bad,
                DetachOptions {
                    drop_signature: true,
                },
            );
        }
    }
}
