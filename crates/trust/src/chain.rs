//! From a signer's certificate to one that is trusted, or revoked.

use crate::certificate::Certificate;
use crate::crypto;
use crate::hash::{Hash, Made};
use crate::oid;
use crate::policy::{Policy, Usage, Validity};
use crate::report::{Judged, Reason, Source};
use crate::store::{ListedDigest, Store};

/// Most certificates in a chain, the signer's and the anchor's counted.
const MAX_CHAIN: usize = 8;
/// Most signatures of certificates checked for one image.
const MAX_CHECKS: usize = 100;

/// Work still allowed for one image, however its certificates refer to each other.
#[derive(Debug)]
pub(crate) struct Work(usize);

impl Work {
    pub(crate) const fn new() -> Self {
        Self(MAX_CHECKS)
    }

    fn spend(&mut self) -> Judged<()> {
        self.0 = self.0.checked_sub(1).ok_or(Reason::Bound {
            what: "signatures of certificates checked",
            allowed: MAX_CHECKS,
        })?;
        Ok(())
    }
}

/// What chains are made of.
pub(crate) struct Chains<'c> {
    pub(crate) store: &'c Store,
    pub(crate) policy: &'c Policy,
    /// Certificates the signature brings.
    pub(crate) embedded: &'c [Certificate],
}

/// A chain, the signer's certificate first, and what it ends at; or why it does not.
pub(crate) struct Found<'c> {
    pub(crate) path: Vec<&'c Certificate>,
    pub(crate) end: Judged<Source>,
}

impl<'c> Chains<'c> {
    /// The chain from `leaf` to a trusted certificate, under the policy.
    pub(crate) fn trusted(&self, leaf: &'c Certificate, work: &mut Work) -> Found<'c> {
        let mut search = Search {
            chains: self,
            goal: Goal::Anchor,
            issuers: self.store.anchors().chain(self.embedded).collect(),
            best: vec![leaf],
            work,
        };
        let mut path = vec![leaf];
        let end = search.extend(&mut path);
        let best = search.best;
        let path = if end.is_ok() { path } else { best };
        let end = match self.policy.usage {
            Usage::CodeSigning => end.and_then(|source| check_usage(leaf).map(|()| source)),
            Usage::Any => end,
        };
        Found { path, end }
    }

    /// What revokes `leaf` or one of its issuers; every chain counts, not only one that would be trusted,
    /// nor only those that the policy would let pass.
    ///
    /// # Errors
    /// [`Reason::Bound`] when there are too many chains to tell.
    pub(crate) fn revoked(
        &self,
        leaf: &'c Certificate,
        work: &mut Work,
    ) -> Judged<Option<(&'c Certificate, Source)>> {
        if !self.store.revokes_certificates() {
            return Ok(None);
        }
        let known = self.store.revoked().chain(self.store.anchors());
        let mut search = Search {
            chains: self,
            goal: Goal::Revocation,
            issuers: known.chain(self.embedded).collect(),
            best: Vec::new(),
            work,
        };
        let mut path = vec![leaf];
        match search.extend(&mut path) {
            Ok(source) => Ok(path.last().map(|certificate| (*certificate, source))),
            Err(bound @ Reason::Bound { .. }) => Err(bound),
            Err(_) => Ok(None),
        }
    }
}

/// What a chain is looked for to end at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Goal {
    Anchor,
    Revocation,
}

struct Search<'s, 'c> {
    chains: &'s Chains<'c>,
    goal: Goal,
    issuers: Vec<&'c Certificate>,
    /// The longest chain seen, for those who ask why there is none.
    best: Vec<&'c Certificate>,
    work: &'s mut Work,
}

impl<'c> Search<'_, 'c> {
    /// Makes `path` longer until it reaches the goal. Depth is bounded by [`MAX_CHAIN`].
    fn extend(&mut self, path: &mut Vec<&'c Certificate>) -> Judged<Source> {
        let Some(last) = path.last().copied() else {
            return Err(Reason::NoSignerCertificate);
        };
        if path.len() > self.best.len() {
            self.best.clone_from(path);
        }
        if let Some(source) = self.end_at(last)? {
            return Ok(source);
        }
        let mut reason = Reason::UnknownIssuer {
            subject: last.subject(),
            issuer: last.issuer(),
        };
        let named = |issuer: &&Certificate| issuer.subject == last.issuer;
        let issuers: Vec<_> = self.issuers.iter().copied().filter(named).collect();
        for issuer in issuers {
            if path.contains(&issuer) {
                continue;
            }
            if path.len() >= MAX_CHAIN {
                let (what, allowed) = ("certificates in a chain", MAX_CHAIN);
                return Err(Reason::Bound { what, allowed });
            }
            if let Err(why) = self.check_link(path, last, issuer) {
                if matches!(why, Reason::Bound { .. }) {
                    return Err(why);
                }
                reason = why;
                continue;
            }
            path.push(issuer);
            match self.extend(path) {
                Ok(source) => return Ok(source),
                Err(bound @ Reason::Bound { .. }) => return Err(bound),
                Err(why) => reason = why,
            }
            path.pop();
        }
        Err(reason)
    }

    /// Whether a chain ends at `last`.
    fn end_at(&self, last: &Certificate) -> Judged<Option<Source>> {
        let Chains { store, policy, .. } = self.chains;
        match self.goal {
            Goal::Anchor => {
                // Before there is a whole chain: where this one is not valid, another issuer of its name may be.
                if let Validity::At(time) = policy.validity {
                    check_time(last, time)?;
                }
                Ok(store.anchor(last))
            }
            Goal::Revocation => Ok(store.revocation(last)),
        }
    }

    /// Whether `issuer`, whose name is right, issued `last`, the end of `path`.
    fn check_link(
        &mut self,
        path: &[&Certificate],
        last: &Certificate,
        issuer: &Certificate,
    ) -> Judged<()> {
        if self.goal == Goal::Anchor {
            check_issuer(path, last, issuer)?;
        }
        self.work.spend()?;
        let verified = verify_link(last, issuer);
        match verified {
            Ok(()) | Err(Reason::BadSignature { .. }) => verified,
            // A signature that cannot be checked may well be the issuer's.
            Err(_) if self.goal == Goal::Revocation && may_have_issued(last, issuer) => Ok(()),
            Err(_) => verified,
        }
    }
}

/// Whether the policy lets `issuer` issue `last`, the end of `path`.
fn check_issuer(path: &[&Certificate], last: &Certificate, issuer: &Certificate) -> Judged<()> {
    if let Some(oid) = last.unknown {
        let (subject, oid) = (last.subject(), oid.to_string());
        return Err(Reason::UnknownExtension { subject, oid });
    }
    if !issuer.may_issue() {
        let subject = issuer.subject();
        return Err(Reason::NotCa { subject });
    }
    // Self-issued ones do not count (RFC 5280, section 4.2.1.9); nor does the signer's.
    let below = path.iter().skip(1).filter(|ca| ca.issuer != ca.subject);
    let allowed = issuer.ca.and_then(|constraints| constraints.path_len);
    if allowed.is_some_and(|allowed| below.count() > allowed.into()) {
        let subject = issuer.subject();
        return Err(Reason::PathTooLong { subject });
    }
    Ok(())
}

/// Whether the key of `issuer` made the signature of `last`.
fn verify_link(last: &Certificate, issuer: &Certificate) -> Judged<()> {
    let algorithm = last.signature_algorithm();
    let hash = crypto::hash_of(algorithm).ok_or_else(|| Reason::UnsupportedAlgorithm {
        oid: algorithm.to_string(),
    })?;
    crypto::check_family(algorithm, issuer)?;
    crypto::verify(issuer, hash, &last.tbs, last.signature())
}

/// Whether `issuer`, whose name is right, may be the one that signed `last`, for all that is seen without checking the
/// signature.
fn may_have_issued(last: &Certificate, issuer: &Certificate) -> bool {
    if crypto::is_of_another_key(last.signature_algorithm(), last.signature(), issuer) {
        return false;
    }
    match (last.authority_key_id(), issuer.subject_key_id()) {
        (Some(signed_by), Some(key)) => signed_by == key,
        // What nobody says otherwise of is a root, signed by its own key.
        _ => last.subject != last.issuer || last.key() == issuer.key(),
    }
}

fn check_usage(leaf: &Certificate) -> Judged<()> {
    let signs = leaf
        .key_usage
        .as_ref()
        .is_none_or(x509_cert::ext::pkix::KeyUsage::digital_signature);
    let for_code = |purpose| [oid::CODE_SIGNING, oid::ANY_EXTENDED_KEY_USAGE].contains(purpose);
    let code = leaf
        .purposes
        .as_ref()
        .is_none_or(|all| all.iter().any(for_code));
    if signs && code {
        return Ok(());
    }
    let subject = leaf.subject();
    Err(Reason::WrongUsage { subject })
}

fn check_time(certificate: &Certificate, time: u64) -> Judged<()> {
    let (first, last) = certificate.validity();
    let subject = || certificate.subject();
    if time < first {
        return Err(Reason::NotYetValid { subject: subject() });
    }
    if time > last {
        return Err(Reason::Expired { subject: subject() });
    }
    Ok(())
}

impl Store {
    fn anchor(&self, certificate: &Certificate) -> Option<Source> {
        let mut anchors = self.anchors.iter();
        let found = anchors.find(|(anchor, _)| anchor == certificate);
        found.map(|(_, source)| source.clone())
    }

    fn revocation(&self, certificate: &Certificate) -> Option<Source> {
        // By what was signed: anybody can write an ECDSA signature in its other form, (r, n - s), and
        // it still holds.
        let mut whole = self.revoked.iter();
        if let Some((_, source)) = whole.find(|(revoked, _)| revoked.tbs == certificate.tbs) {
            return Some(source.clone());
        }
        let digest = |hash: Hash| hash.of([certificate.tbs.as_slice()]);
        listed(&self.revoked_tbs, digest)
    }

    fn revokes_certificates(&self) -> bool {
        !self.revoked.is_empty() || !self.revoked_tbs.is_empty()
    }

    fn anchors(&self) -> impl Iterator<Item = &Certificate> {
        self.anchors.iter().map(|(anchor, _)| anchor)
    }

    fn revoked(&self) -> impl Iterator<Item = &Certificate> {
        self.revoked.iter().map(|(revoked, _)| revoked)
    }
}

/// Which of `list` is the digest that `make` makes: once for each hash, however long the list.
fn listed(list: &[ListedDigest], make: impl Fn(Hash) -> Vec<u8>) -> Option<Source> {
    let made = Made::default();
    let mut list = list.iter();
    let found = list.find(|entry| made.get_or(entry.hash, || make(entry.hash)) == entry.digest);
    found.map(|entry| entry.source.clone())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_certificate_is_hashed_once_for_a_list_of_any_length() {
        let entry = |number: usize| ListedDigest {
            hash: Hash::ALL[number % 2],
            digest: number.to_le_bytes().to_vec(),
            source: Source(number.to_string()),
        };
        let list: Vec<_> = (0..1000).map(entry).collect();
        for (number, found) in [(999, Some(Source("999".to_owned()))), (1001, None)] {
            let made = Cell::new(0);
            let make = |_| {
                made.set(made.get() + 1);
                entry(number).digest
            };
            assert_eq!(listed(&list, make), found);
            assert_eq!(made.get(), 2);
        }
    }
}
