//! The sandbox, asked what Linux is asked: only the image's own parsers, signatures enforced, this machine.

use kpeel_envelope::error::{Class, Error, Refusal};
use kpeel_envelope::host::{Envelope, Trust};
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pipeline::{Request, unfold};
use kpeel_sandbox::{Buffer, Machine, Sandbox};
use kpeel_trust::{Policy, Store, verify_pe};
use sha2::{Digest, Sha256};

use super::{Case, End, Resource};
use crate::Outcome;

/// How the sandbox's load of this image ends.
pub(super) fn open(case: &Case, store: &Store) -> Outcome<End> {
    let sandbox = Sandbox::new(Limits::default()).for_machine(Machine::X86_64);
    let mut sandbox = sandbox.on_verdict(|envelope| verdict(envelope, store));
    Ok(match parts(&mut sandbox, case) {
        Ok(parts) => End::Loaded(parts),
        Err(error) => End::Refused {
            class: error.class.to_string(),
            errno: error.errno(),
            said: error.to_string(),
        },
    })
}

fn parts(sandbox: &mut Sandbox<'_>, case: &Case) -> Result<[Option<Resource>; 3], Error> {
    let meter = sandbox.charge_to().clone();
    let line = case.cmdline.as_bytes();
    let cmdline = (!line.is_empty()).then(|| Buffer::from_vec(line.to_vec(), &meter));
    let request = Request {
        image: Buffer::from_file(&case.bytes[..], &meter)?,
        initrd: None,
        cmdline: cmdline.transpose()?,
        crash: false,
        enforced: true,
        embedded: true,
        parsers: &[],
    };
    let unfolded = unfold(sandbox, request)?;
    Ok([
        Resource::of(unfolded.kernel.as_ref()),
        unfolded.initrd.and_then(|part| Resource::of(part.as_ref())),
        unfolded
            .cmdline
            .and_then(|part| Resource::of(part.as_ref())),
    ])
}

/// As `kpeel --trust` has it.
fn verdict(envelope: &Envelope<'_>, store: &Store) -> Result<Trust, Error> {
    if envelope.covered {
        return Ok(Trust::Covered);
    }
    match verify_pe(envelope.pe, store, &Policy::default()).refused() {
        None => Ok(Trust::Verified),
        Some(reason) => Err(Error::reason(
            Class::Refused(Refusal::Signature),
            "signature",
            reason.summary(),
        )),
    }
}

impl Resource {
    /// Nothing is as good as none.
    fn of(bytes: &[u8]) -> Option<Self> {
        let digest = Sha256::digest(bytes);
        (!bytes.is_empty()).then(|| Self {
            len: bytes.len() as u64,
            sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}
