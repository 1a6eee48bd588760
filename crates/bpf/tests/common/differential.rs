//! One program on both machines.

use std::collections::BTreeMap;

use kpeel_bpf::{
    Access, Budget, Calls, Fault, Memory, Program, Pseudo, Resolver, Trap, Unresolved, run,
};

use super::reference::{Outcome, Reference};

/// Instructions that a run may take.
const BUDGET: u64 = 2_000;
/// Bytes of memory that register 1 points to.
const BYTES: usize = 64;

/// The helpers that [`Reference`] knows.
pub struct Host;

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
pub type Done = (Outcome, Vec<u8>, u64);

pub fn ours(program: &Program) -> Done {
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

pub fn theirs(code: &[u8]) -> Done {
    let base = {
        let mut memory = Memory::new();
        memory.map_owned(Vec::new(), Access::ReadWrite).unwrap()
    };
    let regions = BTreeMap::from([(base >> 32, vec![0x5a; BYTES])]);
    let mut reference = Reference::new(code, regions, BUDGET);
    let outcome = reference.run(&[base, 3]);
    (
        outcome,
        reference.regions.remove(&(base >> 32)).unwrap(),
        reference.budget,
    )
}
