//! Calls, exits, and what immediates name: RFC 9669 sections 4.3.1 and 5.4.

mod common;

use common::*;
use kpeel_bpf::{
    Budget, Calls, DecodeError, MAX_ARGUMENTS, MAX_FRAMES, Memory, Program, Pseudo, Resolver, Trap,
    Unresolved, run,
};

/// Writes down everything it is asked.
#[derive(Default)]
struct Host {
    immediates: Vec<(usize, Pseudo, i32, i32)>,
    kfuncs: Vec<(usize, i32, i16)>,
    calls: Vec<(&'static str, u32, [u64; MAX_ARGUMENTS])>,
}

const KNOWN: u32 = 42;
const FAILING: u32 = 43;
const TOKEN: u32 = 0xffff_fff0;

impl Resolver for Host {
    fn immediate(&mut self, at: usize, p: Pseudo, imm: i32, next: i32) -> Result<u64, Unresolved> {
        self.immediates.push((at, p, imm, next));
        if imm == 99 {
            Err("map 99 does not exist".into())
        } else {
            Ok(1 << 40)
        }
    }

    fn helper(&mut self, _: usize, id: u32) -> Result<(), Unresolved> {
        match id {
            KNOWN | FAILING => Ok(()),
            _ => Err(Unresolved(format!("helper {id} does not exist").into())),
        }
    }

    fn kfunc(&mut self, at: usize, id: i32, offset: i16) -> Result<u32, Unresolved> {
        self.kfuncs.push((at, id, offset));
        if id == 0 {
            Err("kfunc 0".into())
        } else {
            Ok(TOKEN)
        }
    }
}

impl Calls for Host {
    type Error = &'static str;

    fn helper(&mut self, _: &mut Memory, id: u32, args: [u64; 5]) -> Result<u64, Self::Error> {
        self.calls.push(("helper", id, args));
        if id == FAILING {
            Err("no more")
        } else {
            Ok(1000)
        }
    }

    fn kfunc(&mut self, _: &mut Memory, token: u32, args: [u64; 5]) -> Result<u64, Self::Error> {
        self.calls.push(("kfunc", token, args));
        Ok(2000)
    }
}

impl Host {
    fn run(&mut self, code: &Code) -> Result<u64, Trap<&'static str>> {
        let program = Program::decode(&code.0, self).expect("the program is accepted");
        run(
            &program,
            &[],
            &mut Memory::new(),
            self,
            &mut Budget::new(10_000),
        )
    }
}

fn arguments() -> Code {
    (1..=5).fold(Code::new(), |code, register| {
        code.mov(register, -i32::from(register))
    })
}

const ARGUMENTS: [u64; 5] = [
    u64::MAX,
    u64::MAX - 1,
    u64::MAX - 2,
    u64::MAX - 3,
    u64::MAX - 4,
];

#[test]
fn helpers_take_registers_1_to_5_and_answer_in_register_0() {
    let mut host = Host::default();
    assert_eq!(host.run(&arguments().helper(KNOWN as i32).exit()), Ok(1000));
    assert_eq!(host.calls, [("helper", KNOWN, ARGUMENTS)]);
}

#[test]
fn kfuncs_are_named_by_id_and_descriptor_and_called_by_token() {
    let mut host = Host::default();
    let code = arguments().op(JMP | CALL, 0, 2, 64, 777).exit();
    assert_eq!(host.run(&code), Ok(2000));
    assert_eq!(host.kfuncs, [(5, 777, 64)]);
    assert_eq!(host.calls, [("kfunc", TOKEN, ARGUMENTS)]);
}

#[test]
fn a_call_without_an_answer_traps_only_when_it_is_reached() {
    let helper = Code::new().helper(44);
    let kfunc = Code::new().op(JMP | CALL, 0, 2, 0, 0);
    for (code, reason) in [(helper, "helper 44 does not exist"), (kfunc, "kfunc 0")] {
        let reason = Unresolved(reason.into());
        let error = Err(Trap::Unresolved { at: 0, reason });
        assert_eq!(Host::default().run(&code.clone().exit()), error);
        let skipped = Code::new().mov(0, 3).op(JMP | JA, 0, 0, 1, 0);
        let skipped = Code([skipped.0, code.0].concat()).exit();
        assert_eq!(Host::default().run(&skipped), Ok(3));
    }
}

#[test]
fn the_reasons_of_the_first_unanswered_calls_are_kept() {
    let mut code = Code::new().op(JMP32 | JA, 0, 0, 0, 0);
    for call in 0..1000 {
        code = code.helper(100 + call);
    }
    let mut reason = |call: i32| {
        // The jump leads to the call in question.
        code.0[4..8].copy_from_slice(&call.to_le_bytes());
        match Host::default().run(&code.clone().exit()) {
            Err(Trap::Unresolved { at, reason }) if at == 1 + call as usize => reason.to_string(),
            other => panic!("call {call}: {other:?}"),
        }
    };
    assert_eq!(reason(0), "helper 100 does not exist");
    assert_eq!(reason(63), "helper 163 does not exist");
    for call in [64, 65, 999] {
        assert_eq!(reason(call), "call: one of too many without an answer");
    }
}

#[test]
fn an_error_of_a_call_ends_the_run() {
    let code = Code::new()
        .mov(0, 1)
        .helper(FAILING as i32)
        .helper(KNOWN as i32)
        .exit();
    let mut host = Host::default();
    assert_eq!(
        host.run(&code),
        Err(Trap::Call {
            at: 1,
            error: "no more"
        })
    );
    assert_eq!(host.calls.len(), 1);
}

#[test]
fn pseudo_immediates_are_resolved_in_order_and_become_the_value() {
    let kinds = [
        (1, Pseudo::MapFd),
        (2, Pseudo::MapFdValue),
        (3, Pseudo::BtfId),
        (5, Pseudo::MapIndex),
        (6, Pseudo::MapIndexValue),
    ];
    let mut code = Code::new();
    for (source, _) in kinds {
        code = code.wide(0, source, -1, i32::from(source));
    }
    let mut host = Host::default();
    assert_eq!(host.run(&code.exit()), Ok(1 << 40));
    let asked: Vec<_> = (0..)
        .step_by(2)
        .zip(kinds)
        .map(|(at, (s, kind))| (at, kind, -1, i32::from(s)))
        .collect();
    assert_eq!(host.immediates, asked);
}

#[test]
fn an_immediate_without_an_answer_refuses_the_program() {
    let code = Code::new().mov(0, 0).wide(1, 1, 99, 0).exit();
    let reason = Unresolved("map 99 does not exist".into());
    let error = Program::decode(&code.0, &mut Host::default()).unwrap_err();
    assert_eq!(error, DecodeError::Unresolved { at: 1, reason });
}

#[test]
fn function_references_are_numbers_that_no_load_reaches() {
    // The distance counts from the slot behind the first one of the two, as in calls.
    let code = |distance| Code::new().wide(0, 4, distance, 0).exit().mov(0, 5).exit();
    assert_eq!(code(1).decode().unwrap_err(), DecodeError::Open { at: 1 });
    let address = code(2).result();
    assert_eq!(address & 0xffff_ffff, 3);
    let load = Code::new()
        .load(1, address)
        .op(LDX | MEM | B, 0, 1, 0, 0)
        .exit();
    assert!(matches!(load.run(), Err(Trap::Fault { at: 2, .. })));
}

#[test]
fn functions_take_arguments_and_answer_in_register_0() {
    let code = Code::new().mov(1, 30).mov(2, 12).call(1).exit();
    let code = code.copy(0, 1).op(ALU64 | ADD | X, 0, 2, 0, 0).exit();
    assert_eq!(code.result(), 42);
}

#[test]
fn a_return_restores_registers_6_to_9_and_the_frame() {
    let mut code = Code::new().mov(6, 1).mov(7, 2).mov(8, 4).mov(9, 8);
    code = code.op(ST | MEM | DW, 10, 0, -8, 16).call(6);
    code = code.op(LDX | MEM | DW, 0, 10, -8, 0);
    for register in 6..=9 {
        code = code.op(ALU64 | ADD | X, 0, register, 0, 0);
    }
    code = code.exit().op(ST | MEM | DW, 10, 0, -8, 1000);
    for register in 6..=9 {
        code = code.mov(register, 1000);
    }
    assert_eq!(code.exit().result(), 31);
}

#[test]
fn every_call_gets_a_zeroed_frame_of_its_own() {
    // The function writes to its frame and returns what was there before; it is called twice.
    let code = Code::new()
        .call(4)
        .copy(6, 0)
        .call(2)
        .op(ALU64 | ADD | X, 0, 6, 0, 0)
        .exit();
    let code = code
        .op(LDX | MEM | DW, 0, 10, -8, 0)
        .op(ST | MEM | DW, 10, 0, -8, 7)
        .exit();
    assert_eq!(code.result(), 0);
}

#[test]
fn a_function_reaches_its_callers_frame_by_pointer() {
    let code = Code::new()
        .copy(1, 10)
        .call(2)
        .op(LDX | MEM | DW, 0, 10, -8, 0)
        .exit();
    let code = code.op(ST | MEM | DW, 1, 0, -8, 9).exit();
    assert_eq!(code.result(), 9);
}

#[test]
fn a_frame_is_gone_when_its_function_has_returned() {
    let code = Code::new()
        .call(3)
        .copy(1, 0)
        .op(LDX | MEM | DW, 0, 1, -8, 0)
        .exit();
    let code = code.copy(0, 10).exit();
    assert!(matches!(code.run(), Err(Trap::Fault { at: 2, .. })));
}

/// A function that calls itself as often as its argument says, and counts the calls.
fn recursion(calls: usize) -> Code {
    let code = Code::new().mov(1, calls as i32).mov(0, 0).call(1).exit();
    let code = code
        .op(ALU64 | ADD | K, 0, 0, 0, 1)
        .op(ALU64 | SUB | K, 1, 0, 0, 1);
    code.op(JMP | JEQ | K, 1, 0, 1, 0).call(-4).exit()
}

#[test]
fn eight_frames_may_be_live_and_no_more() {
    assert_eq!(recursion(MAX_FRAMES - 1).result(), MAX_FRAMES as u64 - 1);
    let error = Err(Trap::Depth {
        at: 7,
        allowed: MAX_FRAMES,
    });
    assert_eq!(recursion(MAX_FRAMES).run(), error);
}

#[test]
fn frames_are_gone_after_a_trap() {
    let mut memory = Memory::new();
    for _ in 0..3 {
        assert!(recursion(100).run_over(&mut memory, &[]).is_err());
        assert_eq!(recursion(7).run_over(&mut memory, &[]), Ok(7));
    }
}

#[test]
fn five_arguments_fit_and_six_do_not() {
    let code = Code::new().copy(0, 5).exit();
    assert_eq!(code.run_over(&mut Memory::new(), &[1, 2, 3, 4, 5]), Ok(5));
    let error = Err(Trap::Arguments {
        found: 6,
        allowed: 5,
    });
    assert_eq!(
        code.run_over(&mut Memory::new(), &[1, 2, 3, 4, 5, 6]),
        error
    );
}

/// A host that runs the program again when it is called.
struct Nested<'a>(Option<&'a Program>, usize);

impl Calls for Nested<'_> {
    type Error = Trap<()>;

    fn helper(&mut self, memory: &mut Memory, _: u32, args: [u64; 5]) -> Result<u64, Trap<()>> {
        self.1 += 1;
        let Some(program) = self.0 else { return Ok(0) };
        memory
            .write_u64(args[0], 5)
            .expect("the caller's frame is live");
        let inner = run(program, &args, memory, self, &mut Budget::new(1000));
        inner.map_err(|_| Trap::Lost { at: 0 })
    }

    fn kfunc(&mut self, _: &mut Memory, _: u32, _: [u64; 5]) -> Result<u64, Trap<()>> {
        Ok(0)
    }
}

#[test]
fn runs_inside_of_runs_share_the_frames() {
    // Calls the helper with a pointer into its frame, and returns what it finds there.
    let code = Code::new()
        .copy(1, 10)
        .op(ALU64 | ADD | K, 1, 0, 0, -8)
        .copy(6, 1);
    let code = code
        .helper(KNOWN as i32)
        .op(LDX | MEM | DW, 0, 6, 0, 0)
        .exit();
    let outer = Program::decode(&code.0, &mut Host::default()).unwrap();
    let leaf = Code::new()
        .op(ST | MEM | DW, 10, 0, -8, 1)
        .mov(0, 1)
        .exit()
        .decode()
        .unwrap();
    let mut memory = Memory::new();
    let mut host = Nested(Some(&leaf), 0);
    let result = run(&outer, &[], &mut memory, &mut host, &mut Budget::new(1000));
    assert_eq!(result, Ok(5));

    let mut host = Nested(Some(&outer), 0);
    let result = run(&outer, &[], &mut memory, &mut host, &mut Budget::new(1000));
    assert_eq!(
        result,
        Err(Trap::Call {
            at: 3,
            error: Trap::Lost { at: 0 }
        })
    );
    assert_eq!(host.1, MAX_FRAMES);
}
