//! The host's functions, declared as `kpeel_abi::KFUNCS` lists them.
//!
//! Parameters whose C name ends in `__ign` are not looked at by Linux's verifier; the host checks
//! the address range itself. They are plain integers here because they are never dereferenced.
#![expect(
    unsafe_code,
    reason = "foreign functions: the host is on the other side"
)]

use core::ffi::CStr;
use kpeel_abi::MemRangeResult;

unsafe extern "C" {
    fn bpf_copy_to_kernel(name: *const u8, buf: u64, size: i32) -> i32;
    fn bpf_decompress(buf: u64, size: i32) -> *mut MemRangeResult;
    fn bpf_mem_range_result_put(result: *mut MemRangeResult) -> i32;
    fn bpf_kexec_read(dst: *mut u8, dst_sz: u32, src: u64) -> i32;
    fn bpf_kexec_verdict(code: u32, field: *const u8, found: u64, needed: u64) -> i32;
}

/// A string for the host: NUL-terminated, in `.rodata` or on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Name(*const u8);

impl Name {
    /// A string literal's bytes.
    #[inline(always)]
    #[must_use]
    pub const fn new(text: &'static CStr) -> Self {
        Self(text.as_ptr().cast())
    }

    /// Text in `words`, which end in at least one zero byte (else the host reads on and refuses).
    #[inline(always)]
    #[must_use]
    pub fn of_words(words: &[u64; 2]) -> Self {
        Self(words.as_ptr().cast())
    }
}

#[inline(always)]
pub(crate) fn copy_to_kernel(name: Name, buf: u64, size: i32) -> i32 {
    // SAFETY: the host checks both ranges before it reads a byte.
    unsafe { bpf_copy_to_kernel(name.0, buf, size) }
}

#[inline(always)]
pub(crate) fn decompress(buf: u64, size: i32) -> *mut MemRangeResult {
    // SAFETY: the host checks the range; the result is NULL or a live object owned by the caller.
    unsafe { bpf_decompress(buf, size) }
}

/// # Safety
///
/// `result` came from [`decompress`], is not NULL and has not been put.
#[inline(always)]
pub(crate) unsafe fn put(result: *mut MemRangeResult) {
    // SAFETY: the caller's promise.
    let _ = unsafe { bpf_mem_range_result_put(result) };
}

/// # Safety
///
/// `dst` is writable for `len` bytes.
#[inline(always)]
pub(crate) unsafe fn read(dst: *mut u8, len: u32, src: u64) -> i32 {
    // SAFETY: `dst` by the caller's promise; the host checks the source.
    unsafe { bpf_kexec_read(dst, len, src) }
}

#[inline(always)]
pub(crate) fn verdict(code: u32, field: Name, found: u64, needed: u64) {
    // SAFETY: the host reads the string bounded and fault-safe; nothing else is a pointer.
    let _ = unsafe { bpf_kexec_verdict(code, field.0, found, needed) };
}

#[cfg(test)]
mod tests {
    use super::Name;
    use crate::resource;
    use kpeel_abi::{KFUNCS, RESOURCES};

    fn text(name: Name) -> &'static str {
        // SAFETY: made from a C string literal.
        let text = unsafe { core::ffi::CStr::from_ptr(name.0.cast()) };
        text.to_str().unwrap()
    }

    #[test]
    fn resources_are_those_of_the_abi() {
        let ours = [
            resource::KERNEL,
            resource::INITRD,
            resource::CMDLINE,
            resource::INITRD_MORE,
            resource::CMDLINE_MORE,
        ];
        assert!(
            ours.map(text)
                .iter()
                .eq(RESOURCES.iter().map(|resource| &resource.name))
        );
    }

    #[test]
    fn kfuncs_are_those_of_the_abi() {
        // Name and number of parameters, as declared above.
        let ours = [
            ("bpf_copy_to_kernel", 3),
            ("bpf_decompress", 2),
            ("bpf_mem_range_result_put", 1),
            ("bpf_kexec_read", 3),
            ("bpf_kexec_verdict", 4),
        ];
        let abi = KFUNCS.iter().map(|kfunc| (kfunc.name, kfunc.params.len()));
        assert!(abi.eq(ours));
    }
}
