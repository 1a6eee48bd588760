//! Signatures made to hurt: whatever they hold, the answer is a refusal, and it comes soon.

mod support;

use std::fs;
use std::time::{Duration, Instant};

use kpeel_image::{signature_entry, with_signatures};
use kpeel_images::make::noise;
use kpeel_trust::{Identity, Key, Reason, Report, SignOptions, Store, sign};
use support::{Make, P256, Pki, image, judge};

/// Far above what any of these takes, far below what unbounded work would.
const SOON: Duration = Duration::from_secs(20);

fn soon(image: &[u8], store: &Store) -> Report {
    let start = Instant::now();
    let report = judge(image, store);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    report
}

/// The image with this in the place of a signature.
fn bearing(data: &[u8]) -> Vec<u8> {
    with_signatures(&image(&[1; 40]), &[signature_entry(data)])
        .unwrap()
        .to_vec()
        .unwrap()
}

/// An element whose length takes four bytes.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag, 0x84];
    bytes.extend_from_slice(&(content.len() as u32).to_be_bytes());
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn elements_inside_elements_do_not_use_up_the_stack() {
    let mut bomb = vec![0x30, 0];
    while bomb.len() < 200_000 {
        let length = (bomb.len() as u32).to_be_bytes();
        bomb.splice(0..0, [0x30, 0x83, length[1], length[2], length[3]]);
    }
    for data in [
        bomb.clone(),
        bomb.repeat(2),
        vec![0x30; 100_000],
        vec![0xa0; 100_000],
    ] {
        let refused = soon(&bearing(&data), &Store::new());
        assert!(!refused.is_trusted());
    }
}

#[test]
fn lengths_that_wrap_or_lie_are_malformed() {
    for data in [
        &[][..],
        &[0x30],
        &[0x30, 0x80, 0, 0],
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x30, 0xff, 1],
        &[0x1f, 0xff, 0xff, 0xff, 0xff, 0x7f, 0],
        &element(0x30, &[0x06, 0x82, 0xff, 0xff]),
    ] {
        let refused = soon(&bearing(data), &Store::new());
        assert!(
            matches!(refused.refused(), Some(Reason::Malformed { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn a_signature_may_bring_32_certificates_and_no_more() {
    let pki = Pki::with_signer(P256);
    let with = |count: usize| {
        let mut certificates = vec![pki.certificate("signer")];
        certificates.resize(count, pki.certificate("ca"));
        let key = fs::read(pki.key("signer")).unwrap();
        let key = Key::read(&key, &mut || unreachable!()).unwrap();
        let identity = Identity::new(key, certificates).unwrap();
        sign(&image(&[1; 40]), &[identity], &SignOptions::default()).unwrap()
    };
    assert!(soon(&with(32), &pki.store("ca")).is_trusted());
    for count in [33, 5000] {
        let refused = soon(&with(count), &pki.store("ca"));
        assert!(
            matches!(refused.refused(), Some(Reason::Malformed { what }) if what.contains("more than 32")),
            "{refused:?}"
        );
    }
}

#[test]
fn a_table_may_hold_16_entries_and_no_more() {
    let pki = Pki::with_signer(P256);
    let with = |count: usize| {
        let identities: Vec<_> = (0..count).map(|_| pki.identity("signer")).collect();
        sign(&image(&[1; 40]), &identities, &SignOptions::default()).unwrap()
    };
    assert!(soon(&with(16), &pki.store("ca")).is_trusted());
    let refused = soon(&with(17), &pki.store("ca"));
    assert!(
        matches!(refused.refused(), Some(Reason::Bound { .. })),
        "{refused:?}"
    );
}

/// CAs of one name and one key, each of which could have issued every other.
#[test]
fn certificates_that_issue_each_other_end_at_a_bound() {
    const CAS: usize = 12;
    let pki = Pki::new();
    pki.make(&Make::ca("loop", None));
    pki.make(&Make::ca("root", None));
    pki.make(&Make::leaf("signer", "loop", P256));
    let mut certificates = vec![pki.certificate("signer")];
    for _ in 0..CAS {
        certificates.push(pki.renewed("loop"));
    }
    let last = certificates.last().cloned().unwrap();
    let key = fs::read(pki.key("signer")).unwrap();
    let key = Key::read(&key, &mut || unreachable!()).unwrap();
    let identity = Identity::new(key, certificates).unwrap();
    let signed = sign(&image(&[1; 40]), &[identity], &SignOptions::default()).unwrap();
    let refused = soon(&signed, &pki.store("root"));
    assert!(
        matches!(refused.refused(), Some(Reason::Bound { .. })),
        "{refused:?}"
    );
    let mut store = Store::new();
    store.trust_certificate(last, "one of them");
    assert!(soon(&signed, &store).is_trusted());
}

/// Signatures with some bytes changed, cut or put in; none may be trusted but where nothing that
/// counts was changed.
#[test]
fn changed_signatures_neither_panic_nor_pass() {
    const ROUNDS: usize = 4000;
    let pki = Pki::with_signer(P256);
    let store = pki.store("ca");
    let signed = pki.sign(&image(&[1; 40]), "signer");
    let pe = kpeel_envelope::pe::Pe::parse(&signed).unwrap();
    let seed = pe.certificates().next().unwrap().unwrap().data.to_vec();
    assert!(judge(&bearing(&seed), &store).is_trusted());
    assert_eq!(seed[..2], [0x30, 0x82]);
    let object = &seed[..4 + usize::from(u16::from_be_bytes([seed[2], seed[3]]))];
    for round in 0..ROUNDS {
        let random = noise(16, round as u64);
        let word = |at: usize| usize::from(u16::from_le_bytes([random[at], random[at + 1]]));
        let mut data = seed.clone();
        let at = word(0) % data.len();
        match random[2] % 4 {
            0 => data.truncate(at),
            1 => data[at] = random[3],
            2 => drop(data.splice(at..at, random[4..8].iter().copied())),
            _ => drop(data.drain(at..(at + word(4) % 64).min(data.len()))),
        }
        let trusted = soon(&bearing(&data), &store).is_trusted();
        // Zeros at the end are padding.
        let same = data.starts_with(object) && data[object.len()..].iter().all(|byte| *byte == 0);
        assert!(!trusted || same, "round {round}");
    }
}
