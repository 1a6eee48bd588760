//! What a host does with a carrier, in five steps: make the loader's map, fill it, load the loader,
//! run it, and take what it made.
//!
//! As in `bpf_load_and_run()` of the kernel's `tools/lib/bpf/skel_internal.h`, except that nothing
//! is assumed about the layout of the loader's context: programs and maps are the new descriptors
//! that the loader wrote into it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use crate::attr::{Attr, cmd, prog_load, put, read_u32};
use crate::{descriptors, sys};

/// The step at which a loader that ran reports what it could not load.
pub(crate) const RESULT: &str = "loader result";

/// `log_level`: the path to the error.
pub(crate) const LOG_PATH: u32 = 1;
/// `log_level`: every path, also of a program that is accepted.
pub(crate) const LOG_ALL: u32 = 2;
/// `log_level`: counts only.
pub(crate) const LOG_STATISTICS: u32 = 4;
/// Room for the way of a few hundred thousand instructions; the verifier keeps the end of a log
/// that does not fit.
const LOG_SIZE: usize = 64 << 20;

/// `BPF_PROG_TYPE_TRACING`.
const TRACING: u32 = 26;
/// `BPF_PROG_TYPE_SYSCALL`.
const SYSCALL: u32 = 31;
/// `BPF_F_SLEEPABLE`.
const SLEEPABLE: u32 = 1 << 4;
/// `BPF_TRACE_FENTRY`.
const FENTRY: u32 = 24;
/// `BPF_MAP_TYPE_ARRAY`.
const ARRAY: u32 = 2;

/// Room for the context of any skeleton with up to 64 maps; the loader may write results anywhere
/// from [`RESULTS`] on.
const CONTEXT_SIZE: usize = 4096;
/// The context begins with `struct bpf_loader_ctx`: sz, flags, log_level, log_size, log_buf.
const RESULTS: usize = 24;
const CONTEXT_LOG_LEVEL: usize = 8;
const CONTEXT_LOG_SIZE: usize = 12;
const CONTEXT_LOG_BUFFER: usize = 16;

/// What a carrier holds.
pub(crate) struct Carrier {
    pub(crate) insns: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// A program that the loader left.
pub(crate) struct Program {
    fd: OwnedFd,
    pub(crate) name: String,
    pub(crate) verified_insns: u32,
}

/// Where a load stopped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Failure {
    pub(crate) step: &'static str,
    pub(crate) errno: i32,
}

/// The verifier's log of the loader's own `BPF_PROG_LOAD`s.
pub(crate) struct Log {
    level: u32,
    text: Vec<u8>,
}

/// Loads a carrier and returns its programs; dropping them unloads everything. With a `log`, the
/// verifier writes there, which may itself make the load fail.
pub(crate) fn load(carrier: &Carrier, log: Option<&mut Log>) -> Result<Vec<Program>, Failure> {
    let before = descriptors::open();
    let mut data = carrier.data.clone();
    let mut context = vec![0; CONTEXT_SIZE];
    put(&mut context, 0, &(CONTEXT_SIZE as u32).to_ne_bytes());
    if let Some(log) = log {
        log.ask_in_context(&mut context);
        log.ask_in_data(&mut data);
    }
    run_loader(&carrier.insns, &data, &mut context)?;
    take_named(&before, &context)
        .into_iter()
        .filter_map(Program::new)
        .collect()
}

/// The descriptors that are new since `before` and that the loader wrote into its context. Others
/// stay open, to be counted.
#[expect(
    unsafe_code,
    reason = "a loader hands descriptors over as plain numbers"
)]
fn take_named(before: &BTreeSet<i32>, context: &[u8]) -> Vec<OwnedFd> {
    let named = named_in(context);
    descriptors::open()
        .difference(before)
        .copied()
        .filter(|fd| named.contains(fd))
        // SAFETY: it is open, and since it was not before the loader ran in this thread, the only
        // one, nothing here can own it.
        .map(|fd| unsafe { sys::own(fd) })
        .collect()
}

impl Program {
    /// Looks at a descriptor; only those of programs stay open.
    fn new(fd: OwnedFd) -> Option<Result<Self, Failure>> {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
        (link.to_str()? == "anon_inode:bpf-prog").then(|| Self::inspect(fd))
    }

    fn inspect(fd: OwnedFd) -> Result<Self, Failure> {
        // struct bpf_prog_info.
        const SIZE: usize = 232;
        const NAME: usize = 64;
        const NAME_LEN: usize = 16;
        const VERIFIED_INSNS: usize = 216;
        let mut info = [0_u8; SIZE];
        let mut attr = Attr::new(16)
            .u32(0, fd.as_raw_fd() as u32)
            .count(4, SIZE)
            .address_mut(8, &mut info);
        sys::bpf(cmd::OBJ_GET_INFO_BY_FD, &mut attr).map_err(at("program info"))?;
        let name = info
            .iter()
            .skip(NAME)
            .take(NAME_LEN)
            .take_while(|&&byte| byte != 0)
            .map(|&byte| char::from(byte))
            .collect();
        Ok(Self {
            fd,
            name,
            verified_insns: read_u32(&info, VERIFIED_INSNS).expect("lies inside"),
        })
    }

    /// Attaches the program to its anchor and detaches it.
    pub(crate) fn attach(&self) -> io::Result<()> {
        let mut attr = Attr::new(12).u32(8, self.fd.as_raw_fd() as u32);
        sys::open(cmd::RAW_TRACEPOINT_OPEN, &mut attr).map(drop)
    }
}

impl Log {
    pub(crate) fn new(level: u32) -> Self {
        Self {
            level,
            text: vec![0; LOG_SIZE],
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let end = self.text.iter().position(|&byte| byte == 0);
        let (text, _) = self.text.split_at(end.unwrap_or(self.text.len()));
        String::from_utf8_lossy(text)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// libbpf's loaders copy these fields into every `BPF_PROG_LOAD`.
    fn ask_in_context(&mut self, context: &mut [u8]) {
        self.ask(
            context,
            [CONTEXT_LOG_LEVEL, CONTEXT_LOG_SIZE, CONTEXT_LOG_BUFFER],
        );
    }

    /// Loaders that do not look at the context have the attribute of `BPF_PROG_LOAD` ready in
    /// their data. The log's address is one of user space, so that it works from there as well.
    fn ask_in_data(&mut self, data: &mut [u8]) {
        for start in (0..data.len()).step_by(8) {
            let (_, attr) = data.split_at_mut(start);
            let has = |offset, value| read_u32(attr, offset) == Some(value);
            let found = attr.len() >= prog_load::SIZE
                && has(prog_load::PROG_TYPE, TRACING)
                && has(prog_load::PROG_FLAGS, SLEEPABLE)
                && has(prog_load::EXPECTED_ATTACH_TYPE, FENTRY);
            if found {
                self.ask(
                    attr,
                    [
                        prog_load::LOG_LEVEL,
                        prog_load::LOG_SIZE,
                        prog_load::LOG_BUFFER,
                    ],
                );
            }
        }
    }

    fn ask(&mut self, bytes: &mut [u8], [level, size, buffer]: [usize; 3]) {
        let address = self.text.as_mut_ptr().expose_provenance() as u64;
        put(bytes, level, &self.level.to_ne_bytes());
        put(bytes, size, &(LOG_SIZE as u32).to_ne_bytes());
        put(bytes, buffer, &address.to_ne_bytes());
    }
}

/// Steps one to four. The loader's map and the loader are gone afterwards.
fn run_loader(insns: &[u8], data: &[u8], context: &mut [u8]) -> Result<(), Failure> {
    let map = create_map(data).map_err(at("loader map"))?;
    let map_fd = map.as_raw_fd() as u32;
    let mut update = Attr::new(32)
        .u32(0, map_fd)
        .address(8, &[0_u32])
        .address(16, data);
    sys::bpf(cmd::MAP_UPDATE_ELEM, &mut update).map_err(at("loader data"))?;
    let loader = load_loader(insns, map_fd)?;
    let mut run = Attr::new(80)
        .u32(0, loader.as_raw_fd() as u32)
        .count(40, context.len())
        .address_mut(48, context);
    sys::bpf(cmd::PROG_RUN, &mut run).map_err(at("loader run"))?;
    match run.read_u32(4) as i32 {
        result if result < 0 => Err(Failure {
            step: RESULT,
            errno: -result,
        }),
        _ => Ok(()),
    }
}

fn create_map(data: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = Attr::new(72)
        .u32(0, ARRAY)
        .u32(4, 4)
        .count(8, data.len())
        .u32(12, 1)
        .text(28, "__loader.map");
    sys::open(cmd::MAP_CREATE, &mut attr)
}

fn load_loader(insns: &[u8], map_fd: u32) -> Result<OwnedFd, Failure> {
    let fds = [map_fd];
    let attr = || {
        Attr::new(prog_load::SIZE)
            .u32(prog_load::PROG_TYPE, SYSCALL)
            .count(prog_load::INSN_COUNT, insns.len() / 8)
            .address(prog_load::INSNS, insns)
            .address(prog_load::LICENSE, b"Dual BSD/GPL\0")
            .u32(prog_load::PROG_FLAGS, SLEEPABLE)
            .text(prog_load::NAME, "__loader.prog")
            .address(prog_load::FD_ARRAY, &fds)
    };
    sys::open(cmd::PROG_LOAD, &mut attr()).map_err(|error| {
        let mut log = Log::new(LOG_PATH);
        let mut logged = attr()
            .u32(prog_load::LOG_LEVEL, log.level)
            .count(prog_load::LOG_SIZE, log.text.len())
            .address_mut(prog_load::LOG_BUFFER, &mut log.text);
        // The first error counts.
        let _ = sys::open(cmd::PROG_LOAD, &mut logged);
        for line in log.lines() {
            println!("  loader log: {line}");
        }
        at("loader")(error)
    })
}

/// Numbers in the context's result part that may be descriptors.
fn named_in(context: &[u8]) -> Vec<i32> {
    (RESULTS..context.len())
        .step_by(4)
        .filter_map(|offset| read_u32(context, offset))
        .filter_map(|word| i32::try_from(word).ok())
        .filter(|&word| word > 0)
        .collect()
}

fn at(step: &'static str) -> impl Fn(io::Error) -> Failure {
    move |error| Failure {
        step,
        errno: error.raw_os_error().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program_load(prog_type: u32) -> Vec<u8> {
        let mut data = vec![0_u8; 8 + prog_load::SIZE];
        put(&mut data, 8, &prog_type.to_ne_bytes());
        put(
            &mut data,
            8 + prog_load::PROG_FLAGS,
            &SLEEPABLE.to_ne_bytes(),
        );
        put(
            &mut data,
            8 + prog_load::EXPECTED_ATTACH_TYPE,
            &FENTRY.to_ne_bytes(),
        );
        data
    }

    #[test]
    fn log_is_asked_for_in_the_attribute_of_a_parser_only() {
        let mut log = Log::new(LOG_PATH);
        let mut parser = program_load(TRACING);
        log.ask_in_data(&mut parser);
        assert_eq!(read_u32(&parser, 8 + prog_load::LOG_LEVEL), Some(LOG_PATH));
        let other = program_load(SYSCALL);
        let mut unchanged = other.clone();
        log.ask_in_data(&mut unchanged);
        assert_eq!(unchanged, other);
    }

    #[test]
    fn descriptors_are_positive_words_after_the_head_of_the_context() {
        let mut context = vec![0_u8; 40];
        put(&mut context, 8, &7_u32.to_ne_bytes());
        put(&mut context, 24, &5_u32.to_ne_bytes());
        put(&mut context, 28, &u32::MAX.to_ne_bytes());
        put(&mut context, 36, &6_u32.to_ne_bytes());
        assert_eq!(named_in(&context), [5, 6]);
    }
}
