//! Atomic operations: RFC 9669 section 5.3.

mod common;

use common::*;

const FETCH: i32 = 1;
const XCHG: i32 = 0xe1;
const CMPXCHG: i32 = 0xf1;

/// Runs one operation on `memory` with `source`, register 0 being `expected`; returns memory, the source
/// register and register 0 after it.
#[track_caller]
fn atomic(size: u8, operation: i32, memory: u64, source: u64, expected: u64) -> [u64; 3] {
    let code = Code::new().load(0, expected).load(3, source);
    let code = code.op(STX | ATOMIC | size, 1, 3, 8, operation);
    let code = code
        .op(STX | MEM | DW, 1, 3, 16, 0)
        .op(STX | MEM | DW, 1, 0, 24, 0)
        .exit();
    let mut bytes = [0; 32];
    bytes[8..16].copy_from_slice(&memory.to_le_bytes());
    let (_, bytes) = code.result_over(&bytes);
    assert_eq!(bytes[..8], [0; 8]);
    [8, 16, 24].map(|at| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()))
}

#[test]
fn operations_combine_memory_with_the_source() {
    for (operation, memory, source, needed) in [
        (ADD, u64::MAX, 3, 2),
        (OR, 0xf0f0, 0x0f00, 0xfff0),
        (AND, 0xf0f0, 0xff00, 0xf000),
        (XOR, 0xf0f0, 0xff00, 0x0ff0),
    ] {
        let operation = i32::from(operation);
        assert_eq!(
            atomic(DW, operation, memory, source, 9),
            [needed, source, 9]
        );
        assert_eq!(
            atomic(DW, operation | FETCH, memory, source, 9),
            [needed, memory, 9]
        );
    }
}

#[test]
fn operations_on_32_bits_leave_the_rest_of_memory_and_zero_extend_what_they_fetch() {
    let high = 0x1111_1111_0000_0000;
    let junk = 0x2222_2222_0000_0000;
    for (operation, memory, source, needed) in [
        (ADD, 0xffff_ffff, 3, 2),
        (OR, 0xf0f0, 0x0f00, 0xfff0),
        (AND, 0xf0f0, 0xff00, 0xf000),
        (XOR, 0xf0f0, 0xff00, 0x0ff0),
    ] {
        let (operation, source) = (i32::from(operation), junk | source);
        assert_eq!(
            atomic(W, operation, high | memory, source, 9),
            [high | needed, source, 9]
        );
        let fetched = atomic(W, operation | FETCH, high | memory, source, 9);
        assert_eq!(fetched, [high | needed, memory, 9]);
    }
}

#[test]
fn exchange_swaps_memory_with_the_source() {
    assert_eq!(atomic(DW, XCHG, 5 << 40, 6 << 40, 9), [6 << 40, 5 << 40, 9]);
    let (memory, source) = (0x1111_1111_2222_2222, 0x3333_3333_4444_4444);
    assert_eq!(
        atomic(W, XCHG, memory, source, 9),
        [0x1111_1111_4444_4444, 0x2222_2222, 9]
    );
}

#[test]
fn compare_and_exchange_stores_only_when_register_0_matches() {
    assert_eq!(atomic(DW, CMPXCHG, 5, 6, 5), [6, 6, 5]);
    assert_eq!(atomic(DW, CMPXCHG, 5, 6, 4), [5, 6, 5]);
    assert_eq!(atomic(DW, CMPXCHG, 5, 6, 5 | (1 << 32)), [5, 6, 5]);
}

#[test]
fn compare_and_exchange_on_32_bits_compares_and_fetches_32_bits() {
    let memory = 0x1111_1111_0000_0005;
    let matching = 0x7777_7777_0000_0005;
    assert_eq!(
        atomic(W, CMPXCHG, memory, 6, matching),
        [0x1111_1111_0000_0006, 6, 5]
    );
    assert_eq!(atomic(W, CMPXCHG, memory, 6, 4), [memory, 6, 5]);
}

#[test]
fn atomic_operations_reach_the_stack() {
    let code = Code::new().mov(1, 4).op(ST | MEM | DW, 10, 0, -8, 3);
    let code = code
        .op(STX | ATOMIC | DW, 10, 1, -8, 0)
        .op(LDX | MEM | DW, 0, 10, -8, 0)
        .exit();
    assert_eq!(code.result(), 7);
}
