//! A kpeel that is built without signatures: says so wherever one would count.

use std::path::Path;

use kpeel_envelope::error::{Class, Error, Result as EnvelopeResult};
use kpeel_envelope::host::{Envelope, Trust};
use kpeel_envelope::pe::Pe;

use super::{KeyFile, Signer};
use crate::failure::{Failure, Result};

const ABSENT: &str = "this kpeel is built without signatures (the cargo feature trust, which needs a \
     C compiler): --trust none leaves the check to the running kernel";

/// There is none.
#[derive(Clone, Debug)]
pub(crate) struct Verifier(std::convert::Infallible);

impl Verifier {
    pub(crate) fn new(_: &[KeyFile]) -> Result<Self> {
        Err(Failure::refused(ABSENT))
    }

    pub(crate) fn verdict(&self, _: &Envelope<'_>) -> EnvelopeResult<Trust> {
        Err(Error::reason(Class::Unsupported, "signature", ABSENT))
    }

    pub(crate) fn check_verified(&self) -> EnvelopeResult<()> {
        Ok(())
    }

    pub(crate) fn refusal(&self) -> Option<String> {
        None
    }

    pub(crate) fn skipped(&self) -> Vec<String> {
        Vec::new()
    }

    pub(crate) fn signers(&self) -> Vec<Signer> {
        Vec::new()
    }
}

/// Nobody that this kpeel could name.
pub(crate) fn signer_of(_: &Pe<'_>) -> Option<String> {
    None
}

/// The running system's keys.
pub(crate) fn system_keys(_: &Path) -> Result<Vec<KeyFile>> {
    Err(Failure::refused(ABSENT))
}
