//! Follows all paths of a loader and watches its registers, as Linux's verifier does: our machine
//! starts with zeroes in them and leaves r1 to r5 as they were over a call.

/// Registers that hold something, one bit each.
type Written = u16;

const ON_ENTRY: Written = 1 << 1;
const LOST_IN_CALLS: Written = 0b11_1110;
const FRAME: u8 = 10;

struct Decoded {
    reads: Written,
    writes: Written,
    loses: Written,
    /// Slots that may be next, relative to the next one.
    next: Vec<i64>,
    slots: i64,
}

/// The first slot found that reads a register some path to it leaves unwritten, and the register.
pub fn uninitialised_read(bytes: &[u8]) -> Option<(usize, u8)> {
    let (insns, _) = bytes.as_chunks::<8>();
    let mut known: Vec<Option<Written>> = vec![None; insns.len()];
    let mut queue = vec![(0, ON_ENTRY)];
    while let Some((at, written)) = queue.pop() {
        let merged = known[at].map_or(written, |before| before & written);
        if known[at] == Some(merged) {
            continue;
        }
        known[at] = Some(merged);
        let insn = decode(insns[at]);
        let missing = insn.reads & !merged;
        if missing != 0 {
            return Some((at, missing.trailing_zeros() as u8));
        }
        let after = (merged & !insn.loses) | insn.writes;
        for distance in insn.next {
            let next = at as i64 + insn.slots + distance;
            queue.push((usize::try_from(next).unwrap(), after));
        }
    }
    None
}

fn decode(insn: [u8; 8]) -> Decoded {
    let [code, regs, o0, o1, ..] = insn;
    let (dst, src) = (regs & 0xf, regs >> 4);
    assert!(dst != FRAME && src != FRAME, "the loader uses the stack");
    let (dst, src): (Written, Written) = (1 << dst, 1 << src);
    let by_register = if code & 8 != 0 { src } else { 0 };
    let distance = i64::from(i16::from_le_bytes([o0, o1]));
    let mut out = Decoded {
        reads: 0,
        writes: 0,
        loses: 0,
        next: vec![0],
        slots: 1,
    };
    match code {
        0x18 => (out.writes, out.slots) = (dst, 2),
        0x85 => {
            // Arguments: three for bpf(2), four for a look-up, one for a close.
            let arguments = match insn[4] {
                166 => 0b1110,
                167 => 0b1_1110,
                168 => 0b10,
                other => panic!("helper {other}"),
            };
            (out.reads, out.loses, out.writes) = (arguments, LOST_IN_CALLS, 1);
        }
        0x95 => (out.reads, out.next) = (1, vec![]),
        0x05 => out.next = vec![distance],
        _ => match code & 7 {
            1 => (out.reads, out.writes) = (src, dst),
            2 => out.reads = dst,
            3 => out.reads = dst | src,
            5 | 6 => (out.reads, out.next) = (dst | by_register, vec![0, distance]),
            7 if code & 0xf0 == 0xb0 => (out.reads, out.writes) = (by_register, dst),
            7 => (out.reads, out.writes) = (dst | by_register, dst),
            class => panic!("class {class}"),
        },
    }
    out
}

#[test]
fn finds_a_read_that_one_path_leaves_open() {
    use crate::elf::{exit, insn, mov};
    let skip = insn(0x15, 1, 0, 1, 0);
    let open = [skip, mov(0, 0), exit()].concat();
    assert_eq!(uninitialised_read(&open), Some((2, 0)));
    let closed = [mov(0, 0), skip, mov(0, 0), exit()].concat();
    assert_eq!(uninitialised_read(&closed), None);
}
