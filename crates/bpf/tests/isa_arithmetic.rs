//! Arithmetic, moves and byte swaps: RFC 9669 sections 4.1 and 4.2.

mod common;

use common::*;

const MIN64: u64 = 1 << 63;
const MIN32: u64 = 1 << 31;

/// `a op b` with both in registers.
#[track_caller]
fn register(class: u8, op: u8, offset: i16, a: u64, b: u64) -> u64 {
    Code::new()
        .load(0, a)
        .load(3, b)
        .op(class | op | X, 0, 3, offset, 0)
        .exit()
        .result()
}

/// `a op b` with `b` in the immediate.
#[track_caller]
fn immediate(class: u8, op: u8, offset: i16, a: u64, b: i32) -> u64 {
    Code::new()
        .load(0, a)
        .op(class | op | K, 0, 0, offset, b)
        .exit()
        .result()
}

#[test]
fn arithmetic_of_64_bits_wraps_and_takes_register_operands() {
    for (op, a, b, needed) in [
        (ADD, u64::MAX, 2, 1),
        (SUB, 1, 2, u64::MAX),
        (MUL, 1 << 63, 3, 1 << 63),
        (MUL, 0x1_0000_0001, 0x1_0000_0001, 0x2_0000_0001),
        (DIV, 7, 2, 3),
        (DIV, u64::MAX, 2, MIN64 - 1),
        (OR, 0xf0f0 << 40, 0x0f0f, (0xf0f0 << 40) | 0x0f0f),
        (AND, u64::MAX, 1 << 50, 1 << 50),
        (XOR, u64::MAX, 1, u64::MAX - 1),
        (MOD, 7, 4, 3),
        (MOD, u64::MAX, 10, 5),
        (MOV, 1, u64::MAX, u64::MAX),
        (LSH, 1, 63, MIN64),
        (RSH, MIN64, 63, 1),
        (ARSH, MIN64, 63, u64::MAX),
        (ARSH, MIN64 - 1, 62, 1),
    ] {
        assert_eq!(
            register(ALU64, op, 0, a, b),
            needed,
            "{op:#x} {a:#x} {b:#x}"
        );
    }
}

#[test]
fn arithmetic_of_32_bits_ignores_and_zeroes_the_upper_half() {
    const JUNK: u64 = 0xdead_beef << 32;
    for (op, a, b, needed) in [
        (ADD, 0xffff_ffff, 2, 1),
        (SUB, 1, 2, 0xffff_ffff),
        (MUL, 0x8000_0001, 3, 0x8000_0003),
        (DIV, 7, 2, 3),
        (OR, 0xf0, 0x0f, 0xff),
        (AND, 0xff, 0x0f, 0x0f),
        (XOR, 0xff, 0x0f, 0xf0),
        (MOD, 7, 4, 3),
        (MOV, 1, 0xffff_ffff, 0xffff_ffff),
        (LSH, 1, 31, MIN32),
        (RSH, MIN32, 31, 1),
        (ARSH, MIN32, 31, 0xffff_ffff),
    ] {
        assert_eq!(
            register(ALU, op, 0, JUNK | a, JUNK | b),
            needed,
            "{op:#x} {a:#x} {b:#x}"
        );
        assert_eq!(
            immediate(ALU, op, 0, JUNK | a, b as i32),
            needed,
            "{op:#x} {a:#x} {b:#x}"
        );
    }
}

#[test]
fn immediates_of_64_bit_arithmetic_are_sign_extended() {
    for (op, a, b, needed) in [
        (ADD, 1, -1, 0),
        (SUB, 0, -1, 1),
        (MUL, 3, -1, 3_u64.wrapping_neg()),
        (DIV, u64::MAX, -1, 1),
        (DIV, 5, -1, 0),
        (OR, 0, -2, u64::MAX - 1),
        (AND, u64::MAX, -2, u64::MAX - 1),
        (XOR, u64::MAX, -2, 1),
        (MOD, 5, -1, 5),
        (MOV, 0, -2, u64::MAX - 1),
        (MOV, 0, i32::MAX, 0x7fff_ffff),
    ] {
        assert_eq!(immediate(ALU64, op, 0, a, b), needed, "{op:#x} {a:#x} {b}");
    }
}

#[test]
fn shifts_take_the_low_bits_of_their_count() {
    for (op, a, needed) in [
        (LSH, 3, 6),
        (RSH, 3, 1),
        (ARSH, MIN64, MIN64 | (MIN64 >> 1)),
    ] {
        assert_eq!(register(ALU64, op, 0, a, 65), needed, "{op:#x}");
        assert_eq!(register(ALU64, op, 0, a, (1 << 32) | 1), needed, "{op:#x}");
        assert_eq!(immediate(ALU64, op, 0, a, 65), needed, "{op:#x}");
        assert_eq!(immediate(ALU64, op, 0, a, -63), needed, "{op:#x}");
    }
    for (op, a, needed) in [
        (LSH, 3, 6),
        (RSH, 3, 1),
        (ARSH, MIN32, MIN32 | (MIN32 >> 1)),
    ] {
        assert_eq!(register(ALU, op, 0, a, 33), needed, "{op:#x}");
        assert_eq!(immediate(ALU, op, 0, a, 33), needed, "{op:#x}");
        assert_eq!(immediate(ALU, op, 0, a, -31), needed, "{op:#x}");
    }
}

#[test]
fn division_by_zero_gives_zero() {
    for (class, signed) in [(ALU64, 0), (ALU64, 1), (ALU, 0), (ALU, 1)] {
        assert_eq!(register(class, DIV, signed, u64::MAX, 0), 0);
        assert_eq!(immediate(class, DIV, signed, u64::MAX, 0), 0);
    }
    // 32-bit division looks at the low half of the divisor only.
    assert_eq!(register(ALU, DIV, 0, 5, 1 << 32), 0);
    assert_eq!(register(ALU64, DIV, 0, 1 << 33, 1 << 32), 2);
}

#[test]
fn the_remainder_by_zero_is_the_dividend() {
    let a = 0xdead_beef_8000_0007;
    for signed in [0, 1] {
        assert_eq!(register(ALU64, MOD, signed, a, 0), a);
        assert_eq!(immediate(ALU64, MOD, signed, a, 0), a);
        assert_eq!(register(ALU, MOD, signed, a, 0), 0x8000_0007);
        assert_eq!(immediate(ALU, MOD, signed, a, 0), 0x8000_0007);
    }
}

#[test]
fn signed_division_truncates_towards_zero() {
    for (a, b, quotient, rest) in [
        (7, 2, 3, 1),
        (-7, 2, -3, -1),
        (7, -2, -3, 1),
        (-7, -2, 3, -1),
        (-13, 3, -4, -1),
    ] {
        let (wide, b64) = (i64::from(a) as u64, i64::from(b) as u64);
        assert_eq!(
            register(ALU64, DIV, 1, wide, b64),
            i64::from(quotient) as u64,
            "{a} {b}"
        );
        assert_eq!(
            register(ALU64, MOD, 1, wide, b64),
            i64::from(rest) as u64,
            "{a} {b}"
        );
        assert_eq!(
            immediate(ALU64, DIV, 1, wide, b),
            i64::from(quotient) as u64,
            "{a} {b}"
        );
        assert_eq!(
            immediate(ALU64, MOD, 1, wide, b),
            i64::from(rest) as u64,
            "{a} {b}"
        );
        let (low_quotient, low_rest) = (u64::from(quotient as u32), u64::from(rest as u32));
        assert_eq!(register(ALU, DIV, 1, wide, b64), low_quotient, "{a} {b}");
        assert_eq!(register(ALU, MOD, 1, wide, b64), low_rest, "{a} {b}");
        assert_eq!(immediate(ALU, DIV, 1, wide, b), low_quotient, "{a} {b}");
        assert_eq!(immediate(ALU, MOD, 1, wide, b), low_rest, "{a} {b}");
    }
}

#[test]
fn unsigned_division_takes_the_same_bits_as_large_numbers() {
    let minus_seven = (-7_i64) as u64;
    assert_eq!(
        register(ALU64, DIV, 0, minus_seven, 2),
        0x7fff_ffff_ffff_fffc
    );
    assert_eq!(register(ALU, DIV, 0, minus_seven, 2), 0x7fff_fffc);
}

#[test]
fn the_least_number_by_minus_one_does_not_overflow() {
    assert_eq!(register(ALU64, DIV, 1, MIN64, u64::MAX), MIN64);
    assert_eq!(immediate(ALU64, DIV, 1, MIN64, -1), MIN64);
    assert_eq!(register(ALU64, MOD, 1, MIN64, u64::MAX), 0);
    assert_eq!(immediate(ALU64, MOD, 1, MIN64, -1), 0);
    assert_eq!(register(ALU, DIV, 1, MIN32, u64::MAX), MIN32);
    assert_eq!(immediate(ALU, DIV, 1, MIN32, -1), MIN32);
    assert_eq!(register(ALU, MOD, 1, MIN32, u64::MAX), 0);
    assert_eq!(immediate(ALU, MOD, 1, MIN32, -1), 0);
}

#[test]
fn negation_wraps() {
    for (class, a, needed) in [
        (ALU64, 1, u64::MAX),
        (ALU64, MIN64, MIN64),
        (ALU64, 0, 0),
        (ALU, 1, 0xffff_ffff),
        (ALU, MIN32, MIN32),
        (ALU, u64::MAX, 1),
    ] {
        let code = Code::new().load(0, a).op(class | NEG, 0, 0, 0, 0).exit();
        assert_eq!(code.result(), needed, "{class} {a:#x}");
    }
}

#[test]
fn moves_extend_the_sign_of_their_width() {
    let source = 0x8888_8888_8000_8080;
    for (class, width, needed) in [
        (ALU64, 8, 0xffff_ffff_ffff_ff80),
        (ALU64, 16, 0xffff_ffff_ffff_8080),
        (ALU64, 32, 0xffff_ffff_8000_8080),
        (ALU, 8, 0xffff_ff80),
        (ALU, 16, 0xffff_8080),
    ] {
        assert_eq!(
            register(class, MOV, width, 1, source),
            needed,
            "{class} {width}"
        );
        assert_eq!(
            register(class, MOV, width, u64::MAX, 0x7f),
            0x7f,
            "{class} {width}"
        );
    }
}

#[test]
fn byte_swaps_truncate_to_their_width() {
    let value = 0x0123_4567_89ab_cdef;
    for (opcode, width, needed) in [
        (ALU | END | K, 16, 0xcdef),
        (ALU | END | K, 32, 0x89ab_cdef),
        (ALU | END | K, 64, value),
        (ALU | END | X, 16, 0xefcd),
        (ALU | END | X, 32, 0xefcd_ab89),
        (ALU | END | X, 64, 0xefcd_ab89_6745_2301),
        (ALU64 | END | K, 16, 0xefcd),
        (ALU64 | END | K, 32, 0xefcd_ab89),
        (ALU64 | END | K, 64, 0xefcd_ab89_6745_2301),
    ] {
        let code = Code::new().load(0, value).op(opcode, 0, 0, 0, width).exit();
        assert_eq!(code.result(), needed, "{opcode:#x} {width}");
    }
}

#[test]
fn an_instruction_may_read_the_register_it_writes() {
    assert_eq!(
        Code::new()
            .mov(0, 6)
            .op(ALU64 | MUL | X, 0, 0, 0, 0)
            .exit()
            .result(),
        36
    );
    assert_eq!(
        Code::new()
            .mov(0, 6)
            .op(ALU64 | SUB | X, 0, 0, 0, 0)
            .exit()
            .result(),
        0
    );
}
