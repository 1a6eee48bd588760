//! `BPF_PROG_LOAD`: from a loader's bytes to a program for one of the anchors.

use std::collections::BTreeSet;
use std::sync::Arc;

use kpeel_abi::{Helper, KFUNCS, PARSER_HELPERS, PROG_FLAGS_SLEEPABLE, ProgType, TRACE_FENTRY};
use kpeel_bpf::{DecodeError, MAX_INSTRUCTIONS, Memory, Program, Pseudo, Resolver, Unresolved};
use kpeel_envelope::error::{Class, Error, Needed};

use super::Loader;
use super::attr::Attr;
use super::fd::{Descriptors, Object};
use crate::answer::{Answer, E2BIG, EINVAL, Stop};
use crate::btf::{Btf, Kernel, Symbol};
use crate::buffer::Charge;
use crate::core::{self, Relocation};
use crate::map::Maps;

/// End of the last field Linux 6.12 knows (`prog_token_fd`).
const ATTR_END: usize = 148;
/// Flags that change nothing here: strict and any alignment, and the verifier's test modes.
const FLAGS_IGNORED: u32 = 0x8f;
/// Longest licence, its NUL included.
const MAX_LICENSE: u64 = 128;
pub(super) const INSN_SIZE: u64 = 8;
/// Bytes that a decoded instruction takes at most: itself, and what is noted of its jump or call until all are decoded.
pub(super) const DECODED_SIZE: u64 = 64;
/// Decoding costs this many times a copy of the instructions.
const DECODING_WORK: u64 = 8;
/// What one CO-RE relocation costs, as bytes of work.
const RELOCATION_WORK: u64 = 16384;
/// Largest record of func_info, line_info and CO-RE (`MAX_FUNCINFO_REC_SIZE` and its likes).
const MAX_RECORD: u32 = 252;

/// Licences Linux counts as compatible with the GPL (`include/linux/license.h`).
const GPL: [&[u8]; 6] = [
    b"GPL",
    b"GPL v2",
    b"GPL and additional rights",
    b"Dual BSD/GPL",
    b"Dual MIT/GPL",
    b"Dual MPL/GPL",
];

/// A program a loader made.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) anchor: Symbol,
    pub(crate) program: Program,
    /// Maps it names.
    pub(crate) maps: Vec<usize>,
    pub(crate) helpers: Vec<Helper>,
    /// Indices into [`KFUNCS`].
    pub(crate) kfuncs: Vec<usize>,
    _charge: Charge,
}

/// The tables of records that come with a program.
struct Tables {
    funcs: u32,
    lines: u32,
    relocations: u32,
}

/// What the program's bytes name.
struct Names<'a> {
    kernel: &'a Kernel,
    fds: &'a Descriptors,
    created: &'a Maps,
    memory: &'a Memory,
    fd_array: u64,
    maps: BTreeSet<usize>,
    helpers: Vec<Helper>,
    kfuncs: BTreeSet<usize>,
}

impl Loader<'_, '_, '_> {
    /// The command itself; returns what a descriptor is to stand for.
    pub(super) fn load_program(&mut self, attr: &Attr, memory: &Memory) -> Answer<Loaded> {
        attr.check_end(ATTR_END)?;
        check_kind(attr)?;
        let count = attr.u32(4);
        if count == 0 || count as usize > MAX_INSTRUCTIONS {
            return Err(Stop::bound(
                E2BIG,
                "insn_cnt",
                count.into(),
                MAX_INSTRUCTIONS as u64,
            ));
        }
        check_license(attr, memory)?;
        let name = attr.name(48)?;
        let anchor = self.anchor(attr)?;
        let size = u64::from(count).saturating_mul(INSN_SIZE);
        self.env.spend(size.saturating_mul(DECODING_WORK))?;
        let charge = u64::from(count).saturating_mul(DECODED_SIZE);
        let charge = Charge::new(self.env.meter, charge).map_err(Stop::memory)?;
        let insns = memory
            .bytes(attr.u64(8), size)
            .map_err(|_| Stop::unreadable("insns"))?;
        let mut insns = insns.into_owned();
        self.relocate(attr, &mut insns, memory)?;
        let mut names = Names {
            kernel: self.kernel,
            fds: &self.fds,
            created: &self.maps,
            memory,
            fd_array: attr.u64(120),
            maps: BTreeSet::new(),
            helpers: Vec::new(),
            kfuncs: BTreeSet::new(),
        };
        let program = Program::decode(&insns, &mut names);
        let Names {
            maps,
            helpers,
            kfuncs,
            ..
        } = names;
        let program = program.map_err(|error| self.undecodable(&error))?;
        Ok(Loaded {
            name,
            anchor,
            program,
            maps: maps.into_iter().collect(),
            helpers,
            kfuncs: kfuncs.into_iter().collect(),
            _charge: charge,
        })
    }

    fn anchor(&self, attr: &Attr) -> Answer<Symbol> {
        let (id, module) = (attr.u32(108), attr.u32(112));
        let symbol = self.kernel.symbol(id).filter(|_| module == 0);
        match symbol {
            Some(anchor @ (Symbol::Anchor | Symbol::PostAnchor)) => Ok(anchor),
            _ => Err(Stop::forbidden(
                "attach_btf_id",
                id.into(),
                "one of the two anchors",
            )),
        }
    }

    /// Applies the CO-RE records. As in Linux they count only if function or line records come along.
    fn relocate(&mut self, attr: &Attr, insns: &mut [u8], memory: &Memory) -> Answer<()> {
        let tables = Tables {
            funcs: attr.u32(88),
            lines: attr.u32(104),
            relocations: attr.u32(116),
        };
        if tables.funcs == 0 && tables.lines == 0 {
            return Ok(());
        }
        let btf = self.fds.btf(attr.u32(72))?;
        check_table("func_info", tables.funcs, attr.u32(76), 8)?;
        check_table("line_info", tables.lines, attr.u32(92), 16)?;
        let size = attr.u32(136);
        check_table("core_relos", tables.relocations, size, core::RECORD_SIZE)?;
        let work = u64::from(tables.relocations).saturating_mul(RELOCATION_WORK);
        self.env.spend(work)?;
        for index in 0..tables.relocations {
            let offset = u64::from(index).saturating_mul(size.into());
            let address = attr.u64(128).wrapping_add(offset);
            let record = memory.bytes(address, size.into());
            let record = record.map_err(|_| Stop::unreadable("core_relos"))?;
            let relocation = Relocation::read(&record).ok_or(Stop::unreadable("core_relos"))?;
            self.apply(&relocation, index, insns, &btf)?;
        }
        Ok(())
    }

    fn apply(
        &mut self,
        relocation: &Relocation,
        index: u32,
        insns: &mut [u8],
        btf: &Btf,
    ) -> Answer<()> {
        relocation
            .apply(insns, btf, &self.kernel.btf)
            .map_err(|bad| {
                let error = Error::reason(Class::Malformed, "CO-RE relocation", bad.0);
                Stop::Deny(EINVAL, error.of_entry(index))
            })
    }

    fn undecodable(&mut self, error: &DecodeError) -> Stop {
        self.env.trace.trap = Some(format!("parser program: {error}"));
        Stop::Deny(EINVAL, undecodable("parser program", error))
    }
}

/// A program that does not decode, as an error.
pub(super) fn undecodable(field: &'static str, error: &DecodeError) -> Error {
    let (reason, at) = match error {
        DecodeError::Size { .. } => ("is no whole number of instructions", None),
        DecodeError::TooLong { .. } => ("has too many instructions", None),
        DecodeError::Opcode { at, .. } => ("holds an opcode that does not exist", Some(*at)),
        DecodeError::Refused { at, .. } => ("holds an instruction that is not offered", Some(*at)),
        DecodeError::Field { at, .. } => ("holds an instruction with a wrong field", Some(*at)),
        DecodeError::Target { at, .. } => ("jumps or calls where it must not", Some(*at)),
        DecodeError::Open { at } => ("runs past the end of a function", Some(*at)),
        DecodeError::Unresolved { at, .. } => ("names something that is not there", Some(*at)),
        _ => ("cannot be decoded", None),
    };
    let error = Error::reason(Class::Malformed, field, reason);
    at.map_or(error, |at| error.of_entry(at as u32))
}

/// Sleepable fentry programs and nothing else.
fn check_kind(attr: &Attr) -> Answer<()> {
    let (kind, attach, flags) = (attr.u32(0), attr.u32(68), attr.u32(44));
    if kind != ProgType::Tracing as u32 {
        return Err(Stop::forbidden("prog_type", kind.into(), "TRACING (26)"));
    }
    if attach != TRACE_FENTRY {
        return Err(Stop::forbidden(
            "expected_attach_type",
            attach.into(),
            "TRACE_FENTRY (24)",
        ));
    }
    if flags & PROG_FLAGS_SLEEPABLE == 0 {
        return Err(Stop::forbidden(
            "prog_flags",
            flags.into(),
            "BPF_F_SLEEPABLE (0x10)",
        ));
    }
    if flags & !(PROG_FLAGS_SLEEPABLE | FLAGS_IGNORED) != 0 {
        let needed = Needed::Words("BPF_F_SLEEPABLE (0x10) and verifier flags only");
        return Err(Stop::invalid("prog_flags", flags.into(), needed));
    }
    let device = attr.u32(64);
    if device != 0 {
        return Err(Stop::invalid(
            "prog_ifindex",
            device.into(),
            Needed::Exactly(0),
        ));
    }
    Ok(())
}

fn check_license(attr: &Attr, memory: &Memory) -> Answer<()> {
    let text = crate::text::read(memory, attr.u64(16), MAX_LICENSE);
    let text = text.ok_or(Stop::unreadable("license"))?;
    if !GPL.contains(&text.bytes.as_slice()) {
        return Err(Stop::wrong(
            EINVAL,
            "license",
            "is not compatible with the GPL",
        ));
    }
    Ok(())
}

fn check_table(field: &'static str, count: u32, size: u32, smallest: u32) -> Answer<()> {
    if count != 0 && (size < smallest || size > MAX_RECORD || !size.is_multiple_of(4)) {
        let needed = Needed::AtLeast(smallest.into());
        return Err(Stop::invalid(field, size.into(), needed));
    }
    Ok(())
}

impl Names<'_> {
    fn map(&mut self, pseudo: Pseudo, imm: i32) -> Result<usize, Unresolved> {
        let fd = match pseudo {
            Pseudo::MapIndex | Pseudo::MapIndexValue => self.indexed(imm)?,
            _ => imm as u32,
        };
        let id = self
            .fds
            .map(fd)
            .map_err(|_| Unresolved::from("map: no such descriptor"))?;
        self.maps.insert(id);
        Ok(id)
    }

    /// The descriptor at an index of `fd_array`.
    fn indexed(&self, index: i32) -> Result<u32, Unresolved> {
        if self.fd_array == 0 {
            return Err("map by index: there is no fd_array".into());
        }
        let offset = u64::from(index as u32).wrapping_mul(4);
        self.memory
            .read_u32(self.fd_array.wrapping_add(offset))
            .map_err(|_| "map by index: it is outside of fd_array".into())
    }
}

impl Resolver for Names<'_> {
    fn immediate(
        &mut self,
        _at: usize,
        pseudo: Pseudo,
        imm: i32,
        next: i32,
    ) -> Result<u64, Unresolved> {
        match pseudo {
            Pseudo::BtfId if next != 0 => Err("kernel object: only vmlinux has BTF here".into()),
            Pseudo::BtfId => self
                .kernel
                .address(imm as u32)
                .ok_or("kernel object: no such function or variable".into()),
            Pseudo::MapFdValue | Pseudo::MapIndexValue => {
                let id = self.map(pseudo, imm)?;
                let map = self.created.get(id).ok_or("map: it is gone")?;
                Ok(map.value_address(next as u32)?)
            }
            Pseudo::MapFd | Pseudo::MapIndex if next != 0 => {
                Err("map: the second immediate must be 0".into())
            }
            Pseudo::MapFd | Pseudo::MapIndex => Ok(Maps::handle(self.map(pseudo, imm)?)),
        }
    }

    fn helper(&mut self, _at: usize, id: u32) -> Result<(), Unresolved> {
        let helper = Helper::from_id(id).filter(|helper| PARSER_HELPERS.contains(helper));
        let helper = helper
            .ok_or_else(|| Unresolved(format!("helper {id}: parsers may not call it").into()))?;
        if !self.helpers.contains(&helper) {
            self.helpers.push(helper);
        }
        Ok(())
    }

    fn kfunc(&mut self, _at: usize, id: i32, offset: i16) -> Result<u32, Unresolved> {
        if offset != 0 {
            return Err("kfunc: only vmlinux has BTF here".into());
        }
        match self.kernel.symbol(id as u32) {
            Some(Symbol::Kfunc(index)) if index < KFUNCS.len() => {
                self.kfuncs.insert(index);
                Ok(index as u32)
            }
            _ => Err(Unresolved(
                format!("kfunc with BTF id {id}: there is none").into(),
            )),
        }
    }
}

/// An object for a descriptor.
pub(super) fn object(loaded: Loaded) -> Object {
    Object::Program(Arc::new(loaded))
}
