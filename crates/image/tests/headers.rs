//! Room for one more section header, and layouts without gaps.

mod support;

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::{Class, Field};
use kpeel_envelope::pe::Pe;
use kpeel_image::attach;
use support::judge::{PLAIN, check, full_headers};
use support::{DIRECTORIES, Maker, OPTIONAL, assert_same, carrier, put};

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
fn moves_the_headers_past_bytes_in_use_behind_the_section_table() {
    let table_end = 0x80 + 4 + DIRECTORIES + 16 * 8 + 3 * 40;
    let lfanew = |image: &[u8]| u32::from_le_bytes(image[0x3c..0x40].try_into().unwrap());
    let mut image = Maker::default().make();
    image[table_end + 40] = 1;
    assert_eq!(lfanew(&check(&image)), 0x80);
    // One byte, a run of bytes up to the end of the headers, and bytes a directory names.
    image[table_end + 39] = 1;
    let output = check(&image);
    assert_eq!(
        lfanew(&output) as usize,
        (table_end + 41).next_multiple_of(8)
    );
    assert_eq!(output[table_end + 39..table_end + 41], [1, 1]);
    image[table_end + 39..0x400].fill(9);
    let output = check(&image);
    assert_eq!(lfanew(&output), 0x400);
    assert_same(
        &output[table_end + 39..0x400],
        &image[table_end + 39..0x400],
    );
    let mut image = Maker::default().make();
    let exports = 0x80 + 4 + DIRECTORIES;
    put(&mut image, exports, &(table_end as u32).to_le_bytes());
    put(&mut image, exports + 4, &100_u32.to_le_bytes());
    let output = check(&image);
    assert_eq!(
        lfanew(&output) as usize,
        (table_end + 100).next_multiple_of(8)
    );
    assert!(
        output[table_end..table_end + 100]
            .iter()
            .all(|byte| *byte == 0)
    );
    // A wrong checksum comes back, and a right one is right.
    let checked = Maker {
        check_sum: true,
        ..Maker::default()
    };
    let mut image = checked.make();
    image[table_end] = 1;
    let output = check(&image);
    let field = lfanew(&output) as usize + 4 + OPTIONAL + 64;
    let sum = u32::from_le_bytes(output[field..field + 4].try_into().unwrap());
    assert_eq!(sum, support::slow_check_sum(&output, field));
}

#[test]
fn refuses_to_move_headers_into_the_first_section_in_memory() {
    let table_end = 0x80 + 4 + DIRECTORIES + 16 * 8 + 3 * 40;
    let near = Maker {
        first_address: 0x400,
        section_alignment: 512,
        ..Maker::default()
    };
    let mut image = near.make();
    check(&image);
    image[table_end] = 1;
    check(&image);
    image[0x3f0] = 1;
    let error = attach(&image, &carrier(), PLAIN).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("SizeOfHeaders"))
    );
    // Nor those of a bare kernel, whose first bytes a boot loader knows.
    let mut image = Maker {
        dos: vec![(0x38, b"ARM\x64".to_vec())],
        ..Maker::default()
    }
    .make();
    image[table_end] = 1;
    let error = attach(&image, &carrier(), PLAIN).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("Image"))
    );
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
