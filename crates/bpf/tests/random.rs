//! Programs by chance: nothing panics, everything ends, and a second machine agrees.

mod common;

use common::random::{Random, noise, program};
use common::reference::{Outcome, Reference};
use common::*;
use kpeel_bpf::{
    Access, Budget, Calls, Fault, Memory, Program, Pseudo, Resolver, Trap, Unresolved, run,
};
use std::collections::BTreeMap;

const SEED: u64 = 0x6b70_6565_6c00_0001;
const BUDGET: u64 = 2_000;
const BYTES: usize = 64;

/// The helpers that [`Reference`] knows.
struct Host;

impl Resolver for Host {
    fn immediate(&mut self, at: usize, _: Pseudo, imm: i32, _: i32) -> Result<u64, Unresolved> {
        if imm % 2 == 0 {
            Ok(at as u64)
        } else {
            Err("odd".into())
        }
    }

    fn helper(&mut self, _: usize, id: u32) -> Result<(), Unresolved> {
        if id < 3 {
            Ok(())
        } else {
            Err("not there".into())
        }
    }

    fn kfunc(&mut self, _: usize, id: i32, _: i16) -> Result<u32, Unresolved> {
        if id % 2 == 0 {
            Ok(7)
        } else {
            Err("odd".into())
        }
    }
}

impl Calls for Host {
    type Error = Option<Fault>;

    fn helper(&mut self, memory: &mut Memory, id: u32, args: [u64; 5]) -> Result<u64, Self::Error> {
        match id {
            0 => Ok(args[0].wrapping_add(args[1])),
            1 => memory.write_u64(args[0], args[1]).map(|()| 1).map_err(Some),
            _ => Err(None),
        }
    }

    fn kfunc(&mut self, _: &mut Memory, token: u32, _: [u64; 5]) -> Result<u64, Self::Error> {
        Ok(token.into())
    }
}

/// What a run did: how it ended, the memory it leaves, the budget it leaves.
type Done = (Outcome, Vec<u8>, u64);

fn ours(program: &Program) -> Done {
    let mut memory = Memory::new();
    let base = memory
        .map_owned(vec![0x5a; BYTES], Access::ReadWrite)
        .unwrap();
    let mut budget = Budget::new(BUDGET);
    let outcome = match run(program, &[base, 3], &mut memory, &mut Host, &mut budget) {
        Ok(r0) => Outcome::Exit(r0),
        Err(Trap::Fault { at, .. }) => Outcome::Fault(at),
        Err(Trap::Budget { at }) => Outcome::Budget(at),
        Err(Trap::Depth { at, .. }) => Outcome::Depth(at),
        Err(Trap::Unresolved { at, .. }) => Outcome::Unresolved(at),
        Err(Trap::Call { at, .. }) => Outcome::Call(at),
        Err(trap) => panic!("{trap:?}"),
    };
    (outcome, memory.take(base).unwrap(), budget.left())
}

fn theirs(code: &Code) -> Done {
    let base = {
        let mut memory = Memory::new();
        memory.map_owned(Vec::new(), Access::ReadWrite).unwrap()
    };
    let regions = BTreeMap::from([(base >> 32, vec![0x5a; BYTES])]);
    let mut reference = Reference::new(&code.0, regions, BUDGET);
    let outcome = reference.run(&[base, 3]);
    (
        outcome,
        reference.regions.remove(&(base >> 32)).unwrap(),
        reference.budget,
    )
}

#[test]
fn random_programs_do_what_a_second_machine_does() {
    let mut random = Random::new(SEED);
    let mut ends = BTreeMap::<_, u32>::new();
    for number in 0..20_000 {
        let code = program(&mut random);
        let decoded = Program::decode(&code.0, &mut Host)
            .unwrap_or_else(|error| panic!("program {number}: {error}\n{:02x?}", code.0));
        let (found, needed) = (ours(&decoded), theirs(&code));
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
