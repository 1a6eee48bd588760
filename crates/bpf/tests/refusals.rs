//! What is no program: each refusal beside a program that is accepted.

mod common;

use common::*;
use kpeel_bpf::{DecodeError, MAX_INSTRUCTIONS};
use std::collections::BTreeSet;

/// A program of one instruction, with the fields it needs, and what it needs behind it.
fn around(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Code {
    Code::new().op(opcode, dst, src, offset, imm).exit().exit()
}

fn field(code: &Code) -> (usize, &'static str, i64) {
    match code.decode() {
        Err(DecodeError::Field {
            at, field, found, ..
        }) => (at, field, found),
        other => panic!("needs a refused field, found {other:?}"),
    }
}

/// All opcodes of RFC 9669 except packet access.
fn defined() -> BTreeSet<u8> {
    let mut set = BTreeSet::from([LD | DW, JMP | JA, JMP32 | JA, JMP | CALL, JMP | EXIT]);
    for size in [B, H, W, DW] {
        set.extend([LDX | MEM | size, ST | MEM | size, STX | MEM | size]);
    }
    set.extend([LDX | MEMSX | B, LDX | MEMSX | H, LDX | MEMSX | W]);
    set.extend([STX | ATOMIC | W, STX | ATOMIC | DW]);
    for source in [K, X] {
        for class in [ALU, ALU64] {
            for op in [ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, MOD, XOR, MOV, ARSH] {
                set.insert(class | op | source);
            }
        }
        for class in [JMP, JMP32] {
            for op in [JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, JLT, JLE, JSLT, JSLE] {
                set.insert(class | op | source);
            }
        }
    }
    set.extend([
        ALU | NEG,
        ALU64 | NEG,
        ALU | END | K,
        ALU | END | X,
        ALU64 | END | K,
    ]);
    set
}

#[test]
fn exactly_the_opcodes_of_the_standard_are_accepted() {
    for opcode in 0..=u8::MAX {
        // 16 is a width of byte swaps; no other instruction is tried with an immediate.
        let swap = matches!(opcode & 7, ALU | ALU64) && opcode & 0xf0 == END;
        let imm = if swap { 16 } else { 0 };
        let code = match opcode {
            0x18 => Code::new().load(0, 0).exit(),
            _ => around(opcode, 0, 0, 0, imm),
        };
        match code.decode() {
            Ok(_) => assert!(defined().contains(&opcode), "{opcode:#x} is accepted"),
            Err(
                DecodeError::Opcode { at: 0, found } | DecodeError::Refused { at: 0, found, .. },
            ) => {
                assert_eq!(found, opcode);
                assert!(!defined().contains(&opcode), "{opcode:#x} is refused");
            }
            Err(error) => panic!("{opcode:#x}: {error}"),
        }
    }
}

#[test]
fn refuses_call_by_register_and_packet_access_by_name() {
    for (opcode, name) in [
        (0x8d, "call by register"),
        (0x20, "packet access"),
        (0x50, "packet access"),
    ] {
        let error = around(opcode, 0, 0, 0, 0).decode().unwrap_err();
        assert_eq!(
            error,
            DecodeError::Refused {
                at: 0,
                found: opcode,
                what: name
            }
        );
        assert!(error.to_string().contains(name));
    }
}

#[test]
fn refuses_values_in_fields_that_an_instruction_does_not_use() {
    // Opcode, then which of dst, src, offset and imm are free.
    for (opcode, uses) in [
        (ALU64 | ADD | K, [true, false, false, true]),
        (ALU64 | ADD | X, [true, true, false, false]),
        (ALU | ADD | K, [true, false, false, true]),
        (ALU | ADD | X, [true, true, false, false]),
        (ALU64 | MOV | K, [true, false, false, true]),
        (ALU64 | NEG, [true, false, false, false]),
        (ALU | NEG, [true, false, false, false]),
        (JMP | JA, [false, false, true, false]),
        (JMP32 | JA, [false, false, false, true]),
        (JMP | JEQ | K, [true, false, true, true]),
        (JMP | JEQ | X, [true, true, true, false]),
        (JMP32 | JEQ | K, [true, false, true, true]),
        (JMP32 | JEQ | X, [true, true, true, false]),
        (JMP | EXIT, [false, false, false, false]),
        (LDX | MEM | W, [true, true, true, false]),
        (LDX | MEMSX | W, [true, true, true, false]),
        (ST | MEM | W, [true, false, true, true]),
        (STX | MEM | W, [true, true, true, false]),
        (STX | ATOMIC | W, [true, true, true, false]),
    ] {
        for (at, name) in ["dst", "src", "offset", "imm"].into_iter().enumerate() {
            let value = |index| i32::from(index == at);
            let imm = if at == 3 && opcode & 7 == STX {
                2
            } else {
                value(3)
            };
            let code = around(opcode, value(0) as u8, value(1) as u8, value(2) as i16, imm);
            if uses[at] {
                assert!(code.decode().is_ok(), "{opcode:#x} {name}");
            } else {
                assert_eq!(
                    field(&code),
                    (0, name, i64::from(if at == 3 { imm } else { 1 }))
                );
            }
        }
    }
}

#[test]
fn refuses_values_in_unused_fields_of_calls() {
    for (source, accepted) in [(0, [0, 0]), (1, [0, 0]), (2, [0, 1])] {
        let code = |dst, offset| around(JMP | CALL, dst, source, offset, 1);
        assert!(code(0, accepted[1]).decode().is_ok());
        assert_eq!(field(&code(1, 0)), (0, "dst", 1));
        if accepted[1] == 0 {
            assert_eq!(field(&code(0, 1)), (0, "offset", 1));
        }
    }
    assert_eq!(field(&around(JMP | CALL, 0, 3, 0, 0)), (0, "src", 3));
}

#[test]
fn refuses_values_that_an_instruction_does_not_define() {
    for (opcode, offset, accepted) in [
        (ALU64 | DIV | K, 2, 1),
        (ALU | MOD | X, -1, 1),
        (ALU64 | MOV | X, 1, 32),
        (ALU64 | MOV | X, 64, 8),
        (ALU | MOV | X, 32, 16),
        (ALU | MOV | K, 8, 0),
    ] {
        assert!(
            around(opcode, 0, 0, accepted, 0).decode().is_ok(),
            "{opcode:#x}"
        );
        assert_eq!(
            field(&around(opcode, 0, 0, offset, 0)),
            (0, "offset", i64::from(offset))
        );
    }
    for (opcode, imm, accepted) in [
        (ALU | END | K, 0, 16),
        (ALU | END | X, 48, 32),
        (ALU64 | END | K, 8, 64),
        (STX | ATOMIC | W, 0x10, 0x00),
        (STX | ATOMIC | DW, 0xe0, 0xe1),
        (STX | ATOMIC | DW, 0xf0, 0xf1),
        (STX | ATOMIC | DW, 0x100, 0x41),
        (STX | ATOMIC | DW, -1, 0xa1),
    ] {
        assert!(
            around(opcode, 0, 0, 0, accepted).decode().is_ok(),
            "{opcode:#x} {accepted:#x}"
        );
        assert_eq!(
            field(&around(opcode, 0, 0, 0, imm)),
            (0, "imm", i64::from(imm))
        );
    }
}

#[test]
fn refuses_registers_that_do_not_exist() {
    for opcode in [ALU64 | MOV | X, STX | MEM | W, JMP | JEQ | X] {
        assert!(around(opcode, 9, 9, 0, 0).decode().is_ok());
        assert_eq!(field(&around(opcode, 11, 0, 0, 0)), (0, "dst", 11));
        assert_eq!(field(&around(opcode, 0, 15, 0, 0)), (0, "src", 15));
    }
}

#[test]
fn refuses_writing_to_the_frame_pointer() {
    for (opcode, imm) in [
        (ALU64 | ADD | K, 1),
        (ALU | NEG, 0),
        (ALU64 | END, 16),
        (LDX | MEM | B, 0),
    ] {
        assert!(around(opcode, 9, 0, 0, imm).decode().is_ok());
        assert_eq!(field(&around(opcode, 10, 0, 0, imm)), (0, "dst", 10));
    }
    assert_eq!(field(&Code::new().load(10, 0).exit()), (0, "dst", 10));
    // Fetching writes to the source; stores and plain atomic operations only read both.
    for (operation, accepted) in [(0x00, true), (0x01, false), (0xe1, false), (0xf1, true)] {
        let code = around(STX | ATOMIC | DW, 1, 10, 0, operation);
        assert_eq!(code.decode().is_ok(), accepted, "{operation:#x}");
    }
    assert!(around(STX | MEM | DW, 10, 10, -8, 0).decode().is_ok());
}

#[test]
fn refuses_wide_immediates_that_are_not_whole() {
    assert!(Code::new().wide(0, 0, 1, 2).exit().decode().is_ok());
    let alone = Code::new().op(LD | DW, 0, 0, 0, 1);
    assert_eq!(field(&alone).1, "slots left");
    for (slot, name) in [
        ((1, 0, 0, 0), "opcode of the second slot"),
        ((0, 1, 0, 0), "dst of the second slot"),
        ((0, 0, 1, 0), "src of the second slot"),
        ((0, 0, 0, 1), "offset of the second slot"),
    ] {
        let (opcode, dst, src, offset) = slot;
        let code = Code::new()
            .op(LD | DW, 0, 0, 0, 1)
            .op(opcode, dst, src, offset, 2)
            .exit();
        assert_eq!(field(&code).1, name);
    }
    assert_eq!(field(&Code::new().wide(0, 7, 0, 0).exit()), (0, "src", 7));
    assert_eq!(
        field(&Code::new().op(LD | DW, 0, 0, 1, 1).op(0, 0, 0, 0, 0).exit()),
        (0, "offset", 1)
    );
}

#[test]
fn refuses_jumps_and_calls_to_no_instruction() {
    let target = |code: Code| match code.decode() {
        Err(DecodeError::Target { at, found, problem }) => (at, found, problem),
        other => panic!("needs a refused target, found {other:?}"),
    };
    let inside = "is the second slot of a 64-bit immediate";
    for (opcode, src) in [
        (JMP | JA, 0),
        (JMP32 | JA, 0),
        (JMP | JEQ | X, 0),
        (JMP | CALL, 1),
    ] {
        let to = |distance: i32| match opcode {
            0x06 | 0x85 => Code::new()
                .op(opcode, 0, src, 0, distance)
                .load(0, 1)
                .exit(),
            _ => Code::new()
                .op(opcode, 0, src, distance as i16, 0)
                .load(0, 1)
                .exit(),
        };
        assert!(to(2).decode().is_ok() || opcode == 0x85, "{opcode:#x}");
        assert_eq!(target(to(3)), (0, 4, "is past the program"));
        assert_eq!(target(to(-2)), (0, -1, "is before the program"));
        assert_eq!(target(to(1)), (0, 2, inside));
    }
    assert_eq!(
        target(Code::new().op(JMP32 | JA, 0, 0, 0, i32::MAX).exit()).1,
        0x8000_0000
    );
    assert_eq!(
        target(Code::new().op(JMP32 | JA, 0, 0, 0, i32::MIN).exit()).1,
        -0x7fff_ffff
    );
    assert_eq!(target(Code::new().wide(0, 4, 9, 0).exit()).1, 10);
}

#[test]
fn refuses_jumps_into_another_function() {
    let code = |distance| {
        let code = Code::new().call(2).mov(0, 0).exit();
        code.op(JMP | JEQ | K, 1, 0, distance, 0).mov(0, 1).exit()
    };
    assert!(code(1).decode().is_ok());
    let error = code(-2).decode().unwrap_err();
    assert_eq!(
        error,
        DecodeError::Target {
            at: 3,
            found: 2,
            problem: "is in another function"
        }
    );
}

#[test]
fn refuses_functions_without_an_end() {
    assert!(Code::new().mov(0, 0).exit().decode().is_ok());
    assert!(
        Code::new()
            .exit()
            .op(JMP | JA, 0, 0, -2, 0)
            .decode()
            .is_ok()
    );
    for code in [
        Code::new().mov(0, 0),
        Code::new().exit().load(0, 0),
        Code::new().exit().op(JMP | JEQ | X, 0, 0, -2, 0),
        Code::new().exit().call(-2),
    ] {
        let at = code.0.len() / 8 - 1;
        assert_eq!(code.decode().unwrap_err(), DecodeError::Open { at });
    }
    // The entry function has to end before the called one starts.
    assert_eq!(
        Code::new().call(0).exit().decode().unwrap_err(),
        DecodeError::Open { at: 0 }
    );
}

#[test]
fn refuses_bytes_that_are_no_whole_slots() {
    let whole = Code::new().mov(0, 0).exit();
    assert!(whole.decode().is_ok());
    for len in [0, 1, 7, 9, 15] {
        let code = Code(whole.0[..len].to_vec());
        assert_eq!(code.decode().unwrap_err(), DecodeError::Size { found: len });
    }
}

#[test]
fn refuses_more_slots_than_the_limit() {
    let longest = Code(Code::new().exit().0.repeat(MAX_INSTRUCTIONS));
    assert!(longest.decode().is_ok());
    let (found, allowed) = (MAX_INSTRUCTIONS + 1, MAX_INSTRUCTIONS);
    let error = longest.exit().decode().unwrap_err();
    assert_eq!(error, DecodeError::TooLong { found, allowed });
}
