//! bpf(2), as far as an attacker needs it.

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// `BPF_PROG_TYPE_TRACING`, `BPF_PROG_TYPE_EXT` (`enum bpf_prog_type`).
pub(crate) const TRACING: u32 = 26;
pub(crate) const EXT: u32 = 28;
/// `BPF_TRACE_FENTRY`, `BPF_MODIFY_RETURN`, `BPF_TRACE_ITER` (`enum bpf_attach_type`).
pub(crate) const FENTRY: u32 = 24;
pub(crate) const MODIFY_RETURN: u32 = 26;
pub(crate) const ITER: u32 = 28;

/// `enum bpf_cmd`.
const MAP_CREATE: libc::c_int = 0;
const PROG_LOAD: libc::c_int = 5;
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const LINK_CREATE: libc::c_int = 28;
const ENABLE_STATS: libc::c_int = 32;
const ITER_CREATE: libc::c_int = 33;
/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;
/// Bytes of `union bpf_attr` that are passed.
const ATTR: usize = 144;

/// What has ids.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Programs.
    Program,
    /// Maps.
    Map,
    /// BTF.
    Btf,
    /// Links.
    Link,
}

impl Kind {
    pub(crate) const ALL: &[Self] = &[Self::Program, Self::Map, Self::Btf, Self::Link];

    /// Its `BPF_..._GET_NEXT_ID`.
    const fn next_id(self) -> libc::c_int {
        match self {
            Self::Program => 11,
            Self::Map => 12,
            Self::Btf => 23,
            Self::Link => 31,
        }
    }
}

/// All ids of a kind.
pub(crate) fn ids(kind: Kind) -> Vec<u32> {
    let mut all = Vec::new();
    let mut attr = [0_u8; ATTR];
    loop {
        let last: u32 = all.last().copied().unwrap_or(0);
        put(&mut attr, 0, &last.to_le_bytes());
        // start_id, then next_id, then open_flags.
        if call(kind.next_id(), &mut attr).is_err() {
            return all;
        }
        let next = attr.get(4..8).and_then(|bytes| bytes.try_into().ok());
        all.push(next.map_or(0, u32::from_le_bytes));
    }
}

/// A map of one entry.
pub(crate) fn map() -> Result<OwnedFd, i32> {
    let mut attr = [0_u8; ATTR];
    for (at, word) in [2_u32, 4, 8, 1].iter().enumerate() {
        put(&mut attr, at * 4, &word.to_le_bytes());
    }
    opened(call(MAP_CREATE, &mut attr)?)
}

/// Loads a program of this type for this attach type and BTF id.
pub(crate) fn load(
    kind: u32,
    attach: u32,
    sleepable: bool,
    target: u32,
    insns: &[[u8; 8]],
) -> Result<OwnedFd, i32> {
    let license = c"GPL";
    let mut attr = [0_u8; ATTR];
    put(&mut attr, 0, &kind.to_le_bytes());
    put(&mut attr, 4, &(insns.len() as u32).to_le_bytes());
    put(&mut attr, 8, &(insns.as_ptr() as u64).to_le_bytes());
    put(&mut attr, 16, &(license.as_ptr() as u64).to_le_bytes());
    put(
        &mut attr,
        44,
        &(if sleepable { SLEEPABLE } else { 0 }).to_le_bytes(),
    );
    put(&mut attr, 68, &attach.to_le_bytes());
    put(&mut attr, 108, &target.to_le_bytes());
    opened(call(PROG_LOAD, &mut attr)?)
}

/// A program that writes one byte for each object it is shown; `function` is the iterator's.
pub(crate) fn iterator(function: u32) -> Result<OwnedFd, i32> {
    /// `bpf_seq_write`.
    const SEQ_WRITE: u32 = 127;
    let at = |opcode: u8, registers: u8, offset: i16| {
        let [low, high] = offset.to_le_bytes();
        [opcode, registers, low, high, 0, 0, 0, 0]
    };
    let insns = [
        // The object; null after the last one.
        at(0x79, 0x12, 8),
        at(0x15, 0x02, 7),
        // meta, and its seq.
        at(0x79, 0x11, 0),
        at(0x79, 0x11, 0),
        // One byte of the stack.
        at(0x7a, 0x0a, -8),
        at(0xbf, 0xa2, 0),
        insn(0x07, 2, 8_u32.wrapping_neg()),
        insn(0xb7, 3, 1),
        insn(0x85, 0, SEQ_WRITE),
        insn(0xb7, 0, 0),
        insn(0x95, 0, 0),
    ];
    load(TRACING, ITER, false, function, &insns)
}

/// Attaches a program that names its target.
pub(crate) fn attach(program: &OwnedFd) -> Result<OwnedFd, i32> {
    let mut attr = [0_u8; ATTR];
    put(&mut attr, 8, &program.as_raw_fd().to_le_bytes());
    opened(call(RAW_TRACEPOINT_OPEN, &mut attr)?)
}

/// Makes a link of a program.
pub(crate) fn link(program: &OwnedFd, attach: u32) -> Result<OwnedFd, i32> {
    let mut attr = [0_u8; ATTR];
    put(&mut attr, 0, &program.as_raw_fd().to_le_bytes());
    put(&mut attr, 8, &attach.to_le_bytes());
    opened(call(LINK_CREATE, &mut attr)?)
}

/// Begins to iterate.
pub(crate) fn iterate(link: &OwnedFd) -> Result<OwnedFd, i32> {
    let mut attr = [0_u8; ATTR];
    put(&mut attr, 0, &link.as_raw_fd().to_le_bytes());
    opened(call(ITER_CREATE, &mut attr)?)
}

/// Has the kernel count how often programs run, while the descriptor lives.
pub(crate) fn statistics() -> Result<OwnedFd, i32> {
    opened(call(ENABLE_STATS, &mut [0_u8; ATTR])?)
}

/// How often a program ran: `run_cnt` of `struct bpf_prog_info`.
pub(crate) fn runs(program: &OwnedFd) -> Result<u64, i32> {
    const INFO: usize = 232;
    const RUN_CNT: std::ops::Range<usize> = 200..208;
    let mut info = [0_u8; INFO];
    let mut attr = [0_u8; ATTR];
    put(&mut attr, 0, &program.as_raw_fd().to_le_bytes());
    put(&mut attr, 4, &(INFO as u32).to_le_bytes());
    put(&mut attr, 8, &(info.as_mut_ptr() as u64).to_le_bytes());
    call(OBJ_GET_INFO_BY_FD, &mut attr)?;
    let count = info.get(RUN_CNT).and_then(|bytes| bytes.try_into().ok());
    Ok(count.map_or(0, u64::from_le_bytes))
}

/// Opens an object by a path.
pub(crate) fn get(path: &std::ffi::CStr) -> Result<OwnedFd, i32> {
    let mut attr = [0_u8; ATTR];
    put(&mut attr, 0, &(path.as_ptr() as u64).to_le_bytes());
    opened(call(OBJ_GET, &mut attr)?)
}

/// `return 0`
pub(crate) fn returning_zero() -> Vec<[u8; 8]> {
    vec![insn(0xb7, 0, 0), insn(0x95, 0, 0)]
}

/// `return f(4, 0, 0, 0), 0` of the kfunc with this id.
pub(crate) fn calling(kfunc: u32) -> Vec<[u8; 8]> {
    vec![
        insn(0xb7, 1, 4),
        insn(0xb7, 2, 0),
        insn(0xb7, 3, 0),
        insn(0xb7, 4, 0),
        insn(0x85, 0x20, kfunc),
        insn(0xb7, 0, 0),
        insn(0x95, 0, 0),
    ]
}

fn insn(opcode: u8, registers: u8, immediate: u32) -> [u8; 8] {
    let [a, b, c, d] = immediate.to_le_bytes();
    [opcode, registers, 0, 0, a, b, c, d]
}

fn put(attr: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = attr.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn call(command: libc::c_int, attr: &mut [u8; ATTR]) -> Result<i32, i32> {
    // SAFETY: The attributes may be read and written; addresses in them are of memory that lives during the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), ATTR) };
    if result < 0 {
        return Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(0));
    }
    Ok(result as i32)
}

fn opened(fd: i32) -> Result<OwnedFd, i32> {
    // SAFETY: The kernel just opened it for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    debug_assert!(fd.as_raw_fd() >= 0);
    Ok(fd)
}
