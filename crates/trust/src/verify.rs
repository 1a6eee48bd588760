//! Judging an image's signatures.

use std::cell::Cell;

use kpeel_envelope::authenticode::{DigestRanges, check_coverage};
use kpeel_envelope::certificate::{
    CERT_TYPE_PKCS_SIGNED_DATA, CERTIFICATE_ALIGNMENT, CERTIFICATE_HEADER_SIZE,
    Certificate as Entry,
};
use kpeel_envelope::pe::{Covered, Pe};
use kpeel_image::CERT_REVISION_2_0;

use crate::certificate::Certificate;
use crate::chain::{Chains, Found, Work};
use crate::cms::SignedData;
use crate::error::Result;
use crate::hash::{Hash, Hasher, Made, hex};
use crate::outline::Outline;
use crate::policy::Policy;
use crate::reading::Reading;
use crate::report::{
    CertificateReport, Judged, Reason, Report, SignatureReport, Source, Uncovered, Verdict,
};
use crate::store::{ListedDigest, Store};
use crate::{authenticode, crypto};

/// Most entries of a certificate table that are looked at.
const MAX_SIGNATURES: usize = 16;

/// Judges the signatures of an image.
///
/// A digest or a certificate that the store revokes refuses the image, whatever else it bears;
/// otherwise one good signature, or a trusted digest, is enough. What a good signature is, the
/// policy says; see `docs/trust.md`.
///
/// # Errors
/// [`Error::Image`](crate::Error::Image) for bytes that are no PE image; an image that is not
/// trusted is no error.
pub fn verify(image: &[u8], store: &Store, policy: &Policy) -> Result<Report> {
    Ok(verify_pe(&Pe::parse(image)?, store, policy))
}

/// The same for an image whose headers are read.
#[must_use]
pub fn verify_pe(pe: &Pe<'_>, store: &Store, policy: &Policy) -> Report {
    let digests = Digests::new(|hash| Some(hash.begin_image(pe)));
    judge(pe, &digests, store, policy)
}

/// The same for an image whose digest was made while it was read.
#[must_use]
pub fn verify_read(pe: &Pe<'_>, reading: &Reading, store: &Store, policy: &Policy) -> Report {
    let digests = Digests::new(|hash| reading.of(pe, hash).or_else(|| Some(hash.begin_image(pe))));
    judge(pe, &digests, store, policy)
}

/// The same for an image that has passed by; `None` when a digest was needed that was not made, so
/// that all of the image is needed again.
///
/// # Errors
/// As [`verify`].
pub fn verify_outline(outline: &Outline, store: &Store, policy: &Policy) -> Result<Option<Report>> {
    let pe = outline.pe()?;
    let digests = Digests::new(|hash| outline.digest(&pe, hash));
    let report = judge(&pe, &digests, store, policy);
    Ok((!digests.missed.get()).then_some(report))
}

fn judge(pe: &Pe<'_>, digests: &Digests<'_>, store: &Store, policy: &Policy) -> Report {
    let mut judge = Judge {
        pe,
        store,
        policy,
        digests,
        work: Work::new(),
        signatures: Vec::new(),
        uncovered: gaps(pe),
    };
    let table = judge.judge_table();
    let verdict = judge
        .verdict(table)
        .unwrap_or_else(|reason| Verdict::Refused { reason });
    Report {
        verdict,
        sha256: digests.made.get(Hash::Sha256).map(hex),
        signatures: judge.signatures,
        uncovered: judge.uncovered,
    }
}

struct Judge<'j> {
    pe: &'j Pe<'j>,
    store: &'j Store,
    policy: &'j Policy,
    digests: &'j Digests<'j>,
    work: Work,
    signatures: Vec<SignatureReport>,
    uncovered: Vec<Uncovered>,
}

/// Digests of the image.
struct Digests<'j> {
    begin: Box<dyn Fn(Hash) -> Option<Hasher> + 'j>,
    made: Made,
    /// Whether one was asked for that cannot be had.
    missed: Cell<bool>,
}

impl<'j> Digests<'j> {
    fn new(begin: impl Fn(Hash) -> Option<Hasher> + 'j) -> Self {
        Self {
            begin: Box::new(begin),
            made: Made::default(),
            missed: Cell::new(false),
        }
    }

    /// The digest; an empty one, which is none, if it cannot be had.
    fn get(&self, hash: Hash) -> &[u8] {
        self.made.get_or(hash, || {
            let hasher = (self.begin)(hash);
            self.missed.set(self.missed.get() || hasher.is_none());
            hasher.map(Hasher::finish).unwrap_or_default()
        })
    }
}

impl Judge<'_> {
    fn verdict(&self, table: Judged<()>) -> Judged<Verdict> {
        check_coverage(self.pe).map_err(|error| Reason::not_covered(&error))?;
        if let Some(source) = self.listed(&self.store.revoked_digests) {
            return Err(Reason::DigestRevoked { source });
        }
        table?;
        let refusals = self.signatures.iter().map(|one| one.refused.as_ref());
        let fatal =
            |reason: &&Reason| matches!(reason, Reason::Revoked { .. } | Reason::Bound { .. });
        if let Some(reason) = refusals.clone().flatten().find(fatal) {
            return Err(reason.clone());
        }
        if let Some(signature) = refusals.clone().position(|refused| refused.is_none()) {
            return Ok(Verdict::Signed { signature });
        }
        if let Some(source) = self.listed(&self.store.digests) {
            return Ok(Verdict::Listed { source });
        }
        let first = refusals.flatten().next();
        Err(first.cloned().unwrap_or(Reason::NotSigned))
    }

    fn listed(&self, list: &[ListedDigest]) -> Option<Source> {
        let mut list = list.iter();
        let found = list.find(|entry| self.digests.get(entry.hash) == entry.digest);
        found.map(|entry| entry.source.clone())
    }

    /// Judges every entry; an error is one of the table as a whole.
    fn judge_table(&mut self) -> Judged<()> {
        let Some(range) = self.pe.certificate_table() else {
            return Ok(());
        };
        let table = self.pe.bytes().get(range.clone()).unwrap_or_default();
        let mut at: usize = 0;
        for entry in self.pe.certificates() {
            if self.signatures.len() == MAX_SIGNATURES {
                let (what, allowed) = ("entries of the certificate table", MAX_SIGNATURES);
                return Err(Reason::Bound { what, allowed });
            }
            let entry = entry.map_err(|error| bad_table(&error.to_string()))?;
            let data = range
                .start
                .saturating_add(at)
                .saturating_add(CERTIFICATE_HEADER_SIZE);
            let end = at
                .saturating_add(CERTIFICATE_HEADER_SIZE)
                .saturating_add(entry.data.len());
            at = end
                .checked_next_multiple_of(CERTIFICATE_ALIGNMENT)
                .unwrap_or(end)
                .min(table.len());
            let padding = table.get(end..at).unwrap_or_default();
            if padding.iter().any(|byte| *byte != 0) {
                return Err(bad_table(
                    "found other bytes than zeros between its entries",
                ));
            }
            self.judge_entry(&entry, data)?;
        }
        Ok(())
    }

    fn judge_entry(&mut self, entry: &Entry<'_>, start: usize) -> Judged<()> {
        let mut report = SignatureReport {
            refused: None,
            hash: None,
            chain: Vec::new(),
            anchor: None,
        };
        let judged = self.judge_signature(entry, start, &mut report);
        if let Err(reason) = judged {
            let fatal = matches!(reason, Reason::BadTable { .. });
            report.refused = Some(reason.clone());
            let whole = start..start.saturating_add(entry.data.len());
            let what = "an entry of the certificate table that is no good signature";
            self.uncovered.push(Uncovered::new(whole, what));
            self.signatures.push(report);
            return if fatal { Err(reason) } else { Ok(()) };
        }
        self.signatures.push(report);
        Ok(())
    }

    fn judge_signature(
        &mut self,
        entry: &Entry<'_>,
        start: usize,
        report: &mut SignatureReport,
    ) -> Judged<()> {
        let (revision, kind) = (entry.revision, entry.kind);
        if (revision, kind) != (CERT_REVISION_2_0, CERT_TYPE_PKCS_SIGNED_DATA) {
            return Err(Reason::UnsupportedEntry { revision, kind });
        }
        let signed = SignedData::parse(entry.data).map_err(Reason::malformed)?;
        let rest = entry.data.get(signed.len..).unwrap_or_default();
        if !is_padding(rest, entry.data.len()) {
            return Err(bad_table(
                "found bytes behind a signature that are no padding",
            ));
        }
        let hash = self.check_digests(&signed)?;
        report.hash = Some(hash);
        let embedded: Vec<_> = signed
            .certificates
            .iter()
            .filter_map(|der| Certificate::from_der(der).ok())
            .collect();
        let leaf = self
            .signer(&signed, &embedded)
            .ok_or(Reason::NoSignerCertificate)?
            .clone();
        report.chain = vec![CertificateReport::new(&leaf)];
        check_signature(&signed, hash, &leaf)?;
        let chains = Chains {
            store: self.store,
            policy: self.policy,
            embedded: &embedded,
        };
        if let Some((certificate, source)) = chains.revoked(&leaf, &mut self.work)? {
            let subject = certificate.subject();
            return Err(Reason::Revoked { subject, source });
        }
        let Found { path, end } = chains.trusted(&leaf, &mut self.work);
        report.chain = path.iter().map(|one| CertificateReport::new(one)).collect();
        report.anchor = Some(end?);
        self.note_unused(&signed, start, &path);
        Ok(())
    }

    /// The hash function, once the image's digest and the attributes' are what was signed.
    fn check_digests(&self, signed: &SignedData<'_>) -> Judged<Hash> {
        let unsupported = || Reason::UnsupportedAlgorithm {
            oid: signed.digest.to_string(),
        };
        let hash = Hash::from_oid(signed.digest).ok_or_else(unsupported)?;
        let (algorithm, digest) =
            authenticode::digest_of(signed.content).map_err(Reason::malformed)?;
        if algorithm != signed.digest {
            let what = "DigestInfo algorithm (not the one of digestAlgorithms)";
            return Err(Reason::malformed(what));
        }
        if digest != self.digests.get(hash) {
            return Err(Reason::DigestDiffers);
        }
        if signed.message_digest != hash.of([signed.content]) {
            return Err(Reason::MessageDigestDiffers);
        }
        Ok(hash)
    }

    /// The signer's certificate, which the signature brings or the store has.
    fn signer<'c>(
        &'c self,
        signed: &SignedData<'_>,
        embedded: &'c [Certificate],
    ) -> Option<&'c Certificate> {
        let (issuer, serial) = signed.signer;
        let known = self.store.anchors.iter().map(|(anchor, _)| anchor);
        let mut all = embedded.iter().chain(known);
        all.find(|one| one.issuer == issuer && one.serial_bytes() == serial)
    }

    /// Reports what a good signature brings without covering it.
    fn note_unused(&mut self, signed: &SignedData<'_>, start: usize, path: &[&Certificate]) {
        let mut note = |range: std::ops::Range<usize>, what| {
            let at = |offset: usize| start.saturating_add(offset);
            let range = at(range.start)..at(range.end);
            self.uncovered.push(Uncovered::new(range, what));
        };
        if let Some(range) = &signed.unsigned {
            note(range.clone(), "unsigned attributes of a signature");
        }
        for (der, range) in signed.certificates.iter().zip(signed.certificate_ranges()) {
            if !path.iter().any(|used| used.der() == *der) {
                note(range, "a certificate that the signature does not need");
            }
        }
    }
}

fn check_signature(signed: &SignedData<'_>, hash: Hash, leaf: &Certificate) -> Judged<()> {
    crypto::check_family(signed.algorithm, leaf)?;
    // rsaEncryption names no hash; others have to name the one that is used.
    if crypto::hash_of(signed.algorithm).is_some_and(|named| named != hash) {
        let what = "signatureAlgorithm (not the hash of digestAlgorithms)";
        return Err(Reason::malformed(what));
    }
    let message = signed.signed_bytes().map_err(Reason::malformed)?;
    crypto::verify(leaf, hash, &message, signed.signature)
}

/// Whether `rest` is what signers put behind a signature that count the zeros up to the next entry
/// into `dwLength`. No other count will do: no two lengths may mean the same.
fn is_padding(rest: &[u8], entry: usize) -> bool {
    let whole = entry.saturating_add(CERTIFICATE_HEADER_SIZE);
    rest.is_empty()
        || (rest.len() < CERTIFICATE_ALIGNMENT
            && rest.iter().all(|byte| *byte == 0)
            && whole.is_multiple_of(CERTIFICATE_ALIGNMENT))
}

fn bad_table(what: &str) -> Reason {
    Reason::BadTable {
        what: what.to_owned(),
    }
}

/// Ranges of the file that the digest leaves out beside those that signing writes.
fn gaps(pe: &Pe<'_>) -> Vec<Uncovered> {
    let Covered {
        len: end,
        zeroed: [check_sum, entry],
    } = pe.covered();
    let mut ranges: Vec<_> = DigestRanges::new(pe).chain([check_sum, entry]).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut gaps = Vec::new();
    let mut covered: usize = 0;
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        if range.start > covered {
            gaps.push(Uncovered::new(
                covered..range.start,
                "no part of the digest",
            ));
        }
        covered = covered.max(range.end);
    }
    if covered < end {
        gaps.push(Uncovered::new(covered..end, "no part of the digest"));
    }
    let file = pe.bytes().len();
    let table_end = pe.certificate_table().map_or(file, |table| table.end);
    if table_end < file {
        gaps.push(Uncovered::new(
            table_end..file,
            "behind the certificate table",
        ));
    }
    gaps
}
