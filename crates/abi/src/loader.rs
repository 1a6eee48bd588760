//! What a light skeleton's loader may ask of `bpf(2)`, in both hosts.

/// `enum bpf_cmd` (`include/uapi/linux/bpf.h`), the part a loader may use.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum BpfCmd {
    /// `BPF_MAP_CREATE`, of the types in [`MapType`] only.
    MapCreate = 0,
    /// `BPF_MAP_UPDATE_ELEM`.
    MapUpdateElem = 2,
    /// `BPF_PROG_LOAD`, of sleepable fentry programs on the anchors only.
    ProgLoad = 5,
    /// `BPF_BTF_LOAD`.
    BtfLoad = 18,
    /// `BPF_MAP_FREEZE`.
    MapFreeze = 22,
}

/// The commands of [`BpfCmd`]; every other one is answered `-EPERM`.
pub const LOADER_COMMANDS: &[BpfCmd] = &[
    BpfCmd::MapCreate,
    BpfCmd::MapUpdateElem,
    BpfCmd::ProgLoad,
    BpfCmd::BtfLoad,
    BpfCmd::MapFreeze,
];

/// `enum bpf_map_type`, the part a loader may create.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MapType {
    /// `BPF_MAP_TYPE_ARRAY`.
    Array = 2,
    /// `BPF_MAP_TYPE_RINGBUF`.
    Ringbuf = 27,
}

/// `enum bpf_prog_type`, the part this project meets.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProgType {
    /// `BPF_PROG_TYPE_TRACING`: parsers.
    Tracing = 26,
    /// `BPF_PROG_TYPE_SYSCALL`: loaders.
    Syscall = 31,
}

/// Most maps one loader may create.
pub const MAX_LOADER_MAPS: usize = 64;

/// `BPF_F_SLEEPABLE`, a flag of `BPF_PROG_LOAD`.
pub const PROG_FLAGS_SLEEPABLE: u32 = 1 << 4;

/// `BPF_TRACE_FENTRY`, the expected attach type of parsers.
pub const TRACE_FENTRY: u32 = 24;

impl BpfCmd {
    /// The command with this number, if a loader may issue it.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        LOADER_COMMANDS
            .iter()
            .copied()
            .find(|cmd| *cmd as u32 == id)
    }
}

impl MapType {
    /// The type with this number, if a loader may create it.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        [Self::Array, Self::Ringbuf]
            .into_iter()
            .find(|kind| *kind as u32 == id)
    }
}
