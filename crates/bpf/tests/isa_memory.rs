//! Loads, stores and 64-bit immediates: RFC 9669 sections 5.1, 5.2 and 5.4.

mod common;

use common::*;
use kpeel_bpf::{Access, Direction, FRAME_SIZE, Fault, FaultKind, Memory, Trap};

const BYTES: [u8; 16] = [
    0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 8, 9, 10, 11, 12, 13, 14, 15,
];

#[test]
fn loads_are_little_endian_and_zero_extended() {
    for (size, offset, needed) in [
        (B, 0, 0xf0),
        (H, 0, 0xf1f0),
        (W, 0, 0xf3f2_f1f0),
        (DW, 0, 0xf7f6_f5f4_f3f2_f1f0),
        (B, 15, 15),
        (H, 7, 0x08f7),
        (W, 5, 0x08f7_f6f5),
        (DW, 8, 0x0f0e_0d0c_0b0a_0908),
    ] {
        let code = Code::new()
            .mov(0, -1)
            .op(LDX | MEM | size, 0, 1, offset, 0)
            .exit();
        assert_eq!(code.result_over(&BYTES).0, needed, "{size:#x} {offset}");
    }
}

#[test]
fn sign_extending_loads_extend_to_64_bits() {
    for (size, offset, needed) in [
        (B, 0, 0xffff_ffff_ffff_fff0),
        (H, 0, 0xffff_ffff_ffff_f1f0),
        (W, 0, 0xffff_ffff_f3f2_f1f0),
        (B, 8, 8),
        (H, 8, 0x0908),
        (W, 8, 0x0b0a_0908),
    ] {
        let code = Code::new().op(LDX | MEMSX | size, 0, 1, offset, 0).exit();
        assert_eq!(code.result_over(&BYTES).0, needed, "{size:#x} {offset}");
    }
}

#[test]
fn stores_write_their_size_and_no_more() {
    let value = 0x1122_3344_5566_7788;
    for (size, len) in [(B, 1), (H, 2), (W, 4), (DW, 8)] {
        let mut needed = [0xee; 16];
        needed[3..3 + len].copy_from_slice(&u64::to_le_bytes(value)[..len]);
        let code = Code::new()
            .load(2, value)
            .op(STX | MEM | size, 1, 2, 3, 0)
            .exit();
        assert_eq!(code.result_over(&[0xee; 16]).1, needed, "{size:#x}");

        needed[3..3 + len].copy_from_slice(&i64::to_le_bytes(-2)[..len]);
        let code = Code::new().op(ST | MEM | size, 1, 0, 3, -2).exit();
        assert_eq!(code.result_over(&[0xee; 16]).1, needed, "{size:#x}");
    }
}

#[test]
fn displacements_may_be_negative() {
    let code = Code::new().copy(2, 1).op(ALU64 | ADD | K, 2, 0, 0, 16);
    assert_eq!(
        code.op(LDX | MEM | B, 0, 2, -1, 0)
            .exit()
            .result_over(&BYTES)
            .0,
        15
    );
}

#[test]
fn wide_immediates_take_two_slots() {
    let value = 0x8765_4321_9abc_def0;
    assert_eq!(Code::new().load(0, value).exit().result(), value);
    assert_eq!(Code::new().load(3, value).load(0, 1).exit().result(), 1);
}

#[test]
fn a_frame_is_zeroed_and_has_512_bytes_below_register_10() {
    let first = -(FRAME_SIZE as i16);
    for offset in [first, -8] {
        let code = Code::new()
            .mov(0, 1)
            .op(LDX | MEM | DW, 0, 10, offset, 0)
            .exit();
        assert_eq!(code.result(), 0, "{offset}");
        let code = Code::new().op(ST | MEM | DW, 10, 0, offset, 77);
        assert_eq!(
            code.op(LDX | MEM | DW, 0, 10, offset, 0).exit().result(),
            77,
            "{offset}"
        );
    }
}

#[test]
fn accesses_outside_of_the_frame_fault() {
    let first = -(FRAME_SIZE as i16);
    for offset in [first - 1, first - 8, -7, 0, 1, i16::MIN, i16::MAX] {
        let code = Code::new().op(LDX | MEM | DW, 0, 10, offset, 0).exit();
        assert!(
            matches!(code.run(), Err(Trap::Fault { at: 0, .. })),
            "{offset}"
        );
        let code = Code::new()
            .mov(0, 0)
            .op(STX | MEM | DW, 10, 0, offset, 0)
            .exit();
        assert!(
            matches!(code.run(), Err(Trap::Fault { at: 1, .. })),
            "{offset}"
        );
    }
}

#[test]
fn a_fault_says_what_was_asked_and_what_there_is() {
    let mut memory = Memory::new();
    let base = memory.map_owned(vec![0; 10], Access::ReadWrite).unwrap();
    let code = Code::new().op(LDX | MEM | W, 0, 1, 7, 0).exit();
    let fault = Fault {
        address: base + 7,
        len: 4,
        direction: Direction::Read,
        kind: FaultKind::Bounds { region: 10 },
    };
    assert_eq!(
        code.run_over(&mut memory, &[base]),
        Err(Trap::Fault { at: 0, fault })
    );
    assert_eq!(
        fault.to_string(),
        format!(
            "read of 4 bytes at {:#x} (offset 0x7 in region 9, which has 0xa bytes)",
            base + 7
        )
    );
    let code = Code::new().op(LDX | MEM | W, 0, 1, 6, 0).exit();
    assert_eq!(code.run_over(&mut memory, &[base]), Ok(0));
}

#[test]
fn read_only_memory_is_loaded_from_and_not_stored_to() {
    let mut memory = Memory::new();
    let base = memory.map_owned(BYTES.to_vec(), Access::ReadOnly).unwrap();
    let load = Code::new().op(LDX | MEM | B, 0, 1, 0, 0).exit();
    assert_eq!(load.run_over(&mut memory, &[base]), Ok(0xf0));
    let store = Code::new().op(ST | MEM | B, 1, 0, 0, 1).exit();
    let atomic = Code::new().op(STX | ATOMIC | DW, 1, 2, 0, 0).exit();
    for (code, len) in [(&store, 1), (&atomic, 8)] {
        let kind = FaultKind::ReadOnly;
        let fault = Fault {
            address: base,
            len,
            direction: Direction::Write,
            kind,
        };
        assert_eq!(
            code.run_over(&mut memory, &[base]),
            Err(Trap::Fault { at: 0, fault })
        );
    }
    memory.protect(base, Access::ReadWrite).unwrap();
    assert_eq!(store.run_over(&mut memory, &[base]), Ok(0));
    assert_eq!(atomic.run_over(&mut memory, &[base]), Ok(0));
}

#[test]
fn numbers_are_no_addresses() {
    for address in [
        0,
        1,
        4096,
        u64::from(u32::MAX),
        1 << 63,
        u64::MAX - 7,
        u64::MAX,
    ] {
        let code = Code::new()
            .load(1, address)
            .op(LDX | MEM | DW, 0, 1, 0, 0)
            .exit();
        let Err(Trap::Fault { at: 2, fault }) = code.run() else {
            panic!("{address:#x}")
        };
        assert_eq!(fault.kind, FaultKind::Unmapped, "{address:#x}");
    }
}

#[test]
fn pointers_may_be_stored_and_loaded_back() {
    let code = Code::new()
        .op(STX | MEM | DW, 10, 1, -8, 0)
        .op(LDX | MEM | DW, 2, 10, -8, 0);
    assert_eq!(
        code.op(LDX | MEM | B, 0, 2, 1, 0)
            .exit()
            .result_over(&BYTES)
            .0,
        0xf1
    );
}
