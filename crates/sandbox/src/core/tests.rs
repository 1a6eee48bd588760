//! Relocated programs against the same programs compiled for the target's types: clang is the oracle.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use kpeel_bpf::{Access, Budget, Memory, NoCalls, Program, Trap, run};
use kpeel_images::make::{Scratch, noise};
use object::{Object, ObjectSection};

use super::*;

/// An object's programs with their relocations, and its types.
struct Compiled {
    programs: BTreeMap<String, (Vec<u8>, Vec<Relocation>)>,
    btf: Btf,
}

fn compile(flag: Option<&str>) -> Compiled {
    let scratch = Scratch::new().unwrap();
    let path = scratch.join("core.o");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/core.bpf.c");
    let output = Command::new("clang-22")
        .args([
            "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Werror", "-c", "-o",
        ])
        .arg(&path)
        .args(flag)
        .arg(source)
        .output()
        .expect("clang-22 is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let bytes = std::fs::read(path).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    let section = |name| file.section_by_name(name).unwrap().data().unwrap().to_vec();
    let btf = Btf::parse(section(".BTF")).unwrap();
    let mut programs: BTreeMap<String, (Vec<u8>, Vec<Relocation>)> = file
        .sections()
        .filter_map(|section| {
            let name = section.name().unwrap().strip_prefix("core/")?.to_owned();
            Some((name, (section.data().unwrap().to_vec(), Vec::new())))
        })
        .collect();
    for (name, relocation) in relocations(&section(".BTF.ext"), &btf) {
        programs.get_mut(&name).unwrap().1.push(relocation);
    }
    Compiled { programs, btf }
}

/// CO-RE records of `.BTF.ext` with the programs they are of.
fn relocations(ext: &[u8], btf: &Btf) -> Vec<(String, Relocation)> {
    let word = |at: usize| u32::from_le_bytes(ext[at..at + 4].try_into().unwrap()) as usize;
    let (header, offset, len) = (word(4), word(24), word(28));
    let table = &ext[header + offset..][..len];
    let word = |at: usize| u32::from_le_bytes(table[at..at + 4].try_into().unwrap()) as usize;
    let size = if len == 0 { 0 } else { word(0) };
    let (mut at, mut found) = (4, Vec::new());
    while at < len {
        let (name, count) = (btf.name(word(at) as u32), word(at + 4));
        let name = std::str::from_utf8(name)
            .unwrap()
            .strip_prefix("core/")
            .unwrap();
        at += 8;
        for record in table[at..at + count * size].chunks(size) {
            found.push((name.to_owned(), Relocation::read(record).unwrap()));
        }
        at += count * size;
    }
    found
}

fn execute(insns: &[u8]) -> std::result::Result<u64, Trap<std::convert::Infallible>> {
    let program = Program::decode(insns, &mut NoCalls).unwrap();
    let mut memory = Memory::new();
    let base = memory.map_owned(noise(256, 7), Access::ReadOnly).unwrap();
    run(
        &program,
        &[base],
        &mut memory,
        &mut NoCalls,
        &mut Budget::new(1000),
    )
}

fn relocate(compiled: &Compiled, name: &str, target: &Btf) -> std::result::Result<Vec<u8>, Bad> {
    let (insns, relocations) = &compiled.programs[name];
    let mut insns = insns.clone();
    for relocation in relocations {
        relocation.apply(&mut insns, &compiled.btf, target)?;
    }
    Ok(insns)
}

#[test]
fn relocated_programs_give_what_the_target_compiled_ones_give() {
    let (local, target) = (compile(None), compile(Some("-DTARGET")));
    assert!(target.programs.len() > 30);
    let mut moved = 0;
    for (name, (insns, relocations)) in &target.programs {
        assert!(relocations.is_empty());
        let relocated = relocate(&local, name, &target.btf);
        let relocated = relocated.unwrap_or_else(|bad| panic!("{name}: {}", bad.0));
        let (expected, found) = (execute(insns).unwrap(), execute(&relocated));
        assert_eq!(found, Ok(expected), "{name}");
        moved += u32::from(relocated != local.programs[name].0);
    }
    assert!(moved > 20, "only {moved} programs were changed at all");
}

#[test]
fn what_cannot_be_relocated_is_poisoned_and_fails_only_when_reached() {
    let (local, target) = (compile(None), compile(Some("-DTARGET")));
    let insns = relocate(&local, "poisoned", &target.btf).unwrap();
    assert!(matches!(execute(&insns), Err(Trap::Unresolved { .. })));
    let call = [0x85, 0, 0, 0, 0x10, 0x23, 0xad, 0x0b];
    assert!(insns.as_chunks().0.contains(&call));
}

#[test]
fn type_ids_are_those_of_the_right_side() {
    let (local, target) = (compile(None), compile(Some("-DTARGET")));
    let id = |btf: &Btf, name: &str| btf.find(name.as_bytes(), Kind::Struct).map(u64::from);
    let value = |name| execute(&relocate(&local, name, &target.btf).unwrap()).ok();
    assert_eq!(value("type_id_target"), id(&target.btf, "element"));
    assert_eq!(value("type_id_local"), id(&local.btf, "element_alone"));
}

#[test]
fn refuses_records_that_make_no_sense() {
    let (local, target) = (compile(None), compile(Some("-DTARGET")));
    let (insns, relocations) = &local.programs["moved"];
    let good = relocations[0];
    let apply = |relocation: Relocation| {
        relocation
            .apply(&mut insns.clone(), &local.btf, &target.btf)
            .is_ok()
    };
    assert!(apply(good));
    for bad in [
        Relocation {
            insn_off: 4,
            ..good
        },
        Relocation {
            insn_off: insns.len() as u32,
            ..good
        },
        Relocation {
            insn_off: insns.len() as u32 - 8,
            ..good
        },
        Relocation {
            insn_off: u32::MAX,
            ..good
        },
        Relocation { type_id: 0, ..good },
        Relocation {
            type_id: u32::MAX,
            ..good
        },
        Relocation {
            access_off: 0,
            ..good
        },
        Relocation {
            access_off: u32::MAX,
            ..good
        },
        Relocation { kind: 13, ..good },
        Relocation { kind: 10, ..good },
        Relocation { kind: 8, ..good },
    ] {
        assert!(!apply(bad), "{bad:?}");
    }
}

/// Any change to a record or to the types may be refused, but must neither panic nor hang.
#[test]
fn no_damage_to_types_or_records_panics() {
    let (local, target) = (compile(None), compile(Some("-DTARGET")));
    let random = noise(8 * 4000, 11);
    for (round, draw) in random.as_chunks::<8>().0.iter().enumerate() {
        let draw = u64::from_le_bytes(*draw);
        let mut bytes = local.btf.bytes().to_vec();
        let at = 24 + (draw >> 16) as usize % (bytes.len() - 24);
        bytes[at] = draw as u8;
        let Ok(btf) = Btf::parse(bytes) else {
            continue;
        };
        let names: Vec<&String> = local.programs.keys().collect();
        let (insns, relocations) = &local.programs[names[round % names.len()]];
        for relocation in relocations {
            let mut relocation = *relocation;
            if draw & 0x100 != 0 {
                relocation.access_off = (draw >> 40) as u32;
            }
            let _ = relocation.apply(&mut insns.clone(), &btf, &target.btf);
        }
    }
}

#[test]
fn flavours_are_no_part_of_a_name() {
    for (name, expected) in [
        ("kexec_context", "kexec_context"),
        ("kexec_context___v4", "kexec_context"),
        ("a___b___c", "a___b"),
        ("___a", "___a"),
        ("a____b", "a____b"),
        ("a___", "a___"),
    ] {
        assert_eq!(essential(name.as_bytes()), expected.as_bytes(), "{name}");
    }
}
