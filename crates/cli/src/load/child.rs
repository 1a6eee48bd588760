//! The confined child: opens the image, with nothing but memory and the descriptors it was given.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use kpeel_envelope::compose::split_selector;
use kpeel_envelope::error::{Class, Error};
use kpeel_envelope::limits::{Limits, Meter};
use kpeel_envelope::pe::Pe;
use kpeel_envelope::pipeline::{self, Parser, Request, Unfolded};
use kpeel_sandbox::{Buffer, Machine, Sandbox};
use rustix::process::{Resource, Rlimit, Signal};

use super::look::{Look, Notes};
use super::wire::{Answer, Done, Failed, Order, Results, Warning};
use crate::failure::{Cause, Failure, Result};
use crate::terminal;
use crate::trust::{Verifier, signer_of};

const EIO: i32 = 5;

/// Does what the order on standard input says, and answers on standard output.
pub(crate) fn run() -> Result<()> {
    run_with(|| ())
}

/// The same, with something done first of all that is done in confinement.
pub(super) fn run_with(confined: impl FnOnce()) -> Result<()> {
    let order = order()?;
    stay_with(order.parent)?;
    let files = Files::open(&order)?;
    let mut sandbox = Sandbox::new(Limits::default());
    if let Some(machine) = Machine::running() {
        sandbox = sandbox.for_machine(machine);
    }
    if order.trace {
        sandbox = sandbox.on_event(|event| terminal::note(&event.to_string()));
    }
    // Only mapped here; the first byte of them is read when this process is confined.
    let inputs = files.map(sandbox.charge_to());
    warm_up(sandbox.charge_to())?;
    kpeel_confine::confine().map_err(|error| bug(format!("cannot be confined: {error}")))?;
    confined();
    let verifier = order.keys.as_deref().map(Verifier::new).transpose()?;
    if let Some(verifier) = verifier.clone() {
        sandbox = sandbox.on_verdict(move |envelope| verifier.verdict(envelope));
    }
    let verifier = verifier.as_ref();
    let done = inputs.and_then(|inputs| unfold(&order, inputs, files, &mut sandbox, verifier));
    let refusal = verifier.and_then(Verifier::refusal);
    let answer = Answer {
        warnings: sandbox.warnings().iter().map(Warning::new).collect(),
        done: done.map_err(|error| Failed::new(&error, sandbox.details()).because(refusal)),
    };
    let text = serde_json::to_vec(&answer).map_err(|error| bug(error.to_string()))?;
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(&text)
        .and_then(|()| stdout.flush())
        .map_err(Failure::stdout)
}

/// Has the gzip decoder look at the processor while that is allowed: on arm64, libdeflate opens
/// `/proc/self/auxv` when it is first used.
fn warm_up(meter: &Arc<Meter>) -> Result<()> {
    /// `printf kernel | gzip -n`.
    const GZIP: [u8; 26] = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x4e, 0x2d, 0xca, 0x4b, 0xcd, 1, 0, 0xab, 0x9a,
        0xd2, 0x5d, 6, 0, 0, 0,
    ];
    let unpacked = Buffer::from_vec(GZIP.to_vec(), meter)
        .and_then(|packed| kpeel_sandbox::unpack_whole(&packed, meter));
    match unpacked {
        Ok(Some(kernel)) if kernel.as_ref() == b"kernel" => Ok(()),
        other => Err(bug(format!("gzip of six bytes: {other:?}"))),
    }
}

/// What the order's descriptors are open as.
struct Files {
    image: File,
    initrd: Option<File>,
    results: Results<File>,
}

struct Inputs {
    image: Buffer,
    initrd: Option<Buffer>,
}

fn order() -> Result<Order> {
    let mut text = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut text)
        .map_err(|error| bug(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| {
        Failure::usage(format!(
            "this command is kpeel's own, not for people: {error}"
        ))
    })
}

/// Ends this process with the one that waits for it, and leaves no memory image behind.
fn stay_with(parent: u32) -> Result<()> {
    let failure = |error: rustix::io::Errno| bug(error.to_string());
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(failure)?;
    let found = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if found != Some(parent) {
        return Err(bug("its parent is gone".to_owned()));
    }
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none).map_err(failure)
}

impl Files {
    /// Opens the inherited descriptors anew, which gives them an owner in safe code.
    fn open(order: &Order) -> Result<Self> {
        let open = |number: i32, write: bool| {
            let path = format!("/proc/self/fd/{number}");
            let file = File::options().read(true).write(write).open(&path);
            file.map_err(|error| bug(format!("{path}: {error}")))
        };
        Ok(Self {
            image: open(order.image, false)?,
            initrd: order.initrd.map(|number| open(number, false)).transpose()?,
            results: Results {
                kernel: open(order.results.kernel, true)?,
                initrd: open(order.results.initrd, true)?,
                dtb: open(order.results.dtb, true)?,
            },
        })
    }

    fn map(&self, meter: &Arc<Meter>) -> kpeel_envelope::error::Result<Inputs> {
        let limits = *meter.limits();
        let map = |file, bound, allowed| Buffer::from_sealed(file, bound, allowed, meter);
        Ok(Inputs {
            image: map(&self.image, "image", limits.image)?,
            initrd: self
                .initrd
                .as_ref()
                .map(|file| map(file, "initrd", limits.initrd))
                .transpose()?,
        })
    }
}

fn unfold(
    order: &Order,
    inputs: Inputs,
    files: Files,
    sandbox: &mut Sandbox<'_>,
    verifier: Option<&Verifier>,
) -> kpeel_envelope::error::Result<Done> {
    let meter = Arc::clone(sandbox.charge_to());
    let parsers: Vec<_> = order
        .parsers
        .iter()
        .map(parser)
        .collect::<kpeel_envelope::error::Result<_>>()?;
    let Inputs { mut image, initrd } = inputs;
    let unpacked = kpeel_sandbox::unpack_whole(&image, &meter)?;
    let was_packed = unpacked.is_some();
    if let Some(unpacked) = unpacked {
        image = unpacked;
    }
    let cmdline = order
        .cmdline
        .as_ref()
        .map(|line| Buffer::from_vec(line.clone(), &meter))
        .transpose()?;
    let profile = match &order.cmdline {
        Some(line) => split_selector(line)?.0,
        None => None,
    };
    let mut look = Look::new(sandbox, profile);
    let unfolded = pipeline::unfold(
        &mut look,
        Request {
            image,
            initrd,
            cmdline,
            crash: order.crash,
            enforced: verifier.is_some(),
            embedded: order.embedded,
            parsers: &parsers,
        },
    )?;
    let notes = look.notes()?;
    let mut done = write(unfolded, &notes, was_packed, files.results)?;
    if let Some(verifier) = verifier {
        verifier.check_verified()?;
        done.signers = verifier.signers();
    }
    Ok(done)
}

/// A parser offered, with its carrier.
fn parser(offered: &super::wire::Parser) -> kpeel_envelope::error::Result<Parser<'_>> {
    Ok(Parser {
        name: &offered.name,
        carrier: offered
            .carrier()
            .ok_or(Error::absent(Class::Bug, "bundled parser"))?,
    })
}

/// Writes the results that the parent does not have already.
fn write(
    unfolded: Unfolded<Buffer>,
    notes: &Notes,
    unpacked: bool,
    results: Results<File>,
) -> kpeel_envelope::error::Result<Done> {
    let Unfolded {
        kernel,
        initrd,
        cmdline,
        provenance,
    } = unfolded;
    let mut sizes = Results::default();
    if unpacked || provenance.opened != 0 {
        sizes.kernel = save(results.kernel, kernel.as_ref())?;
    }
    let pe = Pe::parse(kernel.as_ref()).ok();
    let signed = pe.as_ref().filter(|pe| pe.certificate_table().is_some());
    let kernel_signer = signed.and_then(signer_of);
    let signed = signed.is_some();
    drop(kernel);
    if let (Some(initrd), Some(_)) = (&initrd, provenance.initrd.envelope) {
        sizes.initrd = save(results.initrd, initrd.as_ref())?;
    }
    if let Some(dtb) = &notes.dtb {
        sizes.dtb = save(results.dtb, dtb)?;
    }
    Ok(Done {
        sizes,
        unpacked,
        opened: provenance.opened,
        initrd_envelope: provenance.initrd.envelope,
        cmdline_envelope: provenance.cmdline.envelope,
        cmdline: cmdline.map(|line| line.as_ref().to_vec()),
        profile: provenance.profile,
        pcrsig: notes.pcrsig,
        signed,
        kernel_signer,
        signers: Vec::new(),
    })
}

/// Writes one result; gives its size.
fn save(mut file: File, bytes: &[u8]) -> kpeel_envelope::error::Result<Option<u64>> {
    let written = file.write_all(bytes).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(EIO);
        Error::reason(Class::System(errno), "result", "cannot be written")
    });
    written.map(|()| Some(bytes.len() as u64))
}

impl Warning {
    fn new(warning: &kpeel_sandbox::Warning) -> Self {
        Self {
            depth: warning.depth,
            field: warning.field.as_str().to_owned(),
            found: warning.found,
            needed: warning.needed,
        }
    }
}

fn bug(message: String) -> Failure {
    Failure {
        path: None,
        cause: Cause::Bug(format!("the process that opens the image: {message}")),
    }
}
