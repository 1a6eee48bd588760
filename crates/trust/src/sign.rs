//! Making signatures.

use der::asn1::{ObjectIdentifier, OctetString, SetOfVec};
use der::{Any, Encode, Header, Length, Sequence, Tag, ValueOrd};
use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::certificate::{
    CERTIFICATE_ALIGNMENT, CERTIFICATE_HEADER_SIZE, Certificate as Entry,
};
use kpeel_envelope::error::{Class, Refusal};
use kpeel_envelope::pe::Pe;
use kpeel_image::{Ends, signature_entry, signature_padding, signed_ends, with_signatures};
use x509_cert::spki::AlgorithmIdentifierOwned;

use crate::authenticode::pe_image_data;
use crate::cms::attributes_as_set;
use crate::error::{Error, Result};
use crate::hash::{Hash, Hasher};
use crate::key::Identity;
use crate::oid;
use crate::outline::Outline;
use crate::walk::context;

/// What becomes of signatures that an image has.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Existing {
    /// A signed image is refused.
    #[default]
    Refuse,
    /// New signatures follow the old ones.
    Append,
    /// New signatures take the old ones' place.
    Replace,
}

/// How to sign.
#[derive(Clone, Copy, Debug, Default)]
pub struct SignOptions {
    /// The hash function; without it the one that goes with the key: SHA-256 for RSA and P-256,
    /// SHA-384 for P-384, SHA-512 for P-521.
    pub hash: Option<Hash>,
    /// What becomes of signatures that are there.
    pub existing: Existing,
}

/// The image with a signature by each of `identities`, in order.
///
/// Nothing in a signature depends on time or chance but the number that ECDSA draws: with RSA the
/// same inputs give the same bytes.
///
/// # Errors
/// `Malformed` for bytes that are no PE image; `Refused` for layouts that a signature cannot cover
/// and for a signed image unless [`SignOptions::existing`] allows it; `Misuse` for a hash that a
/// key cannot take, or no identity.
pub fn sign(image: &[u8], identities: &[Identity], options: &SignOptions) -> Result<Vec<u8>> {
    let pe = Pe::parse(image)?;
    let begin = |hash: Hash| Some(hash.begin_image(&pe));
    let signatures = signatures(&pe, &begin, identities, options)?;
    let entries = entries(&pe, &signatures, options)?;
    Ok(with_signatures(image, &entries)?.to_vec()?)
}

/// As [`sign`] for an image that has passed by; of `outline`, the digests that the keys take are
/// needed ([`Identity::usual_hash`], or that of the options).
///
/// # Errors
/// As [`sign`]; `Misuse` when a digest is not among those that were made, or the image passed to be
/// verified.
pub fn sign_outline(
    outline: &Outline,
    identities: &[Identity],
    options: &SignOptions,
) -> Result<Ends> {
    let pe = outline.pe()?;
    let begin = |hash| outline.digest(&pe, hash);
    let signatures = signatures(&pe, &begin, identities, options)?;
    let entries = entries(&pe, &signatures, options)?;
    Ok(signed_ends(&pe, outline.body()?, &entries)?)
}

/// The image's digest by a hash, without the padding that signing adds.
type Begin<'b> = dyn Fn(Hash) -> Option<Hasher> + 'b;

/// One signature by each identity.
fn signatures(
    pe: &Pe<'_>,
    begin: &Begin<'_>,
    identities: &[Identity],
    options: &SignOptions,
) -> Result<Vec<Vec<u8>>> {
    if identities.is_empty() {
        return Err(Error::misuse("key", "found none, needed one or more"));
    }
    existing(pe, options.existing)?;
    check_coverage(pe)?;
    let padding = vec![0; signature_padding(pe)?];
    let digest = |hash: Hash| {
        let missing = || Error::misuse("digest", "found none by this hash, needed it made");
        let mut hasher = begin(hash).ok_or_else(missing)?;
        hasher.update(&padding);
        Ok(hasher.finish())
    };
    let sign = |identity| signature(&digest, identity, options.hash);
    identities.iter().map(sign).collect()
}

/// All entries of the table to be.
fn entries<'e>(
    pe: &Pe<'e>,
    signatures: &'e [Vec<u8>],
    options: &SignOptions,
) -> Result<Vec<Entry<'e>>> {
    let old = existing(pe, options.existing)?.into_iter();
    let new = signatures.iter().map(|data| signature_entry(data));
    Ok(old.chain(new).collect())
}

/// The entries to keep.
fn existing<'i>(pe: &Pe<'i>, existing: Existing) -> Result<Vec<Entry<'i>>> {
    match existing {
        Existing::Replace => Ok(Vec::new()),
        Existing::Append => Ok(pe
            .certificates()
            .collect::<kpeel_envelope::error::Result<_>>()?),
        Existing::Refuse if pe.certificate_table().is_none() => Ok(Vec::new()),
        Existing::Refuse => Err(Error::new(
            Class::Refused(Refusal::Signature),
            "certificate table",
            "the image is signed already; --append keeps its signatures, --replace drops them",
        )),
    }
}

/// The PKCS #7 object with the identity's signature.
fn signature(
    digest: &dyn Fn(Hash) -> Result<Vec<u8>>,
    identity: &Identity,
    hash: Option<Hash>,
) -> Result<Vec<u8>> {
    let hash = hash.unwrap_or(identity.key.usual_hash());
    if !identity.key.takes(hash) {
        let why = format!(
            "found {hash}, needed {}, which goes with the key's curve",
            identity.key.usual_hash()
        );
        return Err(Error::misuse("digest", why));
    }
    let content = content(digest(hash)?, hash).map_err(encoding)?;
    let attributes = attributes(&content, hash).map_err(encoding)?;
    let signed = attributes_as_set(&attributes).ok_or_else(|| too_long("signedAttrs"))?;
    let value = identity.key.sign(hash, &signed)?;
    let mut object = signed_data(identity, hash, &content, &attributes, value).map_err(encoding)?;
    // Both ways are right, but osslsigncode 2.5 wants the zeros up to the next entry counted.
    let whole = object.len().saturating_add(CERTIFICATE_HEADER_SIZE);
    let padded = whole.checked_next_multiple_of(CERTIFICATE_ALIGNMENT);
    let padding = padded.unwrap_or(whole).saturating_sub(whole);
    object.resize(object.len().saturating_add(padding), 0);
    Ok(object)
}

#[derive(Sequence)]
struct DigestInfo {
    algorithm: AlgorithmIdentifierOwned,
    digest: OctetString,
}

#[derive(Clone, Eq, PartialEq, Sequence, ValueOrd)]
struct Attribute {
    kind: ObjectIdentifier,
    values: SetOfVec<Any>,
}

/// `SpcIndirectDataContent` without tag and length.
fn content(digest: Vec<u8>, hash: Hash) -> der::Result<Vec<u8>> {
    let info = DigestInfo {
        algorithm: algorithm(hash.oid(), true),
        digest: OctetString::new(digest)?,
    };
    let mut content = pe_image_data().to_vec();
    info.encode_to_vec(&mut content)?;
    Ok(content)
}

/// The signed attributes without tag and length: content type and message digest.
fn attributes(content: &[u8], hash: Hash) -> der::Result<Vec<u8>> {
    let digest = OctetString::new(hash.of([content]))?;
    let one = |kind, value: Any| -> der::Result<_> {
        let values = SetOfVec::try_from(vec![value])?;
        Ok(Attribute { kind, values })
    };
    let set = SetOfVec::try_from(vec![
        one(
            oid::CONTENT_TYPE,
            Any::encode_from(&oid::SPC_INDIRECT_DATA)?,
        )?,
        one(oid::MESSAGE_DIGEST, Any::encode_from(&digest)?)?,
    ])?;
    let mut attributes = Vec::new();
    for attribute in set.iter() {
        attribute.encode_to_vec(&mut attributes)?;
    }
    Ok(attributes)
}

fn signed_data(
    identity: &Identity,
    hash: Hash,
    content: &[u8],
    attributes: &[u8],
    signature: Vec<u8>,
) -> der::Result<Vec<u8>> {
    const VERSION: &[u8] = &[2, 1, 1];
    let digest = algorithm(hash.oid(), true).to_der()?;
    let content = element(Tag::Sequence, &[content])?;
    let encapsulated = element(
        Tag::Sequence,
        &[
            &oid::SPC_INDIRECT_DATA.to_der()?,
            &element(context(0), &[&content])?,
        ],
    )?;
    let signer = signer_info(identity, &digest, attributes, signature)?;
    let mut certificates: Vec<_> = identity.certificates.iter().map(|one| one.der()).collect();
    // DER's order of a SET OF, ascending.
    certificates.sort_unstable();
    let data = element(
        Tag::Sequence,
        &[
            VERSION,
            &element(Tag::Set, &[&digest])?,
            &encapsulated,
            &element(context(0), &certificates)?,
            &element(Tag::Set, &[&signer])?,
        ],
    )?;
    let explicit = element(context(0), &[&data])?;
    element(Tag::Sequence, &[&oid::SIGNED_DATA.to_der()?, &explicit])
}

fn signer_info(
    identity: &Identity,
    digest: &[u8],
    attributes: &[u8],
    signature: Vec<u8>,
) -> der::Result<Vec<u8>> {
    const VERSION: &[u8] = &[2, 1, 1];
    let (kind, null) = identity.key.algorithm();
    let leaf = identity.certificate();
    let issuer = leaf.map(|leaf| leaf.issuer.as_slice()).unwrap_or_default();
    let serial = leaf.map(|leaf| leaf.serial_bytes()).unwrap_or_default();
    let serial = element(Tag::Integer, &[serial])?;
    element(
        Tag::Sequence,
        &[
            VERSION,
            &element(Tag::Sequence, &[issuer, &serial])?,
            digest,
            &element(context(0), &[attributes])?,
            &algorithm(kind, null).to_der()?,
            &OctetString::new(signature)?.to_der()?,
        ],
    )
}

/// An element around parts that are encoded already.
fn element(tag: Tag, parts: &[&[u8]]) -> der::Result<Vec<u8>> {
    let content = parts.concat();
    let mut bytes = Header::new(tag, Length::try_from(content.len())?).to_der()?;
    bytes.extend_from_slice(&content);
    Ok(bytes)
}

fn algorithm(oid: ObjectIdentifier, null: bool) -> AlgorithmIdentifierOwned {
    let parameters = null.then(Any::null);
    AlgorithmIdentifierOwned { oid, parameters }
}

fn too_long(what: &'static str) -> Error {
    Error::unsupported(what, "is too long for DER")
}

fn encoding(error: der::Error) -> Error {
    Error::new(Class::Bug, "signature", error.to_string())
}
