//! Programs by chance, from a seed.

use super::Code;

/// SplitMix64: small, seeded, the same everywhere.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }

    /// A value near the places where arithmetic goes wrong, or any.
    pub fn value(&mut self) -> u64 {
        let edge = self.pick(&[
            0,
            1,
            0x7f,
            0x80,
            0xff,
            0x7fff,
            0x8000,
            1 << 31,
            1 << 32,
            1 << 63,
        ]);
        match self.below(4) {
            0 => edge,
            1 => edge.wrapping_sub(1),
            2 => edge.wrapping_neg(),
            _ => self.next(),
        }
    }
}

/// Slots of which each field is any value: most are no program.
pub fn noise(random: &mut Random) -> Code {
    let mut code = Code::new();
    for _ in 0..1 + random.below(40) {
        code.0.extend(random.next().to_le_bytes());
    }
    code
}

/// A program that is accepted: some functions of any instructions in any order, which may fault or loop.
pub fn program(random: &mut Random) -> Code {
    let mut functions = Vec::new();
    let mut end = 0;
    for _ in 0..1 + random.below(4) {
        let starts = starts(random, end);
        end = starts[starts.len() - 1] + 1;
        functions.push(starts);
    }
    let entries: Vec<i32> = functions.iter().map(|starts| starts[0]).collect();
    functions.iter().fold(Code::new(), |code, starts| {
        body(random, code, starts, &entries)
    })
}

/// Slots where a function's instructions start; some take two slots, the last takes one.
fn starts(random: &mut Random, first: i32) -> Vec<i32> {
    let mut starts = vec![first];
    for _ in 0..2 + random.below(25) {
        let slots = if random.below(12) == 0 { 2 } else { 1 };
        starts.push(starts[starts.len() - 1] + slots);
    }
    starts
}

fn body(random: &mut Random, mut code: Code, starts: &[i32], entries: &[i32]) -> Code {
    for pair in starts.windows(2) {
        let at = pair[0];
        let target = random.pick(starts) - at - 1;
        code = if pair[1] - at == 2 {
            let value = random.value();
            code.load(random.below(10) as u8, value)
        } else if random.below(20) == 0 {
            code.call(random.pick(entries) - at - 1)
        } else {
            instruction(random, code, target)
        };
    }
    code.exit()
}

fn instruction(random: &mut Random, code: Code, target: i32) -> Code {
    use super::*;
    // Register 1 mostly keeps the memory's address.
    let dst = random.pick(&[0, 0, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 9, 1]);
    let src = random.below(11) as u8;
    let imm = random.value() as i32;
    let class = random.pick(&[ALU, ALU64]);
    let operations = [ADD, SUB, MUL, DIV, OR, AND, LSH, RSH, MOD, XOR, MOV, ARSH];
    let conditions = [JEQ, JGT, JGE, JSET, JNE, JSGT, JSGE, JLT, JLE, JSLT, JSLE];
    let size = random.pick(&[B, H, W, DW]);
    // Mostly in the frame or the memory; rarely at their ends, or wherever a register points.
    let (base, place) = match random.below(24) {
        0 => (10, random.pick(&[-513, -512, -7, -4, -1, 0, 3])),
        1 => (random.pick(&[src, 1]), random.pick(&[-1, 0, 60])),
        2..6 => (1, random.pick(&[0, 1, 8, 24])),
        _ => (10, random.pick(&[-16, -12, -9, -8])),
    };
    match random.below(16) {
        0..=2 => {
            let op = random.pick(&operations);
            let signed = i16::from(matches!(op, DIV | MOD) && random.below(2) == 0);
            code.op(class | op | X, dst, src, signed, 0)
        }
        3 | 4 => {
            let op = random.pick(&operations);
            let signed = i16::from(matches!(op, DIV | MOD) && random.below(2) == 0);
            code.op(class | op | K, dst, 0, signed, imm)
        }
        5 => code.op(class | NEG, dst, 0, 0, 0),
        6 => {
            let opcode = random.pick(&[ALU | END | K, ALU | END | X, ALU64 | END | K]);
            code.op(opcode, dst, 0, 0, random.pick(&[16, 32, 64]))
        }
        7 => {
            let (class, width) =
                random.pick(&[(ALU, 8), (ALU, 16), (ALU64, 8), (ALU64, 16), (ALU64, 32)]);
            code.op(class | MOV | X, dst, src, width, 0)
        }
        8 => code.op(
            random.pick(&[JMP, JMP32]) | random.pick(&conditions) | X,
            dst,
            src,
            target as i16,
            0,
        ),
        9 => code.op(
            random.pick(&[JMP, JMP32]) | random.pick(&conditions) | K,
            dst,
            0,
            target as i16,
            imm,
        ),
        10 if random.below(4) == 0 => code.op(JMP32 | JA, 0, 0, 0, target),
        10 => code.op(LDX | MEMSX | random.pick(&[B, H, W]), dst, base, place, 0),
        11 => code.op(LDX | MEM | size, dst, base, place, 0),
        12 => code.op(ST | MEM | size, base, 0, place, imm),
        13 => code.op(STX | MEM | size, base, src, place, 0),
        14 => {
            let operation = random.pick(&[0, 0x40, 0x50, 0xa0, 1, 0x41, 0x51, 0xa1, 0xe1, 0xf1]);
            code.op(
                STX | ATOMIC | random.pick(&[W, DW]),
                base,
                dst,
                place,
                operation,
            )
        }
        _ if random.below(8) == 0 => code.exit(),
        _ => code.helper(random.below(4) as i32),
    }
}
