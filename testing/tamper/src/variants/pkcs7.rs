//! PKCS#7 in shapes that no tool makes, over the untouched program.

use super::{Maker, Reason, Verdict, shape, signed};
use crate::Outcome;
use crate::authority::{Authority, Signer};
use crate::der::{INTEGER, OCTET_STRING, OID, value};
use crate::digest::Hash;
use crate::pe::{Image, certificate, entry};
use crate::pkcs7::{DATA, MESSAGE_DIGEST, MessageDigest, Shape};

const SIGNATURE: Verdict = Verdict::Refused(Reason::Signature);
const DIGEST: Verdict = Verdict::Refused(Reason::Digest);
const WEAK: Verdict = Verdict::Refused(Reason::Weak);

pub(super) fn add(maker: &mut Maker<'_>, leaf: &Signer, authority: &Authority) -> Outcome<()> {
    let image = maker.unsigned().padded();
    let right = shape(&image, leaf, Hash::Sha256)?;
    hashes(maker, &image, &right)?;
    contents(maker, &image, &right)?;
    attributes(maker, &image, &right)?;
    signers(maker, &image, &right)?;
    certificates(maker, &image, &right, &authority.root)?;
    numbers_of_signers(maker, &image, &right)?;
    fields(maker, &image, &right)?;
    encoding(maker, &image, &right)?;
    padding(maker, &image, &right)
}

/// Adds a variant with this signature.
fn put(
    maker: &mut Maker<'_>,
    image: &Image,
    name: &str,
    verdict: (Verdict, &'static str),
    shape: &Shape,
) -> Outcome<()> {
    let image = signed(image.clone(), shape)?;
    maker.add(name, verdict.0, verdict.1, image);
    Ok(())
}

fn hashes(maker: &mut Maker<'_>, image: &Image, right: &Shape) -> Outcome<()> {
    let strong = (Verdict::Accepted, "SHA-256 and stronger hashes are trusted");
    let weak = (WEAK, "collisions of this hash can be made");
    for (hash, verdict) in [
        (Hash::Sha384, strong),
        (Hash::Sha512, strong),
        (Hash::Sha1, weak),
        (Hash::Md5, weak),
    ] {
        let shape = shape(image, &right.signer, hash)?;
        put(maker, image, hash.name(), verdict, &shape)?;
    }
    // Weak in one place only.
    let mut shape = shape(image, &right.signer, Hash::Sha1)?;
    shape.hash = Hash::Sha256;
    let one = (SIGNATURE, "content and attributes have one hash function");
    put(maker, image, "sha1-of-image", one, &shape)?;
    let mut shape = right.clone();
    shape.hash = Hash::Sha1;
    put(maker, image, "sha1-of-attributes", weak, &shape)
}

/// `SpcIndirectDataContent` and its type.
fn contents(maker: &mut Maker<'_>, image: &Image, right: &Shape) -> Outcome<()> {
    let mut shape = right.clone();
    shape.digest[0] ^= 1;
    let other = (DIGEST, "what was signed is another image's hash");
    put(maker, image, "digest-of-another-image", other, &shape)?;
    let mut shape = right.clone();
    shape.digest.truncate(16);
    put(maker, image, "digest-truncated", other, &shape)?;
    let mut shape = right.clone();
    shape.digest.clear();
    put(maker, image, "digest-empty", other, &shape)?;
    let fits = (SIGNATURE, "a digest has its algorithm's length");
    let mut shape = right.clone();
    shape.image_hash = Hash::Sha512;
    put(maker, image, "digest-algorithm-longer", fits, &shape)?;
    let kind = (SIGNATURE, "the content must be SpcIndirectData");
    let mut shape = right.clone();
    shape.content_type = DATA;
    put(maker, image, "content-type-data", kind, &shape)?;
    if let Some(attributes) = &mut shape.attributes {
        attributes.content_type = Some(DATA);
    }
    put(maker, image, "content-type-data-everywhere", kind, &shape)
}

fn attributes(maker: &mut Maker<'_>, image: &Image, right: &Shape) -> Outcome<()> {
    let mut bend = |name, why, bend: &dyn Fn(&mut Shape)| {
        let mut shape = right.clone();
        bend(&mut shape);
        put(maker, image, name, (SIGNATURE, why), &shape)
    };
    let needed = "the signed attributes must have contentType and messageDigest (RFC 2315, 9.2)";
    bend("no-message-digest", needed, &|shape| {
        message_digest(shape, MessageDigest::Absent);
    })?;
    bend("no-content-type", needed, &|shape| {
        if let Some(attributes) = &mut shape.attributes {
            attributes.content_type = None;
        }
    })?;
    bend(
        "message-digest-wrong",
        "the attributes' messageDigest is not the content's",
        &|shape| message_digest(shape, MessageDigest::Wrong),
    )?;
    bend(
        "content-type-attribute-wrong",
        "the attributes' contentType is not the content's",
        &|shape| {
            if let Some(attributes) = &mut shape.attributes {
                attributes.content_type = Some(DATA);
            }
        },
    )?;
    bend(
        "no-attributes",
        "content other than data needs signed attributes (RFC 2315, 9.2)",
        &|shape| shape.attributes = None,
    )?;
    let mut shape = right.clone();
    shape.unsigned_attribute = Some(b".bpf and whatever else somebody added".to_vec());
    let free = (
        Verdict::Accepted,
        "attributes that nothing signs prove nothing and harm nothing",
    );
    put(maker, image, "unsigned-attribute", free, &shape)
}

fn message_digest(shape: &mut Shape, what: MessageDigest) {
    if let Some(attributes) = &mut shape.attributes {
        attributes.message_digest = what;
    }
}

const UNKNOWN: (Verdict, &str) = (SIGNATURE, "no certificate here is the signer's");

/// Who is said to have signed.
fn signers(maker: &mut Maker<'_>, image: &Image, right: &Shape) -> Outcome<()> {
    let mut shape = right.clone();
    shape.serial = Some(value(INTEGER, &[&[0x42]]));
    put(maker, image, "serial-of-nobody", UNKNOWN, &shape)?;
    let mut shape = right.clone();
    let (mut issuer, _) = right.signer.issuer_and_serial();
    *issuer.last_mut().ok_or("a name is not empty")? ^= 1;
    shape.issuer = Some(issuer);
    put(maker, image, "issuer-of-nobody", UNKNOWN, &shape)?;
    let mut shape = right.clone();
    shape.broken = true;
    let value = (SIGNATURE, "the signature is not the attributes'");
    put(maker, image, "signature-broken", value, &shape)
}

/// The certificates that come with the signature.
fn certificates(maker: &mut Maker<'_>, image: &Image, right: &Shape, root: &Signer) -> Outcome<()> {
    let mut shape = right.clone();
    shape.certificates.clear();
    put(maker, image, "no-certificates", UNKNOWN, &shape)?;
    let mut shape = right.clone();
    shape.certificates = vec![root.certificate.clone()];
    put(maker, image, "root-instead-of-signer", UNKNOWN, &shape)?;
    let mut shape = right.clone();
    shape.certificates.push(root.certificate.clone());
    let order = (
        Verdict::Accepted,
        "certificates may come in any order, the root among them",
    );
    put(maker, image, "root-behind-signer", order, &shape)?;
    shape.certificates.reverse();
    put(maker, image, "root-before-signer", order, &shape)?;
    let changed = flip_in(right, &right.signer.certificate, |len| len - 1)?;
    let image = image.clone().with_table(&[&entry(&changed)]).bytes;
    maker.add(
        "certificate-changed",
        Verdict::Refused(Reason::Signer),
        "the certificate's own signature is broken",
        image,
    );
    Ok(())
}

fn numbers_of_signers(maker: &mut Maker<'_>, image: &Image, right: &Shape) -> Outcome<()> {
    let mut broken = right.clone();
    broken.broken = true;
    for (name, signers) in [
        ("no-signer", &[][..]),
        ("signer-twice", &[right, right]),
        ("signer-and-broken-one", &[right, &broken]),
    ] {
        let blob = right.encode_with(signers)?;
        let image = image.clone().with_table(&[&entry(&blob)]).bytes;
        maker.add(
            name,
            SIGNATURE,
            "Authenticode has exactly one signer",
            image,
        );
    }
    Ok(())
}

/// The signature with one bit changed inside the part that equals `part`.
fn flip_in(right: &Shape, part: &[u8], at: impl Fn(usize) -> usize) -> Outcome<Vec<u8>> {
    let mut blob = right.encode()?;
    let found = blob.windows(part.len()).position(|window| window == part);
    blob[found.ok_or("no such part")? + at(part.len())] ^= 1;
    Ok(blob)
}

/// Fields of SignedData.
fn fields(maker: &mut Maker<'_>, image: &Image, right: &Shape) -> Outcome<()> {
    let mut shape = right.clone();
    shape.version = 3;
    let version = (
        SIGNATURE,
        "SignedData must be the version that Authenticode states",
    );
    put(maker, image, "version-3", version, &shape)?;
    let mut shape = right.clone();
    shape.wrapped = false;
    let wrapped = (SIGNATURE, "SignedData must come in a ContentInfo");
    put(maker, image, "not-wrapped", wrapped, &shape)?;
    let announced = (SIGNATURE, "the signer's hash must be announced");
    let mut shape = right.clone();
    shape.announced = Some(vec![Hash::Sha512]);
    put(maker, image, "other-hash-announced", announced, &shape)?;
    shape.announced = Some(Vec::new());
    put(maker, image, "no-hash-announced", announced, &shape)
}

/// The DER itself.
fn encoding(maker: &mut Maker<'_>, image: &Image, right: &Shape) -> Outcome<()> {
    let blob = right.encode()?;
    let mut blobs = |name: &str, why, blob: Vec<u8>| {
        let image = image.clone().with_table(&[&entry(&blob)]);
        maker.add(name, SIGNATURE, why, image.bytes);
    };
    blobs("empty", "an empty entry is no signature", Vec::new());
    blobs(
        "not-der",
        "what is no DER is no signature",
        vec![0x5a; blob.len()],
    );
    let mut cut = blob.clone();
    cut.truncate(blob.len() / 2);
    blobs("der-cut", "the DER must end inside its entry", cut);
    // The length in the long form, with a byte more than needed.
    let mut longer = vec![blob[0], 0x83, 0x00];
    longer.extend_from_slice(&blob[2..]);
    blobs("length-not-shortest", "BER that is no DER", longer);
    // Behind the last value of the outer SEQUENCE.
    let mut tail = blob.clone();
    tail.extend_from_slice(&value(OCTET_STRING, &[b".bpf"]));
    let len = (tail.len() - 4) as u16;
    tail[2..4].copy_from_slice(&len.to_be_bytes());
    blobs(
        "value-behind-signed-data",
        "ContentInfo has two fields",
        tail,
    );
    let mut renamed = blob;
    let at = renamed
        .windows(MESSAGE_DIGEST.len())
        .position(|window| window == MESSAGE_DIGEST);
    renamed[at.ok_or("no messageDigest")? - 2] = OID + 1;
    blobs("attribute-without-type", "an attribute has a type", renamed);
    Ok(())
}

/// What fills an entry up to the next.
fn padding(maker: &mut Maker<'_>, image: &Image, right: &Shape) -> Outcome<()> {
    // As many bytes of an attribute as it takes for an entry to need filling.
    let mut shape = right.clone();
    let mut filler = Vec::new();
    let blob = loop {
        filler.push(0);
        shape.unsigned_attribute = Some(filler.clone());
        let blob = shape.encode()?;
        if (certificate::SIZE + blob.len()) % certificate::ALIGNMENT == 4 {
            break blob;
        }
    };
    let good = entry(&blob);
    let mut bad = good.clone();
    *bad.last_mut().ok_or("an entry is not empty")? = 1;
    let filled = "an entry is filled up with zeros";
    for (name, expected, entry) in [
        ("filled-with-zeros", Verdict::Accepted, good),
        ("filled-with-others", Verdict::Refused(Reason::Table), bad),
    ] {
        let image = image.clone().with_table(&[&entry]);
        maker.add(name, expected, filled, image.bytes);
    }
    Ok(())
}
