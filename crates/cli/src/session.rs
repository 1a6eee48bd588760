//! One run of the sandbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kpeel_envelope::host::Envelope;
use kpeel_envelope::limits::{Limits, Meter};
use kpeel_sandbox::{Buffer, Describer, Sandbox};

use crate::failure::{Cause, Failure, Result};
use crate::input::{self, Kind};
use crate::report::Warning;
use crate::terminal::{self, Terminal};
use crate::text;
use crate::trust::Verifier;

/// initrds stand at multiples of this, as the kernel's unpacker wants it.
const INITRD_ALIGNMENT: usize = 4;

/// A sandbox with the buffers that go into it.
pub(crate) struct Session {
    sandbox: Sandbox<'static>,
}

impl Session {
    /// A sandbox under the default limits; with `trace`, it says on standard error what happens.
    pub(crate) fn new(trace: bool) -> Self {
        let mut sandbox = Sandbox::new(Limits::default());
        if trace {
            sandbox = sandbox.on_event(|event| terminal::note(&event.to_string()));
        }
        Self { sandbox }
    }

    /// As [`Session::new`], with envelopes judged by a verifier.
    pub(crate) fn judged(self, verifier: Verifier) -> Self {
        let verdict = move |envelope: &Envelope<'_>| verifier.verdict(envelope);
        Self {
            sandbox: self.sandbox.on_verdict(verdict),
        }
    }

    /// The sandbox itself.
    #[cfg(feature = "trust")]
    pub(crate) fn into_sandbox(self) -> Sandbox<'static> {
        self.sandbox
    }

    /// The host for the pipeline.
    pub(crate) fn sandbox(&mut self) -> &mut Sandbox<'static> {
        &mut self.sandbox
    }

    /// Says what carriers hold, under the same bounds.
    pub(crate) fn describer(&self) -> Describer {
        Describer::new(self.meter())
    }

    /// Reads a file for it.
    pub(crate) fn read(&self, path: &Path, kind: Kind, terminal: &mut Terminal) -> Result<Buffer> {
        input::read(path, kind, self.meter(), terminal.progress())
    }

    /// Reads an image for it while its digest is made.
    #[cfg(feature = "trust")]
    pub(crate) fn read_hashed(
        &self,
        path: &Path,
        hash: kpeel_trust::Hash,
        terminal: &mut Terminal,
    ) -> Result<(Buffer, kpeel_trust::Reading)> {
        input::read_hashed(path, hash, self.meter(), terminal.progress())
    }

    /// Takes bytes for it.
    pub(crate) fn buffer(&self, bytes: Vec<u8>) -> Result<Buffer> {
        let failure = |error| Failure {
            path: None,
            cause: Cause::Envelope(error),
        };
        Buffer::from_vec(bytes, self.meter()).map_err(failure)
    }

    /// The caller's initrds as one; all but the last are padded.
    pub(crate) fn initrd(
        &self,
        paths: &[PathBuf],
        terminal: &mut Terminal,
    ) -> Result<Option<Buffer>> {
        let mut buffers = Vec::new();
        for path in paths {
            buffers.push(self.read(path, Kind::Initrd, terminal)?);
        }
        if buffers.len() <= 1 {
            return Ok(buffers.pop());
        }
        let mut whole = Vec::new();
        for buffer in buffers {
            let padded = whole.len().next_multiple_of(INITRD_ALIGNMENT);
            whole.resize(padded, 0);
            whole.extend_from_slice(buffer.as_ref());
            let name = || "initrd".to_owned();
            Limits::check("initrd", whole.len() as u64, self.meter().limits().initrd)
                .map_err(|error| Failure::envelope(name(), error))?;
        }
        self.buffer(whole).map(Some)
    }

    /// What parsers warned of.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        self.sandbox.warnings().iter().map(Warning::new).collect()
    }

    /// What a failed program or codec said in full, where the error alone says less.
    pub(crate) fn details(&self) -> Option<String> {
        self.sandbox.details().map(text::shown_line)
    }

    /// Instructions executed so far.
    pub(crate) fn instructions(&self) -> u64 {
        self.sandbox.instructions()
    }

    fn meter(&self) -> &Arc<Meter> {
        self.sandbox.charge_to()
    }
}
