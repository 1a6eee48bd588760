//! The host: what the pipeline runs stages on.

use std::sync::Arc;

use kpeel_bpf::Budget;
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::Result;
use kpeel_envelope::host::{Envelope, Host, Source, Stage, Trust};
use kpeel_envelope::limits::{Limits, Meter};
use kpeel_envelope::publication::Run;

use crate::answer::Work;
use crate::btf::Kernel;
use crate::buffer::{Buffer, joined};
use crate::env::Env;
use crate::event::{Event, Trace, Warning};
use crate::loader::load;
use crate::parser::Session;
use crate::recognise::{self, Machine};

/// Decides on signatures; see [`Sandbox::on_verdict`].
type Verdict<'t> = Box<dyn FnMut(&Envelope<'_>) -> Result<Trust> + 't>;

/// The user-space host of one load.
///
/// Instructions and memory are counted over the whole load, so use one sandbox per load.
pub struct Sandbox<'t> {
    meter: Arc<Meter>,
    kernel: Kernel,
    budget: Budget,
    work: Work,
    trace: Trace<'t>,
    verdict: Option<Verdict<'t>>,
    machine: Option<Machine>,
}

/// A loaded parser with its stage. Dropping it frees all that it held; what it published lives on.
#[derive(Debug)]
pub struct Armed {
    depth: u32,
    session: Session,
}

impl<'t> Sandbox<'t> {
    /// A sandbox that counts against `limits`, takes kernels for any machine and asks for no
    /// signature.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            meter: Arc::new(Meter::new(limits)),
            kernel: Kernel::new(),
            budget: Budget::new(limits.instructions),
            work: Work::for_instructions(limits.instructions),
            trace: Trace::default(),
            verdict: None,
            machine: None,
        }
    }

    /// Tells everything that happens to `sink`, as it happens.
    #[must_use]
    pub fn on_event(mut self, sink: impl FnMut(Event) + 't) -> Self {
        self.trace.listen(sink);
        self
    }

    /// Asks `verdict` about the signature of every envelope.
    #[must_use]
    pub fn on_verdict(mut self, verdict: impl FnMut(&Envelope<'_>) -> Result<Trust> + 't) -> Self {
        self.verdict = Some(Box::new(verdict));
        self
    }

    /// Takes kernels for this machine only.
    #[must_use]
    pub fn for_machine(mut self, machine: Machine) -> Self {
        self.machine = Some(machine);
        self
    }

    /// The meter that buffers for this load charge.
    #[must_use]
    pub fn charge_to(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// The parsers' warnings so far, in order.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.trace.warnings
    }

    /// What the last failure of a program or a codec was in full, where the error alone says less.
    #[must_use]
    pub fn details(&self) -> Option<&str> {
        self.trace.trap.as_deref()
    }

    /// BPF instructions executed so far.
    #[must_use]
    pub fn instructions(&self) -> u64 {
        self.meter
            .limits()
            .instructions
            .saturating_sub(self.budget.left())
    }

    fn env(&mut self) -> (Env<'_, 't>, &Kernel, &mut Budget) {
        let Self {
            meter,
            kernel,
            budget,
            work,
            trace,
            ..
        } = self;
        (Env { meter, trace, work }, kernel, budget)
    }
}

impl Host for Sandbox<'_> {
    type Buffer = Buffer;
    type Armed = Armed;

    fn meter(&self) -> &Meter {
        &self.meter
    }

    fn verdict(&mut self, envelope: &Envelope<'_>) -> Result<Trust> {
        match &mut self.verdict {
            Some(verdict) => verdict(envelope),
            None => Ok(Trust::Unchecked),
        }
    }

    fn arm(&mut self, stage: &Stage<'_, Buffer>, carrier: &Carrier<'_>) -> Result<Armed> {
        let depth = stage.depth;
        self.trace.enter(depth);
        let size = |buffer: &Buffer| buffer.len() as u64;
        self.trace.tell(|depth| Event::Stage {
            depth,
            parser: match stage.source {
                Source::Embedded => None,
                Source::Offered(name) => Some(name.to_owned()),
            },
            image: stage.covered.len as u64,
            initrd: stage.initrd.map(size),
            cmdline: stage.cmdline.map(size),
        });
        let (mut env, kernel, budget) = self.env();
        let skeleton = load(carrier, kernel, &mut env, budget)?;
        let session = Session::new(skeleton, stage, &env)?;
        Ok(Armed { depth, session })
    }

    fn run(&mut self, armed: &mut Armed) -> Result<Run<Buffer>> {
        self.trace.enter(armed.depth);
        let (mut env, _, budget) = self.env();
        armed.session.run(&mut env, budget)
    }

    fn post(&mut self, armed: &mut Armed) -> Result<()> {
        self.trace.enter(armed.depth);
        let (mut env, _, budget) = self.env();
        armed.session.post(&mut env, budget)
    }

    fn concat(&mut self, parts: &[&[u8]]) -> Result<Buffer> {
        joined(parts, &self.meter)
    }

    fn recognise(&mut self, kernel: &[u8]) -> Result<()> {
        recognise::check(kernel, self.machine)
    }
}
