//! Object identifiers, each with its source.

use der::asn1::ObjectIdentifier as Oid;

const fn oid(text: &str) -> Oid {
    Oid::new_unwrap(text)
}

/// RFC 5652, sections 5.1 and 11.
pub(crate) const SIGNED_DATA: Oid = oid("1.2.840.113549.1.7.2");
pub(crate) const CONTENT_TYPE: Oid = oid("1.2.840.113549.1.9.3");
pub(crate) const MESSAGE_DIGEST: Oid = oid("1.2.840.113549.1.9.4");

/// Authenticode, "SpcIndirectDataContent" and "SpcPeImageData".
pub(crate) const SPC_INDIRECT_DATA: Oid = oid("1.3.6.1.4.1.311.2.1.4");
pub(crate) const SPC_PE_IMAGE_DATA: Oid = oid("1.3.6.1.4.1.311.2.1.15");
/// What pesign wrote in the latter's place for years; `crypto/asymmetric_keys/mscode_parser.c` takes
/// it too.
pub(crate) const INDIVIDUAL_CODE_SIGNING: Oid = oid("1.3.6.1.4.1.311.2.1.21");

/// RFC 5754, section 2.
pub(crate) const SHA_256: Oid = oid("2.16.840.1.101.3.4.2.1");
pub(crate) const SHA_384: Oid = oid("2.16.840.1.101.3.4.2.2");
pub(crate) const SHA_512: Oid = oid("2.16.840.1.101.3.4.2.3");

/// RFC 8017, appendix A.2 and C.
pub(crate) const RSA_ENCRYPTION: Oid = oid("1.2.840.113549.1.1.1");
pub(crate) const SHA_256_WITH_RSA: Oid = oid("1.2.840.113549.1.1.11");
pub(crate) const SHA_384_WITH_RSA: Oid = oid("1.2.840.113549.1.1.12");
pub(crate) const SHA_512_WITH_RSA: Oid = oid("1.2.840.113549.1.1.13");

/// RFC 3279, sections 2.2.1 and 2.2.3: with hashes that are not taken.
pub(crate) const MD_5_WITH_RSA: Oid = oid("1.2.840.113549.1.1.4");
pub(crate) const SHA_1_WITH_RSA: Oid = oid("1.2.840.113549.1.1.5");
pub(crate) const ECDSA_WITH_SHA_1: Oid = oid("1.2.840.10045.4.1");

/// RFC 5480, section 2.1.
pub(crate) const EC_PUBLIC_KEY: Oid = oid("1.2.840.10045.2.1");
pub(crate) const P_256: Oid = oid("1.2.840.10045.3.1.7");
pub(crate) const P_384: Oid = oid("1.3.132.0.34");
pub(crate) const P_521: Oid = oid("1.3.132.0.35");
/// RFC 5758, section 3.2.
pub(crate) const ECDSA_WITH_SHA_256: Oid = oid("1.2.840.10045.4.3.2");
pub(crate) const ECDSA_WITH_SHA_384: Oid = oid("1.2.840.10045.4.3.3");
pub(crate) const ECDSA_WITH_SHA_512: Oid = oid("1.2.840.10045.4.3.4");

/// RFC 5280, sections 4.2.1.3, 4.2.1.9 and 4.2.1.12.
pub(crate) const KEY_USAGE: Oid = oid("2.5.29.15");
pub(crate) const BASIC_CONSTRAINTS: Oid = oid("2.5.29.19");
pub(crate) const EXTENDED_KEY_USAGE: Oid = oid("2.5.29.37");
pub(crate) const SUBJECT_ALT_NAME: Oid = oid("2.5.29.17");
pub(crate) const ANY_EXTENDED_KEY_USAGE: Oid = oid("2.5.29.37.0");
pub(crate) const CODE_SIGNING: Oid = oid("1.3.6.1.5.5.7.3.3");
