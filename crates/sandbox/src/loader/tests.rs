//! Loaders written by hand, each asking for one thing.

use kpeel_abi::{ANCHOR, POST_ANCHOR};
use kpeel_envelope::error::{Class, Field, Refusal};
use kpeel_envelope::limits::{Limits, Meter};

use super::*;
use crate::answer::Work;
use crate::event::Trace;

/// A loader under construction: instructions, and data that they point into.
#[derive(Default)]
struct Asm {
    insns: Vec<u8>,
    data: Vec<u8>,
}

const PROG_ATTR: usize = 148;

impl Asm {
    fn insn(&mut self, code: u8, registers: u8, offset: i16, imm: i32) -> &mut Self {
        self.insns.extend([code, registers]);
        self.insns.extend(offset.to_le_bytes());
        self.insns.extend(imm.to_le_bytes());
        self
    }

    fn put(&mut self, bytes: &[u8]) -> i32 {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        let at = self.data.len();
        self.data.extend_from_slice(bytes);
        at as i32
    }

    /// `dst = &data[at]`
    fn address(&mut self, dst: u8, at: i32) -> &mut Self {
        self.insn(0x18, dst | 6 << 4, 0, 0).insn(0, 0, 0, at)
    }

    /// `dst = imm`
    fn mov(&mut self, dst: u8, imm: i32) -> &mut Self {
        self.insn(0xb7, dst, 0, imm)
    }

    fn call(&mut self, helper: i32) -> &mut Self {
        self.insn(0x85, 0, 0, helper)
    }

    fn exit(&mut self) -> &mut Self {
        self.insn(0x95, 0, 0, 0)
    }

    /// Leaves when the last result is negative.
    fn check(&mut self) -> &mut Self {
        // if r0 s>= 0 goto +1; exit
        self.insn(0x75, 0, 1, 0).exit()
    }

    /// Stores the address of `data[to]` at `data[at]`.
    fn point(&mut self, at: i32, to: i32) -> &mut Self {
        self.address(1, at)
            .address(2, to)
            .insn(0x7b, 1 | 2 << 4, 0, 0)
    }

    /// Stores the low word of register 0 at `data[at]`.
    fn keep(&mut self, at: i32) -> &mut Self {
        self.address(1, at).insn(0x63, 1, 0, 0)
    }

    /// Issues a command over `attr`; leaves on failure. Returns where the block stands.
    fn command(&mut self, number: i32, attr: &[u8]) -> i32 {
        let at = self.put(attr);
        self.issue(number, at, attr.len() as i32);
        at
    }

    fn issue(&mut self, number: i32, at: i32, size: i32) -> &mut Self {
        self.mov(1, number)
            .address(2, at)
            .mov(3, size)
            .call(166)
            .check()
    }

    /// Looks up a function and keeps its id at `data[at]`.
    fn lookup(&mut self, name: &str, at: i32) -> &mut Self {
        let size = name.len() as i32 + 1;
        let name = self.put(&[name.as_bytes(), &[0]].concat());
        self.address(1, name)
            .mov(2, size)
            .mov(3, 12)
            .mov(4, 0)
            .call(167)
            .check()
            .keep(at)
    }

    /// Loads a program for `anchor`; `change` may spoil its attributes.
    fn program(&mut self, anchor: &str, insns: &[u8], change: impl FnOnce(&mut [u8])) -> &mut Self {
        let mut attr = [0; PROG_ATTR];
        put(&mut attr, 0, 26);
        put(&mut attr, 4, (insns.len() / 8) as u32);
        put(&mut attr, 44, 0x10);
        put(&mut attr, 68, 24);
        change(&mut attr);
        let (license, insns) = (self.put(b"GPL\0"), self.put(insns));
        let at = self.put(&attr);
        self.point(at + 8, insns).point(at + 16, license);
        if anchor.is_empty() {
            self.address(1, at + 108).insn(0x62, 1, 0, 9999);
        } else {
            self.lookup(anchor, at + 108);
        }
        self.issue(5, at, PROG_ATTR as i32)
    }

    fn load(&mut self) -> Result<Skeleton> {
        self.load_with(Limits::default()).0
    }

    /// Ends the loader well and runs it.
    fn load_with(&mut self, limits: Limits) -> (Result<Skeleton>, Arc<Meter>) {
        self.mov(0, 0).exit();
        if self.data.is_empty() {
            self.data.push(0);
        }
        let carrier = Carrier {
            insns: &self.insns,
            data: &self.data,
        };
        let meter = Arc::new(Meter::new(limits));
        let (mut trace, mut work) = (Trace::default(), Work::for_instructions(0));
        let mut env = Env {
            meter: &meter,
            trace: &mut trace,
            work: &mut work,
        };
        let mut budget = Budget::new(limits.instructions);
        let result = load(&carrier, &Kernel::new(), &mut env, &mut budget);
        (result, Arc::clone(&meter))
    }
}

/// `r0 = 0; exit`
const NOTHING: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

fn put(attr: &mut [u8], at: usize, value: u32) {
    attr[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn map(kind: u32, key: u32, value: u32, entries: u32, flags: u32) -> Vec<u8> {
    let mut attr = vec![0; 72];
    for (at, word) in [kind, key, value, entries, flags].into_iter().enumerate() {
        put(&mut attr, at * 4, word);
    }
    attr
}

/// The error's field and class.
fn refused(asm: &mut Asm) -> (&'static str, Class) {
    let error = asm.load().expect_err("the loader passes");
    match error.field {
        Field::Named(name) => (name, error.class),
        Field::Parser(_) => panic!("{error}"),
    }
}

const PERMISSION: Class = Class::Refused(Refusal::Permission);

#[test]
fn a_program_for_the_anchor_loads() {
    let mut asm = Asm::default();
    let skeleton = asm.program(ANCHOR, &NOTHING, |_| {}).load().unwrap();
    assert_eq!(
        (skeleton.main.anchor, skeleton.main.program.len()),
        (Symbol::Anchor, 2)
    );
    assert!(skeleton.post.is_none());
}

#[test]
fn exactly_one_program_for_the_first_anchor_and_at_most_one_for_the_second() {
    let load = |mains: usize, posts: usize| {
        let mut asm = Asm::default();
        for anchor in
            std::iter::repeat_n(ANCHOR, mains).chain(std::iter::repeat_n(POST_ANCHOR, posts))
        {
            asm.program(anchor, &NOTHING, |_| {});
        }
        asm.load().map(|skeleton| skeleton.post.is_some())
    };
    assert_eq!(load(1, 1), Ok(true));
    for (mains, posts, field) in [
        (0, 0, "programs for bpf_handle_pefile"),
        (0, 1, "programs for bpf_handle_pefile"),
        (2, 0, "programs for bpf_handle_pefile"),
        (1, 2, "programs for bpf_post_handle_pefile"),
    ] {
        let error = load(mains, posts).unwrap_err();
        assert!(
            matches!(error.field, Field::Named(name) if name == field),
            "{error}"
        );
    }
}

#[test]
fn commands_that_no_loader_may_issue_are_not_permitted() {
    // LINK_CREATE, MAP_GET_FD_BY_ID, RAW_TRACEPOINT_OPEN, MAP_DELETE_ELEM, PROG_RUN, one unknown.
    for command in [28, 14, 17, 3, 10, 99] {
        let mut asm = Asm::default();
        asm.command(command, &[0; 8]);
        assert_eq!(refused(&mut asm), ("bpf command", PERMISSION), "{command}");
    }
}

#[test]
fn maps_are_arrays_and_ring_buffers() {
    for (attr, expected) in [
        (map(1, 4, 8, 1, 0), ("map_type", PERMISSION)),
        (map(2, 8, 8, 1, 0), ("key_size", Class::Malformed)),
        (map(27, 0, 0, 4095, 0), ("max_entries", Class::Malformed)),
    ] {
        let mut asm = Asm::default();
        asm.command(0, &attr);
        assert_eq!(refused(&mut asm), expected);
    }
    let mut asm = Asm::default();
    asm.command(0, &map(2, 4, 8, 1, 0));
    asm.command(0, &map(27, 0, 0, 4096, 0));
    assert!(asm.program(ANCHOR, &NOTHING, |_| {}).load().is_ok());
}

#[test]
fn maps_are_bounded_in_number_and_bytes() {
    let maps = |count: usize| {
        let mut asm = Asm::default();
        for _ in 0..count {
            asm.command(0, &map(2, 4, 8, 1, 0));
        }
        asm.program(ANCHOR, &NOTHING, |_| {}).load()
    };
    assert!(maps(64).is_ok());
    assert_eq!(
        maps(65).unwrap_err(),
        Error::bound("maps of a loader", 65, 64)
    );

    let ring = |memory| {
        let mut asm = Asm::default();
        asm.command(0, &map(27, 0, 0, 1 << 20, 0));
        asm.program(ANCHOR, &NOTHING, |_| {}).load_with(Limits {
            memory,
            ..Limits::default()
        })
    };
    assert!(ring(2 << 20).0.is_ok());
    let (result, meter) = ring(1 << 20);
    assert_eq!(result.unwrap_err().class, Class::Refused(Refusal::Bound));
    assert_eq!(meter.held(), 0);
}

#[test]
fn maps_that_no_program_names_are_gone_after_the_loader() {
    let mut asm = Asm::default();
    asm.command(0, &map(27, 0, 0, 1 << 20, 0));
    let (skeleton, meter) = asm
        .program(ANCHOR, &NOTHING, |_| {})
        .load_with(Limits::default());
    let skeleton = skeleton.unwrap();
    assert_eq!(skeleton.maps.iter().count(), 0);
    assert!(meter.held() < 4096);
    drop(skeleton);
    assert_eq!(meter.held(), 0);
}

#[test]
fn programs_are_sleepable_fentry_programs_on_the_anchors() {
    let spoil = |at: usize, value: u32| {
        let mut asm = Asm::default();
        asm.program(ANCHOR, &NOTHING, |attr| put(attr, at, value));
        refused(&mut asm)
    };
    assert_eq!(spoil(0, 1), ("prog_type", PERMISSION));
    assert_eq!(spoil(68, 25), ("expected_attach_type", PERMISSION));
    assert_eq!(spoil(44, 0), ("prog_flags", PERMISSION));
    assert_eq!(spoil(44, 0x30), ("prog_flags", Class::Malformed));
    assert_eq!(spoil(4, 0), ("insn_cnt", Class::Refused(Refusal::Bound)));
    assert_eq!(
        spoil(4, 1_000_001),
        ("insn_cnt", Class::Refused(Refusal::Bound))
    );
    assert_eq!(spoil(4, 1000), ("insns", Class::Malformed));
    assert_eq!(spoil(64, 1), ("prog_ifindex", Class::Malformed));
    assert_eq!(spoil(112, 1), ("attach_btf_id", PERMISSION));
    let mut asm = Asm::default();
    asm.program("", &NOTHING, |_| {});
    assert_eq!(refused(&mut asm), ("attach_btf_id", PERMISSION));
    let mut asm = Asm::default();
    asm.program("bpf_decompress", &NOTHING, |_| {});
    assert_eq!(refused(&mut asm), ("attach_btf_id", PERMISSION));
}

#[test]
fn descriptors_are_never_zero_and_close_once() {
    let close = |fd: i32| {
        let mut asm = Asm::default();
        asm.command(0, &map(2, 4, 8, 1, 0));
        asm.mov(1, fd).call(168).check();
        refused(&mut asm)
    };
    assert_eq!(close(0), ("descriptor", Class::Malformed));
    assert_eq!(
        close(1),
        ("programs for bpf_handle_pefile", Class::Malformed)
    );
}

#[test]
fn lookups_answer_for_anchors_and_kfuncs_only() {
    let mut asm = Asm::default();
    let place = asm.put(&[0; 8]);
    asm.lookup("printk", place);
    assert_eq!(
        refused(&mut asm),
        ("btf_find_by_name_kind", Class::Malformed)
    );

    let kallsyms = |name: &[u8]| {
        let mut asm = Asm::default();
        let (text, result) = (asm.put(name), asm.put(&[0xff; 8]));
        asm.address(1, text)
            .mov(2, name.len() as i32)
            .mov(3, 0)
            .address(4, result)
            .call(179);
        // An address is no errno: shift its low half out and return the high one as the verdict.
        asm.address(1, result).insn(0x79, 6 | 1 << 4, 0, 0).check();
        asm.insn(0xbf, 6 << 4, 0, 0).check();
        refused(&mut asm)
    };
    assert_eq!(
        kallsyms(b"jiffies\0"),
        ("kallsyms_lookup_name", Class::Malformed)
    );
    assert_eq!(kallsyms(b"bpf_decompress").0, "name");
    assert_eq!(kallsyms(b"bpf_decompress\0").0, "loader program's result");
}

#[test]
fn a_loader_reads_its_signature_block_but_no_other_map() {
    let read = |index: i32| {
        let mut asm = Asm::default();
        asm.insn(0x18, 1 | 5 << 4, 0, index).insn(0, 0, 0, 0);
        asm.insn(0x61, 1 << 4, 32, 0);
        // It is 1: 1 - 1 goes on, anything else is an error of its own.
        asm.insn(0x07, 0, 0, -1).check();
        asm.program(ANCHOR, &NOTHING, |_| {}).load()
    };
    assert!(read(0).is_ok());
    assert_eq!(read(1).unwrap_err().class, Class::Malformed);
}

#[test]
fn a_loader_is_stopped_at_its_bounds() {
    let mut asm = Asm::default();
    asm.insn(0x05, 0, -1, 0);
    let (result, _) = asm.load_with(Limits {
        instructions: 1000,
        ..Limits::default()
    });
    assert_eq!(
        result.unwrap_err(),
        Error::bound("instructions", 1001, 1000)
    );

    let mut asm = Asm::default();
    asm.address(1, 0).insn(0x71, 1 << 4, 1, 0);
    assert_eq!(refused(&mut asm), ("loader program", Class::Malformed));

    let mut asm = Asm::default();
    asm.address(1, 1);
    assert_eq!(refused(&mut asm), ("loader program", Class::Malformed));

    // A tail call is no helper of a loader.
    let mut asm = Asm::default();
    asm.call(12);
    assert_eq!(refused(&mut asm), ("loader program", PERMISSION));
}

#[test]
fn an_endless_loop_of_commands_is_stopped() {
    let mut asm = Asm::default();
    let at = asm.put(&map(1, 4, 8, 1, 0));
    // mov, ld_imm64 (2), mov, call, ja -6
    asm.mov(1, 0)
        .address(2, at)
        .mov(3, 72)
        .call(166)
        .insn(0x05, 0, -6, 0);
    let (result, _) = asm.load_with(Limits {
        instructions: u64::MAX,
        ..Limits::default()
    });
    let error = result.unwrap_err();
    assert!(
        matches!(error.field, Field::Named("work in calls (64-byte units)")),
        "{error}"
    );
}

/// A lookup looks at every type: so many instructions would otherwise be many seconds of them.
#[test]
fn an_endless_loop_of_lookups_is_stopped() {
    let mut asm = Asm::default();
    let name = asm.put(b"bpf_kexec_read\0");
    // ld_imm64 (2), mov, mov, mov, call, ja -7
    asm.address(1, name)
        .mov(2, 15)
        .mov(3, 12)
        .mov(4, 0)
        .call(167)
        .insn(0x05, 0, -7, 0);
    let (result, _) = asm.load_with(Limits {
        instructions: 10_000_000,
        ..Limits::default()
    });
    let error = result.unwrap_err();
    assert!(
        matches!(error.field, Field::Named("work in calls (64-byte units)")),
        "{error}"
    );
}

#[test]
fn frozen_maps_are_not_updated_again() {
    let update = |frozen: bool| {
        let mut asm = Asm::default();
        asm.command(0, &map(2, 4, 8, 1, 0));
        if frozen {
            asm.command(22, &[1, 0, 0, 0]);
        }
        let (key, value) = (asm.put(&[0; 4]), asm.put(&[7; 8]));
        let mut attr = [0; 32];
        attr[0] = 1;
        let at = asm.put(&attr);
        asm.point(at + 8, key)
            .point(at + 16, value)
            .issue(2, at, 32);
        asm.program(ANCHOR, &NOTHING, |_| {}).load().map(|_| ())
    };
    assert!(update(false).is_ok());
    let error = update(true).unwrap_err();
    assert!(matches!(error.field, Field::Named("map")), "{error}");
}
