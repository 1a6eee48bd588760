//! The kfuncs of the ABI.

use kpeel_abi::{
    KFUNCS, MAX_FIELD, MAX_NAME, MAX_RESULTS, Mode as AbiMode, Resource as AbiResource, VerdictCode,
};
use kpeel_bpf::Memory;
use kpeel_codec::Codec;
use kpeel_envelope::error::{Class, Error, Name, Needed, Refusal, Result};
use kpeel_envelope::limits::ABI_SIZE_MAX;
use kpeel_envelope::publication::{Complaint, Mode, Publication, Resource};

use super::Parser;
use super::places::Place;
use crate::answer::{Answer, E2BIG, EFAULT, EINVAL, EPERM, Stop, negative};
use crate::buffer::{Buffer, joined};
use crate::codec;
use crate::env::place;
use crate::event::{Caller, Event, Warning};
use crate::helpers::transfer;
use crate::text;

/// Decompressing costs as much as copying this many bytes, whatever comes of it: a decoder sets up some MiB, and may
/// work for a millisecond on a stream of 50 bytes before it finds that there is no room for what they unpack to.
const CODEC_START: u64 = 4 << 20;
/// On top, reading and writing cost this many times a copy; a stream pays for whichever costs more.
const CODEC_BYTE: u64 = 4;
/// A stream can make its decoder build new tables every 20 bytes. Of as many bytes as the image has, that is the image's
/// size; what is read beyond them, again and again, costs this many times a copy.
const CODEC_AGAIN: u64 = 16;
/// Longest strings with their NUL.
const NAME_SIZE: u64 = MAX_NAME as u64 + 1;
const FIELD_SIZE: u64 = MAX_FIELD as u64 + 1;

impl Parser<'_, '_, '_> {
    /// Calls the kfunc at an index of [`KFUNCS`].
    pub(super) fn call(&mut self, memory: &mut Memory, token: u32, args: [u64; 5]) -> Result<u64> {
        let kfunc = KFUNCS.get(token as usize);
        let name = kfunc.map_or("", |kfunc| kfunc.name);
        let mut shown = String::new();
        let answer = self.env.spend(0).and_then(|()| match name {
            "bpf_copy_to_kernel" => self.publish(memory, args, &mut shown),
            "bpf_decompress" => self.decompress(memory, args, &mut shown),
            "bpf_mem_range_result_put" => self.put(memory, args, &mut shown),
            "bpf_kexec_read" => self.read(memory, args, &mut shown),
            "bpf_kexec_verdict" => self.verdict(memory, args, &mut shown),
            _ => Err(Stop::Abort(Error::reason(
                Class::Bug,
                "kfunc",
                "has no answer",
            ))),
        });
        // A pointer has no negative errno: NULL stands for every refusal.
        let refused = if name == "bpf_decompress" {
            |_| 0
        } else {
            negative
        };
        let result = self.answer(answer, refused)?;
        self.env.called(self.caller, name, || shown, result);
        Ok(result)
    }

    /// `int bpf_copy_to_kernel(const char *name, char *buf, int size)`
    fn publish(&mut self, memory: &mut Memory, args: [u64; 5], shown: &mut String) -> Answer<u64> {
        let [name, buf, size, ..] = args;
        if self.caller == Caller::Post {
            let class = Class::Refused(Refusal::Permission);
            let reason = "the post parser may not publish";
            return Err(Stop::Deny(
                EPERM,
                Error::reason(class, "bpf_copy_to_kernel", reason),
            ));
        }
        let name = text::read(memory, name, NAME_SIZE);
        let name = name.ok_or(Stop::unreadable("resource name"))?;
        *shown = format!(
            "{}, {}, {}",
            text::quoted(&name.bytes),
            self.show(memory, buf),
            size as i32
        );
        let entry = kpeel_abi::resource(&name.bytes).filter(|_| name.ended).ok_or(Stop::wrong(
            EINVAL,
            "resource name",
            "is none of kexec:kernel, kexec:initrd, kexec:cmdline, kexec:initrd+, kexec:cmdline+",
        ))?;
        let limits = *self.env.meter.limits();
        let (resource, allowed) = match entry.resource {
            AbiResource::Kernel => (Resource::Kernel, limits.kernel),
            AbiResource::Initrd => (Resource::Initrd, limits.initrd),
            AbiResource::Cmdline => (Resource::Cmdline, limits.cmdline),
        };
        let mode = match entry.mode {
            AbiMode::Replace => Mode::Replace,
            AbiMode::Append => Mode::Append,
        };
        let (place, size) = self.buffer(memory, buf, size)?;
        if size > allowed {
            return Err(Stop::bound(E2BIG, entry.name, size, allowed));
        }
        let bytes = self.take(memory, buf, size, place)?;
        let publication = Publication {
            resource,
            mode,
            origin: place.origin,
            bytes,
        };
        let pushed = self.run.publications.push(publication);
        pushed.map_err(|error| Stop::Deny(error.errno(), error))?;
        Ok(0)
    }

    /// The bytes of a range to keep: shared where nobody can change them, else copied and charged.
    fn take(&mut self, memory: &Memory, buf: u64, size: u64, place: Place) -> Answer<Buffer> {
        if place.shared {
            let bytes = memory
                .share(buf, size)
                .map_err(|_| Stop::unreadable("buf"))?;
            return Ok(Buffer::part(bytes));
        }
        self.env.spend(size)?;
        self.copy(memory, buf, size)
    }

    /// A copy of a range, charged.
    fn copy(&self, memory: &Memory, buf: u64, size: u64) -> Answer<Buffer> {
        let (head, body) = memory
            .parts(buf, size)
            .map_err(|_| Stop::unreadable("buf"))?;
        joined(&[head, body], self.env.meter).map_err(Stop::memory)
    }

    /// `struct mem_range_result *bpf_decompress(char *buf, int size)`
    fn decompress(
        &mut self,
        memory: &mut Memory,
        args: [u64; 5],
        shown: &mut String,
    ) -> Answer<u64> {
        let [buf, size, ..] = args;
        *shown = format!("{}, {}", self.show(memory, buf), size as i32);
        let (place, size) = self.buffer(memory, buf, size)?;
        let (asked, allowed) = (
            self.results.len().saturating_add(1) as u64,
            MAX_RESULTS as u64,
        );
        if asked > allowed {
            return Err(Stop::bound(
                E2BIG,
                "results of bpf_decompress",
                asked,
                allowed,
            ));
        }
        let (codec, bytes) = self.unpack(memory, buf, size)?;
        *shown = format!("{shown}: {codec}, {} bytes", bytes.len());
        let bytes = Buffer::from_vec(bytes, self.env.meter).map_err(Stop::memory)?;
        let result = self.results.add(&bytes, place.origin, memory, self.places);
        result.map_err(Stop::memory)
    }

    fn unpack(&mut self, memory: &Memory, buf: u64, size: u64) -> Answer<(Codec, Vec<u8>)> {
        // What unpacks to nothing may still take a decoder long.
        let paid = reading(self.unread, size);
        self.env.spend(paid)?;
        let parts = memory
            .parts(buf, size)
            .map_err(|_| Stop::unreadable("buf"))?;
        // Where the image's head meets its body, a stream is put together first.
        let whole;
        let input = match parts {
            (input, []) | ([], input) => input,
            _ => {
                whole = self.copy(memory, buf, size)?;
                whole.as_ref()
            }
        };
        let codec = Codec::detect(input).ok_or_else(|| {
            let magic = input
                .first_chunk()
                .map_or(0, |magic| u16::from_be_bytes(*magic));
            let needed = Needed::Words("the magic of a codec");
            let error = Error::value(
                Class::Unsupported,
                "compressed stream",
                magic.into(),
                needed,
            );
            Stop::Deny(EINVAL, error)
        })?;
        let limits = self.env.meter.limits();
        let memory_left = limits.memory.saturating_sub(self.env.meter.held());
        let output = limits.kernel.min(ABI_SIZE_MAX).min(memory_left);
        let limits = kpeel_codec::Limits {
            output,
            ..kpeel_codec::Limits::default()
        };
        match kpeel_codec::decompress(codec, input, &limits) {
            Ok(bytes) => {
                let cost = (bytes.len() as u64).saturating_mul(CODEC_BYTE);
                self.env.spend(cost.saturating_sub(paid))?;
                Ok((codec, bytes))
            }
            Err(error) => {
                // A stream may turn out to be bad only at its very end.
                self.env.spend(output)?;
                self.env.trace.trap = Some(format!("bpf_decompress: {error}"));
                Err(Stop::Deny(EINVAL, codec::error(&error)))
            }
        }
    }

    /// `int bpf_mem_range_result_put(struct mem_range_result *result)`
    fn put(&mut self, memory: &mut Memory, args: [u64; 5], shown: &mut String) -> Answer<u64> {
        let [result, ..] = args;
        *shown = format!("{result:#x}");
        if self.results.put(result, memory, self.places) {
            return Ok(0);
        }
        Err(Stop::wrong(
            EINVAL,
            "bpf_mem_range_result_put",
            "was given no live result",
        ))
    }

    /// `int bpf_kexec_read(void *dst, u32 dst__sz, const char *src)`; zeroes `dst` when it fails.
    fn read(&mut self, memory: &mut Memory, args: [u64; 5], shown: &mut String) -> Answer<u64> {
        let [dst, size, src, ..] = args;
        let size = u64::from(size as u32);
        *shown = format!(
            "{}, {size}, {}",
            self.show(memory, dst),
            self.show(memory, src)
        );
        self.env.spend(size)?;
        place(memory, dst, size, "dst")?;
        let maps = (&*self.maps, self.loaded.maps.as_slice());
        let inside = self.places.find(src, size, memory, maps).is_some();
        if inside && transfer(memory, dst, size, src)? {
            return Ok(0);
        }
        place(memory, dst, size, "dst")?.fill(0);
        Err(Stop::Deny(EFAULT, self.outside(memory, src, size)))
    }

    /// `int bpf_kexec_verdict(u32 code, const char *field, u64 found, u64 needed)`
    fn verdict(&mut self, memory: &mut Memory, args: [u64; 5], shown: &mut String) -> Answer<u64> {
        let [code, field, found, needed, _] = args;
        let code = code as u32;
        let text = text::read(memory, field, FIELD_SIZE);
        let text = text.ok_or(Stop::unreadable("verdict field"))?;
        *shown = format!(
            "{code}, {}, {found:#x}, {needed:#x}",
            text::quoted(&text.bytes)
        );
        let field = Name::from_bytes(&text.bytes);
        let verdict = VerdictCode::from_code(code).ok_or(Stop::invalid(
            "verdict code",
            code.into(),
            Needed::Words("1 (not mine), 2 (malformed), 3 (unsupported) or 4 (warning)"),
        ))?;
        self.env.trace.tell(|depth| Event::Verdict {
            depth,
            code: verdict,
            field,
            found,
            needed,
        });
        if verdict == VerdictCode::Warn {
            let depth = self.env.trace.depth();
            self.env.trace.warn(Warning {
                depth,
                field,
                found,
                needed,
            });
            return Ok(0);
        }
        if self.caller == Caller::Post {
            return Err(Stop::wrong(
                EPERM,
                "verdict",
                "the post parser may only warn",
            ));
        }
        if verdict == VerdictCode::NotMine {
            self.check_untouched()?;
        }
        let error = |class| Complaint::Error(Error::verdict(class, field, found, needed));
        self.run.complain(match verdict {
            VerdictCode::NotMine => Complaint::NotMine {
                field,
                found,
                needed,
            },
            VerdictCode::Unsupported => error(Class::Unsupported),
            _ => error(Class::Malformed),
        });
        Ok(0)
    }

    fn show(&self, memory: &Memory, address: u64) -> String {
        self.places.show(address, memory, self.maps)
    }

    /// "Not mine" comes before any publication.
    fn check_untouched(&self) -> Answer<()> {
        let published = [Resource::Kernel, Resource::Initrd, Resource::Cmdline]
            .into_iter()
            .any(|resource| self.run.publications.of(resource).next().is_some());
        if published {
            return Err(Stop::wrong(
                EINVAL,
                "verdict",
                "says not mine after publishing",
            ));
        }
        Ok(())
    }

    /// A buffer argument and its size, a C int.
    fn buffer(&self, memory: &Memory, buf: u64, size: u64) -> Answer<(Place, u64)> {
        let size = size as i32;
        if size <= 0 {
            let found = i64::from(size) as u64;
            return Err(Stop::invalid("size", found, Needed::AtLeast(1)));
        }
        let size = u64::from(size.unsigned_abs());
        let maps = (&*self.maps, self.loaded.maps.as_slice());
        let place = self.places.find(buf, size, memory, maps);
        let place = place.ok_or_else(|| Stop::Deny(EFAULT, self.outside(memory, buf, size)))?;
        Ok((place, size))
    }

    /// What is wrong with a range no place holds: how much of it there is, or that there is none.
    fn outside(&self, memory: &Memory, address: u64, size: u64) -> Error {
        let maps = (&*self.maps, self.loaded.maps.as_slice());
        let room = self.places.find(address, 0, memory, maps).and_then(|_| {
            let region = memory.region(address)?;
            region.base.checked_add(region.len)?.checked_sub(address)
        });
        match room {
            Some(room) => Error::malformed("size of a parser's buffer", size, Needed::AtMost(room)),
            None => Error::reason(
                Class::Malformed,
                "a parser's buffer",
                "lies outside of image, initrd, command line, results and maps",
            ),
        }
    }
}

/// What decompressing `size` bytes costs before anything comes of it, in bytes copied. `unread` of the image's bytes are
/// left to be read for the first time.
fn reading(unread: &mut u64, size: u64) -> u64 {
    let first = size.min(*unread);
    *unread = unread.saturating_sub(first);
    let again = size.saturating_sub(first);
    CODEC_START
        .saturating_add(first.saturating_mul(CODEC_BYTE))
        .saturating_add(again.saturating_mul(CODEC_AGAIN))
}

#[cfg(test)]
mod tests {
    use kpeel_envelope::limits::Limits;

    use super::*;
    use crate::answer::Work;

    #[test]
    fn a_kernel_that_no_codec_makes_smaller_is_paid_for_once() {
        let kernel = Limits::default().kernel;
        let mut unread = kernel;
        let mut work = Work::for_instructions(0);
        work.spend(reading(&mut unread, kernel)).unwrap();
        assert_eq!(unread, 0);
        assert!(work.spend(reading(&mut unread, kernel)).is_err());
    }
}
