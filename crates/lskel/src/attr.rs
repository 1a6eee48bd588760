//! Offsets in the context and in `union bpf_attr` (`include/uapi/linux/bpf.h`), by command. Sizes
//! end with the last field in use; hosts take the rest as zero.

/// `struct bpf_loader_ctx` of libbpf's `skel_internal.h`, then descriptors.
pub(crate) mod ctx {
    pub(crate) const LOG_LEVEL: i16 = 8;
    pub(crate) const LOG_SIZE: i16 = 12;
    pub(crate) const LOG_BUF: i16 = 16;
    /// Where descriptors begin: those of maps, then those of programs.
    pub(crate) const FDS: i16 = 24;
    /// Bytes per map; the descriptor comes first.
    pub(crate) const MAP_SIZE: i16 = 16;
    pub(crate) const PROG_SIZE: i16 = 4;
}

pub(crate) mod map_create {
    pub(crate) const MAP_TYPE: usize = 0;
    pub(crate) const KEY_SIZE: usize = 4;
    pub(crate) const VALUE_SIZE: usize = 8;
    pub(crate) const MAX_ENTRIES: usize = 12;
    pub(crate) const MAP_FLAGS: usize = 16;
    pub(crate) const MAP_NAME: usize = 28;
    pub(crate) const SIZE: usize = 44;
    /// `BPF_F_RDONLY_PROG`.
    pub(crate) const RDONLY_PROG: u32 = 1 << 7;
}

pub(crate) mod map_update {
    pub(crate) const MAP_FD: i32 = 0;
    pub(crate) const KEY: i32 = 8;
    pub(crate) const VALUE: i32 = 16;
    pub(crate) const FLAGS: i32 = 24;
    pub(crate) const SIZE: usize = 32;
}

pub(crate) mod map_freeze {
    /// The descriptor alone.
    pub(crate) const SIZE: usize = 4;
}

pub(crate) mod prog_load {
    pub(crate) const PROG_TYPE: usize = 0;
    pub(crate) const INSN_CNT: usize = 4;
    pub(crate) const INSNS: i32 = 8;
    pub(crate) const LICENSE: i32 = 16;
    pub(crate) const LOG_LEVEL: i32 = 24;
    pub(crate) const LOG_SIZE: i32 = 28;
    pub(crate) const LOG_BUF: i32 = 32;
    pub(crate) const PROG_FLAGS: usize = 44;
    pub(crate) const PROG_NAME: usize = 48;
    pub(crate) const EXPECTED_ATTACH_TYPE: usize = 68;
    pub(crate) const ATTACH_BTF_ID: i32 = 108;
    pub(crate) const ATTACH_BTF_OBJ_FD: i32 = 112;
    pub(crate) const FD_ARRAY: i32 = 120;
    pub(crate) const SIZE: usize = 128;
}
