//! What a carrier holds, found out by running its loader.

use std::sync::Arc;

use kpeel_abi::{ANCHOR, Helper, KFUNCS, MapType, POST_ANCHOR};
use kpeel_bpf::Budget;
use kpeel_envelope::carrier::{Carrier, INSN_SIZE};
use kpeel_envelope::error::Result;
use kpeel_envelope::limits::{Limits, Meter};

use crate::answer::Work;
use crate::btf::{Kernel, Symbol};
use crate::env::Env;
use crate::event::Trace;
use crate::loader::{Loaded, load};
use crate::map::Map;

/// A carrier as its loader sets it up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CarrierInfo {
    /// Instructions of the loader program.
    pub loader_instructions: usize,
    /// Instructions it executed.
    pub loader_executed: u64,
    /// Bytes of its data.
    pub loader_data: usize,
    /// The program on the first anchor, then that on the second if there is one.
    pub programs: Vec<ProgramInfo>,
    /// Maps that the programs use.
    pub maps: Vec<MapInfo>,
}

/// One program.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProgramInfo {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Function it is for.
    pub anchor: &'static str,
    /// Instructions, 8 bytes each.
    pub instructions: usize,
    /// Kfuncs it names.
    pub kfuncs: Vec<&'static str>,
    /// Helpers it names.
    pub helpers: Vec<&'static str>,
}

/// One map.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MapInfo {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// `array` or `ringbuf`.
    pub kind: &'static str,
    /// Bytes of a value; 0 for a ring buffer.
    pub value_size: u32,
    /// Entries of an array, bytes of a ring buffer.
    pub max_entries: u32,
}

/// Runs the loader of `carrier` and says what it made.
///
/// # Errors
/// As [`Host::arm`](kpeel_envelope::host::Host::arm).
pub fn describe(carrier: &Carrier<'_>) -> Result<CarrierInfo> {
    let limits = Limits::default();
    let meter = Arc::new(Meter::new(limits));
    let (mut trace, mut work) = (
        Trace::default(),
        Work::for_instructions(limits.instructions),
    );
    let mut env = Env {
        meter: &meter,
        trace: &mut trace,
        work: &mut work,
    };
    let mut budget = Budget::new(limits.instructions);
    let skeleton = load(carrier, &Kernel::new(), &mut env, &mut budget)?;
    let programs = [Some(&skeleton.main), skeleton.post.as_ref()];
    Ok(CarrierInfo {
        loader_instructions: carrier.insns.len() / INSN_SIZE,
        loader_executed: skeleton.executed,
        loader_data: carrier.data.len(),
        programs: programs
            .into_iter()
            .flatten()
            .map(|program| program_info(program))
            .collect(),
        maps: skeleton.maps.iter().map(|(_, map)| map_info(map)).collect(),
    })
}

fn program_info(loaded: &Loaded) -> ProgramInfo {
    let kfunc = |index: &usize| KFUNCS.get(*index).map(|kfunc| kfunc.name);
    ProgramInfo {
        name: loaded.name.clone(),
        anchor: if loaded.anchor == Symbol::Anchor {
            ANCHOR
        } else {
            POST_ANCHOR
        },
        instructions: loaded.program.len(),
        kfuncs: loaded.kfuncs.iter().filter_map(kfunc).collect(),
        helpers: loaded
            .helpers
            .iter()
            .map(|helper| helper_name(*helper))
            .collect(),
    }
}

fn map_info(map: &Map) -> MapInfo {
    MapInfo {
        name: map.attributes.name.clone(),
        kind: match map.kind {
            MapType::Array => "array",
            MapType::Ringbuf => "ringbuf",
        },
        value_size: map.attributes.value_size,
        max_entries: map.attributes.max_entries,
    }
}

fn helper_name(helper: Helper) -> &'static str {
    match helper {
        Helper::ProbeRead => "bpf_probe_read",
        Helper::TracePrintk => "bpf_trace_printk",
        Helper::ProbeReadKernel => "bpf_probe_read_kernel",
        Helper::ProbeReadKernelStr => "bpf_probe_read_kernel_str",
        Helper::RingbufReserve => "bpf_ringbuf_reserve",
        Helper::RingbufSubmit => "bpf_ringbuf_submit",
        Helper::RingbufDiscard => "bpf_ringbuf_discard",
        Helper::RingbufQuery => "bpf_ringbuf_query",
        Helper::CopyFromUser => "bpf_copy_from_user",
        Helper::SysBpf => "bpf_sys_bpf",
        Helper::BtfFindByNameKind => "bpf_btf_find_by_name_kind",
        Helper::SysClose => "bpf_sys_close",
        Helper::KallsymsLookupName => "bpf_kallsyms_lookup_name",
    }
}
