//! Helpers that loaders and parsers share, with Linux's semantics.
//!
//! Source: `kernel/trace/bpf_trace.c`, `mm/maccess.c`.

use kpeel_abi::Helper;
use kpeel_bpf::Memory;
use kpeel_envelope::error::{Class, Error};

use crate::answer::{Answer, EFAULT, EINVAL, Stop, negative};
use crate::env::{Env, place, stray};
use crate::event::{Caller, Event};
use crate::printk;
use crate::text;

/// Bytes moved at a time.
const CHUNK: usize = 64 << 10;
/// Formatting costs this many times a copy of the line.
const FORMAT_WORK: u64 = 4;
/// Longest format string.
const MAX_FORMAT: u64 = 1024;

/// Calls one of them; `show` puts an address into words for the trace.
pub(crate) fn common(
    helper: Helper,
    memory: &mut Memory,
    args: [u64; 5],
    env: &mut Env<'_, '_>,
    caller: Caller,
    show: &dyn Fn(&Memory, u64) -> String,
) -> Answer<u64> {
    let [dst, size, src, ..] = args;
    // Sizes are 32 bits wide.
    let size = u64::from(size as u32);
    env.spend(size)?;
    let (name, result) = match helper {
        Helper::ProbeRead => ("probe_read", copy(memory, dst, size, src)?),
        Helper::ProbeReadKernel => ("probe_read_kernel", copy(memory, dst, size, src)?),
        Helper::ProbeReadKernelStr => ("probe_read_kernel_str", string(memory, dst, size, src)?),
        Helper::CopyFromUser => ("copy_from_user", nothing(memory, dst, size)?),
        Helper::TracePrintk => return print(memory, args, env),
        _ => {
            return Err(Stop::Abort(Error::reason(
                Class::Bug,
                "helper",
                "has no answer",
            )));
        }
    };
    let arguments = || format!("{}, {size}, {}", show(memory, dst), show(memory, src));
    env.called(caller, name, arguments, result);
    Ok(result)
}

/// Copies from anywhere; a fault leaves zeroes.
fn copy(memory: &mut Memory, dst: u64, size: u64, src: u64) -> Answer<u64> {
    place(memory, dst, size, "destination")?;
    if transfer(memory, dst, size, src)? {
        return Ok(0);
    }
    place(memory, dst, size, "destination")?.fill(0);
    Ok(negative(EFAULT))
}

/// Copies where both ends may be in one region; false if the source cannot be read whole.
pub(crate) fn transfer(memory: &mut Memory, dst: u64, size: u64, src: u64) -> Answer<bool> {
    if size == 0 {
        return Ok(true);
    }
    if memory.parts(src, size).is_err() {
        return Ok(false);
    }
    // Most reads are of a few bytes: only as much is zeroed as they need.
    let mut chunk = vec![0; size.min(CHUNK as u64) as usize];
    let mut done = 0;
    while done < size {
        let len = size.saturating_sub(done).min(CHUNK as u64);
        let part = chunk.get_mut(..len as usize).unwrap_or(&mut []);
        if memory.read(src.wrapping_add(done), part).is_err() {
            return Ok(false);
        }
        place(memory, dst.wrapping_add(done), len, "destination")?.copy_from_slice(part);
        done = done.saturating_add(len);
    }
    Ok(true)
}

/// `probe_read_kernel_str`: bytes written with the NUL.
fn string(memory: &mut Memory, dst: u64, size: u64, src: u64) -> Answer<u64> {
    place(memory, dst, size, "destination")?;
    if size == 0 {
        return Ok(0);
    }
    let Some((len, _)) = text::measure(memory, src, size) else {
        place(memory, dst, size, "destination")?.fill(0);
        return Ok(negative(EFAULT));
    };
    // What does not fit is cut, so that the NUL does.
    let len = len.min(size.saturating_sub(1));
    transfer(memory, dst, len, src)?;
    place(memory, dst.wrapping_add(len), 1, "destination")?.fill(0);
    Ok(len.saturating_add(1))
}

/// User memory: there is none while a loader or parser runs.
fn nothing(memory: &mut Memory, dst: u64, size: u64) -> Answer<u64> {
    place(memory, dst, size, "destination")?.fill(0);
    Ok(if size == 0 { 0 } else { negative(EFAULT) })
}

fn print(memory: &Memory, args: [u64; 5], env: &mut Env<'_, '_>) -> Answer<u64> {
    let [format, size, values @ ..] = args;
    let size = u64::from(size as u32);
    let unreadable = |_| Stop::Abort(stray("format"));
    memory.parts(format, size).map_err(unreadable)?;
    // Only of a format as long as one may be there is a copy.
    let read = memory.bytes(format, size.min(MAX_FORMAT));
    let bytes = read.map_err(unreadable)?;
    let format = bytes
        .split_last()
        .filter(|(end, _)| **end == 0 && size <= MAX_FORMAT);
    let Some((_, format)) = format else {
        return Err(Stop::wrong(EINVAL, "format", "does not end in a NUL"));
    };
    let line = printk::format(format, &values, memory);
    let line = line.ok_or(Stop::wrong(EINVAL, "format", "holds an unknown conversion"))?;
    let written = line.len() as u64;
    env.spend(written.saturating_mul(FORMAT_WORK))?;
    let text = String::from_utf8_lossy(&line)
        .trim_end_matches('\n')
        .to_owned();
    env.trace.tell(|depth| Event::Print {
        depth,
        text: text.escape_debug().to_string(),
    });
    Ok(written)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kpeel_bpf::Access;
    use kpeel_counting::peak_of;
    use kpeel_envelope::limits::{Limits, Meter};

    use super::*;
    use crate::answer::Work;
    use crate::event::Trace;

    fn memory() -> (Memory, u64, u64) {
        let mut memory = Memory::new();
        let from = memory
            .map_owned(b"hello\0world".to_vec(), Access::ReadOnly)
            .unwrap();
        let to = memory.map_owned(vec![0xff; 16], Access::ReadWrite).unwrap();
        (memory, from, to)
    }

    fn held(memory: &Memory, at: u64, len: u64) -> Vec<u8> {
        memory.bytes(at, len).unwrap().into_owned()
    }

    #[test]
    fn a_failed_read_zeroes_its_destination_whole() {
        let (mut memory, from, to) = memory();
        assert_eq!(copy(&mut memory, to, 5, from), Ok(0));
        assert_eq!(held(&memory, to, 6), b"hello\xff");
        assert_eq!(copy(&mut memory, to, 8, from + 6), Ok(negative(EFAULT)));
        assert_eq!(held(&memory, to, 9), b"\0\0\0\0\0\0\0\0\xff");
    }

    #[test]
    fn a_bad_destination_stops_the_program() {
        let (mut memory, from, to) = memory();
        assert!(matches!(
            copy(&mut memory, from, 1, from),
            Err(Stop::Abort(_))
        ));
        assert!(matches!(
            copy(&mut memory, to, 17, from),
            Err(Stop::Abort(_))
        ));
        assert!(matches!(
            nothing(&mut memory, to + 16, 1),
            Err(Stop::Abort(_))
        ));
    }

    #[test]
    fn strings_are_cut_to_fit_and_always_ended() {
        let (mut memory, from, to) = memory();
        assert_eq!(string(&mut memory, to, 16, from), Ok(6));
        assert_eq!(held(&memory, to, 7), b"hello\0\xff");
        assert_eq!(string(&mut memory, to, 3, from), Ok(3));
        assert_eq!(held(&memory, to, 3), b"he\0");
        assert_eq!(string(&mut memory, to, 16, from + 6), Ok(negative(EFAULT)));
        assert_eq!(held(&memory, to, 16), [0; 16]);
        assert_eq!(string(&mut memory, to, 0, 0), Ok(0));
    }

    #[test]
    fn calls_on_a_patched_image_hold_no_copy_of_it() {
        const SIZE: u64 = 4 << 20;
        let mut memory = Memory::new();
        let image = memory.map_patched(vec![b'a'; 64], vec![b'b'; SIZE as usize].into());
        let image = image.unwrap();
        let to = memory.map_owned(vec![0; SIZE as usize], Access::ReadWrite);
        let to = to.unwrap();
        let meter = Arc::new(Meter::new(Limits::default()));
        let (mut trace, mut work) = (Trace::default(), Work::for_instructions(0));
        let mut env = Env {
            meter: &meter,
            trace: &mut trace,
            work: &mut work,
        };
        let mut call = |helper, args| {
            let show = |_: &Memory, _| String::new();
            let call = || common(helper, &mut memory, args, &mut env, Caller::Parser, &show);
            let (answer, peak) = peak_of(call);
            assert!(peak <= 2 * CHUNK as u64, "{helper:?}: {peak} bytes");
            answer
        };
        let read = [to, SIZE, image, 0, 0];
        assert_eq!(call(Helper::ProbeReadKernel, read), Ok(0));
        assert_eq!(call(Helper::ProbeReadKernelStr, read), Ok(SIZE));
        let print = [image, SIZE, 0, 0, 0];
        assert!(matches!(
            call(Helper::TracePrintk, print),
            Err(Stop::Deny(EINVAL, _))
        ));
        let len = SIZE - 2;
        assert_eq!(held(&memory, to + len, 2), b"b\0");
        assert_eq!(held(&memory, to + 63, 2), b"ab");
    }

    #[test]
    fn user_memory_is_never_there() {
        let (mut memory, _, to) = memory();
        assert_eq!(nothing(&mut memory, to, 4), Ok(negative(EFAULT)));
        assert_eq!(held(&memory, to, 5), b"\0\0\0\0\xff");
    }
}
