//! Our signatures, judged by other verifiers and by ours.

mod support;

use kpeel_trust::{Existing, Hash, Reason, SignOptions, sign};
use support::{Make, P256, P384, P521, Pki, RSA, image, judge, osslsigncode, sbverify};

/// Whether each verifier takes the image under this CA: ours, sbverify, osslsigncode.
fn verdicts(pki: &Pki, signed: &[u8], ca: &str) -> [bool; 3] {
    let path = pki.scratch.write("signed.efi", signed).unwrap();
    let pem = pki.pem(ca);
    [
        judge(signed, &pki.store(ca)).is_trusted(),
        sbverify(&path, &pem),
        osslsigncode(&path, &pem),
    ]
}

/// sbverify 0.9.4 knows no other digest than SHA-256.
fn taken(hash: Hash) -> [bool; 3] {
    [true, hash == Hash::Sha256, true]
}

#[test]
fn other_verifiers_take_signatures_of_every_kind_of_key_and_refuse_another_ca() {
    let image = image(&[0xc3; 700]);
    for (key, hash) in [
        (RSA, Hash::Sha256),
        (P256, Hash::Sha256),
        (P384, Hash::Sha384),
        (P521, Hash::Sha512),
    ] {
        let taken = taken(hash);
        let pki = Pki::with_signer(key);
        pki.make(&Make::ca("other", None));
        let signed = pki.sign(&image, "signer");
        assert_eq!(verdicts(&pki, &signed, "ca"), taken, "{key:?}");
        assert_eq!(verdicts(&pki, &signed, "other"), [false; 3], "{key:?}");
        let mut tampered = signed;
        tampered[0x250] ^= 1;
        assert_eq!(verdicts(&pki, &tampered, "ca"), [false; 3], "{key:?}");
    }
}

#[test]
fn rsa_signs_with_every_hash_and_the_same_bytes_each_time() {
    let pki = Pki::with_signer(RSA);
    let image = image(&[0xc3; 700]);
    for hash in Hash::ALL {
        let options = SignOptions {
            hash: Some(hash),
            ..SignOptions::default()
        };
        let signed = sign(&image, &[pki.identity("signer")], &options).unwrap();
        assert_eq!(verdicts(&pki, &signed, "ca"), taken(hash), "{hash}");
        let report = judge(&signed, &pki.store("ca"));
        assert_eq!(report.signatures[0].hash, Some(hash));
        assert!(report.uncovered.is_empty(), "{:?}", report.uncovered);
        let again = sign(&image, &[pki.identity("signer")], &options).unwrap();
        assert!(signed == again, "{hash}");
    }
}

#[test]
fn an_intermediate_that_goes_along_completes_the_chain() {
    let pki = Pki::new();
    pki.make(&Make::ca("root", None));
    pki.make(&Make::ca("middle", Some("root")));
    pki.make(&Make::leaf("signer", "middle", P256));
    let bare = pki.sign(&image(&[1; 99]), "signer");
    let refused = judge(&bare, &pki.store("root"));
    assert!(
        matches!(refused.refused(), Some(Reason::UnknownIssuer { issuer, .. }) if issuer.contains("middle")),
        "{refused:?}"
    );
    // The one that issued it is enough; no root is needed.
    assert!(judge(&bare, &pki.store("middle")).is_trusted());
    let identity = pki.identity_with("signer", &["middle"]);
    let signed = sign(&image(&[1; 99]), &[identity], &SignOptions::default()).unwrap();
    assert_eq!(verdicts(&pki, &signed, "root"), [true; 3]);
    let report = judge(&signed, &pki.store("root"));
    let names: Vec<_> = report.signatures[0]
        .chain
        .iter()
        .map(|one| one.subject.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "CN=signer,O=kpeel tests",
            "CN=middle,O=kpeel tests",
            "CN=root,O=kpeel tests"
        ]
    );
}

#[test]
fn several_signatures_are_appended_or_replaced_on_request_only() {
    let pki = Pki::with_signer(RSA);
    pki.make(&Make::ca("other", None));
    pki.make(&Make::leaf("second", "other", P256));
    let both = [pki.identity("signer"), pki.identity("second")];
    let image = image(&[0xc3; 700]);
    let twice = sign(&image, &both, &SignOptions::default()).unwrap();
    let count = |image: &[u8]| judge(image, &pki.store("ca")).signatures.len();
    assert_eq!(count(&twice), 2);
    for ca in ["ca", "other"] {
        assert!(judge(&twice, &pki.store(ca)).is_trusted(), "{ca}");
    }
    let options = |existing| SignOptions {
        existing,
        ..SignOptions::default()
    };
    let second = [pki.identity("second")];
    let first = pki.sign(&image, "signer");
    let refused = sign(&first, &second, &options(Existing::Refuse)).unwrap_err();
    assert!(refused.to_string().contains("signed already"), "{refused}");
    let appended = sign(&first, &second, &options(Existing::Append)).unwrap();
    assert_eq!(count(&appended), 2);
    let path = pki.scratch.write("appended.efi", &appended).unwrap();
    assert!(sbverify(&path, &pki.pem("ca")) && sbverify(&path, &pki.pem("other")));
    let replaced = sign(&appended, &second, &options(Existing::Replace)).unwrap();
    assert_eq!(verdicts(&pki, &replaced, "other"), [true; 3]);
    assert!(!judge(&replaced, &pki.store("ca")).is_trusted());
}

#[test]
fn an_image_of_odd_length_is_padded_and_its_checksum_renewed() {
    let pki = Pki::with_signer(P256);
    let mut image = image(&[0xc3; 700]);
    image.extend_from_slice(&[7; 13]);
    let signed = pki.sign(&image, "signer");
    assert_eq!(verdicts(&pki, &signed, "ca"), [true; 3]);
    let field = support::CHECK_SUM;
    let sum = u32::from_le_bytes(signed[field..field + 4].try_into().unwrap());
    assert_eq!(sum, kpeel_image::check_sum(&signed, field));
    let mut without = image;
    support::put(&mut without, field, &[0; 4]);
    let signed = pki.sign(&without, "signer");
    assert_eq!(
        signed[field..field + 4],
        [0; 4],
        "zero means that nobody wants one"
    );
}

#[test]
fn a_layout_that_no_signature_covers_is_refused() {
    let pki = Pki::with_signer(P256);
    let mut image = pki.sign(&image(&[0xc3; 700]), "signer");
    image.extend_from_slice(&[0; 8]);
    let options = SignOptions {
        existing: Existing::Replace,
        ..SignOptions::default()
    };
    let refused = sign(&image, &[pki.identity("signer")], &options).unwrap_err();
    assert!(
        refused.to_string().contains("certificate table"),
        "{refused}"
    );
}

#[test]
fn a_curve_takes_its_own_hash_only() {
    let pki = Pki::with_signer(P256);
    let options = SignOptions {
        hash: Some(Hash::Sha512),
        ..SignOptions::default()
    };
    let refused = sign(&image(&[1]), &[pki.identity("signer")], &options).unwrap_err();
    assert!(refused.to_string().contains("needed SHA-256"), "{refused}");
}
