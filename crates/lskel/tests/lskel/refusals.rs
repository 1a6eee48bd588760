//! Each refusal beside an object that differs in that one point and is accepted.

use kpeel_lskel::{Error, link};

use crate::elf::{self, ALLOC, CALL, EXEC, LD64, NOBITS, Object, PROGBITS, WRITE, exit, insn, mov};

/// Linked, or the error's text.
fn result(object: &Object) -> Result<Vec<u8>, String> {
    link(&object.bytes()).map_err(|error| error.to_string())
}

#[track_caller]
fn accepts(change: impl FnOnce(&mut Object)) {
    let mut object = elf::sound();
    change(&mut object);
    if let Err(error) = result(&object) {
        panic!("refused: {error}");
    }
}

#[track_caller]
fn unsupported(needle: &str, change: impl FnOnce(&mut Object)) {
    let mut object = elf::sound();
    change(&mut object);
    match link(&object.bytes()) {
        Err(error @ Error::Unsupported { .. }) => check(needle, &error),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("accepted"),
    }
}

#[track_caller]
fn malformed(needle: &str, change: impl FnOnce(&mut Object)) {
    let mut object = elf::sound();
    change(&mut object);
    match link(&object.bytes()) {
        Err(error @ Error::Malformed { .. }) => check(needle, &error),
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("accepted"),
    }
}

#[track_caller]
fn check(needle: &str, error: &Error) {
    let message = error.to_string();
    assert!(message.contains(needle), "{message}");
}

#[test]
fn accepts_a_sound_object() {
    accepts(|_| {});
}

#[test]
fn refuses_files_that_are_no_bpf_relocatable() {
    unsupported("e_machine: found 62, needed 247", |o| o.machine = 62);
    unsupported("e_type: found 2, needed 1", |o| o.kind = 2);
    unsupported("EI_DATA", |o| o.encoding = 2);
    malformed("ELF header", |o| o.class = 1);
}

#[test]
fn refuses_sections_that_need_another_map() {
    for name in [
        ".data",
        ".bss",
        ".maps",
        ".kconfig",
        ".data.rel.ro",
        ".struct_ops",
    ] {
        let kind = if name == ".bss" { NOBITS } else { PROGBITS };
        unsupported(&format!("section `{name}`: found 1 writable bytes"), |o| {
            o.section(name, kind, ALLOC | WRITE, 1, vec![0]);
        });
        // Compilers leave empty ones behind; those without ALLOC are not loaded.
        accepts(|o| {
            o.section(name, kind, ALLOC | WRITE, 1, vec![]);
        });
        accepts(|o| {
            o.section(name, PROGBITS, 0, 1, vec![0]);
        });
    }
}

#[test]
fn refuses_constants_and_code_that_are_writable() {
    unsupported("section `.rodata.str1.1`", |o| {
        o.sections[elf::RODATA].flags |= WRITE;
    });
    unsupported("section `.text`", |o| o.sections[elf::TEXT].flags |= WRITE);
}

#[test]
fn accepts_constants_under_any_rodata_name() {
    for name in [".rodata", ".rodata.cst8", ".rodata..Lanon.0"] {
        accepts(|o| o.sections[elf::RODATA].name = name.into());
    }
    unsupported("section `.constants`", |o| {
        o.sections[elf::RODATA].name = ".constants".into();
    });
}

#[test]
fn refuses_alignment_a_map_value_does_not_have() {
    accepts(|o| o.sections[elf::RODATA].align = 8);
    accepts(|o| o.sections[elf::RODATA].align = 0);
    for align in [16, 3] {
        unsupported(&format!("sh_addralign: found {align}"), |o| {
            o.sections[elf::RODATA].align = align;
        });
    }
}

#[test]
fn refuses_programs_of_other_kinds() {
    let body = [mov(0, 0), exit()];
    unsupported("program section `xdp`: found 16 bytes", |o| {
        o.function("xdp", elf::GLOBAL_FUNC, &body);
    });
    unsupported("program section `fentry.s/other`", |o| {
        o.function("fentry.s/other", elf::GLOBAL_FUNC, &body);
    });
    // A section somebody calls is part of a program; `.text` is, whether called or not.
    accepts(|o| {
        let function = o.function("xdp", elf::GLOBAL_FUNC, &body);
        o.sections[elf::PARSE].relocations[0].2 = function;
    });
    accepts(|o| {
        o.function(".text.unused", elf::LOCAL_FUNC, &body);
    });
    accepts(|o| {
        o.function(elf::POST, elf::GLOBAL_FUNC, &body);
    });
}

#[test]
fn refuses_no_main_program_and_more_than_one() {
    let body = [mov(0, 0), exit()];
    unsupported("section `fentry.s/bpf_handle_pefile`: found none", |o| {
        o.sections[elf::PARSE].name = elf::POST.into();
    });
    unsupported("bpf_handle_pefile`: found 2 such sections", |o| {
        o.function(elf::HANDLE, elf::GLOBAL_FUNC, &body);
    });
    unsupported("bpf_handle_pefile`: found 0 global functions", |o| {
        o.symbols[0].info = elf::LOCAL_FUNC;
    });
    unsupported("bpf_handle_pefile`: found 2 global functions", |o| {
        o.symbols[0].size = 56;
        o.symbol("second", elf::GLOBAL_FUNC, 1, 56, 16);
    });
    // A local function beside the program is a subprogram.
    accepts(|o| {
        o.sections[elf::PARSE].data.extend(body.concat());
        o.symbol("second", elf::LOCAL_FUNC, 1, 72, 16);
    });
}

#[test]
fn refuses_externs_hosts_do_not_offer() {
    accepts(|o| o.symbols[3].name = "bpf_decompress".into());
    unsupported(
        "extern: found `memcpy`, needed one of bpf_copy_to_kernel,",
        |o| {
            o.symbols[3].name = "memcpy".into();
        },
    );
    unsupported("extern `bpf_copy_to_kernel`: found a weak symbol", |o| {
        o.symbols[3].info = elf::WEAK_NOTYPE;
    });
    // One that nothing refers to is no matter.
    accepts(|o| {
        o.symbol("memcpy", elf::GLOBAL_NOTYPE, 0, 0, 0);
    });
}

#[test]
fn refuses_symbols_of_no_section() {
    const SHN_ABS: u16 = 0xfff1;
    unsupported("against symbol `bpf_copy_to_kernel` of no section", |o| {
        o.symbols[3].section = SHN_ABS;
    });
    malformed("section of symbol `bpf_copy_to_kernel`: found 200", |o| {
        o.symbols[3].section = 200;
    });
}

#[test]
fn refuses_helpers_hosts_do_not_offer() {
    let probe_read_kernel = insn(CALL, 0, 0, 0, 113);
    accepts(|o| o.patch(elf::PARSE, 7, probe_read_kernel));
    unsupported("instruction 7, helper: found 12", |o| {
        o.patch(elf::PARSE, 7, insn(CALL, 0, 0, 0, 12));
    });
    unsupported("helper: found -1", |o| {
        o.patch(elf::PARSE, 7, insn(CALL, 0, 0, 0, -1));
    });
}

#[test]
fn refuses_calls_and_references_without_relocation() {
    unsupported("call with src 2 and no relocation", |o| {
        o.patch(elf::PARSE, 7, insn(CALL, 0, 2, 0, 1));
    });
    let wide = |src| [insn(LD64, 1, src, 0, 1), insn(0, 0, 0, 0, 0)].concat();
    let replace = |o: &mut Object, src| {
        o.sections[elf::PARSE].data[16..32].copy_from_slice(&wide(src));
        o.sections[elf::PARSE].relocations.remove(1);
    };
    accepts(|o| replace(o, 0));
    unsupported("ld_imm64 with src 1 and no relocation", |o| replace(o, 1));
}

#[test]
fn refuses_relocations_of_other_kinds() {
    unsupported("R_BPF_64_ABS64 against section `.rodata.str1.1`", |o| {
        o.sections[elf::PARSE].relocations[1].1 = elf::ABS64;
    });
    unsupported("relocation type 77 against extern", |o| {
        o.sections[elf::PARSE].relocations[2].1 = 77;
    });
    unsupported("R_BPF_64_64 against extern `bpf_copy_to_kernel`", |o| {
        o.sections[elf::PARSE].relocations[1].2 = elf::SYM_COPY;
    });
    unsupported("R_BPF_64_64 against section `.text`", |o| {
        o.sections[elf::PARSE].relocations[1].2 = elf::SYM_SUB;
    });
    unsupported("R_BPF_64_32 against section `.rodata.str1.1`", |o| {
        o.sections[elf::PARSE].relocations[0].2 = elf::SYM_RODATA;
    });
    unsupported("instruction 7, relocation: found R_BPF_64_32", |o| {
        o.sections[elf::PARSE].relocations[2].0 = 56;
    });
    unsupported("instruction 6, relocation: found R_BPF_64_32", |o| {
        o.patch(elf::PARSE, 6, insn(CALL, 0, 0, 0, 113));
    });
    malformed("sh_link 8, needed 7", |o| o.skew = 1);
    unsupported("type SHT_RELA", |o| o.rela = true);
    malformed("symbol index: found 900", |o| {
        o.sections[elf::PARSE].relocations[2].2 = 900;
    });
}

#[test]
fn refuses_addresses_in_constants() {
    unsupported("relocations of section `.rodata.str1.1`", |o| {
        o.sections[elf::RODATA].relocations = vec![(0, elf::ABS64, elf::SYM_RODATA)];
    });
    // In sections that are not loaded they are debug information.
    accepts(|o| {
        let debug = o.section(".debug_info", PROGBITS, 0, 1, vec![0; 8]);
        o.sections[usize::from(debug) - 1].relocations = vec![(0, elf::ABS64, elf::SYM_RODATA)];
    });
}

#[test]
fn refuses_relocations_between_instructions() {
    malformed("offset 0x9", |o| {
        o.sections[elf::PARSE].relocations[0].0 = 9
    });
    malformed("offset 0x18", |o| {
        o.sections[elf::PARSE].relocations[1].0 = 24
    });
    malformed("offset 0x8: found two relocations", |o| {
        o.sections[elf::PARSE].relocations[1].0 = 8;
    });
}

#[test]
fn refuses_references_outside_their_section() {
    let last = elf::STRINGS.len() as i32 - 1;
    accepts(|o| o.patch(elf::PARSE, 2, insn(LD64, 1, 0, 0, last)));
    for addend in [last + 1, -1] {
        unsupported(
            &format!("found 0x0 + {addend}, needed an offset below 0x13"),
            |o| {
                o.patch(elf::PARSE, 2, insn(LD64, 1, 0, 0, addend));
            },
        );
    }
    accepts(|o| o.symbols[2].value = 5);
    unsupported("found 0x6 + 13", |o| o.symbols[2].value = 6);
}

#[test]
fn refuses_calls_into_the_middle_of_a_function() {
    malformed("call into section `.text`: found offset 0x8", |o| {
        o.patch(elf::PARSE, 1, insn(CALL, 0, 1, 0, 0));
    });
    malformed("instruction 1, call: found -8 bytes from 0x0", |o| {
        o.patch(elf::PARSE, 1, insn(CALL, 0, 1, 0, -2));
    });
    // Without relocation the distance counts inside the section.
    let second = [mov(0, 0), exit()].concat();
    let local = |o: &mut Object, distance| {
        o.sections[elf::PARSE].data.extend(&second);
        o.symbol("second", elf::LOCAL_FUNC, 1, 72, 16);
        o.patch(elf::PARSE, 7, insn(CALL, 0, 1, 0, distance));
    };
    accepts(|o| local(o, 1));
    malformed("offset 0x50", |o| local(o, 2));
}

#[test]
fn refuses_functions_outside_their_section() {
    malformed("function `sub`: found size 0", |o| o.symbols[1].size = 0);
    malformed(
        "found 0x40 bytes at 0x0, needed inside the section's 0x38",
        |o| {
            o.symbols[1].size = 64;
        },
    );
    malformed("found 0x38 bytes at 0xfffffffffffffff8", |o| {
        o.symbols[1].value = u64::MAX - 7;
        o.patch(elf::PARSE, 1, insn(CALL, 0, 1, 0, -1));
    });
    malformed("multiples of 8", |o| {
        o.sections[elf::TEXT].data.extend([0; 4]);
        o.symbols[1].size = 60;
    });
}

#[test]
fn refuses_control_that_leaves_a_function() {
    malformed("last instruction: found opcode 0xb7", |o| {
        o.patch(elf::TEXT, 6, mov(0, 0));
    });
    // `ja` ends a function as well.
    accepts(|o| o.patch(elf::TEXT, 6, insn(0x05, 0, 0, -7, 0)));
    let jump = |distance| insn(0x15, 1, 0, distance, 0);
    accepts(|o| o.patch(elf::TEXT, 0, jump(5)));
    malformed("instruction 0, jump: found distance 6", |o| {
        o.patch(elf::TEXT, 0, jump(6));
    });
    malformed("instruction 0, jump: found distance -2", |o| {
        o.patch(elf::TEXT, 0, jump(-2));
    });
    accepts(|o| o.patch(elf::TEXT, 0, insn(0x06, 0, 0, 0, 5)));
    malformed("found distance 100000", |o| {
        o.patch(elf::TEXT, 0, insn(0x06, 0, 0, 0, 100_000));
    });
}

#[test]
fn refuses_programs_beyond_a_million_instructions() {
    // `sub` calls functions that are tails of each other.
    let overlap = |o: &mut Object, tails: u32, length: usize| {
        let mut insns = vec![mov(0, 0); length];
        insns.push(exit());
        let first = o.function(".text.tails", elf::LOCAL_FUNC, &insns);
        let section = o.symbols.last().unwrap().section;
        for tail in 1..tails {
            let (skipped, size) = (u64::from(tail) * 8, (length + 1) as u64 * 8);
            o.symbol("tail", elf::LOCAL_FUNC, section, skipped, size - skipped);
        }
        let calls = (0..tails).flat_map(|_| [insn(CALL, 0, 1, 0, -1)]);
        let calls: Vec<_> = calls.chain([exit()]).collect();
        o.symbols[1].size = calls.len() as u64 * 8;
        o.sections[elf::TEXT].data = elf::code(&calls);
        let relocations = (0..tails).map(|n| (u64::from(n) * 8, elf::CALL32, first + n));
        o.sections[elf::TEXT].relocations = relocations.collect();
    };
    accepts(|o| overlap(o, 9, 100_000));
    unsupported("at most 1000000 in a program", |o| overlap(o, 11, 100_000));
}

#[test]
fn refuses_half_a_wide_instruction() {
    malformed("second slot of ld_imm64: found opcode 0xb7", |o| {
        o.patch(elf::PARSE, 3, mov(0, 0));
    });
    malformed("last instruction: found opcode 0x18", |o| {
        o.patch(elf::TEXT, 6, insn(LD64, 0, 0, 0, 0));
    });
}

#[test]
fn refuses_core_records() {
    let btf_ext = |o: &mut Object, core: u8| {
        let mut data = vec![0; 32];
        data[28] = core;
        o.section(".BTF.ext", PROGBITS, 0, 4, data);
    };
    accepts(|o| btf_ext(o, 0));
    unsupported("CO-RE records: found 44 bytes", |o| btf_ext(o, 44));
    // A header from before CO-RE.
    accepts(|o| {
        o.section(".BTF.ext", PROGBITS, 0, 4, vec![1; 24]);
    });
}

#[test]
fn refuses_licences_under_which_kfuncs_are_closed() {
    let license = |o: &mut Object, text: &[u8]| o.sections[elf::LICENSE].data = text.to_vec();
    for text in [&b"GPL\0"[..], b"GPL v2\0", b"Dual BSD/GPL\0", b"GPL"] {
        accepts(|o| license(o, text));
    }
    for text in [&b"MIT\0"[..], b"gpl\0", b"GPL v3\0", b"\0GPL\0", b""] {
        unsupported("section `license`: found \"", |o| license(o, text));
    }
    unsupported("section `license`: found 0 such sections", |o| {
        o.sections[elf::LICENSE].name = ".comment".into();
        o.sections[elf::LICENSE].flags = 0;
    });
    unsupported("section `license`: found 2 such sections", |o| {
        o.section("license", PROGBITS, ALLOC | WRITE, 1, b"GPL\0".to_vec());
    });
    malformed("section `license`: found", |o| license(o, b"\xff\xff\0"));
}

#[test]
fn leaves_out_what_nothing_refers_to() {
    let with_more = {
        let mut object = elf::sound();
        object.function(".text.unused", elf::LOCAL_FUNC, &[mov(0, 0), exit()]);
        object.section(".rodata.unused", PROGBITS, ALLOC, 1, vec![1; 5000]);
        object.section(".debug_str", PROGBITS, 0, 1, vec![1; 5000]);
        object.section(".text", PROGBITS, ALLOC | EXEC, 4, vec![0; 8]);
        object
    };
    assert_eq!(result(&with_more), result(&elf::sound()));
}

/// Otherwise a small file could say as much as hundreds of large ones.
#[test]
fn refuses_sections_that_share_bytes() {
    let mut bytes = elf::sound().bytes();
    let len = bytes.len() as u64;
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    // `e_shoff` and then `sh_offset` and `sh_size` of `.rodata`, which is made the whole file.
    let header = word(40) as usize + 64 * (elf::RODATA + 1);
    bytes[header + 24..header + 32].fill(0);
    bytes[header + 32..header + 40].copy_from_slice(&len.to_le_bytes());
    let error = link(&bytes).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
    check("bytes that other sections hold too", &error);
}

#[test]
fn refuses_long_names() {
    let named = |object: &mut Object, len: usize| {
        let mut symbol = object.symbols[0].clone();
        symbol.name = "n".repeat(len);
        object.symbols.push(symbol);
    };
    accepts(|o| named(o, 4096));
    malformed("found 4097 bytes, needed at most 4096 bytes", |o| {
        named(o, 4097);
    });
}
