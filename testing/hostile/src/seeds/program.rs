//! Programs: opcodes are those of RFC 9669.

use super::Seed;

const EXIT: Slot = (0x95, 0, 0, 0, 0);

/// Opcode, destination, source, offset, immediate.
type Slot = (u8, u8, u8, i16, i32);

pub(super) fn seeds() -> Vec<Seed> {
    let machine = |name, slots: &[Slot]| Seed::new("machine", name, code(slots));
    let load = (0xb7, 0, 0, 0, 1);
    vec![
        machine("exit", &[load, EXIT]),
        machine(
            "division-by-zero",
            &[(0xb7, 0, 0, 0, 7), (0x3f, 0, 2, 0, 0), EXIT],
        ),
        machine(
            "smallest-by-minus-one",
            &[
                (0x18, 0, 0, 0, 0),
                (0, 0, 0, 0, i32::MIN),
                (0x37, 0, 0, 1, -1),
                EXIT,
            ],
        ),
        machine("frame-overflow", &[(0x7b, 10, 0, -520, 0), EXIT]),
        machine("pointer-past-end", &[(0x79, 0, 1, 60, 0), EXIT]),
        machine(
            "pointer-of-chance",
            &[
                (0x18, 2, 0, 0, -1),
                (0, 0, 0, 0, 1),
                (0x71, 0, 2, 0, 0),
                EXIT,
            ],
        ),
        machine("endless-loop", &[(0x05, 0, 0, -1, 0), EXIT]),
        machine("endless-calls", &[(0x85, 0, 1, 0, -1), EXIT]),
        machine("unaligned-atomic", &[load, (0xdb, 10, 0, -9, 1), EXIT]),
        machine(
            "compare-and-exchange",
            &[load, (0xdb, 10, 2, -8, 0xf1), EXIT],
        ),
        machine(
            "wide-jump",
            &[load, (0x06, 0, 0, 0, 1), (0x85, 0, 0, 0, 2), EXIT],
        ),
        machine("helper-fails", &[(0x85, 0, 0, 0, 2), EXIT]),
        machine("helper-writes", &[(0x85, 0, 0, 0, 1), EXIT]),
        machine(
            "sign-extended-load",
            &[(0x7a, 10, 0, -8, -1), (0x91, 0, 10, -8, 0), EXIT],
        ),
        machine("byte-swap", &[load, (0xd7, 0, 0, 0, 64), EXIT]),
        machine(
            "jump-into-wide",
            &[
                (0x05, 0, 0, 1, 0),
                (0x18, 0, 0, 0, 1),
                (0, 0, 0, 0, 0),
                EXIT,
            ],
        ),
        machine("no-exit", &[load]),
        peer("arithmetic", &[0, 1, 2, 0x10, 0x11, 0x12]),
        peer("byte-order-and-negation", &[3, 0x13]),
        peer("jumps", &[4, 5, 0x14, 0x15, 0]),
        peer("frame", &[6, 7, 0]),
    ]
}

fn code(slots: &[Slot]) -> Vec<u8> {
    let slot = |&(opcode, dst, src, offset, imm): &Slot| {
        let ([a, b], [c, d, e, f]) = (offset.to_le_bytes(), imm.to_le_bytes());
        [opcode, dst | (src << 4), a, b, c, d, e, f]
    };
    slots.iter().flat_map(slot).collect()
}

/// Input from which the target beside rbpf makes instructions of these kinds.
fn peer(name: &str, kinds: &[u8]) -> Seed {
    let noise = kpeel_images::make::noise(8 * 40, kinds.len() as u64);
    let mut chunks: Vec<u8> = noise;
    for (chunk, kind) in chunks.chunks_exact_mut(8).zip(kinds.iter().cycle()) {
        chunk[0] = *kind;
    }
    Seed::new("machine_rbpf", name, chunks)
}
