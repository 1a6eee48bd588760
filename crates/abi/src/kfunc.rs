//! The kfuncs a parser may call; parameter names are part of the ABI for Linux's verifier.

/// One kfunc: its name and C prototype.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kfunc {
    /// Symbol name, resolved by name in both hosts.
    pub name: &'static str,
    /// Parameters in order.
    pub params: &'static [(&'static str, Param)],
    /// What it returns.
    pub returns: Return,
}

/// C type of a parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Param {
    /// `const char *`
    ConstCharPtr,
    /// `char *`
    CharPtr,
    /// `void *`
    VoidPtr,
    /// `struct mem_range_result *`
    ResultPtr,
    /// `int`
    Int,
    /// `u32`
    U32,
    /// `u64`
    U64,
}

/// C type of a return value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Return {
    /// `int`: 0 or a negative errno.
    Int,
    /// `struct mem_range_result *`, acquired, possibly NULL.
    Result,
}

/// All kfuncs of the ABI.
///
/// - `bpf_copy_to_kernel(name, buf, size)` publishes `size` bytes at `buf` as the resource `name`.
/// - `bpf_decompress(buf, size)` decompresses one stream; the result must be put.
/// - `bpf_mem_range_result_put(result)` releases a result; 0 or `-EINVAL`.
/// - `bpf_kexec_read(dst, dst__sz, src)` copies `dst__sz` bytes from `src`, which must lie wholly
///   inside a range the parser may see; 0 or `-EFAULT`.
/// - `bpf_kexec_verdict(code, field, found, needed)` says why (see [`crate::VerdictCode`]).
pub const KFUNCS: &[Kfunc] = &[
    Kfunc {
        name: "bpf_copy_to_kernel",
        params: &[
            ("name__ign", Param::ConstCharPtr),
            ("buf__ign", Param::CharPtr),
            ("size", Param::Int),
        ],
        returns: Return::Int,
    },
    Kfunc {
        name: "bpf_decompress",
        params: &[("buf__ign", Param::CharPtr), ("size", Param::Int)],
        returns: Return::Result,
    },
    Kfunc {
        name: "bpf_mem_range_result_put",
        params: &[("result", Param::ResultPtr)],
        returns: Return::Int,
    },
    Kfunc {
        name: "bpf_kexec_read",
        params: &[
            ("dst", Param::VoidPtr),
            ("dst__sz", Param::U32),
            ("src__ign", Param::ConstCharPtr),
        ],
        returns: Return::Int,
    },
    Kfunc {
        name: "bpf_kexec_verdict",
        params: &[
            ("code", Param::U32),
            ("field__ign", Param::ConstCharPtr),
            ("found", Param::U64),
            ("needed", Param::U64),
        ],
        returns: Return::Int,
    },
];
