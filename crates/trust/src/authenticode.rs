//! What a signature says about an image.
//!
//! Source: Authenticode, "SpcIndirectDataContent".

use der::Tag;
use der::asn1::ObjectIdentifier;

use crate::oid;
use crate::walk::{Found, Walk};

/// `SpcAttributeTypeAndOptionalValue` for a PE image: no flags, an empty file name. Verifiers look at
/// the identifier only.
const PE_IMAGE_DATA: [u8; 25] = [
    0x30, 23, // SEQUENCE
    0x06, 10, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 1, 15, // SPC_PE_IMAGE_DATA
    0x30, 9, 0x03, 1, 0, // SpcPeImageData: no flags
    0xa0, 4, 0xa2, 2, 0x80, 0, // file: an empty name
];

/// The digest function and the digest that `content`, a `SpcIndirectDataContent` without tag and
/// length, gives for the image.
pub(crate) fn digest_of(content: &[u8]) -> Found<(ObjectIdentifier, &[u8])> {
    let mut walk = Walk::new(content, "SpcIndirectDataContent")?;
    let mut data = walk.inside(Tag::Sequence, "SpcAttributeTypeAndOptionalValue")?;
    let kind = data.oid("SpcAttributeTypeAndOptionalValue")?;
    if ![oid::SPC_PE_IMAGE_DATA, oid::INDIVIDUAL_CODE_SIGNING].contains(&kind) {
        return Err("SpcAttributeTypeAndOptionalValue (not a PE image's)");
    }
    let mut info = walk.inside(Tag::Sequence, "DigestInfo")?;
    walk.end("SpcIndirectDataContent")?;
    let hash = info.algorithm("DigestInfo algorithm")?;
    let digest = info.take(Tag::OctetString, "DigestInfo digest")?.value();
    info.end("DigestInfo")?;
    Ok((hash, digest))
}

/// `SpcAttributeTypeAndOptionalValue` as we write it.
pub(crate) const fn pe_image_data() -> &'static [u8] {
    &PE_IMAGE_DATA
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_digest_behind_the_image_data() {
        let mut content = PE_IMAGE_DATA.to_vec();
        content.extend([
            0x30, 14, 0x30, 7, 0x06, 3, 0x55, 4, 3, 0x05, 0, 0x04, 3, 1, 2, 3,
        ]);
        let (hash, digest) = digest_of(&content).unwrap();
        assert_eq!(
            (hash.to_string().as_str(), digest),
            ("2.5.4.3", &[1, 2, 3][..])
        );
        // Another kind of content has another identifier.
        content[13] = 16;
        assert!(digest_of(&content).is_err());
    }
}
