//! Stores of keys: files of every kind, and the running system's variables.

mod support;

use std::fs;
use std::path::Path;

use kpeel_envelope::error::Class;
use kpeel_trust::{Reason, Store};
use support::{Make, P256, Pki, SHA_256, X_509, X_509_SHA_256, image, judge, list, openssl, text};

struct Bench {
    pki: Pki,
    signed: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let pki = Pki::with_signer(P256);
        let signed = pki.sign(&image(&[1; 40]), "signer");
        Self { pki, signed }
    }

    fn der(&self, name: &str) -> Vec<u8> {
        self.pki.certificate(name).der().to_vec()
    }

    fn trusts(&self, bytes: &[u8]) -> bool {
        let mut store = Store::new();
        store.trust(bytes, "file").unwrap();
        judge(&self.signed, &store).is_trusted()
    }

    /// Why the image is refused by a store that trusts its CA, but has this revoked.
    fn revoked(&self, bytes: &[u8]) -> Option<Reason> {
        let mut store = self.pki.store("ca");
        store.revoke(bytes, "mine").unwrap();
        judge(&self.signed, &store).refused().cloned()
    }
}

/// What `cert-to-efi-sig-list` and `sign-efi-sig-list` of efitools make, and efivarfs shows.
#[test]
fn a_certificate_counts_in_every_kind_of_file() {
    let bench = Bench::new();
    let der = bench.der("ca");
    let lists = list(&X_509, &der);
    // Variable attributes; an authenticated update's time and signature of 24 + 5 bytes.
    let attributes = [&[7, 0, 0, 0][..], &lists].concat();
    let update = [
        &[0; 16][..],
        &29_u32.to_le_bytes(),
        &[0, 2, 0xf1, 0x0e],
        &[9; 21],
        &lists,
    ]
    .concat();
    let pem = fs::read(bench.pki.pem("ca")).unwrap();
    let two = [fs::read(bench.pki.pem("signer")).unwrap(), pem.clone()].concat();
    for file in [der, lists.clone(), attributes, update, pem, two] {
        assert!(bench.trusts(&file));
    }
    // Lists follow each other.
    let digest = list(&SHA_256, &[0; 32]);
    assert!(bench.trusts(&[digest.clone(), lists.clone()].concat()));
    assert!(!bench.trusts(&digest));
}

#[test]
fn anything_else_is_malformed() {
    let bench = Bench::new();
    let lists = list(&X_509, &bench.der("ca"));
    let with = |at: usize, value: u32| {
        let mut lists = lists.clone();
        support::put(&mut lists, at, &value.to_le_bytes());
        lists
    };
    for broken in [
        b"no keys".to_vec(),
        Vec::new(),
        lists[..lists.len() - 1].to_vec(),
        with(16, 27),
        with(16, u32::MAX),
        with(20, u32::MAX),
        with(24, 0),
        with(24, 16),
        with(24, 17),
        list(&SHA_256, &[0; 31]),
    ] {
        let refused = Store::new().trust(&broken, "file").unwrap_err();
        assert_eq!(refused.class(), Class::Malformed, "{refused}");
    }
}

#[test]
fn what_a_list_s_reader_cannot_use_is_left_out_and_told() {
    let bench = Bench::new();
    let broken = list(&X_509, b"no certificate");
    let sha1 = [
        0x12, 0xa5, 0x6c, 0x82, 0x10, 0xcf, 0xc9, 0x4a, 0xb1, 0x87, 0xbe, 0x01, 0x49, 0x66, 0x31,
        0xbd,
    ];
    let lists = [
        broken,
        list(&sha1, &[0; 20]),
        list(&X_509, &bench.der("ca")),
    ]
    .concat();
    let mut store = Store::new();
    store.trust(&lists, "file").unwrap();
    assert_eq!(store.skipped().len(), 2, "{:?}", store.skipped());
    assert!(judge(&bench.signed, &store).is_trusted());
}

#[test]
fn a_revoked_signer_ca_or_digest_refuses_whatever_is_trusted() {
    let bench = Bench::new();
    assert_eq!(bench.revoked(&list(&SHA_256, &[0; 32])), None);
    for name in ["signer", "ca"] {
        let der = bench.der(name);
        let refused = bench.revoked(&list(&X_509, &der));
        assert!(
            matches!(&refused, Some(Reason::Revoked { subject, .. }) if subject.contains(name)),
            "{refused:?}"
        );
        // SHA-256 of the signed part, and a time: openssl cuts it out, the first element inside.
        let file = bench.pki.scratch.write("one.der", &der).unwrap();
        let cut = bench.pki.scratch.join("tbs");
        openssl(&[
            "asn1parse",
            "-inform",
            "DER",
            "-in",
            text(&file),
            "-strparse",
            "4",
            "-noout",
            "-out",
            text(&cut),
        ]);
        let digest = openssl(&["dgst", "-sha256", "-binary", text(&cut)]);
        let refused = bench.revoked(&list(&X_509_SHA_256, &[digest, vec![0; 16]].concat()));
        assert!(
            matches!(refused, Some(Reason::Revoked { .. })),
            "{refused:?}"
        );
    }
    let digest = judge(&bench.signed, &Store::new()).sha256.unwrap();
    let refused = bench.revoked(&support::digest_list(&digest));
    assert!(
        matches!(refused, Some(Reason::DigestRevoked { .. })),
        "{refused:?}"
    );
}

/// Firmware takes what stands behind a certificate in a list for nothing; the CA counts as an issuer
/// all the same, though neither the image nor the store brings it.
#[test]
fn bytes_behind_a_revoked_certificate_do_not_undo_it() {
    let bench = Bench::new();
    for name in ["signer", "ca"] {
        let padded = [bench.der(name), vec![0]].concat();
        let mut store = bench.pki.store("signer");
        assert!(judge(&bench.signed, &store).is_trusted());
        store.revoke(&list(&X_509, &padded), "mine").unwrap();
        let refused = judge(&bench.signed, &store);
        assert!(
            matches!(refused.refused(), Some(Reason::Revoked { .. })),
            "{name}: {refused:?}"
        );
        assert_eq!(store.skipped(), []);
    }
}

#[test]
fn a_revoked_certificate_that_cannot_be_read_is_known_by_its_signed_part() {
    let bench = Bench::new();
    let mut der = bench.der("ca");
    // The unused bits of the signature, which is the last element: 256 bytes for an RSA key of 2048
    // bits.
    let at = der.len() - 257;
    assert_eq!(der[at - 4..=at], [0x03, 0x82, 0x01, 0x01, 0x00]);
    der[at] = 1;
    let mut store = bench.pki.store("ca");
    store.revoke(&list(&X_509, &der), "mine").unwrap();
    let refused = judge(&bench.signed, &store);
    assert!(
        matches!(refused.refused(), Some(Reason::Revoked { .. })),
        "{refused:?}"
    );
    let skipped = store.skipped();
    assert!(skipped[0].what.contains("not as an issuer"), "{skipped:?}");
}

#[test]
fn a_revoked_certificate_of_which_nothing_can_be_read_refuses_the_list() {
    for junk in [
        b"no certificate".to_vec(),
        vec![0x30, 0x82, 0xff, 0xff, 0x30, 0],
        vec![0x30, 0],
        vec![0x30, 2, 5, 0],
    ] {
        let lists = list(&X_509, &junk);
        let refused = Store::new().revoke(&lists, "file").unwrap_err();
        assert_eq!(refused.class(), Class::Malformed, "{refused}");
        let mut store = Store::new();
        store.trust(&lists, "file").unwrap();
        assert_eq!(store.skipped().len(), 1, "{:?}", store.skipped());
    }
}

/// An ECDSA signature has two forms that hold, and anybody can turn one into the other.
#[test]
fn a_revoked_certificate_cannot_hide_behind_its_signature_s_other_form() {
    let pki = Pki::new();
    pki.make(&Make {
        key: P256,
        ..Make::ca("ca", None)
    });
    pki.make(&Make::leaf("signer", "ca", P256));
    let twin = support::other_form(pki.certificate("signer").der());
    assert_ne!(twin, pki.certificate("signer").der());
    let (file, pem) = (pki.scratch.write("twin.der", &twin), pki.pem("twin"));
    let (file, ca) = (file.unwrap(), pki.pem("ca"));
    let convert = ["x509", "-inform", "DER", "-in", text(&file), "-out"];
    openssl(&[&convert[..], &[text(&pem)]].concat());
    openssl(&["verify", "-CAfile", text(&ca), text(&pem)]);
    fs::copy(pki.key("signer"), pki.key("twin")).unwrap();
    for name in ["signer", "twin"] {
        let signed = pki.sign(&image(&[1; 40]), name);
        assert!(judge(&signed, &pki.store("ca")).is_trusted());
        for revoked in ["signer", "twin"] {
            let mut store = pki.store("ca");
            let der = pki.certificate(revoked).der().to_vec();
            store.revoke(&der, "mine").unwrap();
            let refused = judge(&signed, &store);
            assert!(
                matches!(refused.refused(), Some(Reason::Revoked { .. })),
                "{name}, {revoked} revoked: {refused:?}"
            );
        }
    }
}

/// A second way to a trusted root does not help a revoked one.
#[test]
fn a_revoked_ca_counts_beside_a_chain_that_avoids_it() {
    let pki = Pki::new();
    pki.make(&Make::ca("root", None));
    pki.make(&Make::ca("middle", Some("root")));
    pki.make(&Make::leaf("signer", "middle", P256));
    let signed = pki.sign(&image(&[1; 40]), "signer");
    let mut store = pki.store("middle");
    assert!(judge(&signed, &store).is_trusted());
    store.trust_certificate(pki.certificate("root"), "root");
    store.revoke(pki.certificate("root").der(), "mine").unwrap();
    let refused = judge(&signed, &store);
    assert!(
        matches!(refused.refused(), Some(Reason::Revoked { .. })),
        "{refused:?}"
    );
}

#[test]
fn the_system_s_variables_are_read_as_efivarfs_shows_them() {
    let bench = Bench::new();
    let root = bench.pki.scratch.path().join("root");
    let refused = Store::system(&root).unwrap_err();
    assert_eq!(refused.class(), Class::System(2), "{refused}");
    let directory = root.join("sys/firmware/efi/efivars");
    fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, lists: &[u8]| {
        let guid = if name.starts_with("db") {
            "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
        } else {
            "605dab50-e046-4300-abb6-3dd810dd8b23"
        };
        let bytes = [&[6, 0, 0, 0][..], lists].concat();
        fs::write(directory.join(format!("{name}-{guid}")), bytes).unwrap();
    };
    let trusted = |root: &Path| judge(&bench.signed, &Store::system(root).unwrap()).is_trusted();
    write("db", &[]);
    assert!(!trusted(&root));
    write("MokListRT", &list(&X_509, &bench.der("ca")));
    assert!(trusted(&root));
    write("MokListXRT", &list(&X_509, &bench.der("signer")));
    assert!(!trusted(&root));
    write("db", b"no list");
    assert_eq!(Store::system(&root).unwrap_err().class(), Class::Malformed);
}
