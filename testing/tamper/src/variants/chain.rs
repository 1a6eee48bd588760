//! Signers whose certificates lead to the root, and those whose do not, or not for this.

use super::{Maker, Reason, Verdict, shape, signed};
use crate::Outcome;
use crate::authority::{Authority, Request, Signer};
use crate::digest::Hash;
use crate::pe::Image;
use crate::pkcs7::{KeyKind, Shape};

const SIGNER: Verdict = Verdict::Refused(Reason::Signer);
const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
const EXPIRED: (&str, &str) = ("20200101000000Z", "20210101000000Z");
const FUTURE: (&str, &str) = ("20480101000000Z", "20491231235959Z");

/// One variant of which the leaf's certificate is the point.
struct Leaf {
    name: &'static str,
    expected: Verdict,
    why: &'static str,
    request: Request<'static>,
}

pub(super) fn add(maker: &mut Maker<'_>, leaf: &Signer, authority: &Authority) -> Outcome<()> {
    let image = maker.unsigned().padded();
    for what in leaves() {
        let signer = authority.issue(&leaf.key, &authority.root, &what.request)?;
        let shape = shape(&image, &signer, Hash::Sha256)?;
        put(maker, &image, what.name, (what.expected, what.why), &shape)?;
    }
    keys(maker, &image, authority)?;
    intermediates(maker, &image, leaf, authority)?;
    strangers(maker, &image, leaf, authority)
}

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

fn leaves() -> [Leaf; 7] {
    let leaf = |name, expected, why, request| Leaf {
        name,
        expected,
        why,
        request,
    };
    let request = |extensions| Request {
        extensions,
        ..Request::default()
    };
    let valid = |valid| Request {
        valid,
        ..Request::default()
    };
    [
        leaf(
            "leaf-expired",
            SIGNER,
            "the certificate's time is over",
            valid(EXPIRED),
        ),
        leaf(
            "leaf-of-the-future",
            SIGNER,
            "the certificate's time has not begun",
            valid(FUTURE),
        ),
        leaf(
            "leaf-for-servers",
            SIGNER,
            "the certificate is for something other than code",
            request("extendedKeyUsage=serverAuth\n"),
        ),
        leaf(
            "leaf-for-servers-and-code",
            Verdict::Accepted,
            "code signing may be one purpose of several",
            request("extendedKeyUsage=serverAuth,codeSigning\n"),
        ),
        leaf(
            "leaf-for-anything",
            Verdict::Accepted,
            "a certificate without purposes is for all",
            request("basicConstraints=critical,CA:FALSE\n"),
        ),
        leaf(
            "leaf-for-encryption",
            SIGNER,
            "keyUsage must allow signatures if it is there",
            request("keyUsage=critical,keyEncipherment\nextendedKeyUsage=codeSigning\n"),
        ),
        leaf(
            "leaf-by-sha1",
            SIGNER,
            "the certificate itself is signed with a weak hash",
            Request {
                hash: Hash::Sha1,
                ..Request::default()
            },
        ),
    ]
}

/// Other kinds of keys.
fn keys(maker: &mut Maker<'_>, image: &Image, authority: &Authority) -> Outcome<()> {
    let small = authority.key("small", Some(1024))?;
    let small = authority.issue(&small, &authority.root, &Request::default())?;
    let short = (SIGNER, "RSA keys under 2048 bits are not trusted");
    put(
        maker,
        image,
        "leaf-rsa-1024",
        short,
        &shape(image, &small, Hash::Sha256)?,
    )?;
    let curve = authority.key("curve", None)?;
    let curve = authority.issue(&curve, &authority.root, &Request::default())?;
    let mut shape = shape(image, &curve, Hash::Sha256)?;
    shape.key = KeyKind::P256;
    let good = (Verdict::Accepted, "ECDSA signs as well as RSA");
    put(maker, image, "leaf-p256", good, &shape)
}

fn intermediates(
    maker: &mut Maker<'_>,
    image: &Image,
    leaf: &Signer,
    authority: &Authority,
) -> Outcome<()> {
    let key = authority.key("intermediate", Some(2048))?;
    let mut through = |name, extensions, verdict| {
        let request = Request {
            name: "intermediate",
            extensions,
            ..Request::default()
        };
        let intermediate = authority.issue(&key, &authority.root, &request)?;
        let signer = authority.issue(&leaf.key, &intermediate, &Request::default())?;
        let mut shape = shape(image, &signer, Hash::Sha256)?;
        if name == "intermediate-absent" {
            return put(maker, image, name, verdict, &shape);
        }
        shape.certificates.push(intermediate.certificate);
        put(maker, image, name, verdict, &shape)
    };
    let leads = (Verdict::Accepted, "leaf, intermediate, root");
    through("intermediate", CA, leads)?;
    let absent = (SIGNER, "a certificate of the chain is missing");
    through("intermediate-absent", CA, absent)?;
    let no_ca = (SIGNER, "a certificate that is no CA's issued the leaf's");
    through("intermediate-no-ca", "basicConstraints=CA:FALSE\n", no_ca)?;
    let bare = "subjectKeyIdentifier=none\n";
    through("intermediate-without-constraints", bare, no_ca)
}

/// People the root knows nothing of.
fn strangers(
    maker: &mut Maker<'_>,
    image: &Image,
    leaf: &Signer,
    authority: &Authority,
) -> Outcome<()> {
    let key = authority.key("stranger", Some(2048))?;
    let impostor = authority.impostor(&key)?;
    let unknown = (SIGNER, "the certificate does not lead to the root");
    let own = shape(image, &impostor, Hash::Sha256)?;
    put(maker, image, "impostor", unknown, &own)?;
    let issued = authority.issue(&leaf.key, &impostor, &Request::default())?;
    let mut shape = shape(image, &issued, Hash::Sha256)?;
    put(maker, image, "issued-by-impostor", unknown, &shape)?;
    shape.certificates.push(impostor.certificate.clone());
    let with = "issued-by-impostor-with-his-certificate";
    put(maker, image, with, unknown, &shape)?;
    shape.certificates.push(authority.root.certificate.clone());
    let both = "issued-by-impostor-with-both-certificates";
    put(maker, image, both, unknown, &shape)?;
    // His key signs, the leaf's certificate is shown.
    let stolen = Signer {
        key,
        certificate: leaf.certificate.clone(),
    };
    let swapped = (
        Verdict::Refused(Reason::Signature),
        "the certificate shown is not the signing key's",
    );
    let shape = super::shape(image, &stolen, Hash::Sha256)?;
    put(
        maker,
        image,
        "certificate-of-somebody-else",
        swapped,
        &shape,
    )
}
