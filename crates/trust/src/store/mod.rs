//! Whose signatures count, and whose do not.

mod list;
mod system;

pub use system::{Variable, system_variables};

use crate::certificate::Certificate;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::report::Source;

/// Certificates and digests that are trusted, and those that are revoked.
#[derive(Clone, Debug, Default)]
pub struct Store {
    pub(crate) anchors: Vec<(Certificate, Source)>,
    pub(crate) digests: Vec<ListedDigest>,
    pub(crate) revoked: Vec<(Certificate, Source)>,
    /// Digests of the signed part of revoked certificates.
    pub(crate) revoked_tbs: Vec<ListedDigest>,
    pub(crate) revoked_digests: Vec<ListedDigest>,
    skipped: Vec<Skipped>,
}

/// A digest of an image or a certificate.
#[derive(Clone, Debug)]
pub(crate) struct ListedDigest {
    pub(crate) hash: Hash,
    pub(crate) digest: Vec<u8>,
    pub(crate) source: Source,
}

/// An entry of a signature list that says nothing to us, or not all that it should.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Skipped {
    /// The list.
    pub source: Source,
    /// What it is, and why it was left out.
    pub what: String,
}

/// What the entries of a list are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    Trusted,
    Revoked,
}

impl Store {
    /// A store that trusts nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts what a file holds: certificates in PEM or DER, an EFI signature list (also with the
    /// attributes before it that efivarfs adds, or with an authentication header, whose own
    /// signature is not looked at). `source` is how reports call it.
    ///
    /// # Errors
    /// `Malformed` for anything else, and for certificates outside a list that cannot be read;
    /// nothing of the file is trusted then.
    pub fn trust(&mut self, bytes: &[u8], source: &str) -> Result<()> {
        self.add(bytes, source, Role::Trusted)
    }

    /// Revokes what a file of such a kind holds. A certificate in a signature list that cannot be read
    /// is revoked by its signed part.
    ///
    /// # Errors
    /// As [`Store::trust`]; also for a list with a certificate whose signed part cannot be found.
    pub fn revoke(&mut self, bytes: &[u8], source: &str) -> Result<()> {
        self.add(bytes, source, Role::Revoked)
    }

    /// Trusts one certificate.
    pub fn trust_certificate(&mut self, certificate: Certificate, source: &str) {
        self.add_certificate(certificate, source, Role::Trusted);
    }

    /// What was left out.
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Whether nothing can be trusted by it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty() && self.digests.is_empty()
    }

    fn add(&mut self, bytes: &[u8], source: &str, role: Role) -> Result<()> {
        if let Some(list) = list::find(bytes) {
            // All of it or nothing.
            let mut with = self.clone();
            with.add_list(list, source, role)?;
            *self = with;
            return Ok(());
        }
        for certificate in Certificate::all_from_file(bytes).map_err(unknown)? {
            self.add_certificate(certificate, source, role);
        }
        Ok(())
    }

    fn add_certificate(&mut self, certificate: Certificate, source: &str, role: Role) {
        let entry = (certificate, Source(source.to_owned()));
        match role {
            Role::Trusted => self.anchors.push(entry),
            Role::Revoked => self.revoked.push(entry),
        }
    }

    fn skip(&mut self, source: &str, what: impl Into<String>) {
        self.skipped.push(Skipped {
            source: Source(source.to_owned()),
            what: what.into(),
        });
    }
}

fn unknown(error: Error) -> Error {
    let what = "key store";
    let why = format!("needed certificates in PEM or DER, or an EFI signature list ({error})");
    Error::malformed(what, why)
}
