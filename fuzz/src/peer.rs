//! The machine beside rbpf, on what rbpf 0.4 gets right.
//!
//! Left out, because rbpf is wrong or does not know them: comparisons with a negative immediate
//! (rbpf extends it with zeros), remainders of 32 bits (rbpf keeps the upper half when the divisor is
//! zero), negations of 64 bits (rbpf overflows on the smallest number), signed division and moves,
//! sign-extending loads, byte swaps of cpu v4, atomics, map references. Calls and pointers are left out because their values differ by
//! design.

use kpeel_bpf::{Budget, Memory, NoCalls, Program, run};

const SLOT: usize = 8;
/// Bytes of input for one instruction.
const CHUNK: usize = 8;
/// Instructions of one program; with forward jumps only, so many are executed at most.
const MOST: usize = 200;
const EXIT: [u8; SLOT] = [0x95, 0, 0, 0, 0, 0, 0, 0];
/// Registers that hold plain values: 10 is the frame's.
const PLAIN: u8 = 10;

/// Operations of RFC 9669, section 4.1, but MOV with sign extension and byte swaps.
const ARITHMETIC: [u8; 12] = [
    0x00, 0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0x90, 0xa0, 0xb0, 0xc0,
];
const NEG: u8 = 0x80;
const MOD: u8 = 0x90;
/// Conditions of section 4.3.
const CONDITIONS: [u8; 11] = [
    0x10, 0x20, 0x30, 0x40, 0x50, 0x60, 0x70, 0xa0, 0xb0, 0xc0, 0xd0,
];
/// Loads, stores of registers and stores of immediates, of every size (section 5).
const LOADS: [u8; 4] = [0x61, 0x69, 0x71, 0x79];
const STORES: [u8; 8] = [0x63, 0x6b, 0x73, 0x7b, 0x62, 0x6a, 0x72, 0x7a];
/// Conversions to big and to little endian, with the widths that they take.
const ENDS: [u8; 2] = [0xd4, 0xdc];
const WIDTHS: [i32; 3] = [16, 32, 64];

/// Makes a program of the input and runs it on both.
pub fn machine_rbpf(input: &[u8]) {
    let code = program(input);
    let decoded = Program::decode(&code, &mut NoCalls).expect("a sound program");
    let mut budget = Budget::new(10 * MOST as u64);
    let ours = run(&decoded, &[], &mut Memory::new(), &mut NoCalls, &mut budget);
    let theirs = rbpf::EbpfVmNoData::new(Some(&code)).and_then(|vm| vm.execute_program());
    match (&ours, &theirs) {
        (Ok(a), Ok(b)) => assert_eq!(a, b, "{code:02x?}"),
        _ => panic!("ours {ours:?}, rbpf {theirs:?}: {code:02x?}"),
    }
}

fn program(input: &[u8]) -> Vec<u8> {
    let chunks: Vec<&[u8]> = input.chunks_exact(CHUNK).take(MOST).collect();
    let mut code = Vec::new();
    for register in 0..PLAIN {
        code.extend([0xb7, register, 0, 0, register, 0, 0, 0]);
    }
    for (at, chunk) in chunks.iter().enumerate() {
        code.extend(instruction(chunk, chunks.len() - at - 1));
    }
    // All registers count, not only the one that is returned.
    for register in 1..PLAIN {
        code.extend([0x27, 0, 0, 0, 31, 0, 0, 0]);
        code.extend([0x0f, register << 4, 0, 0, 0, 0, 0, 0]);
    }
    code.extend(EXIT);
    code
}

/// One instruction of eight bytes of input; `left` instructions may be jumped over.
fn instruction(chunk: &[u8], left: usize) -> [u8; SLOT] {
    let &[kind, which, registers, place, a, b, c, d] = chunk else {
        return EXIT;
    };
    let of = |table: &[u8]| table[usize::from(which) % table.len()];
    let (dst, src) = (registers % PLAIN, (registers >> 4) % PLAIN);
    let imm = i32::from_le_bytes([a, b, c, d]);
    let arithmetic = of(&ARITHMETIC);
    let half = kind & 0x10 == 0 && arithmetic != MOD;
    let class = if half { 0x04 } else { 0x07 };
    let jump = if kind & 0x10 == 0 { 0x05 } else { 0x06 };
    let ahead = (usize::from(place) % (left + 1)) as i16;
    let frame = -8 * (1 + i16::from(place) % 64);
    match kind % 8 {
        0 | 1 => slot(arithmetic | class | 0x08, dst, src, 0, 0),
        2 => slot(arithmetic | class, dst, 0, 0, imm),
        3 if which & 1 == 0 => slot(NEG | 0x04, dst, 0, 0, 0),
        3 => slot(
            ENDS[usize::from(which >> 1) % 2],
            dst,
            0,
            0,
            WIDTHS[usize::from(place) % 3],
        ),
        4 => slot(of(&CONDITIONS) | jump | 0x08, dst, src, ahead, 0),
        5 => slot(of(&CONDITIONS) | jump, dst, 0, ahead, imm & i32::MAX),
        6 => slot(of(&LOADS), dst, 10, frame, 0),
        _ => {
            let opcode = of(&STORES);
            let source = if opcode & 1 == 1 { src } else { 0 };
            let imm = if opcode & 1 == 1 { 0 } else { imm };
            slot(opcode, 10, source, frame, imm)
        }
    }
}

fn slot(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> [u8; SLOT] {
    let ([e, f], [a, b, c, d]) = (offset.to_le_bytes(), imm.to_le_bytes());
    [opcode, dst | (src << 4), e, f, a, b, c, d]
}
