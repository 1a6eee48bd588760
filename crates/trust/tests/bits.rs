//! Every bit of a small signed image counts.

mod support;

use kpeel_trust::{Existing, Policy, SignOptions, Uncovered, sign, verify};
use support::{CHECK_SUM, Make, P256, Pki, RSA, image, judge};

/// Flips each bit of `signed` and returns the places that `verify` did not mind.
fn accepted_flips(pki: &Pki, signed: &[u8]) -> Vec<usize> {
    let store = pki.store("ca");
    assert!(judge(signed, &store).is_trusted());
    let mut flipped = signed.to_vec();
    let mut accepted = Vec::new();
    for at in 0..signed.len() {
        for bit in 0..8 {
            flipped[at] ^= 1 << bit;
            let report = verify(&flipped, &store, &Policy::default());
            if report.is_ok_and(|report| report.is_trusted()) {
                accepted.push(at);
            }
            flipped[at] ^= 1 << bit;
        }
    }
    accepted.dedup();
    accepted
}

#[test]
fn every_bit_but_those_of_the_checksum_is_refused_when_flipped() {
    let check_sum: Vec<usize> = (CHECK_SUM..CHECK_SUM + 4).collect();
    for key in [RSA, P256] {
        let pki = Pki::with_signer(key);
        let signed = pki.sign(&image(&[0xc3; 40]), "signer");
        assert_eq!(accepted_flips(&pki, &signed), check_sum, "{key:?}");
    }
}

/// With a second signature that does not count, and a certificate that is not needed, what can
/// be changed is what the report calls uncovered.
#[test]
fn what_can_be_flipped_beside_a_good_signature_is_reported_as_uncovered() {
    let pki = Pki::with_signer(P256);
    pki.make(&Make::ca("other", None));
    pki.make(&Make::leaf("second", "other", P256));
    let identities = [
        pki.identity_with("signer", &["other"]),
        pki.identity("second"),
    ];
    let options = SignOptions {
        existing: Existing::Append,
        ..SignOptions::default()
    };
    let signed = sign(&image(&[0xc3; 40]), &identities, &options).unwrap();
    let uncovered = judge(&signed, &pki.store("ca")).uncovered;
    assert_eq!(uncovered.len(), 2, "{uncovered:?}");
    let reported = |at: usize| {
        let covers = |range: &Uncovered| (range.start..range.end).contains(&at);
        // Type and revision of an entry that is not taken are part of it.
        let header = |range: &Uncovered| (range.start - 8..range.start).contains(&at);
        (CHECK_SUM..CHECK_SUM + 4).contains(&at)
            || uncovered.iter().any(|range| covers(range) || header(range))
    };
    let accepted = accepted_flips(&pki, &signed);
    assert!(accepted.len() > 100);
    let silent: Vec<_> = accepted.into_iter().filter(|at| !reported(*at)).collect();
    assert_eq!(silent, []);
}
