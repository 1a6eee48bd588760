//! What beside keys decides whether a signature counts.

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
