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
use crate::loader::{Loaded, Skeleton, load};
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

/// Says what carriers hold, beside a load and under its bounds.
///
/// Memory is the load's own. Instructions and work in calls are counted over all carriers, apart from
/// the load's, so that whoever looks at an image opens no less of it than whoever loads it.
#[derive(Debug)]
pub struct Describer {
    meter: Arc<Meter>,
    kernel: Kernel,
    budget: Budget,
    work: Work,
}

impl Describer {
    /// One for the load that `meter` counts.
    #[must_use]
    pub fn new(meter: &Arc<Meter>) -> Self {
        let instructions = meter.limits().instructions;
        Self {
            meter: Arc::clone(meter),
            kernel: Kernel::new(),
            budget: Budget::new(instructions),
            work: Work::for_instructions(instructions),
        }
    }

    /// Runs the loader of `carrier` and says what it made.
    ///
    /// # Errors
    /// As [`Host::arm`](kpeel_envelope::host::Host::arm).
    pub fn describe(&mut self, carrier: &Carrier<'_>) -> Result<CarrierInfo> {
        let mut env = Env {
            meter: &self.meter,
            trace: &mut Trace::default(),
            work: &mut self.work,
        };
        let skeleton = load(carrier, &self.kernel, &mut env, &mut self.budget)?;
        Ok(carrier_info(carrier, &skeleton))
    }
}

/// Describes one carrier, under the default limits.
///
/// # Errors
/// As [`Describer::describe`].
pub fn describe(carrier: &Carrier<'_>) -> Result<CarrierInfo> {
    Describer::new(&Arc::new(Meter::new(Limits::default()))).describe(carrier)
}

fn carrier_info(carrier: &Carrier<'_>, skeleton: &Skeleton) -> CarrierInfo {
    let programs = [Some(&skeleton.main), skeleton.post.as_ref()];
    CarrierInfo {
        loader_instructions: carrier.insns.len() / INSN_SIZE,
        loader_executed: skeleton.executed,
        loader_data: carrier.data.len(),
        programs: programs
            .into_iter()
            .flatten()
            .map(|program| program_info(program))
            .collect(),
        maps: skeleton.maps.iter().map(|(_, map)| map_info(map)).collect(),
    }
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
