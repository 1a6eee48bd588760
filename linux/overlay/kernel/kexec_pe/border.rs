// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The border to C: `kexec_pe.h`, seen from Rust.
//!
//! UNSAFETY: Calls into C. Each wrapper is safe for any arguments of its types, or says what it
//! asks for.

use core::ffi::{c_char, c_int, c_long, c_ulong, c_void};
use core::ptr::NonNull;

use super::abi::Context;

pub(crate) const EPERM: c_int = 1;
pub(crate) const EINTR: c_int = 4;
pub(crate) const E2BIG: c_int = 7;
pub(crate) const ENOMEM: c_int = 12;
pub(crate) const EFAULT: c_int = 14;
pub(crate) const EINVAL: c_int = 22;
pub(crate) const EBADMSG: c_int = 74;
pub(crate) const EPROTONOSUPPORT: c_int = 93;
pub(crate) const EFBIG: c_int = 27;

/// `struct kexec_pe_load`.
#[repr(C)]
pub(crate) struct Load {
    pub(crate) kernel: *mut c_void,
    pub(crate) kernel_len: c_ulong,
    pub(crate) initrd: *mut c_void,
    pub(crate) initrd_len: c_ulong,
    pub(crate) cmdline: *mut c_char,
    pub(crate) cmdline_len: c_ulong,
    pub(crate) crash: bool,
    pub(crate) enforced: bool,
    pub(crate) signature: c_int,
}

/// `struct kexec_pe_ask`.
#[repr(C)]
pub(crate) struct Ask {
    pub(crate) cmd: u32,
    pub(crate) map_type: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) prog_type: u32,
    pub(crate) attach_type: u32,
    pub(crate) attach_btf_id: u32,
    pub(crate) prog_flags: u32,
    pub(crate) insn_cnt: u32,
    pub(crate) others: u32,
    pub(crate) insns: *const u64,
}

/// `struct bpf_prog`.
#[repr(C)]
struct BpfProg {
    _opaque: [u8; 0],
}

/// A loaded program; a reference that is put when dropped.
pub(crate) struct Program(NonNull<BpfProg>);

/// Which anchor a program is for: `enum kexec_pe_place`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// `bpf_handle_pefile`.
    Handle,
    /// `bpf_post_handle_pefile`.
    Post,
}

mod c {
    use super::*;

    extern "C" {
        pub(super) static kexec_pe_anchors: [u32; 2];

        pub(super) fn kexec_pe_cancelled() -> bool;
        pub(super) fn kexec_pe_probe(kernel: *const c_void, len: c_ulong) -> bool;
        pub(super) fn kexec_pe_create_map(data: *const c_void, size: u32) -> c_int;
        pub(super) fn kexec_pe_load_prog(map: c_int, insns: *const c_void, count: u32) -> c_int;
        pub(super) fn kexec_pe_run_loader(
            program: c_int,
            context: *mut c_void,
            size: u32,
            result: *mut c_int,
        ) -> c_int;
        pub(super) fn kexec_pe_close_all();
        pub(super) fn kexec_pe_next_prog(fd: *mut u32, place: *mut u32) -> *mut BpfProg;
        pub(super) fn kexec_pe_has_global_functions(program: *const BpfProg) -> bool;
        pub(super) fn kexec_pe_map_range(
            program: *const BpfProg,
            index: u32,
            data: *mut *mut c_void,
            size: *mut u64,
        ) -> bool;
        pub(super) fn kexec_pe_run_prog(program: *mut BpfProg, context: *mut Context) -> c_int;
        pub(super) fn kexec_pe_reads_locked() -> bool;
        pub(super) fn kexec_pe_view(
            image: *const c_void,
            len: c_ulong,
            head: c_ulong,
        ) -> *mut c_void;
        pub(super) fn kexec_pe_drop_view(view: *const c_void);
        pub(super) fn kexec_pe_is_kfunc(id: u32) -> bool;

        /// `lib/kexec_pe.c`: decompresses into memory that `vfree()` releases.
        pub(super) fn kexec_pe_decompress(
            input: *const u8,
            len: usize,
            limit: usize,
            out: *mut *mut c_void,
            out_len: *mut usize,
            allocated: *mut usize,
        ) -> c_int;

        pub(super) fn bpf_prog_put(program: *mut BpfProg);
        pub(super) fn strncpy_from_kernel_nofault(
            to: *mut c_char,
            from: *const c_void,
            count: c_long,
        ) -> c_long;
        pub(super) fn copy_from_kernel_nofault(
            to: *mut c_void,
            from: *const c_void,
            size: usize,
        ) -> c_long;
        pub(super) fn vfree(memory: *const c_void);
        pub(super) fn kfree(memory: *const c_void);
    }
}

/// A second mapping of vmalloc's memory, the first bytes of which are a copy.
pub(crate) struct View {
    data: NonNull<u8>,
    len: usize,
    head: usize,
}

impl View {
    /// Maps `image` again; `head` bytes of it become a copy. `None` without memory.
    ///
    /// # Safety
    /// `image` is not empty, is vmalloc's memory, and stays and does not change while the view does.
    pub(crate) unsafe fn new(image: &[u8], head: usize) -> Option<Self> {
        let (len, head) = (image.len(), head.min(image.len()));
        // SAFETY: The caller's promise.
        let view =
            unsafe { c::kexec_pe_view(image.as_ptr().cast(), len as c_ulong, head as c_ulong) };
        Some(Self {
            data: NonNull::new(view.cast())?,
            len,
            head,
        })
    }

    /// The bytes that are a copy.
    pub(crate) fn head(&mut self) -> &mut [u8] {
        // SAFETY: These pages are the view's own.
        unsafe { core::slice::from_raw_parts_mut(self.data.as_ptr(), self.head) }
    }

    /// All bytes.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped there.
        unsafe { core::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: The mapping is ours.
        unsafe { c::kexec_pe_drop_view(self.data.as_ptr().cast()) }
    }
}

/// Memory of C as bytes.
///
/// # Safety
/// `data` points to `len` bytes that live and do not change for `'a`; it may be null if `len` is 0.
pub(crate) unsafe fn bytes<'a>(data: *const c_void, len: c_ulong) -> &'a [u8] {
    if data.is_null() || len == 0 {
        return &[];
    }
    // SAFETY: The caller's promise.
    unsafe { core::slice::from_raw_parts(data.cast(), len as usize) }
}

/// Frees what vmalloc gave.
///
/// # Safety
/// `memory` is null or vmalloc's, and nobody uses it any more.
pub(crate) unsafe fn vfree(memory: *const c_void) {
    // SAFETY: The caller's promise.
    unsafe { c::vfree(memory) }
}

/// Frees what kmalloc gave.
///
/// # Safety
/// `memory` is null or kmalloc's, and nobody uses it any more.
pub(crate) unsafe fn kfree(memory: *const c_void) {
    // SAFETY: The caller's promise.
    unsafe { c::kfree(memory) }
}

/// Whether the load's caller was killed. Lets others run.
pub(crate) fn cancelled() -> bool {
    // SAFETY: Asks for nothing.
    unsafe { c::kexec_pe_cancelled() }
}

/// Whether one of the architecture's loaders takes these bytes.
pub(crate) fn probe(kernel: &[u8]) -> bool {
    // SAFETY: The bytes are there.
    unsafe { c::kexec_pe_probe(kernel.as_ptr().cast(), kernel.len() as c_ulong) }
}

/// Makes a loader's map of its data: a descriptor or a negative errno.
pub(crate) fn create_map(data: &[u8]) -> c_int {
    let Ok(size) = u32::try_from(data.len()) else {
        return -E2BIG;
    };
    // SAFETY: `size` bytes are there.
    unsafe { c::kexec_pe_create_map(data.as_ptr().cast(), size) }
}

/// Loads a loader's program: a descriptor or a negative errno.
pub(crate) fn load_prog(map: c_int, insns: &[u8]) -> c_int {
    let Ok(count) = u32::try_from(insns.len() / super::envelope::carrier::INSN_SIZE) else {
        return -E2BIG;
    };
    // SAFETY: `count` whole instructions are there.
    unsafe { c::kexec_pe_load_prog(map, insns.as_ptr().cast(), count) }
}

/// Runs a loader over its context: what it returned, or the errno for which it did not run.
pub(crate) fn run_loader(program: c_int, context: &mut [u8]) -> Result<c_int, c_int> {
    let mut result = 0;
    let size = context.len() as u32;
    let data = context.as_mut_ptr().cast();
    // SAFETY: `size` bytes may be read and written at `data`.
    match unsafe { c::kexec_pe_run_loader(program, data, size, &mut result) } {
        error @ ..=-1 => Err(error),
        _ => Ok(result),
    }
}

/// Closes all descriptors of the thread.
pub(crate) fn close_all() {
    // SAFETY: Asks for nothing; the thread's table is its own.
    unsafe { c::kexec_pe_close_all() }
}

/// The programs for our anchors among the thread's descriptors.
pub(crate) fn programs() -> impl Iterator<Item = (Place, Program)> {
    let mut fd = 0;
    core::iter::from_fn(move || {
        let mut place = 0;
        // SAFETY: Both pointers are valid.
        let program = unsafe { c::kexec_pe_next_prog(&mut fd, &mut place) };
        let place = if place == 0 {
            Place::Handle
        } else {
            Place::Post
        };
        Some((place, Program(NonNull::new(program)?)))
    })
}

/// Whether a BTF id is that of one of our anchors.
pub(crate) fn is_anchor(id: u32) -> bool {
    // SAFETY: The array was filled when the kernel was linked.
    unsafe { c::kexec_pe_anchors }.contains(&id)
}

/// Whether a BTF id is that of one of our kfuncs.
pub(crate) fn is_kfunc(id: u32) -> bool {
    // SAFETY: Asks for nothing.
    unsafe { c::kexec_pe_is_kfunc(id) }
}

/// Whether lockdown forbids programs to read kernel memory at will.
pub(crate) fn reads_locked() -> bool {
    // SAFETY: Asks for nothing.
    unsafe { c::kexec_pe_reads_locked() }
}

/// Decompresses one stream: memory of vmalloc, bytes in it, bytes allocated; or a positive errno.
pub(crate) fn decompress(input: &[u8], limit: usize) -> Result<(NonNull<u8>, usize, usize), c_int> {
    let (mut out, mut len, mut allocated) = (core::ptr::null_mut(), 0, 0);
    let data = input.as_ptr();
    // SAFETY: The input is there; the other pointers are valid.
    let result = unsafe {
        c::kexec_pe_decompress(data, input.len(), limit, &mut out, &mut len, &mut allocated)
    };
    if result != 0 {
        return Err(result.wrapping_neg());
    }
    NonNull::new(out.cast())
        .map(|out| (out, len, allocated))
        .ok_or(ENOMEM)
}

/// A string of at most `N - 1` bytes at an address that need not be valid: its bytes without NUL.
/// `None` if it cannot be read; longer ones are cut.
pub(crate) fn string<const N: usize>(from: *const c_char, to: &mut [u8; N]) -> Option<&[u8]> {
    // SAFETY: `N` bytes may be written; the source is read fault-safe.
    let len =
        unsafe { c::strncpy_from_kernel_nofault(to.as_mut_ptr().cast(), from.cast(), N as c_long) };
    if len <= 0 {
        return None;
    }
    to.get(..len as usize - 1)
}

/// Copies bytes that may fault; whether it worked.
///
/// # Safety
/// `size` bytes may be written at `to`.
pub(crate) unsafe fn copy(to: *mut c_void, from: *const c_void, size: usize) -> bool {
    // SAFETY: The caller's promise; the source is read fault-safe.
    unsafe { c::copy_from_kernel_nofault(to, from, size) == 0 }
}

/// Instruction `index` of those a loader wants to load.
pub(crate) fn insn(ask: &Ask, index: u32) -> Option<u64> {
    if index >= ask.insn_cnt {
        return None;
    }
    let mut insn = 0_u64;
    let from = ask.insns.wrapping_add(index as usize);
    // SAFETY: Eight bytes may be written.
    unsafe { copy((&mut insn as *mut u64).cast(), from.cast(), 8) }.then_some(insn)
}

impl Program {
    /// Runs it in the context its anchor's trampoline would give it; what it returned.
    pub(crate) fn run(&mut self, context: &mut Context) -> c_int {
        // SAFETY: Both live; a verified program may run.
        unsafe { c::kexec_pe_run_prog(self.0.as_ptr(), context) }
    }

    /// Whether it has functions that the verifier examined apart from their callers.
    pub(crate) fn has_global_functions(&self) -> bool {
        // SAFETY: The program lives.
        unsafe { c::kexec_pe_has_global_functions(self.0.as_ptr()) }
    }

    /// Addresses and sizes of its maps' data.
    pub(crate) fn maps(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        (0..).map_while(|index| {
            let (mut data, mut size) = (core::ptr::null_mut(), 0);
            // SAFETY: The program lives; the pointers are valid.
            let there =
                unsafe { c::kexec_pe_map_range(self.0.as_ptr(), index, &mut data, &mut size) };
            there.then_some((data as usize, size))
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { c::bpf_prog_put(self.0.as_ptr()) }
    }
}
