// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The kfuncs of the ABI.
//!
//! UNSAFETY: Addresses that programs pass are used after they were found inside a range of the
//! stage.

use core::ffi::{c_char, c_int, c_void};
use core::ptr;

use kernel::alloc::flags::GFP_KERNEL;
use kernel::alloc::KBox;

use super::abi::{self, MemRangeResult, VerdictCode, MAX_FIELD, MAX_NAME, MAX_RESULTS};
use super::border::{
    self, bytes, Place, E2BIG, EBADMSG, EFAULT, EFBIG, EINTR, EINVAL, ENOMEM, EPERM,
    EPROTONOSUPPORT,
};
use super::buffer::{no_memory, Buffer};
use super::envelope::error::{Class, Error, Name, Needed, Refusal};
use super::envelope::limits::ABI_SIZE_MAX;
use super::envelope::publication::{Complaint, Mode, Origin, Publication, Resource};
use super::session::{running, Stage, Unpacked};

/// Warnings of one stage that the log gets; more are only counted.
const MAX_WARNINGS: u32 = 64;

/// A call that is refused: the errno the parser gets, and why.
struct Denied(c_int, Error);

type Answer<T> = core::result::Result<T, Denied>;

/// Bytes that lie wholly inside one range of the stage.
#[derive(Clone, Copy)]
struct Range {
    source: Source,
    offset: usize,
    len: usize,
}

#[derive(Clone, Copy)]
enum Source {
    Image,
    Initrd,
    Cmdline,
    Result(usize),
    Map,
}

/// `int bpf_copy_to_kernel(const char *name, char *buf, int size)`
///
/// # Safety
/// Called by the loader thread from the running program; so for all kfuncs.
#[no_mangle]
pub(crate) unsafe extern "C" fn kexec_pe_rs_copy_to_kernel(
    name: *const c_char,
    buf: *const c_char,
    size: c_int,
) -> c_int {
    // SAFETY: The caller's promise.
    let stage = unsafe { running() };
    answer(stage, |stage| stage.publish(name, buf as usize, size))
}

/// `struct mem_range_result *bpf_decompress(char *buf, int size)`
///
/// # Safety
/// As for [`kexec_pe_rs_copy_to_kernel`].
#[no_mangle]
pub(crate) unsafe extern "C" fn kexec_pe_rs_decompress(
    buf: *const c_char,
    size: c_int,
) -> *mut MemRangeResult {
    let mut result = ptr::null_mut();
    // SAFETY: The caller's promise.
    let stage = unsafe { running() };
    answer(stage, |stage| {
        result = stage.decompress(buf as usize, size)?;
        Ok(())
    });
    result
}

/// `int bpf_mem_range_result_put(struct mem_range_result *result)`
///
/// # Safety
/// As for [`kexec_pe_rs_copy_to_kernel`].
#[no_mangle]
pub(crate) unsafe extern "C" fn kexec_pe_rs_put(result: *mut MemRangeResult) -> c_int {
    // SAFETY: The caller's promise.
    let stage = unsafe { running() };
    answer(stage, |stage| stage.put(result))
}

/// `int bpf_kexec_read(void *dst, u32 dst__sz, const char *src)`; zeroes `dst` when it fails.
///
/// # Safety
/// As for [`kexec_pe_rs_copy_to_kernel`]; the verifier has seen to it that `size` bytes may be
/// written at `dst`.
#[no_mangle]
pub(crate) unsafe extern "C" fn kexec_pe_rs_read(
    dst: *mut c_void,
    size: u32,
    src: *const c_char,
) -> c_int {
    // SAFETY: The caller's promise.
    let stage = unsafe { running() };
    let result = answer(stage, |stage| {
        stage.find(src as usize, u64::from(size))?;
        stage.spend(u64::from(size))?;
        // SAFETY: The verifier's promise for `dst`; the source lies inside a range of the stage.
        let copied = unsafe { border::copy(dst, src.cast(), size as usize) };
        copied.then_some(()).ok_or(unreadable("src"))
    });
    if result != 0 {
        // SAFETY: As above.
        unsafe { ptr::write_bytes(dst.cast::<u8>(), 0, size as usize) };
    }
    result
}

/// `int bpf_kexec_verdict(u32 code, const char *field, u64 found, u64 needed)`
///
/// # Safety
/// As for [`kexec_pe_rs_copy_to_kernel`].
#[no_mangle]
pub(crate) unsafe extern "C" fn kexec_pe_rs_verdict(
    code: u32,
    field: *const c_char,
    found: u64,
    needed: u64,
) -> c_int {
    // SAFETY: The caller's promise.
    let stage = unsafe { running() };
    answer(stage, |stage| stage.verdict(code, field, found, needed))
}

/// Makes an answer a number; a refusal is kept as a hint for what the stage ends with.
fn answer(stage: Option<&mut Stage>, call: impl FnOnce(&mut Stage) -> Answer<()>) -> c_int {
    let Some(stage) = stage else {
        return -EPERM;
    };
    // The verifier bounds a program's instructions; what its calls cost adds up.
    if border::cancelled() {
        return -EINTR;
    }
    match call(stage) {
        Ok(()) => 0,
        Err(Denied(errno, error)) => {
            stage.run.hint(error);
            -errno
        }
    }
}

fn wrong(errno: c_int, field: &'static str, reason: &'static str) -> Denied {
    Denied(errno, Error::reason(Class::Malformed, field, reason))
}

fn unreadable(field: &'static str) -> Denied {
    wrong(EFAULT, field, "cannot be read")
}

impl Stage {
    fn publish(&mut self, name: *const c_char, buf: usize, size: c_int) -> Answer<()> {
        if self.place == Place::Post {
            let class = Class::Refused(Refusal::Permission);
            let reason = "the post parser may not publish";
            let error = Error::reason(class, "bpf_copy_to_kernel", reason);
            return Err(Denied(EPERM, error));
        }
        let mut text = [0; MAX_NAME + 1];
        let text = border::string(name, &mut text).ok_or(unreadable("resource name"))?;
        let entry = abi::resource(text).ok_or(wrong(
            EINVAL,
            "resource name",
            "is none of kexec:kernel, kexec:initrd, kexec:cmdline, kexec:initrd+, kexec:cmdline+",
        ))?;
        let limits = self.meter.limits();
        let (resource, allowed) = match entry.resource {
            abi::Resource::Kernel => (Resource::Kernel, limits.kernel),
            abi::Resource::Initrd => (Resource::Initrd, limits.initrd),
            abi::Resource::Cmdline => (Resource::Cmdline, limits.cmdline),
        };
        let mode = match entry.mode {
            abi::Mode::Replace => Mode::Replace,
            abi::Mode::Append => Mode::Append,
        };
        let range = self.buffer(buf, size)?;
        if range.len as u64 > allowed {
            let error = Error::bound(entry.name, range.len as u64, allowed);
            return Err(Denied(E2BIG, error));
        }
        let publication = Publication {
            resource,
            mode,
            origin: self.origin(range.source),
            bytes: self.take(buf, range)?,
        };
        let pushed = self.run.publications.push(publication);
        pushed.map_err(|error| Denied(error.errno(), error))
    }

    fn decompress(&mut self, buf: usize, size: c_int) -> Answer<*mut MemRangeResult> {
        let range = self.buffer(buf, size)?;
        let free = self.results.iter().position(Option::is_none);
        let allowed = MAX_RESULTS as u64;
        let full = Error::bound(
            "results of bpf_decompress",
            allowed.saturating_add(1),
            allowed,
        );
        let index = free.ok_or(Denied(E2BIG, full))?;
        // SAFETY: The range lies inside the stage's, which stays while the program runs.
        let input = unsafe { bytes(buf as *const c_void, range.len as u64) };
        let bytes = self.unpack(input)?;
        let len = u32::try_from(bytes.as_ref().len()).unwrap_or(u32::MAX);
        let unpacked = Unpacked {
            public: MemRangeResult {
                buf: bytes.as_ref().as_ptr() as u64,
                buf_sz: len,
                data_sz: len,
            },
            origin: self.origin(range.source),
            bytes,
        };
        let unpacked = KBox::new(unpacked, GFP_KERNEL)
            .map_err(|_| Denied(ENOMEM, no_memory("decompression")))?;
        match self.results.get_mut(index) {
            Some(slot) => Ok(&mut slot.insert(unpacked).public),
            None => Err(wrong(E2BIG, "bpf_decompress", "has no room")),
        }
    }

    fn unpack(&mut self, input: &[u8]) -> Answer<Buffer> {
        self.spend(input.len() as u64)?;
        let limits = self.meter.limits();
        let left = limits.memory.saturating_sub(self.meter.held());
        let limit = limits.kernel.min(ABI_SIZE_MAX).min(left).min(self.work);
        let (data, len, allocated) = border::decompress(input, limit as usize)
            .map_err(|errno| undone(errno, input, limit))?;
        // SAFETY: The decompressor hands its memory over.
        let bytes = unsafe { Buffer::decompressed(data, len, allocated, &self.meter) };
        let bytes = bytes.map_err(|error| Denied(ENOMEM, error))?;
        self.spend(len as u64)?;
        Ok(bytes)
    }

    fn put(&mut self, result: *mut MemRangeResult) -> Answer<()> {
        let same = |slot: &&mut Option<KBox<Unpacked>>| {
            slot.as_ref()
                .is_some_and(|held| ptr::eq(&held.public, result))
        };
        match self.results.iter_mut().find(same) {
            Some(slot) => {
                *slot = None;
                Ok(())
            }
            None => Err(wrong(
                EINVAL,
                "bpf_mem_range_result_put",
                "was given no live result",
            )),
        }
    }

    fn verdict(&mut self, code: u32, field: *const c_char, found: u64, needed: u64) -> Answer<()> {
        let mut text = [0; MAX_FIELD + 1];
        let text = border::string(field, &mut text).ok_or(unreadable("verdict field"))?;
        let field = Name::from_bytes(text);
        let verdict = VerdictCode::from_code(code).ok_or_else(|| {
            let needed =
                Needed::Words("1 (not mine), 2 (malformed), 3 (unsupported) or 4 (warning)");
            Denied(
                EINVAL,
                Error::malformed("verdict code", code.into(), needed),
            )
        })?;
        if verdict == VerdictCode::Warn {
            self.warnings = self.warnings.saturating_add(1);
            if self.warnings > MAX_WARNINGS {
                return Ok(());
            }
            kernel::pr_notice!(
                "warning: envelope {}: {}: found {} ({:#x}), needed {} ({:#x})\n",
                self.depth,
                field.as_str(),
                found,
                found,
                needed,
                needed
            );
            return Ok(());
        }
        if self.place == Place::Post {
            return Err(wrong(EPERM, "verdict", "the post parser may only warn"));
        }
        let error = |class| Complaint::Error(Error::verdict(class, field, found, needed));
        self.run.complain(match verdict {
            VerdictCode::NotMine => {
                self.check_untouched()?;
                Complaint::NotMine {
                    field,
                    found,
                    needed,
                }
            }
            VerdictCode::Unsupported => error(Class::Unsupported),
            _ => error(Class::Malformed),
        });
        Ok(())
    }

    /// "Not mine" comes before any publication.
    fn check_untouched(&self) -> Answer<()> {
        let published = [Resource::Kernel, Resource::Initrd, Resource::Cmdline]
            .into_iter()
            .any(|resource| self.run.publications.of(resource).next().is_some());
        if published {
            return Err(wrong(EINVAL, "verdict", "says not mine after publishing"));
        }
        Ok(())
    }

    /// A buffer argument and its size, a C int.
    fn buffer(&self, buf: usize, size: c_int) -> Answer<Range> {
        if size <= 0 {
            let found = i64::from(size) as u64;
            let error = Error::malformed("size", found, Needed::AtLeast(1));
            return Err(Denied(EINVAL, error));
        }
        self.find(buf, u64::from(size.unsigned_abs()))
    }

    /// The range that wholly holds `size` bytes at `address`.
    fn find(&self, address: usize, size: u64) -> Answer<Range> {
        let mut room = None;
        for (source, base, len) in self.ranges() {
            let Some(offset) = address
                .checked_sub(base)
                .filter(|offset| *offset as u64 <= len)
            else {
                continue;
            };
            let left = len.saturating_sub(offset as u64);
            if size <= left {
                return Ok(Range {
                    source,
                    offset,
                    len: size as usize,
                });
            }
            room = Some(left);
        }
        let error = match room {
            Some(room) => Error::malformed("size of a parser's buffer", size, Needed::AtMost(room)),
            None => Error::reason(
                Class::Malformed,
                "a parser's buffer",
                "lies outside of image, initrd, command line, results and maps",
            ),
        };
        Err(Denied(EFAULT, error))
    }

    /// All ranges: where from, address, size.
    fn ranges(&self) -> impl Iterator<Item = (Source, usize, u64)> + '_ {
        let range = |source, bytes: &[u8]| (source, bytes.as_ptr() as usize, bytes.len() as u64);
        let inputs = [
            (Source::Initrd, &self.initrd),
            (Source::Cmdline, &self.cmdline),
        ];
        let inputs = inputs
            .into_iter()
            .filter_map(move |(source, buffer)| Some(range(source, buffer.as_ref()?.as_ref())));
        let results = self.results.iter().enumerate();
        let results = results.filter_map(move |(index, held)| {
            Some(range(Source::Result(index), held.as_ref()?.bytes.as_ref()))
        });
        let maps = self.maps.iter();
        core::iter::once(range(Source::Image, self.view.as_slice()))
            .chain(inputs)
            .chain(results)
            .chain(maps.map(|(base, len)| (Source::Map, *base, *len)))
    }

    /// Where bytes come from; a decompression keeps the origin of its input.
    fn origin(&self, source: Source) -> Origin {
        match source {
            Source::Image => Origin::Image,
            Source::Initrd => Origin::CallerInitrd,
            Source::Cmdline => Origin::CallerCmdline,
            Source::Map => Origin::Map,
            Source::Result(index) => {
                let held = self.results.get(index).and_then(Option::as_ref);
                held.map_or(Origin::CallerCmdline, |held| held.origin)
            }
        }
    }

    /// The bytes of a range to keep: shared where nobody can change them, else copied.
    fn take(&mut self, buf: usize, range: Range) -> Answer<Buffer> {
        let Range {
            source,
            offset,
            len,
        } = range;
        let shared = match source {
            Source::Image => Some(&self.image),
            Source::Initrd => self.initrd.as_ref(),
            Source::Cmdline => self.cmdline.as_ref(),
            Source::Result(index) => {
                let held = self.results.get(index).and_then(Option::as_ref);
                held.map(|held| &held.bytes)
            }
            Source::Map => None,
        };
        if let Some(shared) = shared {
            return shared.part(offset, len).ok_or(unreadable("buf"));
        }
        self.spend(len as u64)?;
        // SAFETY: The range lies inside a map of the program, which waits for this call.
        let bytes = unsafe { bytes(buf as *const c_void, len as u64) };
        Buffer::joined(&[bytes], &self.meter).map_err(|error| Denied(ENOMEM, error))
    }

    /// Takes bytes off what the stage may have copied and decompressed.
    fn spend(&mut self, bytes: u64) -> Answer<()> {
        match self.work.checked_sub(bytes) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => {
                let error = Error::bound("bytes copied and decompressed", bytes, self.work);
                Err(Denied(E2BIG, error))
            }
        }
    }
}

/// Why a stream was not decompressed.
fn undone(errno: c_int, input: &[u8], limit: u64) -> Denied {
    let field = "compressed stream";
    let error = match errno {
        EFBIG => Error::bound("decompressed size", limit.saturating_add(1), limit),
        EPROTONOSUPPORT => {
            let magic = input
                .first_chunk()
                .map_or(0, |magic| u16::from_be_bytes(*magic));
            let needed = Needed::Words("the magic of a codec");
            Error::value(Class::Unsupported, field, magic.into(), needed)
        }
        EBADMSG => Error::reason(Class::Malformed, field, "cannot be decompressed"),
        EINTR => Error::reason(Class::System(EINTR), "decompression", "was cancelled"),
        errno => Error::reason(Class::System(errno), "decompression", "failed"),
    };
    Denied(EINVAL, error)
}
