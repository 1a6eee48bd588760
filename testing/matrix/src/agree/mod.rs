//! Whether both hosts agree: the same images, opened by the sandbox here and by Linux in a guest.
//!
//! ```text
//! subjects of testing/hostile ──mutate──> sign ──┬──> Sandbox ─────────────> End ──┐
//!                                                └──> guest, kpeel-loads ──> End ──┴─> compare
//! ```
//! Both must give the same kernel, initrd and command line, by size and SHA-256, or an error of the same class.
//! [`Difference`] lists what may differ; `ARCHITECTURE.md` says why.

mod cases;
mod compare;
mod sandbox;
mod told;

use std::collections::BTreeMap;

use kpeel_trust::{Certificate, Identity, Key, Store};

use crate::Outcome;
pub(crate) use cases::{Case, cases};
use compare::compare;

/// How a host's load ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// Kernel, initrd, command line.
    Loaded([Option<Resource>; 3]),
    /// Class in `envelope`'s words, errno, message.
    Refused {
        class: String,
        errno: i32,
        said: String,
    },
    /// Linux found no parser in it and asked its other loaders.
    Left,
}

/// What was found, told by size in bytes and SHA-256 in hexadecimal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Resource {
    pub(crate) len: u64,
    pub(crate) sha256: String,
}

/// The key that the first kernel trusts: what images are signed by, and what the sandbox asks of them.
pub(crate) struct Keys {
    identity: Identity,
    store: Store,
}

impl Keys {
    /// Of a PEM key and its certificate.
    pub(crate) fn new(key: &[u8], certificate: &[u8]) -> Outcome<Self> {
        let mut no_passphrase = || unreachable!("the key is not encrypted");
        let key = Key::read(key, &mut no_passphrase)?;
        let certificates = Certificate::all_from_pem(certificate)?;
        let mut store = Store::new();
        store.trust(certificate, "the kernel's")?;
        Ok(Self {
            identity: Identity::new(key, certificates)?,
            store,
        })
    }
}

/// How many cases ended in which way.
pub(crate) type Counts = BTreeMap<String, u64>;

/// Every case as the sandbox ends it, beside what the guest printed.
///
/// # Errors
/// Every disagreement, each with the case's name, which `kpeel-hostile replay` takes apart.
pub(crate) fn judge(cases: &[Case], keys: &Keys, lines: &[String]) -> Outcome<Counts> {
    let mut counts = Counts::new();
    let mut faults = Vec::new();
    for (case, load) in cases.iter().zip(1..) {
        let here = sandbox::open(case, &keys.store)?;
        let there = told::find(&case.file, lines)?;
        if there.load != load {
            let load = there.load;
            return Err(format!("{}: Linux tells of load {load}", case.name).into());
        }
        match compare(case, &here, &there) {
            Ok(way) => *counts.entry(way).or_default() += 1,
            Err(fault) => faults.push(format!("{}: {fault}", case.name)),
        }
    }
    match faults.is_empty() {
        true => Ok(counts),
        false => Err(faults.join("\n").into()),
    }
}
