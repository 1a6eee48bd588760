// SPDX-License-Identifier: GPL-2.0 OR MIT

//! The host: Linux, as what the pipeline runs stages on.

use core::ffi::c_int;

use kernel::alloc::flags::GFP_KERNEL;
use kernel::sync::Arc;

use super::border::probe;
use super::buffer::{no_memory, Buffer};
use super::envelope::carrier::Carrier;
use super::envelope::error::{Class, Error, Needed, Refusal, Result};
use super::envelope::host::{Envelope, Host, Stage, Trust};
use super::envelope::limits::{Limits, Meter};
use super::envelope::publication::Run;
use super::loader::{load, PASSING};
use super::session::Session;

/// The kernel host of one load.
pub(crate) struct Linux {
    meter: Arc<Meter>,
    /// 0, or the negative errno of why nothing vouches for the outermost envelope.
    signature: c_int,
}

impl Linux {
    pub(crate) fn new(signature: c_int) -> Result<Self> {
        let meter = Arc::new(Meter::new(Limits::default()), GFP_KERNEL);
        Ok(Self {
            meter: meter.map_err(|_| no_memory("meter"))?,
            signature,
        })
    }
}

impl Host for Linux {
    type Buffer = Buffer;
    type Armed = Session;

    fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The outermost envelope was verified as a whole before the thread began; what is inside it is
    /// covered.
    fn verdict(&mut self, envelope: &Envelope<'_>) -> Result<Trust> {
        if envelope.covered {
            return Ok(Trust::Covered);
        }
        if self.signature == 0 {
            return Ok(Trust::Verified);
        }
        let errno = self.signature.wrapping_neg();
        // A signature that memory was lacking for is not a bad one, but vouches for nothing either.
        let class = if PASSING.contains(&errno) {
            Class::System(errno)
        } else {
            Class::Refused(Refusal::Signature)
        };
        Err(Error::value(
            class,
            "signature",
            self.signature.unsigned_abs().into(),
            Needed::Words("0: a good one by a key of the trusted or platform keyring"),
        ))
    }

    fn arm(&mut self, stage: &Stage<'_, Buffer>, carrier: &Carrier<'_>) -> Result<Session> {
        Session::new(load(carrier, &self.meter)?, stage, &self.meter)
    }

    fn run(&mut self, armed: &mut Session) -> Result<Run<Buffer>> {
        armed.run()
    }

    fn post(&mut self, armed: &mut Session) -> Result<()> {
        armed.post()
    }

    fn concat(&mut self, parts: &[&[u8]]) -> Result<Buffer> {
        Buffer::joined(parts, &self.meter)
    }

    fn recognise(&mut self, kernel: &[u8]) -> Result<()> {
        if probe(kernel) {
            return Ok(());
        }
        let reason = "no parser opens it, and no loader of this machine takes it";
        Err(Error::reason(Class::Unsupported, "kernel", reason))
    }
}
