//! `attach` and `detach`, judged by the `object` crate's reader.

mod support;

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::{Class, Field, Refusal};
use kpeel_envelope::pe::Pe;
use kpeel_image::{AttachOptions, DetachOptions, attach, check_sum, detach};
use object::read::pe::PeFile64;
use object::{Object, ObjectSection};
use support::{
    DIRECTORIES, MACHINE_ARM64, Maker, OPTIONAL, assert_same, carrier, carrier_of, part, put,
};

const PLAIN: AttachOptions = AttachOptions {
    drop_signature: false,
    replace: false,
};

fn attached(image: &[u8]) -> Vec<u8> {
    attach(image, &carrier(), PLAIN).unwrap()
}

/// Names and contents as `object` reads them.
fn sections(image: &[u8]) -> Vec<(String, u64, Vec<u8>)> {
    let file = PeFile64::parse(image).unwrap();
    let read = |section: object::read::pe::PeSection64<'_, '_>| {
        (
            section.name().unwrap().to_owned(),
            section.address(),
            section.data().unwrap().to_vec(),
        )
    };
    file.sections().map(read).collect()
}

/// Attaches, and checks what holds of every result: old sections kept, the new one last, covered,
/// and detaching gives the bytes of before.
#[track_caller]
fn check(image: &[u8]) -> Vec<u8> {
    let output = attached(image);
    let mut now = sections(&output);
    let (name, address, data) = now.pop().unwrap();
    assert_eq!((name.as_str(), data), (".bpf", carrier()));
    assert!(now == sections(image), "sections differ");
    let pe = Pe::parse(&output).unwrap();
    check_coverage(&pe).unwrap();
    let headers = pe.headers();
    let base = headers.image_base;
    assert_eq!(address % u64::from(headers.section_alignment), 0);
    let last = pe.sections().last().unwrap();
    assert_eq!(u64::from(last.virtual_address) + base, address);
    assert!(u64::from(headers.size_of_image) >= last.virtual_end());
    assert_eq!(last.pointer_to_raw_data % headers.file_alignment, 0);
    assert_eq!(last.size_of_raw_data % headers.file_alignment, 0);
    assert_same(&detach(&output, DetachOptions::default()).unwrap(), image);
    output
}

/// `count` sections and headers as small as they can be.
fn full_headers(count: usize) -> Maker {
    let names = [".a", ".b", ".c", ".d", ".e", ".f", ".g", ".h"];
    let parts: Vec<_> = (0..count).map(|at| part(names[at % 8], 300 + at)).collect();
    let table_end: usize = 0x80 + 4 + DIRECTORIES + 16 * 8 + count * 40;
    let headers = table_end.next_multiple_of(512);
    Maker {
        parts,
        headers,
        first: headers,
        ..Maker::default()
    }
}

#[test]
fn adds_the_section_where_headers_have_room() {
    let image = Maker::default().make();
    let output = check(&image);
    assert_eq!(Pe::parse(&output).unwrap().headers().size_of_headers, 0x400);
    assert_same(&output[0x400..image.len()], &image[0x400..]);
}

#[test]
fn makes_header_room_where_it_lacks() {
    // Nine sections end at 0x2ec + 9 * 40 = 0x2ec.. below 0x400 or just at it: try all counts.
    let mut moved = 0;
    for count in 1..=60 {
        let image = full_headers(count).make();
        let output = check(&image);
        let (before, after) = (Pe::parse(&image).unwrap(), Pe::parse(&output).unwrap());
        let growth = after.headers().size_of_headers - before.headers().size_of_headers;
        assert!(growth == 0 || growth == 512, "{count} sections: {growth}");
        moved += u32::from(growth == 512);
    }
    assert!(moved >= 3, "{moved}");
}

#[test]
fn makes_room_for_96_sections_and_refuses_the_97th() {
    let maker = Maker {
        first_address: 0x2000,
        ..full_headers(95)
    };
    check(&maker.make());
    let maker = Maker {
        first_address: 0x2000,
        ..full_headers(96)
    };
    let error = attach(&maker.make(), &carrier(), PLAIN).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("NumberOfSections"))
    );
}

#[test]
fn refuses_headers_that_would_reach_the_first_section_in_memory() {
    let maker = Maker {
        first_address: 0x400,
        section_alignment: 512,
        ..full_headers(15)
    };
    let error = attach(&maker.make(), &carrier(), PLAIN).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("SizeOfHeaders"))
    );
    let maker = Maker {
        first_address: 0x600,
        ..maker
    };
    check(&maker.make());
}

#[test]
fn refuses_bytes_in_use_behind_the_section_table() {
    let mut image = Maker::default().make();
    let table_end = 0x80 + 4 + DIRECTORIES + 16 * 8 + 3 * 40;
    image[table_end + 40] = 1;
    check(&image);
    image[table_end + 39] = 1;
    let error = attach(&image, &carrier(), PLAIN).unwrap_err();
    let field = Field::Named("offset behind the section table");
    assert_eq!((error.class, error.field), (Class::Unsupported, field));
}

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
fn moves_nothing_of_a_bare_kernel() {
    for (at, magic) in [
        (0x38, b"ARM\x64".to_vec()),
        (0x38, b"RSC\x05".to_vec()),
        (0x38, vec![0xcd, 0x23, 0x82, 0x81]),
    ] {
        let roomy = Maker {
            dos: vec![(at, magic)],
            ..Maker::default()
        };
        check(&roomy.make());
        let full = Maker {
            dos: roomy.dos,
            ..full_headers(15)
        };
        let error = attach(&full.make(), &carrier(), PLAIN).unwrap_err();
        assert_eq!(
            (error.class, error.field),
            (Class::Unsupported, Field::Named("Image"))
        );
    }
}

#[test]
fn closes_gaps_that_a_signature_would_not_cover() {
    // Behind the headers, where the headers may be said to be longer; and where they may not.
    for (first_address, section_alignment) in [(0x1000, 4096), (0x400, 512)] {
        let base = Maker {
            first_address,
            section_alignment,
            ..Maker::default()
        };
        let image = Maker {
            first: 0x800,
            ..base
        }
        .make();
        assert!(check_coverage(&Pe::parse(&image).unwrap()).is_err());
        check(&image);
    }
    // Between sections: the second one's size is understated, the bytes behind it stay.
    let mut image = Maker::default().make();
    let field = 0x80 + 4 + DIRECTORIES + 16 * 8 + 40 + 16;
    put(&mut image, field, &(5120_u32 - 512).to_le_bytes());
    put(&mut image, field - 8, &4000_u32.to_le_bytes());
    assert!(check_coverage(&Pe::parse(&image).unwrap()).is_err());
    check(&image);
    // ... unless memory would show them.
    put(&mut image, field - 8, &5000_u32.to_le_bytes());
    let error = attach(&image, &carrier(), PLAIN).unwrap_err();
    assert_eq!((error.class, error.index), (Class::Unsupported, Some(1)));
}

#[test]
fn pads_a_last_section_that_ends_unaligned() {
    let mut maker = Maker::default();
    maker.parts[2].raw_size = 9000;
    check(&maker.make());
}

#[test]
fn accepts_sections_without_raw_data() {
    let mut maker = Maker::default();
    maker.parts.push(support::Part {
        name: ".bss",
        data: Vec::new(),
        virtual_size: 9999,
        raw_size: 0,
    });
    check(&maker.make());
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
