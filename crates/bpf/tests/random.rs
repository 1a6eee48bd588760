//! Programs by chance: nothing panics, everything ends, and a second machine agrees.

mod common;

use common::differential::{Host, ours, theirs};
use common::random::{Random, noise, program};
use common::reference::Outcome;
use kpeel_bpf::Program;
use std::collections::BTreeMap;

const SEED: u64 = 0x6b70_6565_6c00_0001;

#[test]
fn random_programs_do_what_a_second_machine_does() {
    let mut random = Random::new(SEED);
    let mut ends = BTreeMap::<_, u32>::new();
    for number in 0..20_000 {
        let code = program(&mut random);
        let decoded = Program::decode(&code.0, &mut Host)
            .unwrap_or_else(|error| panic!("program {number}: {error}\n{:02x?}", code.0));
        let (found, needed) = (ours(&decoded), theirs(&code.0));
        assert_eq!(found, needed, "program {number}: {:02x?}", code.0);
        *ends.entry(name(&found.0)).or_default() += 1;
    }
    println!("seed {SEED:#x}: {ends:?}");
}

fn name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Exit(_) => "exit",
        Outcome::Fault(_) => "fault",
        Outcome::Budget(_) => "budget",
        Outcome::Depth(_) => "depth",
        Outcome::Unresolved(_) => "unresolved",
        Outcome::Call(_) => "call",
    }
}

#[test]
fn noise_is_refused_or_ends() {
    let mut random = Random::new(SEED);
    let mut accepted = 0;
    for _ in 0..20_000 {
        if let Ok(program) = Program::decode(&noise(&mut random).0, &mut Host) {
            accepted += 1;
            ours(&program);
        }
    }
    println!("seed {SEED:#x}: {accepted} accepted");
}

#[test]
fn mutated_programs_are_refused_or_end() {
    let mut random = Random::new(SEED);
    let (mut accepted, count) = (0, 40_000);
    for _ in 0..count {
        let mut code = program(&mut random);
        for _ in 0..1 + random.below(4) {
            let at = random.below(code.0.len() as u64) as usize;
            let flipped = code.0[at] ^ (1 << random.below(8));
            let other = random.next() as u8;
            code.0[at] = random.pick(&[flipped, other]);
        }
        if random.below(8) == 0 {
            code.0.truncate(random.below(code.0.len() as u64) as usize);
        }
        if let Ok(program) = Program::decode(&code.0, &mut Host) {
            accepted += 1;
            ours(&program);
        }
    }
    println!("seed {SEED:#x}: {accepted} of {count} accepted");
    assert!(
        accepted > count / 20,
        "the mutations hardly reach the machine: {accepted}"
    );
}
