//! BPF helper functions by number (`include/uapi/linux/bpf.h`, `___BPF_FUNC_MAPPER`).

/// A helper a loader or a parser may call.
#[repr(u32)]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Helper {
    /// `bpf_probe_read(dst, size, src)`.
    ProbeRead = 4,
    /// `bpf_trace_printk(fmt, fmt_size, ...)`.
    TracePrintk = 6,
    /// `bpf_probe_read_kernel(dst, size, src)`; zeroes `dst` on a fault.
    ProbeReadKernel = 113,
    /// `bpf_probe_read_kernel_str(dst, size, src)`.
    ProbeReadKernelStr = 115,
    /// `bpf_ringbuf_reserve(map, size, flags)`.
    RingbufReserve = 131,
    /// `bpf_ringbuf_submit(record, flags)`.
    RingbufSubmit = 132,
    /// `bpf_ringbuf_discard(record, flags)`.
    RingbufDiscard = 133,
    /// `bpf_ringbuf_query(map, flags)`.
    RingbufQuery = 134,
    /// `bpf_copy_from_user(dst, size, src)`.
    CopyFromUser = 148,
    /// `bpf_sys_bpf(cmd, attr, attr_size)`.
    SysBpf = 166,
    /// `bpf_btf_find_by_name_kind(name, name_size, kind, flags)`.
    BtfFindByNameKind = 167,
    /// `bpf_sys_close(fd)`.
    SysClose = 168,
    /// `bpf_kallsyms_lookup_name(name, name_size, flags, result)`.
    KallsymsLookupName = 179,
}

/// What a light skeleton's loader program may call.
pub const LOADER_HELPERS: &[Helper] = &[
    Helper::TracePrintk,
    Helper::ProbeReadKernel,
    Helper::CopyFromUser,
    Helper::SysBpf,
    Helper::BtfFindByNameKind,
    Helper::SysClose,
    Helper::KallsymsLookupName,
];

/// What a parser may call.
pub const PARSER_HELPERS: &[Helper] = &[
    Helper::ProbeRead,
    Helper::TracePrintk,
    Helper::ProbeReadKernel,
    Helper::ProbeReadKernelStr,
    Helper::RingbufReserve,
    Helper::RingbufSubmit,
    Helper::RingbufDiscard,
    Helper::RingbufQuery,
    Helper::CopyFromUser,
];

impl Helper {
    /// The helper with this number among those of both tables.
    #[must_use]
    pub fn from_id(id: u32) -> Option<Self> {
        LOADER_HELPERS
            .iter()
            .chain(PARSER_HELPERS)
            .copied()
            .find(|helper| *helper as u32 == id)
    }
}
