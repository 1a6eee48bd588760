// SPDX-License-Identifier: GPL-2.0 OR MIT

//! Runs a carrier's loader program and keeps the programs it makes.
//!
//! Nothing is assumed about a skeleton's shape: its loader runs over a zeroed context, and what
//! counts is which programs the thread's descriptors name afterwards.
//!
//! UNSAFETY: bpf(2) asks what the loader at work may do through a pointer to it.

use core::ffi::c_int;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use kernel::alloc::flags::GFP_KERNEL;
use kernel::alloc::{KVec, VVec};
use kernel::sync::Arc;

use super::abi::{BpfCmd, MapType, ProgType, MAX_LOADER_MAPS, PROG_FLAGS_SLEEPABLE, TRACE_FENTRY};
use super::border::{
    close_all, create_map, insn, is_anchor, load_prog, programs, run_loader, Ask, Place, Program,
    EINTR, EINVAL, ENOMEM, EPERM,
};
use super::buffer::{gfp, no_memory, Charge};
use super::envelope::carrier::{Carrier, INSN_SIZE};
use super::envelope::error::{Class, Error, Needed, Refusal, Result};
use super::envelope::limits::Meter;
use super::program::{check, Kind};

/// Bytes of the context: more than any skeleton's, less than bpf(2)'s limit of 65535.
const CONTEXT_SIZE: usize = 4096;
/// `BPF_SKEL_KERNEL` (`tools/lib/bpf/skel_internal.h`): addresses in the context are the kernel's.
const FLAG_KERNEL: u32 = 1;
/// `EAGAIN` and `EBUSY`, `EMFILE`: not the carrier's fault.
pub(super) const PASSING: [c_int; 5] = [ENOMEM, EINTR, 11, 16, 24];
/// Flags of `BPF_PROG_LOAD` that make the verifier stricter or test it.
const FLAGS_IGNORED: u32 = 0x8f;
const VALUE_ALIGNMENT: u64 = 8;

/// What a carrier's loader made.
pub(crate) struct Skeleton {
    pub(crate) main: Program,
    pub(crate) post: Option<Program>,
    /// For its maps.
    pub(crate) charges: KVec<Charge>,
}

/// A loader at work.
struct Loading {
    meter: Arc<Meter>,
    /// Whether the commands are the host's own.
    host: bool,
    maps: usize,
    charges: KVec<Charge>,
    /// The last refusal, and the errno it was answered with.
    denied: Option<(c_int, Error)>,
}

/// A command that is refused: the errno the loader gets, and why.
struct Denied(c_int, Error);

/// The loader at work, for [`kexec_pe_rs_check_bpf`]; null if there is none.
static LOADING: AtomicPtr<Loading> = AtomicPtr::new(ptr::null_mut());

/// Makes the loader at work known while it lives.
struct AtWork;

/// Closes the thread's descriptors when dropped: programs keep the maps they use.
struct Descriptors;

/// Runs the loader of `carrier`.
///
/// # Errors
/// `Malformed` when the loader does not load or fails, `Refused` when it asks for what no loader
/// may do or for more than the limits allow.
pub(crate) fn load(carrier: &Carrier<'_>, meter: &Arc<Meter>) -> Result<Skeleton> {
    let words = carrier.insns.chunks_exact(INSN_SIZE);
    let words = words.filter_map(|word| word.try_into().ok().map(u64::from_le_bytes));
    check(Kind::Loader, words)?;
    let _charge = Charge::new(meter, carrier.data.len() as u64)?;
    let mut loading = Loading {
        meter: meter.clone(),
        host: true,
        maps: 0,
        charges: KVec::new(),
        denied: None,
    };
    let _descriptors = Descriptors;
    run(&mut loading, carrier)?;
    collect(loading.charges)
}

/// Answers whether the thread may issue a command of bpf(2): 0 or a negative errno.
///
/// # Safety
/// Called by the loader thread, with a valid pointer.
#[no_mangle]
pub(crate) unsafe extern "C" fn kexec_pe_rs_check_bpf(ask: *const Ask) -> c_int {
    // SAFETY: The caller's promise.
    let ask = unsafe { &*ask };
    // SAFETY: Set while the loader lives and is used by nobody but through this pointer. This is
    // its own thread.
    let Some(loading) = (unsafe { LOADING.load(Ordering::Relaxed).as_mut() }) else {
        return -EPERM;
    };
    match loading.check(ask) {
        Ok(()) => 0,
        Err(Denied(errno, error)) => {
            loading.denied = Some((errno, error));
            -errno
        }
    }
}

/// From the carrier to the end of its loader.
fn run(loading: &mut Loading, carrier: &Carrier<'_>) -> Result<()> {
    let loading: *mut Loading = loading;
    LOADING.store(loading, Ordering::Relaxed);
    let _at_work = AtWork;
    // The map takes descriptor 0, which skeletons do not know for a descriptor.
    let map = made("opts_data", create_map(carrier.data))?;
    let program = made("loader program", load_prog(map, carrier.insns))?;
    let mut context = context()?;
    // SAFETY: It lives; nothing else uses it between calls of bpf(2).
    unsafe { (*loading).host = false };
    let result = run_loader(program, &mut context);
    let status = made("loader program", result.unwrap_or_else(|error| error));
    // SAFETY: As above; the loader is done.
    let denied = unsafe { (*loading).denied };
    match (status, denied, result) {
        (Ok(_), _, _) => Ok(()),
        // What was refused with this very number is why the loader gave up.
        (Err(_), Some((errno, error)), Ok(value)) if value == -errno => Err(error),
        (Err(error), _, _) => Err(error),
    }
}

/// A descriptor or result, or what a negative errno means.
fn made(field: &'static str, result: c_int) -> Result<c_int> {
    let errno = result.wrapping_neg();
    if errno <= 0 {
        return Ok(result);
    }
    let class = match errno {
        EPERM => Class::Refused(Refusal::Permission),
        errno if PASSING.contains(&errno) => Class::System(errno),
        _ => Class::Malformed,
    };
    let needed = Needed::Words("0 or more: Linux refused it with this errno");
    Err(Error::value(class, field, errno as u64, needed))
}

fn context() -> Result<VVec<u8>> {
    let failed = |_| no_memory("loader context");
    let mut context = VVec::with_capacity(CONTEXT_SIZE, gfp()).map_err(failed)?;
    for word in [CONTEXT_SIZE as u32, FLAG_KERNEL] {
        context
            .extend_from_slice(&word.to_le_bytes(), gfp())
            .map_err(failed)?;
    }
    let rest = CONTEXT_SIZE.saturating_sub(context.len());
    context.extend_with(rest, 0, gfp()).map_err(failed)?;
    Ok(context)
}

/// Looks which programs there are.
fn collect(charges: KVec<Charge>) -> Result<Skeleton> {
    let (mut main, mut post) = (None, None);
    let (mut mains, mut posts) = (0_u64, 0_u64);
    for (place, program) in programs() {
        if program.has_global_functions() {
            return Err(Error::reason(
                Class::Refused(Refusal::Permission),
                "parser program",
                "has a global function: the verifier bounds the time of static ones only",
            ));
        }
        let (slot, count) = match place {
            Place::Handle => (&mut main, &mut mains),
            Place::Post => (&mut post, &mut posts),
        };
        *slot = Some(program);
        *count = count.saturating_add(1);
    }
    if posts > 1 {
        let field = "programs for bpf_post_handle_pefile";
        return Err(Error::malformed(field, posts, Needed::AtMost(1)));
    }
    match main {
        Some(main) if mains == 1 => Ok(Skeleton {
            main,
            post,
            charges,
        }),
        _ => {
            let field = "programs for bpf_handle_pefile";
            Err(Error::malformed(field, mains, Needed::Exactly(1)))
        }
    }
}

impl Loading {
    fn check(&mut self, ask: &Ask) -> core::result::Result<(), Denied> {
        if self.host {
            return Ok(());
        }
        match BpfCmd::from_id(ask.cmd) {
            Some(BpfCmd::MapCreate) => self.check_map(ask),
            Some(BpfCmd::ProgLoad) => check_program(ask),
            Some(BpfCmd::MapUpdateElem | BpfCmd::BtfLoad | BpfCmd::MapFreeze) => Ok(()),
            None => Err(forbidden(
                "bpf command",
                ask.cmd,
                "MAP_CREATE (0), MAP_UPDATE_ELEM (2), PROG_LOAD (5), BTF_LOAD (18) or MAP_FREEZE (22)",
            )),
        }
    }

    fn check_map(&mut self, ask: &Ask) -> core::result::Result<(), Denied> {
        let entries = u64::from(ask.max_entries);
        let bytes = match MapType::from_id(ask.map_type) {
            Some(MapType::Array) => u64::from(ask.value_size)
                .next_multiple_of(VALUE_ALIGNMENT)
                .saturating_mul(entries),
            Some(MapType::Ringbuf) => entries,
            None => {
                let needed = "ARRAY (2) or RINGBUF (27)";
                return Err(forbidden("map_type", ask.map_type, needed));
            }
        };
        if ask.others != 0 {
            return Err(forbidden(
                "map attributes",
                ask.others,
                "none but the common ones",
            ));
        }
        let (asked, allowed) = (self.maps.saturating_add(1), MAX_LOADER_MAPS);
        if asked > allowed {
            let error = Error::bound("maps of a loader", asked as u64, allowed as u64);
            return Err(Denied(EPERM, error));
        }
        let charge = Charge::new(&self.meter, bytes).map_err(|error| Denied(ENOMEM, error))?;
        self.charges
            .push(charge, GFP_KERNEL)
            .map_err(|_| Denied(ENOMEM, no_memory("map")))?;
        self.maps = asked;
        Ok(())
    }
}

/// Sleepable fentry programs on our anchors, and nothing else.
fn check_program(ask: &Ask) -> core::result::Result<(), Denied> {
    if ask.prog_type != ProgType::Tracing as u32 {
        return Err(forbidden("prog_type", ask.prog_type, "TRACING (26)"));
    }
    if ask.attach_type != TRACE_FENTRY {
        let needed = "TRACE_FENTRY (24)";
        return Err(forbidden("expected_attach_type", ask.attach_type, needed));
    }
    if ask.prog_flags & !FLAGS_IGNORED != PROG_FLAGS_SLEEPABLE {
        let needed = "BPF_F_SLEEPABLE (0x10)";
        return Err(forbidden("prog_flags", ask.prog_flags, needed));
    }
    if !is_anchor(ask.attach_btf_id) {
        let needed = "one of the two anchors";
        return Err(forbidden("attach_btf_id", ask.attach_btf_id, needed));
    }
    if ask.others != 0 {
        return Err(forbidden(
            "program attributes",
            ask.others,
            "none but the common ones",
        ));
    }
    let insns = (0..).map_while(|index| insn(ask, index));
    check(Kind::Parser, insns).map_err(|error| {
        let errno = match error.class {
            Class::Refused(_) => EPERM,
            _ => EINVAL,
        };
        Denied(errno, error)
    })
}

fn forbidden(field: &'static str, found: u32, needed: &'static str) -> Denied {
    let class = Class::Refused(Refusal::Permission);
    let needed = Needed::Words(needed);
    Denied(EPERM, Error::value(class, field, found.into(), needed))
}

impl Drop for AtWork {
    fn drop(&mut self) {
        LOADING.store(ptr::null_mut(), Ordering::Relaxed);
    }
}

impl Drop for Descriptors {
    fn drop(&mut self) {
        close_all();
    }
}
