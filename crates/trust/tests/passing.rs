//! Images that are not kept are signed and judged as those in memory.

mod support;

use kpeel_trust::{
    Existing, Hash, Outline, Passing, Policy, SignOptions, sign, sign_outline, verify_outline,
};
use support::{CERTIFICATE_ENTRY, CHECK_SUM, P384, Pki, RSA, image, judge, put};

/// The image in parts, to be signed.
fn passed(image: &[u8], hashes: &[Hash], part: usize) -> Option<Outline> {
    pass(Passing::to_sign(hashes), image, part)
}

/// All headers, then as many bytes at a time.
fn pass(mut passing: Passing, image: &[u8], part: usize) -> Option<Outline> {
    let head = image.len().min(0x200);
    passing.update(&image[..head]);
    image[head..]
        .chunks(part)
        .for_each(|part| passing.update(part));
    passing.finish()
}

/// The image with its ends changed.
fn signed(image: &[u8], outline: &Outline, pki: &Pki, options: &SignOptions) -> Vec<u8> {
    let ends = sign_outline(outline, &[pki.identity("signer")], options).unwrap();
    let mut signed = image[..ends.len].to_vec();
    signed[..ends.head.len()].copy_from_slice(&ends.head);
    signed.extend_from_slice(&ends.tail);
    signed
}

#[test]
fn signing_in_passing_gives_the_same_bytes() {
    let pki = Pki::with_signer(RSA);
    let plain = image(&[0xc3; 1700]);
    let odd = [&plain[..], &[7; 13]].concat();
    let mut unsummed = plain.clone();
    put(&mut unsummed, CHECK_SUM, &[0; 4]);
    let bearing = pki.sign(&plain, "signer");
    for existing in [Existing::Append, Existing::Replace] {
        let options = SignOptions {
            existing,
            ..SignOptions::default()
        };
        for image in [&plain, &odd, &unsummed, &bearing] {
            let expected = sign(image, &[pki.identity("signer")], &options).unwrap();
            for part in [1, 7, 512, usize::MAX] {
                let outline = passed(image, &[Hash::Sha256], part).unwrap();
                assert!(
                    signed(image, &outline, &pki, &options) == expected,
                    "{part}"
                );
            }
        }
    }
}

#[test]
fn what_is_refused_in_memory_is_refused_in_passing() {
    let pki = Pki::with_signer(RSA);
    let identities = [pki.identity("signer")];
    let bearing = pki.sign(&image(&[1; 99]), "signer");
    let behind = [&bearing[..], &[0; 8]].concat();
    for (image, existing) in [(&bearing, Existing::Refuse), (&behind, Existing::Replace)] {
        let options = SignOptions {
            existing,
            ..SignOptions::default()
        };
        let outline = passed(image, &[Hash::Sha256], 64).unwrap();
        let error = sign_outline(&outline, &identities, &options).unwrap_err();
        let expected = sign(image, &identities, &options).unwrap_err();
        assert_eq!(error.to_string(), expected.to_string());
    }
    // A digest that nobody made is not taken from zeros, nor is a checksum.
    let plain = image(&[1; 99]);
    let outlines = [
        passed(&plain, &[Hash::Sha512], 64).unwrap(),
        pass(Passing::to_verify(&[Hash::Sha256]), &plain, 64).unwrap(),
    ];
    for outline in outlines {
        let error = sign_outline(&outline, &identities, &SignOptions::default());
        assert!(error.unwrap_err().to_string().contains("found none"));
    }
}

#[test]
fn every_changed_byte_gets_the_same_verdict_in_passing() {
    let pki = Pki::with_signer(RSA);
    let store = pki.store("ca");
    let signed = pki.sign(&image(&[0xc3; 100]), "signer");
    let (mut trusted, mut whole) = (0, 0);
    for at in 0..signed.len() {
        let mut changed = signed.clone();
        changed[at] ^= 0x10;
        let Some(outline) = pass(Passing::to_verify(&[Hash::Sha256]), &changed, 64) else {
            continue;
        };
        match (
            verify_outline(&outline, &store, &Policy::default()),
            kpeel_trust::verify(&changed, &store, &Policy::default()),
        ) {
            (Ok(Some(passed)), Ok(report)) => {
                assert_eq!(passed.verdict, report.verdict, "byte {at}");
                assert_eq!(passed.uncovered, report.uncovered, "byte {at}");
                trusted += usize::from(report.is_trusted());
            }
            (Ok(None), Ok(report)) => {
                assert!(!report.is_trusted(), "byte {at}");
                whole += 1;
            }
            (passed, report) => assert!(passed.is_err() && report.is_err(), "byte {at}"),
        }
    }
    // CheckSum's four bytes; and few layouts need all of the image again.
    assert_eq!(trusted, 4);
    assert!(whole < signed.len() / 10, "{whole}");
}

#[test]
fn another_hash_needs_all_of_the_image_again() {
    let pki = Pki::with_signer(P384);
    let signed = pki.sign(&image(&[3; 100]), "signer");
    let store = pki.store("ca");
    let verdict = |hash| {
        let outline = pass(Passing::to_verify(&[hash]), &signed, 64).unwrap();
        verify_outline(&outline, &store, &Policy::default()).unwrap()
    };
    assert!(verdict(Hash::Sha256).is_none());
    assert!(verdict(Hash::Sha384).unwrap().is_trusted());
    assert!(judge(&signed, &store).is_trusted());
}

/// Whoever has to judge such an image reads it whole, under the bounds of that.
#[test]
fn a_certificate_table_over_a_mib_is_not_kept() {
    let plain = image(&[3; 100]);
    let store = kpeel_trust::Store::new();
    let with_table = |size: usize, behind: usize| {
        let mut image = plain.clone();
        put(
            &mut image,
            CERTIFICATE_ENTRY,
            &(plain.len() as u32).to_le_bytes(),
        );
        put(
            &mut image,
            CERTIFICATE_ENTRY + 4,
            &(size as u32).to_le_bytes(),
        );
        image.resize(plain.len() + size + behind, 0);
        image
    };
    for (size, behind) in [(1 << 20, 0), (8, (1 << 20) - 8)] {
        let most = with_table(size, behind);
        let outline = pass(Passing::to_verify(&[Hash::Sha256]), &most, 4096).unwrap();
        let passed = verify_outline(&outline, &store, &Policy::default()).unwrap();
        assert_eq!(passed.unwrap().verdict, judge(&most, &store).verdict);
    }
    for (size, behind) in [((1 << 20) + 8, 0), (8, 1 << 20), (8, 3 << 20)] {
        let more = with_table(size, behind);
        assert!(pass(Passing::to_verify(&[Hash::Sha256]), &more, 4096).is_none());
        assert!(passed(&more, &[Hash::Sha256], 4096).is_none());
    }
}

#[test]
fn bytes_without_headers_have_no_outline() {
    assert!(passed(&[0; 4096], &[Hash::Sha256], 64).is_none());
    assert!(passed(&[], &[Hash::Sha256], 64).is_none());
}
