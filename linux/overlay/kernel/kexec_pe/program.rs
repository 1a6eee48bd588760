// SPDX-License-Identifier: GPL-2.0 OR MIT

//! What programs may hold, judged before the verifier sees them.
//!
//! The verifier makes programs safe; this makes them small: what it leaves unbounded in time
//! (callbacks, open iterators, timers, tail calls) and what reaches beyond a stage is not offered.

use super::abi::{Helper, LOADER_HELPERS, PARSER_HELPERS};
use super::border::{is_kfunc, reads_locked};
use super::envelope::error::{Class, Error, Refusal, Result};

/// Opcodes (`include/uapi/linux/bpf.h`): `BPF_LD | BPF_DW | BPF_IMM`, `BPF_JMP | BPF_CALL`,
/// `BPF_JMP | BPF_JCOND`.
const LOAD_IMMEDIATE: u8 = 0x18;
const CALL: u8 = 0x85;
const MAY_GOTO: u8 = 0xe5;
/// `BPF_PSEUDO_FUNC` of a 64-bit immediate: a callback.
const PSEUDO_FUNC: u8 = 4;
/// Kinds of calls: a helper, `BPF_PSEUDO_CALL`, `BPF_PSEUDO_KFUNC_CALL`.
const CALL_HELPER: u8 = 0;
const CALL_LOCAL: u8 = 1;
const CALL_KFUNC: u8 = 2;

/// Which kind of program.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Loader,
    Parser,
}

/// The fields of an instruction that matter here.
struct Insn {
    opcode: u8,
    source: u8,
    offset: i16,
    immediate: i32,
}

impl Insn {
    fn new(raw: u64) -> Self {
        let [opcode, registers, o0, o1, i0, i1, i2, i3] = raw.to_le_bytes();
        Self {
            opcode,
            source: registers >> 4,
            offset: i16::from_le_bytes([o0, o1]),
            immediate: i32::from_le_bytes([i0, i1, i2, i3]),
        }
    }
}

impl Kind {
    const fn field(self) -> &'static str {
        match self {
            Self::Loader => "loader program",
            Self::Parser => "parser program",
        }
    }

    const fn helpers(self) -> &'static [Helper] {
        match self {
            Self::Loader => LOADER_HELPERS,
            Self::Parser => PARSER_HELPERS,
        }
    }
}

/// Judges the instructions of a program.
///
/// # Errors
/// `Malformed` for what is not offered, with the instruction's index; `Refused` (permission) for
/// helpers that lockdown forbids, by name.
pub(crate) fn check(kind: Kind, insns: impl Iterator<Item = u64>) -> Result<()> {
    let mut insns = insns.map(Insn::new).zip(0_u32..);
    while let Some((insn, at)) = insns.next() {
        match insn.opcode {
            CALL => check_call(kind, &insn).map_err(|error| error.of_entry(at))?,
            MAY_GOTO => return Err(not_offered(kind).of_entry(at)),
            LOAD_IMMEDIATE if insn.source == PSEUDO_FUNC => {
                return Err(not_offered(kind).of_entry(at));
            }
            // Its second half is no instruction.
            LOAD_IMMEDIATE => drop(insns.next()),
            _ => {}
        }
    }
    Ok(())
}

fn not_offered(kind: Kind) -> Error {
    let reason = "holds an instruction that is not offered";
    Error::reason(Class::Malformed, kind.field(), reason)
}

fn check_call(kind: Kind, insn: &Insn) -> Result<()> {
    let unknown = Error::reason(
        Class::Malformed,
        kind.field(),
        "calls a function that is not offered",
    );
    match insn.source {
        CALL_LOCAL => Ok(()),
        CALL_HELPER => {
            let helper = Helper::from_id(insn.immediate as u32)
                .filter(|helper| kind.helpers().contains(helper))
                .ok_or(unknown)?;
            check_lockdown(helper)
        }
        // 0: a weak name that was not found. The verifier takes it where it is never reached.
        CALL_KFUNC if kind == Kind::Parser && insn.offset == 0 => {
            let id = insn.immediate as u32;
            (id == 0 || is_kfunc(id)).then_some(()).ok_or(unknown)
        }
        _ => Err(unknown),
    }
}

/// Helpers that read kernel memory at will are not to be had under lockdown's confidentiality.
fn check_lockdown(helper: Helper) -> Result<()> {
    let name = match helper {
        Helper::ProbeRead => "bpf_probe_read",
        Helper::ProbeReadKernel => "bpf_probe_read_kernel",
        Helper::ProbeReadKernelStr => "bpf_probe_read_kernel_str",
        _ => return Ok(()),
    };
    if !reads_locked() {
        return Ok(());
    }
    Err(Error::reason(
        Class::Refused(Refusal::Permission),
        name,
        "is called, and lockdown (confidentiality) forbids that helper",
    ))
}
