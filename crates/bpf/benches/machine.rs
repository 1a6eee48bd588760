//! The machine against rbpf's interpreter, on the same programs: `cargo bench -p kpeel-bpf`.
//!
//! Both run in turns, so that a busy machine slows both; of each the fastest turn counts. `--require N`
//! fails when a program's ratio, rbpf's time over ours, is below N.

use kpeel_bpf::{
    Access, Budget, Calls, MAX_ARGUMENTS, Memory, Program, Pseudo, Resolver, Unresolved, run,
};
use std::convert::Infallible;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Bytes of the memory that programs get.
const MEMORY: usize = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo passes this when benchmarking; anything else only checks that the benchmark works.
    let turns = if arguments.iter().any(|argument| argument == "--bench") {
        30
    } else {
        1
    };
    let required = arguments
        .iter()
        .position(|argument| argument == "--require");
    let required = required
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(0.0);
    println!(
        "{:<22} {:>10} {:>10} {:>7}",
        "program", "rbpf ns", "ours ns", "ratio"
    );
    let mut lowest = f64::INFINITY;
    for (name, code) in programs() {
        let ratio = compare(name, &code, turns);
        lowest = lowest.min(ratio);
    }
    println!("lowest ratio {lowest:.2}");
    if lowest < required {
        println!("needs {required:.2}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Runs both machines in turns; times are per iteration of the program's loop.
fn compare(name: &str, code: &[u8], turns: usize) -> f64 {
    let mut vm = rbpf::EbpfVmRaw::new(Some(code)).expect("rbpf takes the program");
    vm.register_helper(HELPER, |a, b, _, _, _| a.wrapping_add(b))
        .expect("rbpf takes a helper");
    let program = Program::decode(code, &mut Sum).expect("the machine takes the program");
    let (mut theirs, mut ours) = (Duration::MAX, Duration::MAX);
    for _ in 0..turns {
        let mut bytes = vec![7; MEMORY];
        let start = Instant::now();
        let expected = vm
            .execute_program(black_box(&mut bytes))
            .expect("rbpf runs the program");
        theirs = theirs.min(start.elapsed());

        let mut memory = Memory::new();
        let base = memory
            .map_owned(vec![7; MEMORY], Access::ReadWrite)
            .expect("memory is mapped");
        let start = Instant::now();
        let arguments = [base, MEMORY as u64];
        let mut budget = Budget::new(1 << 40);
        let found = run(
            black_box(&program),
            &arguments,
            &mut memory,
            &mut Sum,
            &mut budget,
        );
        ours = ours.min(start.elapsed());
        assert_eq!(found, Ok(expected), "{name}");
    }
    let each = |time: Duration| time.as_nanos() as f64 / f64::from(LOOPS);
    let ratio = each(theirs) / each(ours);
    println!(
        "{name:<22} {:>10.2} {:>10.2} {ratio:>7.2}",
        each(theirs),
        each(ours)
    );
    ratio
}

/// Times that each program goes round its loop.
const LOOPS: i32 = 100_000;

/// The one helper: adds its first two arguments.
const HELPER: u32 = 7;

struct Sum;

impl Resolver for Sum {
    fn immediate(&mut self, _: usize, _: Pseudo, _: i32, _: i32) -> Result<u64, Unresolved> {
        Err("no maps".into())
    }

    fn helper(&mut self, _: usize, id: u32) -> Result<(), Unresolved> {
        if id == HELPER {
            Ok(())
        } else {
            Err("no such helper".into())
        }
    }

    fn kfunc(&mut self, _: usize, _: i32, _: i16) -> Result<u32, Unresolved> {
        Err("no kfuncs".into())
    }
}

impl Calls for Sum {
    type Error = Infallible;

    fn helper(
        &mut self,
        _: &mut Memory,
        _: u32,
        args: [u64; MAX_ARGUMENTS],
    ) -> Result<u64, Infallible> {
        Ok(args[0].wrapping_add(args[1]))
    }

    fn kfunc(&mut self, _: &mut Memory, _: u32, _: [u64; 5]) -> Result<u64, Infallible> {
        Ok(0)
    }
}

fn programs() -> [(&'static str, Vec<u8>); 7] {
    // r6 holds the memory, r7 counts down, r0 collects.
    let around = |body: &[u8]| {
        let back = -1 - (body.len() / 8) as i16 - 1;
        [
            i(0xbf, 6, 1, 0, 0),
            i(0xb7, 7, 0, 0, LOOPS),
            i(0xb7, 0, 0, 0, 1),
            body.to_vec(),
            i(0x17, 7, 0, 0, 1),
            i(0x55, 7, 0, back, 0),
            i(0x95, 0, 0, 0, 0),
        ]
        .concat()
    };
    let arithmetic64 = [
        i(0x0f, 0, 7, 0, 0),
        i(0x27, 0, 0, 0, 31),
        i(0xbf, 2, 0, 0, 0),
        i(0x77, 2, 0, 0, 13),
        i(0xaf, 0, 2, 0, 0),
        i(0x07, 0, 0, 0, 12345),
        i(0x67, 2, 0, 0, 3),
        i(0x1f, 0, 2, 0, 0),
    ];
    let arithmetic32 = [
        i(0x0c, 0, 7, 0, 0),
        i(0x24, 0, 0, 0, 31),
        i(0xbc, 2, 0, 0, 0),
        i(0x74, 2, 0, 0, 13),
        i(0xac, 0, 2, 0, 0),
        i(0x04, 0, 0, 0, 12345),
        i(0x64, 2, 0, 0, 3),
        i(0x54, 2, 0, 0, 0xffff),
        i(0x1c, 0, 2, 0, 0),
    ];
    let branches = [
        i(0xbf, 2, 7, 0, 0),
        i(0x57, 2, 0, 0, 3),
        i(0x15, 2, 0, 3, 0),
        i(0x25, 2, 0, 1, 2),
        i(0x07, 0, 0, 0, 5),
        i(0x05, 0, 0, 1, 0),
        i(0x07, 0, 0, 0, 9),
        i(0x2d, 7, 0, 1, 0),
        i(0x1f, 0, 7, 0, 0),
    ];
    let memory = [
        i(0xbf, 2, 7, 0, 0),
        i(0x57, 2, 0, 0, 0xff8),
        i(0x0f, 2, 6, 0, 0),
        i(0x79, 3, 2, 0, 0),
        i(0x0f, 0, 3, 0, 0),
        i(0x71, 4, 2, 5, 0),
        i(0x0f, 0, 4, 0, 0),
        i(0x63, 2, 0, 0, 0),
    ];
    let stack = [
        i(0x7b, 10, 7, -8, 0),
        i(0x62, 10, 0, -12, 99),
        i(0x79, 3, 10, -8, 0),
        i(0x61, 4, 10, -12, 0),
        i(0x0f, 0, 3, 0, 0),
        i(0x0f, 0, 4, 0, 0),
        i(0x7b, 10, 0, -24, 0),
        i(0x71, 5, 10, -20, 0),
        i(0x0f, 0, 5, 0, 0),
    ];
    let helper = [
        i(0xbf, 1, 0, 0, 0),
        i(0xbf, 2, 7, 0, 0),
        i(0x85, 0, 0, 0, HELPER as i32),
    ];
    // The function stands behind the loop's end: three more slots to its exit.
    let local = [
        i(0xbf, 1, 0, 0, 0),
        i(0xbf, 2, 7, 0, 0),
        i(0x85, 0, 1, 0, 3),
    ];
    let mut calling = around(&local.concat());
    calling.extend(
        [
            i(0xbf, 0, 1, 0, 0),
            i(0x0f, 0, 2, 0, 0),
            i(0x95, 0, 0, 0, 0),
        ]
        .concat(),
    );
    [
        ("arithmetic, 64 bits", around(&arithmetic64.concat())),
        ("arithmetic, 32 bits", around(&arithmetic32.concat())),
        ("branches", around(&branches.concat())),
        ("memory", around(&memory.concat())),
        ("stack", around(&stack.concat())),
        ("helper calls", around(&helper.concat())),
        ("function calls", calling),
    ]
}

/// One instruction slot.
fn i(opcode: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Vec<u8> {
    let mut slot = vec![opcode, dst | src << 4];
    slot.extend(offset.to_le_bytes());
    slot.extend(imm.to_le_bytes());
    slot
}
