//! What kpeel says of every variant: the expected verdict, for the expected reason.

use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

use kpeel_tamper::{Authority, Reason, Verdict, all, bases};
use kpeel_trust::{Policy, Reason as Why, Store, Usage, Validity, verify};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[test]
fn judges_every_variant_for_the_expected_reason() -> Outcome<()> {
    let authority = Authority::new()?;
    let (store, policy) = strict(&authority)?;
    let mut wrong = Vec::new();
    for variant in all(&authority, &bases(&authority)?)? {
        let (said, allowed) = judge(&variant.image, &store, &policy);
        if !allowed.contains(&variant.expected) {
            wrong.push(format!(
                "{}: expected {} ({}), kpeel said: {said}",
                variant.name(),
                variant.expected,
                variant.why
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// Every covered bit of the smallest base: none can be changed.
#[test]
fn refuses_every_covered_bit_flipped() -> Outcome<()> {
    let authority = Authority::new()?;
    let (store, policy) = strict(&authority)?;
    let bases = bases(&authority)?;
    let base = bases.first().ok_or("no base")?;
    let mut image = base.signed.clone();
    let free = base.uncovered();
    let mut accepted = Vec::new();
    for at in 0..image.len() {
        if free.iter().any(|range| range.contains(&at)) {
            continue;
        }
        for bit in 0..8 {
            image[at] ^= 1 << bit;
            if judge(&image, &store, &policy)
                .1
                .contains(&Verdict::Accepted)
            {
                accepted.push((at, bit));
            }
            image[at] ^= 1 << bit;
        }
    }
    assert_eq!(accepted, []);
    // The twins: the same image, and its uncovered bytes.
    assert_eq!(judge(&image, &store, &policy).1, [Verdict::Accepted]);
    for at in free[..2].iter().cloned().flatten().take(4) {
        image[at] ^= 0xff;
    }
    assert_eq!(judge(&image, &store, &policy).1, [Verdict::Accepted]);
    Ok(())
}

/// The root is trusted, for code, today.
fn strict(authority: &Authority) -> Outcome<(Store, Policy)> {
    let mut store = Store::new();
    store.trust(authority.certificate(), "the authority")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let policy = Policy {
        usage: Usage::CodeSigning,
        validity: Validity::At(now),
    };
    Ok((store, policy))
}

/// What kpeel says, and the verdicts that this may stand for.
fn judge(image: &[u8], store: &Store, policy: &Policy) -> (String, Vec<Verdict>) {
    match verify(image, store, policy) {
        Ok(report) => match report.refused() {
            None => ("accepted".to_owned(), vec![Verdict::Accepted]),
            Some(why) => (
                why.to_string(),
                reasons(why).iter().copied().map(Verdict::Refused).collect(),
            ),
        },
        // One reader checks headers and the table's place.
        Err(error) => (
            error.to_string(),
            vec![
                Verdict::Refused(Reason::Headers),
                Verdict::Refused(Reason::Table),
            ],
        ),
    }
}

fn reasons(why: &Why) -> &'static [Reason] {
    match why {
        Why::NotSigned => &[Reason::Unsigned],
        Why::NotCovered { .. } => &[Reason::Uncovered],
        Why::BadTable { .. } | Why::UnsupportedEntry { .. } => &[Reason::Table],
        Why::DigestDiffers => &[Reason::Digest],
        Why::Malformed { .. } | Why::MessageDigestDiffers | Why::NoSignerCertificate => {
            &[Reason::Signature]
        }
        // Of the image's signature or of a certificate's.
        Why::BadSignature { .. } => &[Reason::Signature, Reason::Signer],
        Why::UnsupportedAlgorithm { .. } => &[Reason::Weak, Reason::Signer],
        Why::UnknownIssuer { .. }
        | Why::NotCa { .. }
        | Why::WrongUsage { .. }
        | Why::WeakKey { .. }
        | Why::NotYetValid { .. }
        | Why::Expired { .. } => &[Reason::Signer],
        _ => &[],
    }
}
