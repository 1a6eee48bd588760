//! Signatures proper: one backend, aws-lc.

use aws_lc_rs::signature as lc;
use der::asn1::ObjectIdentifier;

use crate::certificate::Certificate;
use crate::hash::Hash;
use crate::oid;
use crate::report::{Judged, Reason};

/// Elliptic curves that keys may be on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(crate) const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    pub(crate) const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::P256 => oid::P_256,
            Self::P384 => oid::P_384,
            Self::P521 => oid::P_521,
        }
    }

    /// The hash that goes with it (FIPS 186-5, and what all verifiers of images take).
    pub(crate) const fn hash(self) -> Hash {
        match self {
            Self::P256 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
            Self::P521 => Hash::Sha512,
        }
    }

    pub(crate) fn of(curve: Option<ObjectIdentifier>) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| Some(known.oid()) == curve)
    }
}

/// The kind of a certificate's key, for people: `RSA 2048`, `ECDSA P-256`.
pub(crate) fn key_name(certificate: &Certificate) -> String {
    match certificate.key() {
        (oid::RSA_ENCRYPTION, _, key) => format!("RSA {}", rsa_bits(key).unwrap_or(0)),
        (oid::EC_PUBLIC_KEY, curve, _) => match Curve::of(curve) {
            Some(Curve::P256) => "ECDSA P-256".to_owned(),
            Some(Curve::P384) => "ECDSA P-384".to_owned(),
            Some(Curve::P521) => "ECDSA P-521".to_owned(),
            None => "elliptic curve of another kind".to_owned(),
        },
        (other, ..) => other.to_string(),
    }
}

/// The hash that a certificate's or a signature's algorithm names; `None` where it names none.
pub(crate) fn hash_of(algorithm: ObjectIdentifier) -> Option<Hash> {
    match algorithm {
        oid::SHA_256_WITH_RSA | oid::ECDSA_WITH_SHA_256 => Some(Hash::Sha256),
        oid::SHA_384_WITH_RSA | oid::ECDSA_WITH_SHA_384 => Some(Hash::Sha384),
        oid::SHA_512_WITH_RSA | oid::ECDSA_WITH_SHA_512 => Some(Hash::Sha512),
        _ => None,
    }
}

/// Whether an algorithm's identifier is one for this certificate's kind of key.
pub(crate) fn check_family(algorithm: ObjectIdentifier, certificate: &Certificate) -> Judged<()> {
    let family = match algorithm {
        oid::RSA_ENCRYPTION
        | oid::SHA_256_WITH_RSA
        | oid::SHA_384_WITH_RSA
        | oid::SHA_512_WITH_RSA => oid::RSA_ENCRYPTION,
        oid::ECDSA_WITH_SHA_256 | oid::ECDSA_WITH_SHA_384 | oid::ECDSA_WITH_SHA_512 => {
            oid::EC_PUBLIC_KEY
        }
        other => {
            let oid = other.to_string();
            return Err(Reason::UnsupportedAlgorithm { oid });
        }
    };
    if certificate.key().0 == family {
        return Ok(());
    }
    Err(Reason::BadSignature {
        by: certificate.subject(),
    })
}

/// Whether an algorithm or a signature's length tell that the key of `certificate` did not make it; known of
/// algorithms and keys that are never taken, too.
pub(crate) fn is_of_another_key(
    algorithm: ObjectIdentifier,
    signature: &[u8],
    certificate: &Certificate,
) -> bool {
    let (kind, _, key) = certificate.key();
    let family = match algorithm {
        oid::MD_5_WITH_RSA
        | oid::SHA_1_WITH_RSA
        | oid::SHA_256_WITH_RSA
        | oid::SHA_384_WITH_RSA
        | oid::SHA_512_WITH_RSA => oid::RSA_ENCRYPTION,
        oid::ECDSA_WITH_SHA_1
        | oid::ECDSA_WITH_SHA_256
        | oid::ECDSA_WITH_SHA_384
        | oid::ECDSA_WITH_SHA_512 => oid::EC_PUBLIC_KEY,
        _ => return false,
    };
    // As long as the modulus (RFC 8017, section 8.2.1).
    let is_other_length = || {
        let len = rsa_bits(key).map(|bits| bits.div_ceil(8));
        len.is_some_and(|len| len != signature.len() as u64)
    };
    kind != family || (family == oid::RSA_ENCRYPTION && is_other_length())
}

/// Checks `signature` over `message` with the key of `certificate`.
pub(crate) fn verify(
    certificate: &Certificate,
    hash: Hash,
    message: &[u8],
    signature: &[u8],
) -> Judged<()> {
    let (algorithm, curve, key) = certificate.key();
    let verifier: &'static dyn lc::VerificationAlgorithm = match (algorithm, hash) {
        (oid::RSA_ENCRYPTION, _) => {
            let bits = rsa_bits(key).ok_or_else(|| Reason::UnsupportedKey {
                subject: certificate.subject(),
            })?;
            if !RSA_BITS.contains(&bits) {
                let subject = certificate.subject();
                return Err(Reason::WeakKey { subject, bits });
            }
            match hash {
                Hash::Sha256 => &lc::RSA_PKCS1_2048_8192_SHA256,
                Hash::Sha384 => &lc::RSA_PKCS1_2048_8192_SHA384,
                Hash::Sha512 => &lc::RSA_PKCS1_2048_8192_SHA512,
            }
        }
        (oid::EC_PUBLIC_KEY, hash) => match (Curve::of(curve), hash) {
            (Some(Curve::P256), Hash::Sha256) => &lc::ECDSA_P256_SHA256_ASN1,
            (Some(Curve::P256), Hash::Sha384) => &lc::ECDSA_P256_SHA384_ASN1,
            (Some(Curve::P256), Hash::Sha512) => &lc::ECDSA_P256_SHA512_ASN1,
            (Some(Curve::P384), Hash::Sha256) => &lc::ECDSA_P384_SHA256_ASN1,
            (Some(Curve::P384), Hash::Sha384) => &lc::ECDSA_P384_SHA384_ASN1,
            (Some(Curve::P384), Hash::Sha512) => &lc::ECDSA_P384_SHA512_ASN1,
            (Some(Curve::P521), Hash::Sha256) => &lc::ECDSA_P521_SHA256_ASN1,
            (Some(Curve::P521), Hash::Sha384) => &lc::ECDSA_P521_SHA384_ASN1,
            (Some(Curve::P521), Hash::Sha512) => &lc::ECDSA_P521_SHA512_ASN1,
            (None, _) => return Err(unsupported(certificate)),
        },
        _ => return Err(unsupported(certificate)),
    };
    lc::UnparsedPublicKey::new(verifier, key)
        .verify(message, signature)
        .map_err(|_| Reason::BadSignature {
            by: certificate.subject(),
        })
}

fn unsupported(certificate: &Certificate) -> Reason {
    Reason::UnsupportedKey {
        subject: certificate.subject(),
    }
}

/// Sizes of RSA keys taken, in bits.
const RSA_BITS: std::ops::RangeInclusive<u64> = 2048..=8192;

/// Bits of the modulus of an `RSAPublicKey` (RFC 8017, appendix A.1.1).
fn rsa_bits(key: &[u8]) -> Option<u64> {
    let mut outer = crate::walk::Walk::new(key, "RSAPublicKey").ok()?;
    let mut fields = outer.inside(der::Tag::Sequence, "RSAPublicKey").ok()?;
    let modulus = fields.take(der::Tag::Integer, "modulus").ok()?.value();
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(modulus);
    let first = modulus.first()?;
    let bits = (modulus.len() as u64).checked_mul(8)?;
    bits.checked_sub(first.leading_zeros().into())
}
