//! The matrix itself: that it is complete, and that what it calls good is good to sbverify.

use std::collections::BTreeSet;
use std::error::Error;
use std::process::Command;

use kpeel_images::make::Scratch;
use kpeel_tamper::{Authority, Variant, Verdict, all, bases};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// The certificate of the authority as the package has it.
const ROOT: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";

#[test]
fn covers_three_bases_with_unlike_variants() -> Outcome {
    let authority = Authority::new()?;
    let bases = bases(&authority)?;
    let variants = all(&authority, &bases)?;
    assert!(variants.len() >= 90, "{} variants", variants.len());
    let names: BTreeSet<String> = variants.iter().map(Variant::name).collect();
    assert_eq!(names.len(), variants.len());
    let plain = |name: &String| {
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    assert!(names.iter().all(plain));
    for base in &bases {
        let of_base = || variants.iter().filter(|variant| variant.base == base.name);
        assert!(of_base().count() >= 30, "{}", base.name);
        // A refusal of the untouched image would prove nothing.
        for variant in of_base().filter(|variant| variant.expected != Verdict::Accepted) {
            assert!(variant.image != base.signed, "{}", variant.name());
        }
    }
    what_is_called_good_is_good_to_sbverify(&variants)
}

/// What sbverify does not know: hashes other than SHA-256, and a certificate of several purposes.
/// The firmware, which is asked about every variant, does.
const UNKNOWN_TO_SBVERIFY: [&str; 3] = ["sha384", "sha512", "leaf-for-servers-and-code"];

/// sbverify is not asked about bad images: some hang or crash it.
fn what_is_called_good_is_good_to_sbverify(variants: &[Variant]) -> Outcome {
    let scratch = Scratch::new()?;
    let good = |variant: &&Variant| variant.expected == Verdict::Accepted;
    for variant in variants.iter().filter(good) {
        let image = scratch.write("image.efi", &variant.image)?;
        let mut sbverify = Command::new("sbverify");
        let sbverify = sbverify.args(["--cert", ROOT]).arg(image);
        let output = sbverify
            .output()
            .map_err(|error| format!("sbverify: {error} (Debian package sbsigntool)"))?;
        let unknown = UNKNOWN_TO_SBVERIFY.contains(&variant.deed.as_str());
        assert_eq!(output.status.success(), !unknown, "{}", variant.name());
    }
    Ok(())
}
