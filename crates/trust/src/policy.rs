//! What beside keys decides whether a signature counts.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// Rules that a signature and its chain have to keep. The default is what UEFI firmware and Linux do,
/// but stricter about what keys are for.
///
/// Always demanded: SHA-256 or a longer hash in the image's digest and in every certificate below the
/// anchor; RSA keys of 2048 to 8192 bits or ECDSA on P-256, P-384, P-521; an issuer that is a CA.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Policy {
    /// What the signer's certificate has to be for.
    pub usage: Usage,
    /// Whether time counts.
    pub validity: Validity,
}

/// What the signer's certificate has to be for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Usage {
    /// Where it says what it is for, that has to be signing code: an extended key usage has to
    /// contain codeSigning or anyExtendedKeyUsage, a key usage digitalSignature.
    #[default]
    CodeSigning,
    /// Anything, as firmware has it.
    Any,
}

/// Whether certificates have to be valid at some time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Validity {
    /// No: firmware and Linux boot what they always booted, and clocks of either may be wrong.
    #[default]
    Ignored,
    /// Every certificate of the chain, the anchor too, has to be valid at this time: seconds since
    /// 1970-01-01 UTC.
    At(u64),
}

impl Validity {
    /// From text: `now`, or a time as RFC 3339 writes it in UTC (`2026-01-31T12:00:00Z`).
    ///
    /// # Errors
    /// `Misuse` for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        if text == "now" {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            return Ok(Self::At(now.map_or(0, |since| since.as_secs())));
        }
        let time: der::DateTime = text.parse().map_err(|_| {
            let why = format!("found {text:?}, needed now, or such as 2026-01-31T12:00:00Z");
            Error::misuse("time", why)
        })?;
        Ok(Self::At(time.unix_duration().as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times() {
        let parse = |text| Validity::parse(text).ok();
        // date -u -d 2026-01-31T12:00:00Z +%s
        assert_eq!(
            parse("2026-01-31T12:00:00Z"),
            Some(Validity::At(1_769_860_800))
        );
        assert!(matches!(parse("now"), Some(Validity::At(seconds)) if seconds > 1_769_860_800));
        assert_eq!(parse("yesterday"), None);
    }
}
