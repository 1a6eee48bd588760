//! Which chains are found: to what is revoked, and to what is trusted.

mod support;

use std::time::{SystemTime, UNIX_EPOCH};

use kpeel_trust::{
    Certificate, Policy, Reason, Report, SignOptions, Store, Validity, sign, verify,
};
use support::{CA, LEAF, Make, P256, Pki, RSA, image, judge, openssl, text};

const SMALL: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"];

fn is_revoked(report: &Report) -> bool {
    matches!(report.refused(), Some(Reason::Revoked { subject, .. }) if subject.contains("CN=ca"))
}

/// An image by `signer`, which brings the certificates of `issuers`; trusted as long as the signer is.
fn signed(pki: &Pki, issuers: &[&str]) -> Vec<u8> {
    let identity = pki.identity_with("signer", issuers);
    let signed = sign(&image(&[1; 40]), &[identity], &SignOptions::default()).unwrap();
    assert!(judge(&signed, &pki.store("signer")).is_trusted());
    signed
}

/// The signer's certificate itself is trusted, so that nobody else has to be: its issuer only has to be the one it is.
#[test]
fn a_revoked_issuer_counts_where_the_policy_would_not_let_it_issue() {
    let critical = format!("{LEAF}\n1.2.3.4=critical,ASN1:NULL");
    let (ca, leaf) = (Make::ca("ca", None), Make::leaf("signer", "ca", P256));
    for (what, ca, leaf) in [
        ("an issuer that may", ca, leaf),
        (
            "an issuer that is no CA",
            Make {
                extensions: LEAF,
                ..ca
            },
            leaf,
        ),
        ("a small key", Make { key: SMALL, ..ca }, leaf),
        (
            "a weak hash",
            ca,
            Make {
                hash: "-sha1",
                ..leaf
            },
        ),
        (
            "an unknown extension",
            ca,
            Make {
                extensions: &critical,
                ..leaf
            },
        ),
    ] {
        let pki = Pki::new();
        pki.make(&ca);
        pki.make(&leaf);
        let signed = signed(&pki, &[]);
        let mut store = pki.store("signer");
        store.revoke(pki.certificate("ca").der(), "mine").unwrap();
        let refused = judge(&signed, &store);
        assert!(is_revoked(&refused), "{what}: {refused:?}");
    }
}

/// A name is all that some signatures leave; these leave more.
#[test]
fn a_revoked_certificate_that_cannot_have_signed_revokes_nothing() {
    let marked = |extensions: &str| format!("{extensions}\nsubjectKeyIdentifier=hash");
    let (marked_ca, marked_leaf) = (marked(CA), marked(LEAF) + "\nauthorityKeyIdentifier=keyid");
    let (ca, leaf) = (Make::ca("ca", None), Make::leaf("signer", "ca", P256));
    let sha_1 = |make| Make {
        hash: "-sha1",
        ..make
    };
    let with_key = |key| Make { key, ..ca };
    let with_ids = |extensions| Make { extensions, ..ca };
    for (what, ca, leaf, revoked) in [
        ("a root with SHA-1 of another key", sha_1(ca), leaf, ca),
        ("a shorter modulus", ca, leaf, with_key(SMALL)),
        ("the same, with SHA-1", ca, sha_1(leaf), with_key(SMALL)),
        ("a key of another kind", ca, sha_1(leaf), with_key(P256)),
        (
            "a key of another identifier",
            with_ids(&marked_ca),
            sha_1(Make {
                extensions: &marked_leaf,
                ..leaf
            }),
            with_ids(&marked_ca),
        ),
    ] {
        let (pki, other) = (Pki::new(), Pki::new());
        pki.make(&ca);
        pki.make(&leaf);
        other.make(&revoked);
        let signed = signed(&pki, &["ca"]);
        let mut store = pki.store("signer");
        store.revoke(other.certificate("ca").der(), "mine").unwrap();
        let report = judge(&signed, &store);
        assert!(report.is_trusted(), "{what}: {report:?}");
    }
}

/// A new key that the old one signed under the same name is no root; its key identifiers say so.
#[test]
fn a_revoked_old_key_counts_for_the_new_one_it_signed() {
    let (pki, old) = (Pki::new(), Pki::new());
    let extensions = format!("{CA}\nsubjectKeyIdentifier=hash");
    let ca = Make {
        extensions: &extensions,
        ..Make::ca("ca", None)
    };
    pki.make(&ca);
    old.make(&ca);
    let ids = format!("[ext]\n{extensions}\nauthorityKeyIdentifier=keyid\n");
    let config = pki.scratch.write("new.cnf", ids.as_bytes()).unwrap();
    let (request, out) = (pki.scratch.join("ca.csr"), pki.pem("ca"));
    let (by, key) = (old.pem("ca"), old.key("ca"));
    let what = ["x509", "-req", "-sha1", "-days", "9", "-extensions", "ext"];
    let new = ["-in", text(&request), "-out", text(&out)];
    let by = ["-CA", text(&by), "-CAkey", text(&key), "-CAcreateserial"];
    openssl(&[&what[..], &new, &by, &["-extfile", text(&config)]].concat());
    pki.make(&Make::leaf("signer", "ca", P256));
    let signed = signed(&pki, &["ca"]);
    let mut store = pki.store("ca");
    store.revoke(old.certificate("ca").der(), "mine").unwrap();
    let refused = judge(&signed, &store);
    assert!(is_revoked(&refused), "{refused:?}");
}

#[test]
fn a_revoked_issuer_counts_further_up_than_it_allows() {
    let pki = Pki::new();
    let none_below = CA.replace("TRUE", "TRUE,pathlen:0");
    pki.make(&Make {
        extensions: &none_below,
        ..Make::ca("ca", None)
    });
    pki.make(&Make::ca("middle", Some("ca")));
    pki.make(&Make::leaf("signer", "middle", P256));
    let signed = signed(&pki, &["middle"]);
    let refused = judge(&signed, &pki.store("ca"));
    assert!(
        matches!(refused.refused(), Some(Reason::PathTooLong { .. })),
        "{refused:?}"
    );
    let mut store = pki.store("signer");
    store.revoke(pki.certificate("ca").der(), "mine").unwrap();
    let refused = judge(&signed, &store);
    assert!(is_revoked(&refused), "{refused:?}");
}

/// It has the issuer's name, but its key made no signature.
#[test]
fn a_revoked_certificate_of_another_key_revokes_nothing() {
    let pki = Pki::with_signer(P256);
    let signed = signed(&pki, &[]);
    for key in [RSA, P256] {
        let other = Pki::new();
        other.make(&Make {
            key,
            ..Make::ca("ca", None)
        });
        let mut store = pki.store("signer");
        store.revoke(other.certificate("ca").der(), "mine").unwrap();
        assert!(judge(&signed, &store).is_trusted());
    }
}

/// A CA whose certificate was renewed: the old one is over by the time that counts.
#[test]
fn a_valid_chain_counts_beside_one_that_is_not_in_either_order() {
    let pki = Pki::with_signer(P256);
    let signed = signed(&pki, &[]);
    let (old, new) = (pki.renewed("ca"), pki.certificate("ca"));

    let day = 24 * 60 * 60;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let judged = |anchors: &[&Certificate], days: u64| {
        let mut store = Store::new();
        for anchor in anchors {
            store.trust_certificate((*anchor).clone(), "file");
        }
        let policy = Policy {
            validity: Validity::At(now.as_secs() + days * day),
            ..Policy::default()
        };
        verify(&signed, &store, &policy).unwrap()
    };
    for anchors in [[&old, &new], [&new, &old]] {
        assert!(judged(&anchors, 1).is_trusted());
        let report = judged(&anchors, 100);
        assert!(report.is_trusted(), "{report:?}");
        assert_eq!(report.signatures[0].chain[1].sha256, new.fingerprint());
    }
    assert!(judged(&[&old], 1).is_trusted());
    let refused = judged(&[&old], 100);
    assert!(
        matches!(refused.refused(), Some(Reason::Expired { subject }) if subject.contains("CN=ca")),
        "{refused:?}"
    );
    // As far as it was found.
    assert_eq!(refused.signatures[0].chain.len(), 2);
}
