//! The carrier's symbols are bounds-checked before their bytes are trusted.

mod support;

use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::{Class, Field};
use support::{carrier, put16, put32};

const INSNS: [u8; 16] = [7; 16];
const DATA: [u8; 5] = [9; 5];

fn rejected(elf: &[u8]) -> (Class, Field) {
    let error = Carrier::parse(elf).expect_err("a broken carrier was accepted");
    (error.class, error.field)
}

fn symbol(elf: &[u8], index: usize) -> usize {
    let table = u64::from_le_bytes(elf[40..48].try_into().unwrap()) as usize;
    let header = table + 3 * 64 + 24;
    u64::from_le_bytes(elf[header..header + 8].try_into().unwrap()) as usize + index * 24
}

#[test]
fn finds_both_symbols() {
    let elf = carrier(&INSNS, &DATA);
    let found = Carrier::parse(&elf).unwrap();
    assert_eq!((found.insns, found.data), (&INSNS[..], &DATA[..]));
}

#[test]
fn tolerates_the_c_toolchains_extra_nul() {
    let mut insns = INSNS.to_vec();
    insns.push(0);
    let elf = carrier(&insns, &DATA);
    assert_eq!(Carrier::parse(&elf).unwrap().insns, INSNS);
    insns[16] = 1;
    let needs_eight = (Class::Malformed, Field::Named("opts_insn"));
    assert_eq!(rejected(&carrier(&insns, &DATA)), needs_eight);
}

#[test]
fn rejects_missing_and_empty_symbols() {
    assert_eq!(
        rejected(&carrier(&[], &DATA)),
        (Class::Malformed, Field::Named("opts_insn"))
    );
    assert_eq!(
        rejected(&carrier(&[0], &DATA)),
        (Class::Malformed, Field::Named("opts_insn"))
    );
    assert_eq!(
        rejected(&carrier(&INSNS, &[])),
        (Class::Malformed, Field::Named("opts_data"))
    );
    let mut elf = carrier(&INSNS, &DATA);
    let first = symbol(&elf, 1);
    put32(&mut elf, first, 12);
    assert_eq!(
        rejected(&elf),
        (Class::Malformed, Field::Named("opts_insn"))
    );
}

#[test]
fn rejects_a_symbol_that_stands_twice() {
    let mut elf = carrier(&INSNS, &DATA);
    let second = symbol(&elf, 2);
    put32(&mut elf, second, 1);
    assert_eq!(
        rejected(&elf),
        (Class::Malformed, Field::Named("opts_insn"))
    );
}

#[test]
fn rejects_symbols_outside_their_section() {
    for (offset, value) in [(8, 6_u32), (16, 22), (8, u32::MAX), (16, u32::MAX)] {
        let mut elf = carrier(&INSNS, &DATA);
        let first = symbol(&elf, 1);
        put32(&mut elf, first + offset, value);
        let field = Field::Named("st_value + st_size");
        assert_eq!(
            rejected(&elf),
            (Class::Malformed, field),
            "{offset} {value}"
        );
    }
    for index in [0, 4, 0xfff1] {
        let mut elf = carrier(&INSNS, &DATA);
        let first = symbol(&elf, 1);
        put16(&mut elf, first + 6, index);
        assert_eq!(
            rejected(&elf),
            (Class::Malformed, Field::Named("st_shndx")),
            "{index}"
        );
    }
}

#[test]
fn rejects_other_kinds_of_elf_by_name() {
    for (offset, value, field) in [(4, 1, "EI_CLASS"), (5, 2, "EI_DATA"), (16, 2, "e_type")] {
        let mut elf = carrier(&INSNS, &DATA);
        elf[offset] = value;
        assert_eq!(rejected(&elf), (Class::Unsupported, Field::Named(field)));
    }
    assert_eq!(
        rejected(b"not an ELF"),
        (Class::Malformed, Field::Named("e_ident magic"))
    );
}

#[test]
fn rejects_a_section_table_out_of_bounds() {
    let field = (
        Class::Malformed,
        Field::Named("e_shoff + e_shnum * e_shentsize"),
    );
    let mut elf = carrier(&INSNS, &DATA);
    elf[40..48].fill(0xff);
    assert_eq!(rejected(&elf), field);
    let mut elf = carrier(&INSNS, &DATA);
    put16(&mut elf, 60, 5);
    assert_eq!(rejected(&elf), field);
}

#[test]
fn rejects_a_second_symbol_table() {
    let mut elf = carrier(&INSNS, &DATA);
    let table = u64::from_le_bytes(elf[40..48].try_into().unwrap()) as usize;
    // The string table's header becomes another one for the same symbols.
    elf.copy_within(table + 3 * 64..table + 4 * 64, table + 2 * 64);
    assert_eq!(rejected(&elf), (Class::Malformed, Field::Named("sh_type")));
    put32(&mut elf, table + 2 * 64 + 4, 0);
    put32(&mut elf, table + 3 * 64 + 4, 0);
    assert_eq!(
        rejected(&elf),
        (Class::Malformed, Field::Named("symbol table"))
    );
}

#[test]
fn every_truncation_and_every_byte_is_survived() {
    let elf = carrier(&INSNS, &DATA);
    for len in 0..elf.len() {
        let error = Carrier::parse(&elf[..len]).expect_err("the section table is last");
        assert_eq!(error.class, Class::Malformed);
    }
    for at in 0..elf.len() {
        for value in [0, 1, 3, 0x80, 0xff] {
            let mut changed = elf.clone();
            changed[at] = value;
            if let Ok(found) = Carrier::parse(&changed) {
                assert_eq!(found.insns.len() % 8, 0);
            }
        }
    }
}
