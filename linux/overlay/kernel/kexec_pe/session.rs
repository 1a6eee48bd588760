// SPDX-License-Identifier: GPL-2.0 OR MIT

//! A loaded parser with its stage before it.
//!
//! UNSAFETY: The kfuncs find the running stage through a pointer; the image is mapped again.

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use kernel::alloc::flags::GFP_KERNEL;
use kernel::alloc::{KBox, KVec};
use kernel::sync::Arc;

use super::abi::{Context, MemRangeResult, MAX_RESULTS};
use super::border::{cancelled, Place, Program, View, EINTR};
use super::buffer::{no_memory, Buffer, Charge};
use super::envelope::error::{Class, Error, Needed, Result};
use super::envelope::host;
use super::envelope::limits::{Limits, Meter, ABI_SIZE_MAX};
use super::envelope::publication::{Origin, Run};
use super::loader::Skeleton;

/// Bytes that the kfuncs of one stage may copy and decompress.
const WORK: u64 = 8 << 30;

/// A loaded parser with its stage. Dropping it frees what it held; what it published lives on.
pub(crate) struct Session {
    main: Program,
    post: Option<Program>,
    context: KBox<Context>,
    stage: KBox<Stage>,
    _charges: KVec<Charge>,
}

/// What the kfuncs of a running parser know and change.
pub(crate) struct Stage {
    pub(super) depth: u32,
    pub(super) meter: Arc<Meter>,
    /// The image as the parser sees it.
    pub(super) view: View,
    /// The image as it is handed on.
    pub(super) image: Buffer,
    pub(super) initrd: Option<Buffer>,
    pub(super) cmdline: Option<Buffer>,
    /// Addresses and sizes of the running program's maps.
    pub(super) maps: KVec<(usize, u64)>,
    pub(super) results: [Option<KBox<Unpacked>>; MAX_RESULTS],
    pub(super) place: Place,
    pub(super) run: Run<Buffer>,
    pub(super) work: u64,
    /// Warnings so far.
    pub(super) warnings: u32,
    _charge: Charge,
}

/// A result of `bpf_decompress`; its address is that of its public part.
#[repr(C)]
pub(crate) struct Unpacked {
    pub(super) public: MemRangeResult,
    pub(super) bytes: Buffer,
    pub(super) origin: Origin,
}

/// The running stage, for the kfuncs; null if none runs.
static RUNNING: AtomicPtr<Stage> = AtomicPtr::new(ptr::null_mut());

/// Makes a stage the running one while it lives.
struct Turn;

/// The running stage.
///
/// # Safety
/// Called by the loader thread, from a kfunc that the running program called, which makes no
/// second use of what this returns.
pub(crate) unsafe fn running<'a>() -> Option<&'a mut Stage> {
    // SAFETY: Set only while `execute` waits for the program and touches the stage not at all.
    unsafe { RUNNING.load(Ordering::Relaxed).as_mut() }
}

impl Session {
    /// Puts a stage before a loaded parser.
    pub(crate) fn new(
        skeleton: Skeleton,
        stage: &host::Stage<'_, Buffer>,
        meter: &Arc<Meter>,
    ) -> Result<Self> {
        let Skeleton {
            main,
            post,
            charges,
        } = skeleton;
        let charge = Charge::new(meter, stage.covered.head_len() as u64)?;
        let view = view(stage)?;
        let (initrd, cmdline) = (stage.initrd, stage.cmdline);
        let context = Context {
            kdump: stage.crash.into(),
            image: view.as_slice().as_ptr() as u64,
            image_sz: size("image", view.as_slice().len())?,
            initrd: address(initrd),
            initrd_sz: size("initrd", len(initrd))?,
            cmdline: address(cmdline),
            cmdline_sz: size("command line", len(cmdline))?,
            ..Context::default()
        };
        let stage = Stage {
            depth: stage.depth,
            meter: meter.clone(),
            view,
            image: stage.image.clone(),
            initrd: initrd.cloned(),
            cmdline: cmdline.cloned(),
            maps: KVec::new(),
            results: [const { None }; MAX_RESULTS],
            place: Place::Handle,
            run: Run::new(),
            work: WORK,
            warnings: 0,
            _charge: charge,
        };
        let failed = |_| no_memory("stage");
        Ok(Self {
            main,
            post,
            context: KBox::new(context, GFP_KERNEL).map_err(failed)?,
            stage: KBox::new(stage, GFP_KERNEL).map_err(failed)?,
            _charges: charges,
        })
    }

    /// Runs the program for the first anchor.
    pub(crate) fn run(&mut self) -> Result<Run<Buffer>> {
        let Self {
            main,
            context,
            stage,
            ..
        } = self;
        execute(main, Place::Handle, context, stage)?;
        Ok(core::mem::take(&mut stage.run))
    }

    /// Runs the program for the second anchor, if there is one.
    pub(crate) fn post(&mut self) -> Result<()> {
        let Self {
            post,
            context,
            stage,
            ..
        } = self;
        match post {
            Some(post) => execute(post, Place::Post, context, stage),
            None => Ok(()),
        }
    }
}

fn execute(
    program: &mut Program,
    place: Place,
    context: &mut Context,
    stage: &mut Stage,
) -> Result<()> {
    stage.place = place;
    stage.maps = KVec::new();
    for map in program.maps() {
        stage
            .maps
            .push(map, GFP_KERNEL)
            .map_err(|_| no_memory("stage"))?;
    }
    RUNNING.store(stage, Ordering::Relaxed);
    let value = {
        let _turn = Turn;
        program.run(context)
    };
    if cancelled() {
        let reason = "was cancelled";
        return Err(Error::reason(
            Class::System(EINTR),
            "parser program",
            reason,
        ));
    }
    if value != 0 {
        // The verifier takes only programs that return 0.
        let (field, found) = ("parser program's result", i64::from(value) as u64);
        return Err(Error::value(Class::Bug, field, found, Needed::Exactly(0)));
    }
    Ok(())
}

/// The image as the parser may see it: covered bytes, with what no signature covers zeroed.
fn view(stage: &host::Stage<'_, Buffer>) -> Result<View> {
    let len = stage.covered.len;
    let bytes = stage.image.as_ref().get(..len).ok_or(Error::reason(
        Class::Bug,
        "covered bytes",
        "end outside of the image",
    ))?;
    // SAFETY: Images are PE images, so not empty, and lie in the kimage's buffer or in one of ours,
    // both vmalloc's. The stage holds the image as long as the view.
    let view = unsafe { View::new(bytes, stage.covered.head_len()) };
    let mut view = view.ok_or(no_memory("view of the image"))?;
    stage.covered.zero(view.head());
    Ok(view)
}

fn address(buffer: Option<&Buffer>) -> u64 {
    buffer.map_or(0, |buffer| buffer.as_ref().as_ptr() as u64)
}

fn len(buffer: Option<&Buffer>) -> usize {
    buffer.map_or(0, |buffer| buffer.as_ref().len())
}

/// A size as the context can hold it.
fn size(name: &'static str, size: usize) -> Result<i32> {
    Limits::check(name, size as u64, ABI_SIZE_MAX)?;
    i32::try_from(size).map_err(|_| Error::bound(name, size as u64, ABI_SIZE_MAX))
}

impl Drop for Turn {
    fn drop(&mut self) {
        RUNNING.store(ptr::null_mut(), Ordering::Relaxed);
    }
}
