//! Jumps: RFC 9669 section 4.3.

mod common;

use common::*;

/// Whether `a condition b` jumps, with `b` in a register.
#[track_caller]
fn register(class: u8, condition: u8, a: u64, b: u64) -> bool {
    let code = Code::new()
        .load(1, a)
        .load(2, b)
        .mov(0, 1)
        .op(class | condition | X, 1, 2, 1, 0);
    code.mov(0, 0).exit().result() == 1
}

/// Whether `a condition b` jumps, with `b` in the immediate.
#[track_caller]
fn immediate(class: u8, condition: u8, a: u64, b: i32) -> bool {
    let code = Code::new()
        .load(1, a)
        .mov(0, 1)
        .op(class | condition | K, 1, 0, 1, b);
    code.mov(0, 0).exit().result() == 1
}

#[test]
fn conditions_hold_as_their_names_say() {
    let less = [(JEQ, 0), (JNE, 1), (JGT, 0), (JGE, 0), (JLT, 1), (JLE, 1)];
    let signed_less = [(JSGT, 0), (JSGE, 0), (JSLT, 1), (JSLE, 1)];
    let equal = [(JEQ, 1), (JNE, 0), (JGT, 0), (JGE, 1), (JLT, 0), (JLE, 1)];
    let signed_equal = [(JSGT, 0), (JSGE, 1), (JSLT, 0), (JSLE, 1)];
    let greater = [(JEQ, 0), (JNE, 1), (JGT, 1), (JGE, 1), (JLT, 0), (JLE, 0)];
    let signed_greater = [(JSGT, 1), (JSGE, 1), (JSLT, 0), (JSLE, 0)];
    let cases = [
        (2, 3, less, signed_less),
        (3, 3, equal, signed_equal),
        (4, 3, greater, signed_greater),
        // As unsigned numbers, negative ones are the largest.
        (-1, 3, greater, signed_less),
        (3, -1, less, signed_greater),
        (-1, -1, equal, signed_equal),
        (i32::MIN, i32::MAX, greater, signed_less),
    ];
    for (a, b, unsigned, signed) in cases {
        let (wide_a, wide_b) = (i64::from(a) as u64, i64::from(b) as u64);
        // 32-bit conditions do not see the upper half.
        let (low_a, low_b) = (u64::from(a as u32), u64::from(b as u32) | (1 << 40));
        for (condition, jumps) in unsigned.into_iter().chain(signed) {
            let jumps = jumps == 1;
            assert_eq!(
                register(JMP, condition, wide_a, wide_b),
                jumps,
                "{condition:#x} {a} {b}"
            );
            assert_eq!(
                immediate(JMP, condition, wide_a, b),
                jumps,
                "{condition:#x} {a} {b}"
            );
            assert_eq!(
                register(JMP32, condition, low_a, low_b),
                jumps,
                "{condition:#x} {a} {b}"
            );
            assert_eq!(
                immediate(JMP32, condition, low_a, b),
                jumps,
                "{condition:#x} {a} {b}"
            );
        }
    }
}

#[test]
fn set_tests_common_bits() {
    assert!(register(JMP, JSET, 0b110, 0b010));
    assert!(!register(JMP, JSET, 0b101, 0b010));
    assert!(register(JMP, JSET, 1 << 40, 3 << 40));
    assert!(!register(JMP32, JSET, 1 << 40, 3 << 40));
    assert!(register(JMP32, JSET, 1 << 31, 1 << 31));
}

#[test]
fn immediates_of_64_bit_conditions_are_sign_extended() {
    assert!(immediate(JMP, JEQ, u64::MAX, -1));
    assert!(!immediate(JMP, JEQ, 0xffff_ffff, -1));
    assert!(immediate(JMP, JSET, 1 << 63, i32::MIN));
    assert!(!immediate(JMP, JSET, 1 << 63, i32::MAX));
    assert!(immediate(JMP32, JEQ, 0xffff_ffff, -1));
}

#[test]
fn unconditional_jumps_take_their_distance_from_offset_or_immediate() {
    for jump in [(JMP | JA, 1, 0), (JMP32 | JA, 0, 1)] {
        let (opcode, offset, imm) = jump;
        let code = Code::new()
            .mov(0, 5)
            .op(opcode, 0, 0, offset, imm)
            .mov(0, 6)
            .exit();
        assert_eq!(code.result(), 5);
    }
    // To the exit in front, and over more than 16 bits of distance.
    let mut far = Code::new().mov(0, 7).op(JMP32 | JA, 0, 0, 0, 70_001).exit();
    for _ in 0..70_000 {
        far = far.mov(0, 8);
    }
    assert_eq!(far.op(JMP32 | JA, 0, 0, 0, -70_002).exit().result(), 7);
}

#[test]
fn backward_jumps_make_loops() {
    // 1 + 2 + ... + 100.
    let code = Code::new()
        .mov(0, 0)
        .mov(1, 100)
        .op(ALU64 | ADD | X, 0, 1, 0, 0);
    let code = code
        .op(ALU64 | SUB | K, 1, 0, 0, 1)
        .op(JMP | JNE | K, 1, 0, -3, 0)
        .exit();
    assert_eq!(code.result(), 5050);
}

#[test]
fn the_first_exit_ends_the_program() {
    assert_eq!(Code::new().mov(0, 1).exit().mov(0, 2).exit().result(), 1);
}

#[test]
fn registers_start_at_zero() {
    for register in 0..=9 {
        assert_eq!(
            Code::new().copy(0, register).exit().result(),
            0,
            "register {register}"
        );
    }
}
