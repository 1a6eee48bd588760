//! What the loader of a hand-written object does, step by step, and what it leaves behind.

use kpeel_bpf::{FaultKind, Trap};
use kpeel_envelope::carrier::Carrier;
use kpeel_lskel::link;

use crate::elf::{self, CALL, LD64, Object, exit, insn, mov};
use crate::host::{Fd, Host, Outcome};
use crate::model::{Load, Step};
use crate::registers::uninitialised_read;

/// Bytes of the context's fixed part, of a map and of a program in it.
const FIXED: usize = 24;
const MAP: usize = 16;
const PROG: usize = 4;
const BOTH_MAP_AND_PROG: usize = FIXED + MAP + PROG;

const EIO: i64 = -5;

fn load(object: &Object, host: &mut Host, context: usize) -> Outcome {
    let carrier = link(&object.bytes()).unwrap();
    host.load(&carrier, vec![0; context])
}

/// [`elf::sound`] with a second program.
fn two_programs() -> Object {
    let mut object = elf::sound();
    let post = [insn(CALL, 0, 1, 0, -1), mov(0, 0), exit()];
    object.function(elf::POST, elf::GLOBAL_FUNC, &post);
    object.sections.last_mut().unwrap().relocations = vec![(0, elf::CALL32, elf::SYM_SUB)];
    object
}

/// The smallest parser: no constants, no kfuncs.
fn bare() -> Object {
    let mut object = elf::sound();
    object.sections[elf::PARSE].data = elf::code(&[mov(0, 0), exit()]);
    object.sections[elf::PARSE].relocations.clear();
    object.symbols[0].size = 16;
    object
}

fn fd_in(context: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(context[at..at + 4].try_into().unwrap())
}

/// `sound`'s program as it must be loaded, `sub` moved behind `parse`.
fn linked(copy: (i32, i16), verdict: (i32, i16)) -> Vec<[u8; 8]> {
    vec![
        insn(0x79, 6, 1, 0, 0),
        insn(CALL, 0, 1, 0, 7),
        insn(LD64, 1, 6, 0, 0),
        insn(0, 0, 0, 0, 0),
        insn(0x79, 2, 6, 8, 0),
        insn(0x61, 3, 6, 16, 0),
        insn(CALL, 0, 2, copy.1, copy.0),
        mov(0, 0),
        exit(),
        mov(1, 4),
        insn(LD64, 2, 6, 0, 0),
        insn(0, 0, 0, 0, 13),
        mov(3, 7),
        mov(4, 9),
        insn(CALL, 0, 2, verdict.1, verdict.0),
        exit(),
    ]
}

#[test]
fn issues_exactly_these_commands() {
    let mut host = Host {
        first_fd: 3,
        ..Host::default()
    };
    let outcome = load(&elf::sound(), &mut host, BOTH_MAP_AND_PROG);
    assert_eq!(outcome.status, Ok(0));
    let program = Load {
        kind: 26,
        insns: linked((201, 0), (70_205, 0)),
        license: "Dual MIT/GPL".into(),
        flags: 0x10,
        name: "parse".into(),
        expected_attach_type: 24,
        attach_btf_id: 101,
        kfuncs: vec![
            ("bpf_copy_to_kernel".into(), 0),
            ("bpf_kexec_verdict".into(), 0),
        ],
        maps: vec![3, 3],
        ..Load::default()
    };
    let expected = [
        Step::Find("bpf_copy_to_kernel".into()),
        Step::Find("bpf_kexec_verdict".into()),
        Step::MapCreate {
            kind: 2,
            key: 4,
            value: elf::STRINGS.len() as u32,
            entries: 1,
            flags: 0x80,
            name: ".rodata".into(),
        },
        Step::MapUpdate {
            fd: 3,
            key: 0,
            value: elf::STRINGS.to_vec(),
        },
        Step::MapFreeze(3),
        Step::Find("bpf_handle_pefile".into()),
        Step::ProgLoad(Box::new(program)),
    ];
    assert_eq!(host.steps, expected);
}

#[test]
fn merges_sections_of_constants_aligned_as_each_asks() {
    let mut object = elf::sound();
    let words = object.section(".rodata.cst8", elf::PROGBITS, elf::ALLOC, 8, vec![9; 16]);
    let symbol = object.symbol("", elf::LOCAL_SECTION, words, 0, 0);
    object.sections[elf::TEXT].relocations[0].2 = symbol;
    object.patch(elf::TEXT, 1, insn(LD64, 2, 0, 0, 8));
    let mut host = Host::default();
    let outcome = load(&object, &mut host, BOTH_MAP_AND_PROG);
    assert_eq!(outcome.status, Ok(0));
    let mut expected = elf::STRINGS.to_vec();
    expected.resize(24, 0);
    expected.extend([9; 16]);
    assert!(matches!(&host.steps[3], Step::MapUpdate { value, .. } if *value == expected));
    assert_eq!(host.programs()[0].insns[11], insn(0, 0, 0, 0, 24 + 8));
}

#[test]
fn clears_the_offset_of_kfunc_calls() {
    let mut object = elf::sound();
    object.patch(elf::PARSE, 6, insn(CALL, 0, 1, 5, -1));
    let mut host = Host::default();
    let outcome = load(&object, &mut host, BOTH_MAP_AND_PROG);
    assert_eq!(outcome.status, Ok(0));
    assert_eq!(host.programs()[0].insns[6], insn(CALL, 0, 2, 0, 201));
}

#[test]
fn hands_map_and_program_over_in_the_context() {
    let mut host = Host {
        first_fd: 3,
        ..Host::default()
    };
    let outcome = load(&elf::sound(), &mut host, BOTH_MAP_AND_PROG);
    let mut expected = vec![0; BOTH_MAP_AND_PROG];
    expected[24] = 3;
    expected[40] = 4;
    assert_eq!(outcome.context, expected);
    let kept: Vec<_> = host.fds.iter().collect();
    assert!(matches!(
        kept[..],
        [(3, Fd::Map { frozen: true, .. }), (4, Fd::Program)]
    ));
}

#[test]
fn loads_both_programs_in_a_fixed_order() {
    let mut reversed = two_programs();
    reversed.sections.swap(elf::PARSE, 4);
    reversed.symbols[0].section = 5;
    reversed.symbols[5].section = 1;
    for object in [two_programs(), reversed] {
        let mut host = Host {
            first_fd: 3,
            ..Host::default()
        };
        let outcome = load(&object, &mut host, BOTH_MAP_AND_PROG + PROG);
        assert_eq!(outcome.status, Ok(0));
        let anchors: Vec<_> = host.programs().iter().map(|p| p.attach_btf_id).collect();
        assert_eq!(anchors, [101, 102]);
        assert_eq!(host.programs()[1].insns[0], insn(CALL, 0, 1, 0, 2));
        assert_eq!(fd_in(&outcome.context, 40), 4);
        assert_eq!(fd_in(&outcome.context, 44), 5);
        assert_eq!(host.fds.len(), 3);
    }
}

#[test]
fn makes_no_map_without_constants() {
    let mut host = Host::default();
    let outcome = load(&bare(), &mut host, FIXED + PROG);
    assert_eq!(outcome.status, Ok(0));
    assert_eq!(host.steps.len(), 2);
    assert_eq!(host.fds.len(), 1);
}

#[test]
fn touches_the_context_up_to_its_last_byte_only() {
    let cases = [
        (bare(), FIXED + PROG),
        (elf::sound(), BOTH_MAP_AND_PROG),
        (two_programs(), BOTH_MAP_AND_PROG + PROG),
    ];
    for (object, size) in cases {
        let exact = load(&object, &mut Host::default(), size);
        assert_eq!(exact.status, Ok(0));
        let short = load(&object, &mut Host::default(), size - 1);
        match short.status {
            Err(Trap::Fault { fault, .. }) => {
                assert!(matches!(fault.kind, FaultKind::Bounds { .. }));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn reads_no_register_before_it_is_written() {
    let mut far = elf::sound();
    far.sections[elf::RODATA].data.resize(40_000, 0);
    for object in [bare(), elf::sound(), two_programs(), far] {
        let carrier = link(&object.bytes()).unwrap();
        let insns = Carrier::parse(&carrier).unwrap().insns;
        assert_eq!(uninitialised_read(insns), None);
    }
}

#[test]
fn passes_the_log_on() {
    let carrier = link(&two_programs().bytes()).unwrap();
    let mut context = vec![0; BOTH_MAP_AND_PROG + PROG];
    context[8..24].copy_from_slice(&[4, 0, 0, 0, 5, 1, 0, 0, 6, 0, 0, 0, 2, 0, 0, 0x80]);
    let mut host = Host::default();
    assert_eq!(host.load(&carrier, context).status, Ok(0));
    let logs: Vec<_> = host.programs().iter().map(|p| p.log).collect();
    assert_eq!(logs, [(4, 0x105, 0x8000_0002_0000_0006); 2]);
}

#[test]
fn every_failing_step_ends_the_load_and_leaves_nothing() {
    for in_module in [vec![], vec!["bpf_handle_pefile", "bpf_kexec_verdict"]] {
        let mut whole = Host {
            in_module: in_module.clone(),
            first_fd: 1,
            ..Host::default()
        };
        let size = BOTH_MAP_AND_PROG + PROG;
        assert_eq!(load(&two_programs(), &mut whole, size).status, Ok(0));
        let steps = whole.commands().count();
        assert_eq!(steps, 9);
        for at in 0..steps {
            let mut host = Host {
                in_module: in_module.clone(),
                first_fd: 1,
                fail: Some((at, EIO)),
                ..Host::default()
            };
            let outcome = load(&two_programs(), &mut host, size);
            assert_eq!(outcome.status, Ok(EIO), "step {at}");
            assert_eq!(host.fds.len(), 0, "step {at}: {:?}", host.fds);
            assert_eq!(outcome.context, vec![0; size], "step {at}");
            assert_eq!(host.commands().count(), at + 1, "step {at}");
        }
    }
}

#[test]
fn closes_each_descriptor_once() {
    let mut host = Host {
        in_module: vec![
            "bpf_handle_pefile",
            "bpf_copy_to_kernel",
            "bpf_kexec_verdict",
        ],
        first_fd: 1,
        fail: Some((6, EIO)),
        ..Host::default()
    };
    let outcome = load(&elf::sound(), &mut host, BOTH_MAP_AND_PROG);
    assert_eq!(outcome.status, Ok(EIO));
    let closed: Vec<_> = host
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Close(fd) => Some(*fd),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [3, 1, 2, 4]);
}

#[test]
fn descriptor_zero_is_one_like_any_other() {
    let mut host = Host::default();
    let outcome = load(&elf::sound(), &mut host, BOTH_MAP_AND_PROG);
    assert_eq!(outcome.status, Ok(0));
    assert_eq!(fd_in(&outcome.context, 24), 0);
    assert_eq!(fd_in(&outcome.context, 40), 1);
    assert_eq!(host.programs()[0].maps, [0, 0]);

    let mut failing = Host {
        fail: Some((6, EIO)),
        ..Host::default()
    };
    let outcome = load(&elf::sound(), &mut failing, BOTH_MAP_AND_PROG);
    assert_eq!(outcome.status, Ok(EIO));
    assert_eq!(failing.fds.len(), 0);
}

#[test]
fn finds_kfuncs_and_anchor_in_a_module() {
    let mut host = Host {
        in_module: vec!["bpf_handle_pefile", "bpf_kexec_verdict"],
        first_fd: 3,
        ..Host::default()
    };
    let outcome = load(&elf::sound(), &mut host, BOTH_MAP_AND_PROG);
    assert_eq!(outcome.status, Ok(0));
    let program = host.programs()[0];
    // The second kfunc's descriptor stands at index 2 of the fd array.
    assert_eq!(program.insns, linked((201, 0), (70_205, 2)));
    let kfuncs = [
        ("bpf_copy_to_kernel".to_owned(), 0),
        ("bpf_kexec_verdict".to_owned(), 3),
    ];
    assert_eq!(program.kfuncs, kfuncs);
    assert_eq!(program.attach_btf_fd, 5);
    assert_eq!(host.steps[7..], [Step::Close(3), Step::Close(5)]);
    assert_eq!(host.fds.keys().collect::<Vec<_>>(), [&4, &6]);
}

#[test]
fn an_absent_kfunc_fails_the_load() {
    let carrier = link(&elf::sound().bytes()).unwrap();
    assert_eq!(Host::default().load(&carrier, vec![0; 44]).status, Ok(0));
    // Every name in the carrier is looked up as it stands there.
    let at = |carrier: &[u8]| {
        let name = b"bpf_kexec_verdict";
        carrier.windows(name.len()).position(|w| w == name).unwrap()
    };
    let mut renamed = carrier.clone();
    renamed[at(&carrier)] = b'x';
    let mut host = Host::default();
    let outcome = host.load(&renamed, vec![0; 44]);
    assert_eq!(outcome.status, Ok(crate::model::errno::NOENT));
    assert_eq!(host.fds.len(), 0);
}

#[test]
fn patches_places_beyond_the_reach_of_a_displacement() {
    let mut object = elf::sound();
    object.sections[elf::RODATA].data.resize(200_000, 7);
    for in_module in [vec![], vec!["bpf_handle_pefile", "bpf_kexec_verdict"]] {
        let mut host = Host {
            in_module,
            first_fd: 1,
            ..Host::default()
        };
        let outcome = load(&object, &mut host, BOTH_MAP_AND_PROG);
        assert_eq!(outcome.status, Ok(0));
        assert_eq!(host.programs()[0].kfuncs.len(), 2);
    }
}

#[test]
fn patches_every_call_of_a_kfunc() {
    let mut object = elf::sound();
    let mut insns = Vec::new();
    let mut relocations = Vec::new();
    for index in 0..300 {
        relocations.push((
            index * 16,
            elf::CALL32,
            [elf::SYM_COPY, elf::SYM_VERDICT][index as usize % 2],
        ));
        insns.extend([insn(CALL, 0, 1, 0, -1), mov(0, 0)]);
    }
    insns.push(exit());
    object.sections[elf::PARSE].data = elf::code(&insns);
    object.sections[elf::PARSE].relocations = relocations;
    object.symbols[0].size = insns.len() as u64 * 8;
    let mut host = Host {
        in_module: vec!["bpf_copy_to_kernel"],
        first_fd: 1,
        ..Host::default()
    };
    assert_eq!(load(&object, &mut host, FIXED + PROG).status, Ok(0));
    let expected = [
        ("bpf_copy_to_kernel".to_owned(), 1),
        ("bpf_kexec_verdict".to_owned(), 0),
    ];
    let expected: Vec<_> = expected.iter().cycle().take(300).cloned().collect();
    assert_eq!(host.programs()[0].kfuncs, expected);
}
