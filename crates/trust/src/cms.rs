//! The PKCS #7 object around a signature, as Authenticode restricts it.
//!
//! ```text
//! ContentInfo { signedData, [0] SignedData {
//!     1, digestAlgorithms { one }, ContentInfo { SpcIndirectData, [0] content },
//!     [0] certificates, { SignerInfo {
//!         1, issuer and serial number, digest algorithm, [0] signed attributes { content type,
//!         message digest, ... }, signature algorithm, signature, [1] unsigned attributes } } } }
//! ```
//! Sources: RFC 5652, sections 3 and 5; RFC 2315, section 9; Authenticode, "PKCS #7 SignedData".

use std::ops::Range;

use der::asn1::ObjectIdentifier;
use der::{Encode, Header, Length, Tag};

use crate::oid;
use crate::walk::{Found, Walk, context};

/// A signature's parts, borrowed; what the bytes mean is not checked yet.
#[derive(Debug)]
pub(crate) struct SignedData<'a> {
    /// The content (`SpcIndirectDataContent`) without tag and length: what the message digest covers.
    pub(crate) content: &'a [u8],
    /// Every certificate, with tag and length.
    pub(crate) certificates: Vec<&'a [u8]>,
    /// The signer's certificate: issuer with tag and length, serial number's value.
    pub(crate) signer: (&'a [u8], &'a [u8]),
    /// The hash function.
    pub(crate) digest: ObjectIdentifier,
    /// The value of the attribute message digest.
    pub(crate) message_digest: &'a [u8],
    /// Signed attributes without tag and length.
    attributes: &'a [u8],
    /// The signature's algorithm.
    pub(crate) algorithm: ObjectIdentifier,
    /// The signature.
    pub(crate) signature: &'a [u8],
    /// Bytes of unsigned attributes (time stamps, nested signatures), which nothing covers.
    pub(crate) unsigned: Option<Range<usize>>,
    /// Length of the object; what follows is padding.
    pub(crate) len: usize,
    /// Where it begins.
    whole: &'a [u8],
}

/// How many certificates a signature may bring.
pub(crate) const MAX_CERTIFICATES: usize = 32;
/// How many attributes it may bring.
const MAX_ATTRIBUTES: usize = 32;

impl<'a> SignedData<'a> {
    /// Takes the object at the start of `bytes` apart.
    pub(crate) fn parse(bytes: &'a [u8]) -> Found<Self> {
        let mut whole = Walk::new(bytes, "ContentInfo")?;
        let object = whole.raw("ContentInfo")?;
        let mut info = Walk::new(object, "ContentInfo")?.inside(Tag::Sequence, "ContentInfo")?;
        if info.oid("contentType")? != oid::SIGNED_DATA {
            return Err("contentType (not signed data)");
        }
        let mut explicit = info.inside(context(0), "SignedData")?;
        info.end("ContentInfo")?;
        let mut data = explicit.inside(Tag::Sequence, "SignedData")?;
        explicit.end("SignedData")?;
        version(&mut data, "SignedData version")?;
        let mut digests = data.inside(Tag::Set, "digestAlgorithms")?;
        let digest = digests.algorithm("digestAlgorithms")?;
        digests.end("digestAlgorithms (more than one)")?;
        let content = content(&mut data)?;
        let certificates = certificates(&mut data)?;
        let mut signers = data.inside(Tag::Set, "signerInfos")?;
        data.end("SignedData (more than certificates and signerInfos)")?;
        let mut signer = signers.inside(Tag::Sequence, "SignerInfo")?;
        signers.end("signerInfos (more than one)")?;
        let signer = Signer::parse(&mut signer, digest)?;
        let unsigned = signer.unsigned.map(|value| position(bytes, value));
        Ok(Self {
            content,
            certificates,
            signer: signer.name,
            digest,
            message_digest: signer.message_digest,
            attributes: signer.attributes,
            algorithm: signer.algorithm,
            signature: signer.signature,
            unsigned,
            len: object.len(),
            whole: bytes,
        })
    }

    /// Where each certificate stands.
    pub(crate) fn certificate_ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let one = |certificate: &&'a [u8]| position(self.whole, certificate);
        self.certificates.iter().map(one)
    }

    /// The bytes the signature is made over: the attributes as a SET (RFC 5652, section 5.4).
    pub(crate) fn signed_bytes(&self) -> Found<Vec<u8>> {
        attributes_as_set(self.attributes).ok_or("signedAttrs")
    }
}

/// Attributes, without tag and length, as a SET.
pub(crate) fn attributes_as_set(attributes: &[u8]) -> Option<Vec<u8>> {
    let len = Length::try_from(attributes.len()).ok()?;
    let mut set = Header::new(Tag::Set, len).to_der().ok()?;
    set.extend_from_slice(attributes);
    Some(set)
}

struct Signer<'a> {
    name: (&'a [u8], &'a [u8]),
    attributes: &'a [u8],
    message_digest: &'a [u8],
    algorithm: ObjectIdentifier,
    signature: &'a [u8],
    unsigned: Option<&'a [u8]>,
}

impl<'a> Signer<'a> {
    fn parse(signer: &mut Walk<'a>, digest: ObjectIdentifier) -> Found<Self> {
        version(signer, "SignerInfo version")?;
        let mut name = signer.inside(Tag::Sequence, "issuerAndSerialNumber")?;
        let issuer = name.raw("issuer")?;
        let serial = name.take(Tag::Integer, "serialNumber")?.value();
        name.end("issuerAndSerialNumber")?;
        if signer.algorithm("digestAlgorithm")? != digest {
            return Err("digestAlgorithm (not the one of digestAlgorithms)");
        }
        let attributes = signer.take(context(0), "signedAttrs")?.value();
        let message_digest = message_digest(attributes)?;
        let algorithm = signer.algorithm("signatureAlgorithm")?;
        let signature = signer.take(Tag::OctetString, "signature")?.value();
        let unsigned = signer.optional(context(1), "unsignedAttrs")?;
        if !signer.is_empty() {
            return Err("SignerInfo (more than unsignedAttrs)");
        }
        Ok(Self {
            name: (issuer, serial),
            attributes,
            message_digest,
            algorithm,
            signature,
            unsigned: unsigned.map(|element| element.value()),
        })
    }
}

fn version(walk: &mut Walk<'_>, name: &'static str) -> Found<()> {
    if walk.small(name)? == 1 {
        Ok(())
    } else {
        Err(name)
    }
}

fn content<'a>(data: &mut Walk<'a>) -> Found<&'a [u8]> {
    let mut info = data.inside(Tag::Sequence, "encapContentInfo")?;
    if info.oid("eContentType")? != oid::SPC_INDIRECT_DATA {
        return Err("eContentType (not SpcIndirectData)");
    }
    let mut explicit = info.inside(context(0), "eContent")?;
    info.end("encapContentInfo")?;
    let content = explicit.take(Tag::Sequence, "SpcIndirectDataContent")?;
    explicit.end("eContent")?;
    Ok(content.value())
}

fn certificates<'a>(data: &mut Walk<'a>) -> Found<Vec<&'a [u8]>> {
    let Some(set) = data.optional(context(0), "certificates")? else {
        return Ok(Vec::new());
    };
    let mut set = Walk::new(set.value(), "certificates")?;
    let mut all = Vec::new();
    while !set.is_empty() {
        if all.len() == MAX_CERTIFICATES {
            return Err("certificates (more than 32)");
        }
        all.push(set.raw("certificate")?);
    }
    Ok(all)
}

/// The attribute message digest; content type has to be there too, both once.
fn message_digest(attributes: &[u8]) -> Found<&[u8]> {
    let mut walk = Walk::new(attributes, "signedAttrs")?;
    let (mut content_type, mut digest) = (None, None);
    let mut count: usize = 0;
    while !walk.is_empty() {
        count = count.saturating_add(1);
        if count > MAX_ATTRIBUTES {
            return Err("signedAttrs (more than 32)");
        }
        let mut attribute = walk.inside(Tag::Sequence, "signed attribute")?;
        let kind = attribute.oid("signed attribute")?;
        let mut values = attribute.inside(Tag::Set, "signed attribute")?;
        attribute.end("signed attribute")?;
        if kind == oid::CONTENT_TYPE {
            let value = values.oid("content type")?;
            values.end("content type (more than one)")?;
            if content_type.replace(value).is_some() {
                return Err("content type (more than one)");
            }
        } else if kind == oid::MESSAGE_DIGEST {
            let value = values.take(Tag::OctetString, "message digest")?.value();
            values.end("message digest (more than one)")?;
            if digest.replace(value).is_some() {
                return Err("message digest (more than one)");
            }
        }
    }
    if content_type != Some(oid::SPC_INDIRECT_DATA) {
        return Err("content type (not SpcIndirectData)");
    }
    digest.ok_or("message digest (absent)")
}

/// Where `part`, a part of `whole`, stands in it.
fn position(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start.saturating_add(part.len())
}
