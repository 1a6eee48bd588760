//! X.509 certificates: what a chain needs of them.

use der::asn1::ObjectIdentifier;
use der::{Decode, Encode, Tag};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
};

use crate::error::{Error, Result};
use crate::hash::{Hash, hex};
use crate::oid;
use crate::walk::{Found, Walk};

/// Largest certificate read; real ones are below 4 KiB.
const MAX_SIZE: usize = 64 << 10;

/// A certificate, read and checked for its form; nothing says that it is worth anything.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: Vec<u8>,
    parsed: x509_cert::Certificate,
    /// DER of the names, which are compared byte by byte.
    pub(crate) issuer: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    /// Signed bytes.
    pub(crate) tbs: Vec<u8>,
    pub(crate) ca: Option<Constraints>,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) purposes: Option<Vec<ObjectIdentifier>>,
    /// An extension marked critical that this crate does not know.
    pub(crate) unknown: Option<ObjectIdentifier>,
}

/// What basic constraints allow an issuer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Constraints {
    pub(crate) ca: bool,
    /// CAs that may follow below.
    pub(crate) path_len: Option<u8>,
}

impl Certificate {
    /// Reads one certificate in DER; nothing may follow it.
    ///
    /// # Errors
    /// `Malformed` for anything else.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        Self::read(der)
            .map_err(|what| Error::malformed("certificate", format!("{what} cannot be read")))
    }

    /// Reads every certificate of a PEM file, in order.
    ///
    /// # Errors
    /// `Malformed` when one cannot be read or none is there.
    pub fn all_from_pem(text: &[u8]) -> Result<Vec<Self>> {
        let blocks = crate::key::pem_blocks(text)?;
        let certificates = blocks.iter().filter(|block| block.label == "CERTIFICATE");
        let all = certificates
            .map(|block| Self::from_der(&block.der))
            .collect::<Result<Vec<_>>>()?;
        if all.is_empty() {
            return Err(Error::malformed(
                "certificate",
                "found no CERTIFICATE in the PEM file",
            ));
        }
        Ok(all)
    }

    /// The certificates of a file in PEM or DER.
    ///
    /// # Errors
    /// As the two others.
    pub fn all_from_file(bytes: &[u8]) -> Result<Vec<Self>> {
        if crate::key::is_pem(bytes) {
            Self::all_from_pem(bytes)
        } else {
            Self::from_der(bytes).map(|one| vec![one])
        }
    }

    /// The certificate's bytes.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject as RFC 4514 writes it, control characters and what could be taken for other
    /// letters escaped.
    #[must_use]
    pub fn subject(&self) -> String {
        shown(&self.parsed.tbs_certificate().subject().to_string())
    }

    /// The issuer, likewise.
    #[must_use]
    pub fn issuer(&self) -> String {
        shown(&self.parsed.tbs_certificate().issuer().to_string())
    }

    /// The serial number, hexadecimal.
    #[must_use]
    pub fn serial(&self) -> String {
        hex(self.serial_bytes())
    }

    /// SHA-256 of the whole certificate, hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex(&Hash::Sha256.of([self.der()]))
    }

    /// First and last second of its validity, in seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn validity(&self) -> (u64, u64) {
        let validity = self.parsed.tbs_certificate().validity();
        let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
        (seconds(validity.not_before), seconds(validity.not_after))
    }

    /// The same as dates (RFC 3339).
    #[must_use]
    pub fn validity_text(&self) -> (String, String) {
        let validity = self.parsed.tbs_certificate().validity();
        (
            validity.not_before.to_string(),
            validity.not_after.to_string(),
        )
    }

    pub(crate) fn serial_bytes(&self) -> &[u8] {
        self.parsed.tbs_certificate().serial_number().as_bytes()
    }

    /// The algorithm it is signed with.
    pub(crate) fn signature_algorithm(&self) -> ObjectIdentifier {
        self.parsed.signature_algorithm().oid
    }

    pub(crate) fn signature(&self) -> &[u8] {
        self.parsed.signature().raw_bytes()
    }

    /// The subject's public key: algorithm, curve if there is one, key bits.
    pub(crate) fn key(&self) -> (ObjectIdentifier, Option<ObjectIdentifier>, &[u8]) {
        let info = self.parsed.tbs_certificate().subject_public_key_info();
        let curve = info.algorithm.parameters.as_ref();
        let curve = curve.and_then(|any| any.decode_as().ok());
        (
            info.algorithm.oid,
            curve,
            info.subject_public_key.raw_bytes(),
        )
    }

    /// What it calls the key that signed it; nothing where that cannot be read, as no chain needs it.
    pub(crate) fn authority_key_id(&self) -> Option<Vec<u8>> {
        let found = extension::<AuthorityKeyIdentifier>(&self.parsed);
        let id = found.ok().flatten()?.key_identifier?;
        Some(id.as_bytes().to_vec())
    }

    /// What it calls its own key, likewise.
    pub(crate) fn subject_key_id(&self) -> Option<Vec<u8>> {
        let found = extension::<SubjectKeyIdentifier>(&self.parsed);
        Some(found.ok().flatten()?.0.as_bytes().to_vec())
    }

    /// Whether it may issue others.
    pub(crate) fn may_issue(&self) -> bool {
        self.ca.is_some_and(|constraints| constraints.ca)
            && self.key_usage.as_ref().is_none_or(KeyUsage::key_cert_sign)
    }

    /// The certificate at the start of `bytes`, whatever follows, and its signed part; nothing else of
    /// it is looked at.
    pub(crate) fn split(bytes: &[u8]) -> Found<(&[u8], &[u8])> {
        let whole = Walk::new(bytes, "certificate")?.raw("certificate")?;
        let signed = Walk::new(whole, "certificate")?
            .inside(Tag::Sequence, "certificate")?
            .raw("tbsCertificate")?;
        Walk::new(signed, "tbsCertificate")?.take(Tag::Sequence, "tbsCertificate")?;
        Ok((whole, signed))
    }

    fn read(der: &[u8]) -> Found<Self> {
        if der.len() > MAX_SIZE {
            return Err("certificate (over 64 KiB)");
        }
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| "certificate")?;
        let tbs = parsed.tbs_certificate();
        if tbs.signature() != parsed.signature_algorithm() || !no_parameters(&parsed) {
            return Err("signatureAlgorithm");
        }
        // Unused bits would be bits that no signature covers.
        if parsed.signature().unused_bits() != 0 {
            return Err("signature");
        }
        let (_, signed) = Self::split(der)?;
        let bytes = |name: &x509_cert::name::Name| name.to_der().map_err(|_| "name");
        Ok(Self {
            der: der.to_vec(),
            issuer: bytes(tbs.issuer())?,
            subject: bytes(tbs.subject())?,
            tbs: signed.to_vec(),
            ca: extension::<BasicConstraints>(&parsed)?.map(|constraints| Constraints {
                ca: constraints.ca,
                path_len: constraints.path_len_constraint,
            }),
            key_usage: extension(&parsed)?,
            purposes: extension::<ExtendedKeyUsage>(&parsed)?.map(|usage| usage.0),
            unknown: unknown_critical(&parsed),
            parsed,
        })
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

/// Parameters of a signature algorithm are NULL or absent in all that this crate knows; others would
/// be bytes that nothing reads.
fn no_parameters(certificate: &x509_cert::Certificate) -> bool {
    let parameters = certificate.signature_algorithm().parameters.as_ref();
    parameters.is_none_or(|any| any.is_null())
}

fn extension<T>(certificate: &x509_cert::Certificate) -> Found<Option<T>>
where
    T: for<'a> Decode<'a> + der::oid::AssociatedOid,
{
    let found = certificate.tbs_certificate().get_extension::<T>();
    found
        .map(|extension| extension.map(|(_, value)| value))
        .map_err(|_| "extension")
}

fn unknown_critical(certificate: &x509_cert::Certificate) -> Option<ObjectIdentifier> {
    const KNOWN: [ObjectIdentifier; 4] = [
        oid::BASIC_CONSTRAINTS,
        oid::EXTENDED_KEY_USAGE,
        oid::KEY_USAGE,
        // Names of the subject, which no rule here looks at.
        oid::SUBJECT_ALT_NAME,
    ];
    let extensions = certificate.tbs_certificate().extensions()?;
    let unknown = |id: &ObjectIdentifier| !KNOWN.contains(id);
    let critical = extensions.iter().filter(|extension| extension.critical);
    critical.map(|extension| extension.extn_id).find(unknown)
}

/// Longest name shown.
const MAX_SHOWN: usize = 512;

/// Text of a certificate, safe to print: what is not printable ASCII or a letter is escaped.
fn shown(text: &str) -> String {
    let plain =
        |letter: char| letter == ' ' || letter.is_ascii_graphic() || letter.is_alphanumeric();
    let mut shown = String::new();
    for letter in text.chars() {
        if shown.len() >= MAX_SHOWN {
            shown.push_str("...");
            break;
        }
        if plain(letter) {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_unicode());
        }
    }
    shown
}
