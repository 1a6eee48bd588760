//! What firmware says of the variants, and the one table of where it says otherwise than kpeel.

use std::collections::BTreeSet;

use crate::Variant;

/// Something done to an image of which firmware says the opposite.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Difference {
    /// What was done, on whatever base.
    pub deed: &'static str,
    /// Why firmware says so.
    pub why: &'static str,
}

/// Every difference between kpeel and Debian 12's OVMF (EDK II of November 2022); its rules are in
/// `DxeImageVerificationLib` and, for PKCS#7, `BaseCryptLib` over OpenSSL.
pub const DIFFERENCES: &[Difference] = &[
    differs("revision-0", REVISION),
    differs("revision-1", REVISION),
    differs("bytes-in-entry", TAIL),
    differs("filled-with-others", TAIL),
    differs("version-changed", VERSION),
    differs("version-3", VERSION),
    differs("signed-gap", GAP),
    differs("signed-gap-behind-headers", GAP),
    differs("signed-sections-share-bytes", LAYOUT),
    differs("signed-sections-share-addresses", LAYOUT),
    differs("signed-file-alignment", LAYOUT),
    differs(
        "signed-table-unaligned",
        "the firmware takes the table's offset as it is",
    ),
    differs("sha1", "this firmware still knows SHA-1"),
    differs(
        "digest-algorithm-longer",
        "the firmware takes the hash that SignedData announces, and reads no algorithm in the content",
    ),
    differs("no-content-type", ATTRIBUTES),
    differs("content-type-attribute-wrong", ATTRIBUTES),
    differs("no-attributes", ATTRIBUTES),
    differs(
        "signer-twice",
        "the firmware wants all signers good, not one",
    ),
    differs("leaf-expired", TIME),
    differs("leaf-of-the-future", TIME),
    differs("leaf-for-servers", PURPOSE),
    differs("leaf-for-encryption", PURPOSE),
    differs("leaf-by-sha1", STRENGTH),
    differs("leaf-rsa-1024", STRENGTH),
    differs(
        "leaf-p256",
        "this firmware is built without elliptic curves",
    ),
];

const REVISION: &str = "the firmware looks at an entry's type, not at its revision";
const TAIL: &str = "the firmware stops reading at the end of the PKCS#7";
const VERSION: &str = "OpenSSL does not look at SignedData's version";
const GAP: &str = "the image hash skips gaps, and firmware demands no more than that hash";
const LAYOUT: &str = "the firmware's loader has no rule for this";
const ATTRIBUTES: &str = "OpenSSL demands messageDigest where there are attributes, and nothing else of \
    them";
const TIME: &str = "firmware has no clock it could trust, and ignores validity";
const PURPOSE: &str = "firmware trusts a certificate for whatever it signs";
const STRENGTH: &str = "firmware has no rule about hashes and lengths of keys in certificates";

const fn differs(deed: &'static str, why: &'static str) -> Difference {
    Difference { deed, why }
}

/// One variant, and who accepts it.
#[derive(Clone, Copy)]
pub struct Opinion<'a> {
    /// The image.
    pub variant: &'a Variant,
    /// What kpeel says.
    pub kpeel: bool,
    /// What firmware says.
    pub firmware: bool,
}

/// Where opinions and the table disagree: variants that differ and are not listed, and listed ones
/// that do not differ, or are none. Empty is good.
#[must_use]
pub fn disagreements(opinions: &[Opinion<'_>], table: &[Difference]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut used = BTreeSet::new();
    for opinion in opinions {
        let name = opinion.variant.name();
        let listed = table.iter().find(|it| it.deed == opinion.variant.deed);
        let differs = opinion.kpeel != opinion.firmware;
        match listed {
            Some(difference) => {
                used.insert(difference.deed);
                if !differs {
                    lines.push(format!("{name}: listed as a difference, but both agree"));
                }
            }
            None if differs => lines.push(format!(
                "{name}: kpeel {}, firmware {}, and no reason is listed ({})",
                said(opinion.kpeel),
                said(opinion.firmware),
                opinion.variant.why
            )),
            None => {}
        }
    }
    let unused = table.iter().filter(|it| !used.contains(it.deed));
    lines.extend(unused.map(|it| format!("{}: listed as a difference, but no variant", it.deed)));
    lines
}

fn said(accepts: bool) -> &'static str {
    if accepts { "accepts" } else { "refuses" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Reason, Verdict};

    fn variant(deed: &str) -> Variant {
        Variant {
            base: "base",
            deed: deed.to_owned(),
            expected: Verdict::Refused(Reason::Digest),
            why: "because",
            image: Vec::new(),
        }
    }

    const TABLE: &[Difference] = &[differs("listed", "for a reason")];

    fn of(variant: &Variant, kpeel: bool, firmware: bool) -> Opinion<'_> {
        Opinion {
            variant,
            kpeel,
            firmware,
        }
    }

    #[test]
    fn accepts_agreement_and_listed_differences() {
        let (same, listed) = (variant("same"), variant("listed"));
        let opinions = [of(&same, false, false), of(&listed, false, true)];
        assert_eq!(disagreements(&opinions, TABLE), [""; 0]);
    }

    #[test]
    fn rejects_an_unlisted_difference() {
        let (other, listed) = (variant("other"), variant("listed"));
        let opinions = [of(&other, true, false), of(&listed, false, true)];
        let lines = disagreements(&opinions, TABLE);
        assert_eq!(
            lines,
            ["base-other: kpeel accepts, firmware refuses, and no reason is listed (because)"]
        );
    }

    #[test]
    fn rejects_a_listed_difference_that_is_none_or_has_no_variant() {
        let listed = variant("listed");
        let lines = disagreements(&[of(&listed, true, true)], TABLE);
        assert_eq!(
            lines,
            ["base-listed: listed as a difference, but both agree"]
        );
        let lines = disagreements(&[], TABLE);
        assert_eq!(lines, ["listed: listed as a difference, but no variant"]);
    }
}
