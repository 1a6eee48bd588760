//! EFI signature lists.
//!
//! ```text
//! 0   SignatureType        GUID
//! 16  SignatureListSize    u32, all of this list
//! 20  SignatureHeaderSize  u32
//! 24  SignatureSize        u32, each entry
//! 28  header, then entries: owner GUID, data
//! ```
//! Source: UEFI specification, "Signature Database" and "Using the `EFI_VARIABLE_AUTHENTICATION_2`
//! descriptor".

use kpeel_envelope::reader::{Reader, sub};

use super::{ListedDigest, Role, Store};
use crate::certificate::Certificate;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::report::Source;

const GUID_SIZE: usize = 16;
const LIST_HEADER_SIZE: usize = 28;
/// Bytes of variable attributes that efivarfs puts before the data (Documentation, efivarfs).
pub(super) const ATTRIBUTES_SIZE: usize = 4;
/// `EFI_TIME` before the certificate of an authenticated variable.
const TIME_SIZE: usize = 16;
const WIN_CERT_TYPE_EFI_GUID: u16 = 0x0ef1;

type Guid = [u8; GUID_SIZE];

/// A GUID as UEFI stores it, from the five numbers people write.
const fn guid(a: u32, b: u16, c: u16, d: u16, e: u64) -> Guid {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let (d, [_, _, e @ ..]) = (d.to_be_bytes(), e.to_be_bytes());
    let [a0, a1, a2, a3] = a;
    let [e0, e1, e2, e3, e4, e5] = e;
    [
        a0, a1, a2, a3, b[0], b[1], c[0], c[1], d[0], d[1], e0, e1, e2, e3, e4, e5,
    ]
}

/// What entries are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Certificate,
    /// An image's digest.
    Digest(Hash),
    /// The digest of a certificate's signed part, and the time from which it is revoked.
    CertificateDigest(Hash),
    /// A kind that no verifier of images in use makes anything of.
    Other(&'static str),
}

const KINDS: [(Guid, Kind); 12] = [
    (
        guid(0xa5c0_59a1, 0x94e4, 0x4aa7, 0x87b5, 0xab15_5c2b_f072),
        Kind::Certificate,
    ),
    (
        guid(0xc1c4_1626, 0x504c, 0x4092, 0xaca9, 0x41f9_3693_4328),
        Kind::Digest(Hash::Sha256),
    ),
    (
        guid(0xff3e_5307, 0x9fd0, 0x48c9, 0x85f1, 0x8ad5_6c70_1e01),
        Kind::Digest(Hash::Sha384),
    ),
    (
        guid(0x093e_0fae, 0xa6c4, 0x4f50, 0x9f1b, 0xd41e_2b89_c19a),
        Kind::Digest(Hash::Sha512),
    ),
    (
        guid(0x3bd2_a492, 0x96c0, 0x4079, 0xb420, 0xfcf9_8ef1_03ed),
        Kind::CertificateDigest(Hash::Sha256),
    ),
    (
        guid(0x7076_876e, 0x80c2, 0x4ee6, 0xaad2, 0x28b3_49a6_865b),
        Kind::CertificateDigest(Hash::Sha384),
    ),
    (
        guid(0x446d_bf63, 0x2502, 0x4cda, 0xbcfa, 0x2465_d2b0_fe9d),
        Kind::CertificateDigest(Hash::Sha512),
    ),
    (
        guid(0x826c_a512, 0xcf10, 0x4ac9, 0xb187, 0xbe01_4966_31bd),
        Kind::Other("SHA-1 digest"),
    ),
    (
        guid(0x0b6e_5233, 0xa65c, 0x44c9, 0x9407, 0xd9ab_83bf_c8bd),
        Kind::Other("SHA-224 digest"),
    ),
    (
        guid(0x3c57_66e8, 0x269c, 0x4e34, 0xaa14, 0xed77_6e85_b3b6),
        Kind::Other("bare RSA key"),
    ),
    (
        guid(0xe2b3_6190, 0x879b, 0x4a3d, 0xad8d, 0xf2e7_bba3_2784),
        Kind::Other("signature by RSA"),
    ),
    (
        guid(0x452e_8ced, 0xdfff, 0x4b8c, 0xae01, 0x5118_862e_682c),
        Kind::Other("external management"),
    ),
];

fn kind_of(guid: &[u8]) -> Option<Kind> {
    let mut known = KINDS.iter();
    let found = known.find(|(known, _)| guid == known);
    found.map(|(_, kind)| *kind)
}

/// The signature lists in a file, if it holds such: bare, as efivarfs shows a variable, or as an
/// authenticated variable's update.
pub(super) fn find(bytes: &[u8]) -> Option<&[u8]> {
    let begins = |lists: &[u8]| {
        lists
            .get(..GUID_SIZE)
            .is_some_and(|guid| kind_of(guid).is_some())
    };
    let after_attributes = bytes.get(ATTRIBUTES_SIZE..);
    let candidates = [Some(bytes), after_attributes, after_header(bytes)];
    candidates.into_iter().flatten().find(|lists| begins(lists))
}

/// What follows the descriptor of an authenticated variable.
fn after_header(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::at(bytes, TIME_SIZE as u64, "EFI_TIME").ok()?;
    let length = reader.u32("dwLength").ok()? as usize;
    reader.u16("wRevision").ok()?;
    let kind = reader.u16("wCertificateType").ok()?;
    if kind != WIN_CERT_TYPE_EFI_GUID {
        return None;
    }
    bytes.get(TIME_SIZE.checked_add(length)?..)
}

impl Store {
    /// Adds the entries of signature lists, which follow each other to the end.
    pub(super) fn add_list(&mut self, mut bytes: &[u8], source: &str, role: Role) -> Result<()> {
        while !bytes.is_empty() {
            let mut reader = Reader::new(bytes);
            let kind = reader.take(GUID_SIZE, "SignatureType")?;
            let list_size = reader.u32("SignatureListSize")?;
            let header_size = reader.u32("SignatureHeaderSize")?;
            let entry_size = reader.u32("SignatureSize")? as usize;
            let list = sub(bytes, 0, list_size.into(), "SignatureListSize")?;
            let start = (LIST_HEADER_SIZE as u64).saturating_add(header_size.into());
            let len = u64::from(list_size).checked_sub(start);
            let len =
                len.ok_or_else(|| malformed("SignatureListSize is smaller than its headers"))?;
            let entries = sub(list, start, len, "SignatureHeaderSize")?;
            if entry_size <= GUID_SIZE {
                return Err(malformed("SignatureSize has no room for an entry"));
            }
            let entries = entries.chunks_exact(entry_size);
            if !entries.remainder().is_empty() {
                return Err(malformed("SignatureListSize is no whole number of entries"));
            }
            for entry in entries {
                let data = entry.get(GUID_SIZE..).unwrap_or_default();
                self.add_entry(kind_of(kind), data, source, role)?;
            }
            bytes = bytes.get(list.len()..).unwrap_or_default();
        }
        Ok(())
    }

    fn add_entry(
        &mut self,
        kind: Option<Kind>,
        data: &[u8],
        source: &str,
        role: Role,
    ) -> Result<()> {
        let listed = |hash, digest: &[u8]| ListedDigest::new(hash, digest, source);
        match (kind, role) {
            (Some(Kind::Certificate), Role::Trusted) => match Certificate::from_der(data) {
                Ok(certificate) => self.add_certificate(certificate, source, role),
                Err(error) => self.skip(source, error.to_string()),
            },
            (Some(Kind::Certificate), Role::Revoked) => self.revoke_certificate(data, source)?,
            (Some(Kind::Digest(hash)), _) => {
                if data.len() != hash.size() {
                    return Err(malformed("a digest of the wrong size"));
                }
                match role {
                    Role::Trusted => self.digests.push(listed(hash, data)),
                    Role::Revoked => self.revoked_digests.push(listed(hash, data)),
                }
            }
            // A time of revocation would need trusted time stamps: it is revoked from the start.
            (Some(Kind::CertificateDigest(hash)), Role::Revoked) => {
                let digest = data.get(..hash.size());
                let digest = digest.ok_or_else(|| malformed("a digest of the wrong size"))?;
                self.revoked_tbs.push(listed(hash, digest));
            }
            (Some(Kind::CertificateDigest(_)), Role::Trusted) => {
                self.skip(source, "a certificate's digest does not make it trusted");
            }
            (Some(Kind::Other(name)), _) => self.skip(source, name),
            (None, _) => self.skip(source, "an entry of unknown kind"),
        }
        Ok(())
    }

    /// Revokes the certificate of an entry, which is read as leniently as it can be: what were left out
    /// here would stay trusted. An entry holds nothing else (UEFI, `EFI_CERT_X509_GUID`), but firmware
    /// takes a certificate with bytes behind it for that certificate.
    fn revoke_certificate(&mut self, data: &[u8], source: &str) -> Result<()> {
        let unreadable = |what| {
            let why = format!("found a revoked certificate whose {what} cannot be read, needed it");
            malformed(&why)
        };
        let (whole, tbs) = Certificate::split(data).map_err(unreadable)?;
        match Certificate::from_der(whole) {
            Ok(certificate) => self.add_certificate(certificate, source, Role::Revoked),
            Err(error) => {
                let digest = Hash::Sha256.of([tbs]);
                let entry = ListedDigest::new(Hash::Sha256, &digest, source);
                self.revoked_tbs.push(entry);
                let how = "it is revoked by its signed part, but not as an issuer";
                self.skip(source, format!("{error}: {how}"));
            }
        }
        Ok(())
    }
}

impl ListedDigest {
    fn new(hash: Hash, digest: &[u8], source: &str) -> Self {
        Self {
            hash,
            digest: digest.to_vec(),
            source: Source(source.to_owned()),
        }
    }
}

fn malformed(why: &str) -> Error {
    Error::malformed("EFI signature list", why)
}
