//! What the loader did, as the model of `bpf(2)` saw it.

/// One call of the loader.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    Find(String),
    MapCreate {
        kind: u32,
        key: u32,
        value: u32,
        entries: u32,
        flags: u32,
        name: String,
    },
    MapUpdate {
        fd: i32,
        key: u32,
        value: Vec<u8>,
    },
    MapFreeze(i32),
    ProgLoad(Box<Load>),
    Close(i32),
}

/// `PROG_LOAD`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Load {
    pub kind: u32,
    pub insns: Vec<[u8; 8]>,
    pub license: String,
    pub log: (u32, u32, u64),
    pub flags: u32,
    pub name: String,
    pub expected_attach_type: u32,
    pub attach_btf_id: u32,
    pub attach_btf_fd: i32,
    /// Per kfunc call: name, and the BTF descriptor it names.
    pub kfuncs: Vec<(String, i32)>,
    /// Descriptors of the maps `ld_imm64` names.
    pub maps: Vec<i32>,
}

/// `-errno`s the model gives.
pub mod errno {
    pub const NOENT: i64 = -2;
    pub const BADF: i64 = -9;
    pub const INVAL: i64 = -22;
}

/// BTF ids of functions the model knows.
pub const FUNCTIONS: &[(&str, u32)] = &[
    ("bpf_handle_pefile", 101),
    ("bpf_post_handle_pefile", 102),
    ("bpf_copy_to_kernel", 201),
    ("bpf_decompress", 202),
    ("bpf_mem_range_result_put", 203),
    ("bpf_kexec_read", 204),
    ("bpf_kexec_verdict", 70_205),
];
