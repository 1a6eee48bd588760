//! The instruction budget: exact, and never passed.

mod common;

use common::*;
use kpeel_bpf::{Budget, Memory, NoCalls, Trap, run};

/// Runs with a budget; returns the outcome and what is left.
fn spend(code: &Code, budget: u64) -> (Result<u64, Trap<std::convert::Infallible>>, u64) {
    let mut budget = Budget::new(budget);
    let program = code.decode().unwrap();
    let result = run(&program, &[], &mut Memory::new(), &mut NoCalls, &mut budget);
    (result, budget.left())
}

#[test]
fn a_program_needs_as_many_instructions_as_it_executes() {
    // Two before the loop, 100 times three in it, the exit.
    let looping = Code::new()
        .mov(0, 0)
        .mov(1, 100)
        .op(ALU64 | ADD | X, 0, 1, 0, 0);
    let looping = looping
        .op(ALU64 | SUB | K, 1, 0, 0, 1)
        .op(JMP | JNE | K, 1, 0, -3, 0)
        .exit();
    let calling = Code::new().call(2).call(1).exit().mov(0, 1).exit();
    let skipping = Code::new()
        .op(JMP | JA, 0, 0, 2, 0)
        .mov(0, 1)
        .mov(0, 2)
        .exit();
    let wide = Code::new().load(0, 1).exit();
    for (code, needed) in [
        (looping, 303),
        (calling, 7),
        (skipping, 2),
        (wide, 3),
        (Code::new().exit(), 1),
    ] {
        let (result, left) = spend(&code, needed);
        assert!(result.is_ok(), "{needed}: {result:?}");
        assert_eq!(left, 0);
        assert_eq!(spend(&code, needed + 5).1, 5);
        let (result, left) = spend(&code, needed - 1);
        assert!(
            matches!(result, Err(Trap::Budget { .. })),
            "{needed}: {result:?}"
        );
        assert_eq!(left, 0);
    }
}

#[test]
fn endless_programs_end() {
    let itself = Code::new().op(JMP | JA, 0, 0, -1, 0);
    let two = Code::new()
        .op(JMP32 | JA, 0, 0, 0, 0)
        .op(JMP | JA, 0, 0, -2, 0);
    let calls = Code::new().call(1).op(JMP | JA, 0, 0, -2, 0).exit();
    for code in [itself, two, calls] {
        let (result, left) = spend(&code, 100_000);
        assert!(matches!(result, Err(Trap::Budget { .. })), "{result:?}");
        assert_eq!(left, 0);
    }
}

#[test]
fn the_trap_names_the_first_instruction_not_executed() {
    let code = Code::new().mov(0, 1).mov(0, 2).exit();
    for budget in 0..3 {
        assert_eq!(
            spend(&code, budget).0,
            Err(Trap::Budget {
                at: budget as usize
            })
        );
    }
    assert_eq!(spend(&code, u64::MAX), (Ok(2), u64::MAX - 3));
}

#[test]
fn a_trap_costs_what_was_executed() {
    let code = Code::new().mov(0, 1).op(LDX | MEM | B, 0, 0, 0, 0).exit();
    let (result, left) = spend(&code, 10);
    assert!(matches!(result, Err(Trap::Fault { at: 1, .. })));
    assert_eq!(left, 8);
}
