//! The verdict about each envelope, by `kpeel-trust`.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

use kpeel_envelope::error::{Class, Error, Refusal, Result as EnvelopeResult};
use kpeel_envelope::host::{Envelope, Trust};
use kpeel_envelope::pe::Pe;
use kpeel_trust::{Policy, Reason, Report, Store, Verdict};

use super::{KeyFile, Signer};
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// Judges envelopes, and remembers what it found. Clones share that.
#[derive(Clone, Debug)]
pub(crate) struct Verifier {
    store: Rc<Store>,
    policy: Policy,
    notes: Rc<RefCell<Notes>>,
}

#[derive(Debug, Default)]
struct Notes {
    signers: Vec<Signer>,
    refused: Option<Reason>,
}

impl Verifier {
    /// A verifier that trusts these keys.
    pub(crate) fn new(keys: &[KeyFile]) -> Result<Self> {
        let mut store = Store::new();
        add_keys(&mut store, keys)?;
        Ok(Self {
            store: Rc::new(store),
            policy: Policy::default(),
            notes: Rc::default(),
        })
    }

    /// The verdict about an envelope; what lies inside a verified one is covered by it.
    pub(crate) fn verdict(&self, envelope: &Envelope<'_>) -> EnvelopeResult<Trust> {
        if envelope.covered {
            return Ok(Trust::Covered);
        }
        let report = kpeel_trust::verify_pe(envelope.pe, &self.store, &self.policy);
        let mut notes = self.notes.borrow_mut();
        if let Some(reason) = report.refused() {
            notes.refused = Some(reason.clone());
            return Err(Error::reason(SIGNATURE, "signature", reason.summary()));
        }
        notes.signers.extend(signer(envelope.depth, &report));
        Ok(Trust::Verified)
    }

    /// Refuses a result that no verdict was asked about: a kernel that is no PE image.
    pub(crate) fn check_verified(&self) -> EnvelopeResult<()> {
        if self.notes.borrow().signers.is_empty() {
            let reason = "a signature counts, and an image that is no PE image can bear none";
            return Err(Error::reason(SIGNATURE, "signature", reason));
        }
        Ok(())
    }

    /// Why an envelope was refused, in full.
    pub(crate) fn refusal(&self) -> Option<String> {
        let notes = self.notes.borrow();
        notes.refused.as_ref().map(Reason::to_string)
    }

    /// Entries of the key files that were left out, one line each.
    pub(crate) fn skipped(&self) -> Vec<String> {
        skipped(&self.store)
    }

    /// Whose signatures counted.
    pub(crate) fn signers(&self) -> Vec<Signer> {
        self.notes.borrow().signers.clone()
    }
}

const SIGNATURE: Class = Class::Refused(Refusal::Signature);

fn signer(envelope: u32, report: &Report) -> Option<Signer> {
    let (subject, by) = match &report.verdict {
        Verdict::Signed { signature } => {
            let signature = report.signatures.get(*signature)?;
            let anchor = signature.chain.last()?;
            let source = signature.anchor.as_ref()?;
            let by = format!("{} ({source})", anchor.subject);
            (signature.chain.first()?.subject.clone(), by)
        }
        Verdict::Listed { source } => ("the image's digest".to_owned(), source.to_string()),
        Verdict::Refused { .. } => return None,
    };
    Some(Signer {
        envelope,
        subject,
        by,
    })
}

/// Adds files of keys to a store.
pub(crate) fn add_keys(store: &mut Store, keys: &[KeyFile]) -> Result<()> {
    for KeyFile {
        name,
        bytes,
        revoked,
    } in keys
    {
        let added = if *revoked {
            store.revoke(bytes, name)
        } else {
            store.trust(bytes, name)
        };
        added.map_err(|error| failure(&error).of(Path::new(name)))?;
    }
    Ok(())
}

/// Entries of a store's lists that were left out, one line each.
pub(crate) fn skipped(store: &Store) -> Vec<String> {
    let skipped = store.skipped().iter();
    skipped
        .map(|one| format!("{}: {}", one.source, one.what))
        .collect()
}

/// Who signed an image, trusted or not.
pub(crate) fn signer_of(pe: &Pe<'_>) -> Option<String> {
    let report = kpeel_trust::verify_pe(pe, &Store::new(), &Policy::default());
    report.signer().map(str::to_owned)
}

/// The running system's keys.
pub(crate) fn system_keys(root: &Path) -> Result<Vec<KeyFile>> {
    let variables = kpeel_trust::system_variables(root).map_err(|error| failure(&error))?;
    let variables = variables.into_iter();
    Ok(variables
        .map(|variable| KeyFile {
            name: variable.name.to_owned(),
            bytes: variable.bytes,
            revoked: variable.revoked,
        })
        .collect())
}

/// A failure of the crate `trust`, as a command ends with it.
pub(crate) fn failure(error: &kpeel_trust::Error) -> Failure {
    Failure::told(Exit::from(error.class()), error.to_string())
}
