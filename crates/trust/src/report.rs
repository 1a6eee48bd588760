//! What was found out about an image: plain data.

use std::fmt;
use std::ops::Range;

use kpeel_envelope::error::Error as ImageError;
use serde::Serialize;

use crate::certificate::Certificate;
use crate::crypto::key_name;
use crate::hash::Hash;

/// What a judgement comes to, or why it is bad.
pub(crate) type Judged<T> = std::result::Result<T, Reason>;

/// Everything found out about one image's signatures.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Whether the image is trusted, and why.
    pub verdict: Verdict,
    /// Its Authenticode digest by SHA-256, hexadecimal, if the judgement needed it.
    pub sha256: Option<String>,
    /// What stands in its certificate table, in order.
    pub signatures: Vec<SignatureReport>,
    /// Bytes of the file that no good signature covers beside `CheckSum`, the certificate directory
    /// entry and the signatures themselves.
    pub uncovered: Vec<Uncovered>,
}

/// Whether an image is trusted.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// It is, by this signature.
    Signed {
        /// Index among [`Report::signatures`].
        signature: usize,
    },
    /// It is, by its digest, which the store lists.
    Listed {
        /// The list.
        source: Source,
    },
    /// It is not.
    Refused {
        /// Why.
        reason: Reason,
    },
}

/// One entry of the certificate table.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SignatureReport {
    /// Whether it is good, by the policy and the store; `None` for good.
    pub refused: Option<Reason>,
    /// Hash function of the image's digest, once known.
    pub hash: Option<Hash>,
    /// The signer's certificate first, then each issuer, the anchor last; as far as it was found.
    pub chain: Vec<CertificateReport>,
    /// Where the anchor comes from, if there is one.
    pub anchor: Option<Source>,
}

/// One certificate.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[non_exhaustive]
pub struct CertificateReport {
    /// Subject (RFC 4514), escaped to be printed.
    pub subject: String,
    /// Issuer, likewise.
    pub issuer: String,
    /// Serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, hexadecimal.
    pub sha256: String,
    /// Kind of its key: `RSA 2048`, `ECDSA P-256`.
    pub key: String,
    /// First moment of its validity (RFC 3339).
    pub not_before: String,
    /// Last moment of its validity.
    pub not_after: String,
}

/// Where an entry of a store comes from.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Source(pub String);

/// Bytes that nothing covers.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Uncovered {
    /// First byte's file offset.
    pub start: usize,
    /// One past the last byte's file offset.
    pub end: usize,
    /// What they are.
    pub what: &'static str,
}

impl Uncovered {
    pub(crate) fn new(range: Range<usize>, what: &'static str) -> Self {
        let Range { start, end } = range;
        Self { start, end, what }
    }
}

/// Why a signature or an image is refused.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(
    rename_all = "kebab-case",
    tag = "reason",
    rename_all_fields = "snake_case"
)]
#[non_exhaustive]
pub enum Reason {
    /// The image has no certificate table.
    NotSigned,
    /// Bytes of the image lie outside its digest, or behind the certificate table.
    NotCovered {
        /// Which.
        what: String,
    },
    /// The certificate table's entries do not add up, or its padding is not zero.
    BadTable {
        /// What is wrong.
        what: String,
    },
    /// An entry that is no PKCS #7 signature.
    UnsupportedEntry {
        /// `wRevision`.
        revision: u16,
        /// `wCertificateType`.
        kind: u16,
    },
    /// The signature object breaks its format's rules.
    Malformed {
        /// The element.
        what: String,
    },
    /// A hash function or signature algorithm that is not taken.
    UnsupportedAlgorithm {
        /// Its object identifier.
        oid: String,
    },
    /// A kind of key that is not taken.
    UnsupportedKey {
        /// Whose.
        subject: String,
    },
    /// An RSA key whose size is not taken.
    WeakKey {
        /// Whose.
        subject: String,
        /// Bits of the modulus.
        bits: u64,
    },
    /// The image is not what was signed.
    DigestDiffers,
    /// The signed attributes belong to another object.
    MessageDigestDiffers,
    /// A signature that its key did not make.
    BadSignature {
        /// Subject of the certificate whose key should have made it.
        by: String,
    },
    /// The signer's certificate is not among those the signature brings, nor in the store.
    NoSignerCertificate,
    /// No issuer of this certificate is known.
    UnknownIssuer {
        /// The certificate's subject.
        subject: String,
        /// The issuer that is missing.
        issuer: String,
    },
    /// The issuer is no CA.
    NotCa {
        /// The issuer.
        subject: String,
    },
    /// More CAs below an issuer than it allows.
    PathTooLong {
        /// The issuer.
        subject: String,
    },
    /// A certificate with a critical extension of unknown meaning.
    UnknownExtension {
        /// Whose.
        subject: String,
        /// The extension's object identifier.
        oid: String,
    },
    /// The signer's certificate is for something else.
    WrongUsage {
        /// Whose.
        subject: String,
    },
    /// A certificate is not valid yet at the policy's time.
    NotYetValid {
        /// Whose.
        subject: String,
    },
    /// A certificate is not valid any more at the policy's time.
    Expired {
        /// Whose.
        subject: String,
    },
    /// A certificate of the chain is revoked.
    Revoked {
        /// Whose.
        subject: String,
        /// By what.
        source: Source,
    },
    /// The image's digest is revoked.
    DigestRevoked {
        /// By what.
        source: Source,
    },
    /// More work than an image is worth.
    Bound {
        /// Which bound.
        what: &'static str,
        /// What it allows.
        allowed: usize,
    },
}

impl Report {
    /// Whether the image is trusted.
    #[must_use]
    pub const fn is_trusted(&self) -> bool {
        !matches!(self.verdict, Verdict::Refused { .. })
    }

    /// Why it is not.
    #[must_use]
    pub const fn refused(&self) -> Option<&Reason> {
        match &self.verdict {
            Verdict::Refused { reason } => Some(reason),
            _ => None,
        }
    }

    /// Subject of the first signer, trusted or not; the trusted one if there is one.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        let index = match self.verdict {
            Verdict::Signed { signature } => signature,
            _ => 0,
        };
        let first = self.signatures.get(index)?.chain.first()?;
        Some(&first.subject)
    }
}

impl CertificateReport {
    pub(crate) fn new(certificate: &Certificate) -> Self {
        let (not_before, not_after) = certificate.validity_text();
        Self {
            subject: certificate.subject(),
            issuer: certificate.issuer(),
            serial: certificate.serial(),
            sha256: certificate.fingerprint(),
            key: key_name(certificate),
            not_before,
            not_after,
        }
    }
}

impl Reason {
    pub(crate) fn malformed(what: &str) -> Self {
        Self::Malformed {
            what: what.to_owned(),
        }
    }

    pub(crate) fn not_covered(error: &ImageError) -> Self {
        Self::NotCovered {
            what: error.to_string(),
        }
    }
}

impl Reason {
    /// The reason in a few words that name nobody.
    #[must_use]
    pub const fn summary(&self) -> &'static str {
        match self {
            Self::NotSigned => "the image is not signed",
            Self::NotCovered { .. } => "a signature does not cover all of the image",
            Self::BadTable { .. } => "the certificate table is malformed",
            Self::UnsupportedEntry { .. } => "the certificate table holds no PKCS #7 signature",
            Self::Malformed { .. } => "the signature is malformed",
            Self::UnsupportedAlgorithm { .. } => "the signature's algorithm is not taken",
            Self::UnsupportedKey { .. } | Self::WeakKey { .. } => {
                "the signer's kind of key is not taken"
            }
            Self::DigestDiffers => "the image is not what was signed",
            Self::MessageDigestDiffers => "the signed attributes belong to another object",
            Self::BadSignature { .. } => "a key did not make a signature that is said to be its",
            Self::NoSignerCertificate => "the signer's certificate is nowhere",
            Self::UnknownIssuer { .. } => "no trusted key signed the image",
            Self::NotCa { .. } | Self::PathTooLong { .. } | Self::UnknownExtension { .. } => {
                "a certificate was issued that should not have been"
            }
            Self::WrongUsage { .. } => "the signer's certificate is not for signing code",
            Self::NotYetValid { .. } | Self::Expired { .. } => {
                "a certificate is not valid at this time"
            }
            Self::Revoked { .. } => "a certificate is revoked",
            Self::DigestRevoked { .. } => "the image is revoked",
            Self::Bound { .. } => "checking the signature is more work than is allowed",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSigned => f.write_str("the image is not signed"),
            Self::NotCovered { what } => write!(f, "a signature does not cover the image: {what}"),
            Self::BadTable { what } => write!(f, "the certificate table is malformed: {what}"),
            Self::UnsupportedEntry { revision, kind } => write!(
                f,
                "found an entry of revision {revision:#06x} and type {kind:#06x}, needed 0x0200 and \
                 0x0002 (PKCS #7)"
            ),
            Self::Malformed { what } => write!(f, "the signature is malformed: {what}"),
            Self::UnsupportedAlgorithm { oid } => write!(
                f,
                "found algorithm {oid}, needed SHA-256, SHA-384 or SHA-512 with RSA or ECDSA"
            ),
            Self::UnsupportedKey { subject } => write!(
                f,
                "the key of {subject} is of no supported kind: needed RSA, or ECDSA on P-256, P-384 \
                 or P-521"
            ),
            Self::WeakKey { subject, bits } => write!(
                f,
                "the key of {subject}: found {bits} bits, needed 2048 to 8192"
            ),
            Self::DigestDiffers => {
                f.write_str("the image is not what was signed: its digest differs")
            }
            Self::MessageDigestDiffers => f.write_str(
                "the signed attributes are those of another object: their digest differs",
            ),
            Self::BadSignature { by } => write!(f, "the key of {by} did not make the signature"),
            Self::NoSignerCertificate => f.write_str("the signer's certificate is nowhere"),
            Self::UnknownIssuer { subject, issuer } => write!(
                f,
                "{subject} is not trusted, and neither is its issuer, {issuer}"
            ),
            Self::NotCa { subject } => write!(f, "{subject} issued a certificate but is no CA"),
            Self::PathTooLong { subject } => {
                write!(f, "{subject} does not allow that many CAs below it")
            }
            Self::UnknownExtension { subject, oid } => {
                write!(
                    f,
                    "{subject} has a critical extension of unknown meaning, {oid}"
                )
            }
            Self::WrongUsage { subject } => {
                write!(f, "the certificate of {subject} is not for signing code")
            }
            Self::NotYetValid { subject } => {
                write!(f, "the certificate of {subject} is not valid yet")
            }
            Self::Expired { subject } => write!(f, "the certificate of {subject} is expired"),
            Self::Revoked { subject, source } => {
                write!(f, "the certificate of {subject} is revoked by {source}")
            }
            Self::DigestRevoked { source } => write!(f, "the image is revoked by {source}"),
            Self::Bound { what, allowed } => {
                write!(
                    f,
                    "{what}: found more than {allowed}, needed at most that many"
                )
            }
        }
    }
}
