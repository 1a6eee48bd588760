//! What the host tells a parser.
#![expect(unsafe_code, reason = "reads the structure the host points at")]

use crate::Bytes;
use kpeel_abi::Context as Raw;

/// The stage's inputs.
///
/// Linux's verifier knows the structure by its BTF: plain loads at constant offsets, no writes.
#[derive(Clone, Copy, Debug)]
pub struct Context(&'static Raw);

impl Context {
    /// From the argument array an fentry program starts with.
    ///
    /// # Safety
    ///
    /// `arguments` points at an array whose first element is the address of a `kexec_context`
    /// that outlives the program's run.
    #[inline(always)]
    #[must_use]
    pub unsafe fn from_arguments(arguments: *const u64) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { *arguments.cast::<&'static Raw>() })
    }

    /// Whether this is a crash (kdump) load.
    #[inline(always)]
    #[must_use]
    pub fn kdump(self) -> bool {
        self.0.kdump != 0
    }

    /// The stage's image: the bytes its signature covers.
    #[inline(always)]
    #[must_use]
    pub fn image(self) -> Bytes {
        range(self.0.image, self.0.image_sz)
    }

    /// The caller's initrd; empty without one.
    #[inline(always)]
    #[must_use]
    pub fn initrd(self) -> Bytes {
        range(self.0.initrd, self.0.initrd_sz)
    }

    /// The caller's command line, a profile selector included; empty without one.
    #[inline(always)]
    #[must_use]
    pub fn cmdline(self) -> Bytes {
        range(self.0.cmdline, self.0.cmdline_sz)
    }
}

#[inline(always)]
fn range(at: u64, size: i32) -> Bytes {
    Bytes::new(at, if size > 0 { size as u64 } else { 0 })
}
