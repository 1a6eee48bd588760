//! Authenticode's PKCS#7, in the right shape and in any wrong one.
//!
//! Source: RFC 2315, 9; Microsoft, "Windows Authenticode Portable Executable Signature Format".

use crate::Outcome;
use crate::authority::Signer;
use crate::der::{
    CONTEXT_0, CONTEXT_1, INTEGER, NULL, OCTET_STRING, OID, SEQUENCE, SET, set_of, value,
};
use crate::digest::Hash;

/// `SPC_INDIRECT_DATA_OBJID`, 1.3.6.1.4.1.311.2.1.4.
pub(crate) const INDIRECT_DATA: &[u8] =
    &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x04];
/// `SPC_PE_IMAGE_DATAOBJ`, 1.3.6.1.4.1.311.2.1.15.
const PE_IMAGE_DATA: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01, 0x0f];
/// PKCS#7 `data`, 1.2.840.113549.1.7.1.
pub(crate) const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// PKCS#7 `signedData`.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// PKCS#9 `contentType`.
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
/// PKCS#9 `messageDigest`.
pub(crate) const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
/// `rsaEncryption`.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `ecdsa-with-SHA256`.
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// `SpcPeImageData` as every tool writes it: no flags, an empty file name.
const EMPTY_FILE: &[u8] = &[
    0x30, 0x09, 0x03, 0x01, 0x00, 0xa0, 0x04, 0xa2, 0x02, 0x80, 0x00,
];

/// One signature; [`Shape::new`] gives the right one, whose fields may then be bent.
#[derive(Clone)]
pub(crate) struct Shape {
    pub(crate) signer: Signer,
    /// Certificates that come with it.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// Of the attributes and their signature.
    pub(crate) hash: Hash,
    /// What the content says the image was hashed with.
    pub(crate) image_hash: Hash,
    /// The image's hash.
    pub(crate) digest: Vec<u8>,
    pub(crate) content_type: &'static [u8],
    pub(crate) attributes: Option<Attributes>,
    /// Instead of the certificate's, encoded.
    pub(crate) serial: Option<Vec<u8>>,
    /// Instead of the certificate's, encoded.
    pub(crate) issuer: Option<Vec<u8>>,
    pub(crate) key: KeyKind,
    /// Content of an attribute that nothing signs.
    pub(crate) unsigned_attribute: Option<Vec<u8>>,
    pub(crate) version: u8,
    /// Whether `SignedData` is wrapped in a `ContentInfo`, as it must be.
    pub(crate) wrapped: bool,
    /// The hashes announced before the content; the signer's own with none.
    pub(crate) announced: Option<Vec<Hash>>,
    /// The signature is broken.
    pub(crate) broken: bool,
}

/// Attributes that are signed.
#[derive(Clone)]
pub(crate) struct Attributes {
    pub(crate) content_type: Option<&'static [u8]>,
    pub(crate) message_digest: MessageDigest,
}

/// What the attribute `messageDigest` says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MessageDigest {
    Right,
    Wrong,
    Absent,
}

/// Kind of the signer's key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyKind {
    Rsa,
    P256,
}

impl Shape {
    /// The right signature of an image with this hash.
    pub(crate) fn new(signer: &Signer, hash: Hash, digest: Vec<u8>) -> Self {
        Self {
            signer: signer.clone(),
            certificates: vec![signer.certificate.clone()],
            hash,
            image_hash: hash,
            digest,
            content_type: INDIRECT_DATA,
            attributes: Some(Attributes {
                content_type: Some(INDIRECT_DATA),
                message_digest: MessageDigest::Right,
            }),
            serial: None,
            issuer: None,
            key: KeyKind::Rsa,
            unsigned_attribute: None,
            version: 1,
            wrapped: true,
            announced: None,
            broken: false,
        }
    }

    /// Its DER.
    pub(crate) fn encode(&self) -> Outcome<Vec<u8>> {
        self.encode_with(&[self])
    }

    /// The same with these signers instead of its own.
    pub(crate) fn encode_with(&self, signers: &[&Self]) -> Outcome<Vec<u8>> {
        let content = self.content();
        let announced = self.announced.clone().unwrap_or_else(|| vec![self.hash]);
        let hashes = announced.iter().map(|hash| algorithm(hash.oid())).collect();
        let infos = signers.iter().map(|signer| signer.signer_info(&content));
        let signed = value(
            SEQUENCE,
            &[
                &value(INTEGER, &[&[self.version]]),
                &set_of(SET, hashes),
                &value(
                    SEQUENCE,
                    &[
                        &value(OID, &[self.content_type]),
                        &value(CONTEXT_0, &[&value(SEQUENCE, &[&content])]),
                    ],
                ),
                &value(CONTEXT_0, &[&self.certificates.concat()]),
                &set_of(SET, infos.collect::<Outcome<_>>()?),
            ],
        );
        if !self.wrapped {
            return Ok(signed);
        }
        Ok(value(
            SEQUENCE,
            &[&value(OID, &[SIGNED_DATA]), &value(CONTEXT_0, &[&signed])],
        ))
    }

    /// What is signed: `SpcIndirectDataContent` without tag and length, which PKCS#7 leaves out of
    /// the hash.
    fn content(&self) -> Vec<u8> {
        [
            value(SEQUENCE, &[&value(OID, &[PE_IMAGE_DATA]), EMPTY_FILE]),
            value(
                SEQUENCE,
                &[
                    &algorithm(self.image_hash.oid()),
                    &value(OCTET_STRING, &[&self.digest]),
                ],
            ),
        ]
        .concat()
    }

    fn signer_info(&self, content: &[u8]) -> Outcome<Vec<u8>> {
        let attributes = match &self.attributes {
            Some(attributes) => attributes.encode(self.hash, content)?,
            None => Vec::new(),
        };
        let signed = match attributes.is_empty() {
            true => content.to_vec(),
            false => set_of(SET, attributes.clone()),
        };
        let mut signature = self.signer.sign(self.hash, &signed)?;
        if self.broken {
            signature[100] ^= 1;
        }
        let (issuer, serial) = self.signer.issuer_and_serial();
        let issuer = self.issuer.as_ref().unwrap_or(&issuer);
        let serial = self.serial.as_ref().unwrap_or(&serial);
        let mut parts = vec![
            value(INTEGER, &[&[1]]),
            value(SEQUENCE, &[issuer, serial]),
            algorithm(self.hash.oid()),
        ];
        if !attributes.is_empty() {
            parts.push(set_of(CONTEXT_0, attributes));
        }
        parts.push(match self.key {
            KeyKind::Rsa => algorithm(RSA),
            KeyKind::P256 => value(SEQUENCE, &[&value(OID, &[ECDSA_SHA256])]),
        });
        parts.push(value(OCTET_STRING, &[&signature]));
        if let Some(content) = &self.unsigned_attribute {
            let attribute = attribute(DATA, &value(OCTET_STRING, &[content]));
            parts.push(value(CONTEXT_1, &[&attribute]));
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Ok(value(SEQUENCE, &parts))
    }
}

impl Attributes {
    fn encode(&self, hash: Hash, content: &[u8]) -> Outcome<Vec<Vec<u8>>> {
        let mut list = Vec::new();
        if let Some(content_type) = self.content_type {
            list.push(attribute(CONTENT_TYPE, &value(OID, &[content_type])));
        }
        let mut digest = hash.of(content)?;
        if self.message_digest == MessageDigest::Wrong {
            digest[0] ^= 1;
        }
        if self.message_digest != MessageDigest::Absent {
            list.push(attribute(MESSAGE_DIGEST, &value(OCTET_STRING, &[&digest])));
        }
        Ok(list)
    }
}

fn attribute(oid: &[u8], content: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&value(OID, &[oid]), &value(SET, &[content])])
}

fn algorithm(oid: &[u8]) -> Vec<u8> {
    value(SEQUENCE, &[&value(OID, &[oid]), NULL])
}
