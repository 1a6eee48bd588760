//! Objects clang makes: accepted and run, or refused for what they contain.

use std::convert::Infallible;

use bytes::Bytes;
use kpeel_bpf::{Access, Budget, Calls, Memory, Program, Pseudo, Resolver, Unresolved, run};
use kpeel_lskel::{Error, link};

use crate::clang::parser;
use crate::host::{Fd, Host, text};
use crate::model::FUNCTIONS;

/// Limit for a parser's carrier, in bytes.
const MAX_CARRIER: usize = 8 << 10;

fn refusal(macros: &[&str]) -> String {
    match link(&parser(macros)) {
        Err(error @ Error::Unsupported { .. }) => error.to_string(),
        Err(error) => panic!("{macros:?}: {error:?}"),
        Ok(_) => panic!("{macros:?}: accepted"),
    }
}

#[test]
fn the_linked_program_does_what_its_source_says() {
    let mut host = Host {
        first_fd: 3,
        in_module: vec!["bpf_kexec_verdict"],
        ..Host::default()
    };
    let outcome = host.load(&link(&parser(&[])).unwrap(), vec![0; 44]);
    assert_eq!(outcome.status, Ok(0));
    assert_eq!(
        Kernel::run(&host, 0, 6),
        [
            "bpf_kexec_verdict(4, inner, 6, 36)",
            "bpf_kexec_verdict(4, inner, 7, 49)",
            "bpf_kexec_verdict(2, outer, 6, 36)",
            "bpf_copy_to_kernel(kexec:kernel, 0x5004, 2)",
        ]
    );
}

#[test]
fn programs_share_subprograms_and_constants() {
    let mut host = Host::default();
    let outcome = host.load(&link(&parser(&["WITH_POST"])).unwrap(), vec![0; 48]);
    assert_eq!(outcome.status, Ok(0));
    assert_eq!(Kernel::run(&host, 0, 2).len(), 4);
    assert_eq!(
        Kernel::run(&host, 1, 0),
        ["bpf_kexec_verdict(4, inner, 3, 9)"]
    );
}

#[test]
fn same_object_gives_same_bytes() {
    let object = parser(&["WITH_POST"]);
    assert_eq!(link(&object).unwrap(), link(&object).unwrap());
    // Where in memory it stands is no matter either.
    let mut shifted = vec![0];
    shifted.extend(&object);
    assert_eq!(link(&shifted[1..]).unwrap(), link(&object).unwrap());
}

#[test]
fn carriers_are_small() {
    let carrier = link(&parser(&["WITH_POST"])).unwrap();
    assert!(carrier.len() < 3 << 10, "{} bytes", carrier.len());
    const { assert!(3 << 10 < MAX_CARRIER) };
}

#[test]
fn refuses_what_a_carrier_cannot_hold() {
    for (macros, named) in [
        ("WITH_DATA", "section `.data`"),
        ("WITH_BSS", "section `.bss`"),
        ("WITH_MAPS", "section `.maps`"),
        ("WITH_POINTERS", "relocations of section `.rodata`"),
        ("WITH_XDP", "program section `xdp`"),
        (
            "WITH_WEAK",
            "extern `bpf_kexec_verdict`: found a weak symbol",
        ),
        ("WITH_UNKNOWN", "`bpf_other`"),
        ("WITH_CORE", "CO-RE"),
        ("WITHOUT_LICENSE", "section `license`"),
    ] {
        let message = refusal(&[macros]);
        assert!(message.contains(named), "{macros}: {message}");
    }
}

/// Runs a loaded program over a context and notes its kfunc calls.
struct Kernel {
    rodata: u64,
    calls: Vec<String>,
}

impl Kernel {
    fn run(host: &Host, index: usize, image_sz: i32) -> Vec<String> {
        let mut memory = Memory::new();
        let maps = host.fds.values().find_map(|fd| match fd {
            Fd::Map { value, .. } => Some(value.clone()),
            _ => None,
        });
        let mut kernel = Self {
            rodata: memory.map_shared(Bytes::from(maps.unwrap())).unwrap(),
            calls: Vec::new(),
        };
        let context = kpeel_abi::Context {
            image: 0x5000,
            image_sz,
            ..kpeel_abi::Context::default()
        };
        let context = context.to_bytes().to_vec();
        let context = memory.map_owned(context, Access::ReadOnly).unwrap();
        let args = context.to_le_bytes().to_vec();
        let args = memory.map_owned(args, Access::ReadOnly).unwrap();
        let insns = host.programs()[index].insns.concat();
        let program = Program::decode(&insns, &mut kernel).unwrap();
        let mut budget = Budget::new(1000);
        let r0 = run(&program, &[args], &mut memory, &mut kernel, &mut budget);
        assert_eq!(r0, Ok(0));
        kernel.calls
    }
}

impl Resolver for Kernel {
    fn immediate(
        &mut self,
        _: usize,
        pseudo: Pseudo,
        _: i32,
        next: i32,
    ) -> Result<u64, Unresolved> {
        assert_eq!(pseudo, Pseudo::MapIndexValue);
        Ok(self.rodata + u64::try_from(next).unwrap())
    }

    fn helper(&mut self, _: usize, id: u32) -> Result<(), Unresolved> {
        panic!("helper {id}")
    }

    fn kfunc(&mut self, _: usize, id: i32, _: i16) -> Result<u32, Unresolved> {
        Ok(id.cast_unsigned())
    }
}

impl Calls for Kernel {
    type Error = Infallible;

    fn helper(&mut self, _: &mut Memory, _: u32, _: [u64; 5]) -> Result<u64, Infallible> {
        unreachable!("the resolver admits none")
    }

    fn kfunc(&mut self, memory: &mut Memory, id: u32, args: [u64; 5]) -> Result<u64, Infallible> {
        let (name, _) = FUNCTIONS.iter().find(|(_, known)| *known == id).unwrap();
        let [a, b, c, d, _] = args;
        self.calls.push(match *name {
            "bpf_kexec_verdict" => format!("{name}({a}, {}, {c}, {d})", text(memory, b)),
            _ => format!("{name}({}, {b:#x}, {c})", text(memory, a)),
        });
        Ok(0)
    }
}
