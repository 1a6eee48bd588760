//! Digests.

use std::cell::OnceCell;
use std::fmt;

use der::asn1::ObjectIdentifier;
use kpeel_envelope::authenticode::DigestRanges;
use kpeel_envelope::pe::Pe;
use serde::Serialize;
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::oid;

/// A hash function that signatures are made over. SHA-1 and older ones are none.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// As people write it on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Bytes of a digest.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of `parts`, one after the other.
    #[must_use]
    pub fn of<'p>(self, parts: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
        let mut hasher = Hasher::new(self);
        for part in parts {
            hasher.update(part);
        }
        hasher.finish()
    }

    /// The Authenticode digest of an image.
    #[must_use]
    pub fn of_image(self, pe: &Pe<'_>) -> Vec<u8> {
        self.begin_image(pe).finish()
    }

    /// The same, to go on with.
    pub(crate) fn begin_image(self, pe: &Pe<'_>) -> Hasher {
        let mut hasher = Hasher::new(self);
        for part in DigestRanges::new(pe).filter_map(|range| pe.bytes().get(range)) {
            hasher.update(part);
        }
        hasher
    }

    pub(crate) const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => oid::SHA_256,
            Self::Sha384 => oid::SHA_384,
            Self::Sha512 => oid::SHA_512,
        }
    }

    pub(crate) fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        Self::ALL.into_iter().find(|hash| hash.oid() == oid)
    }
}

/// A digest that is being made.
#[derive(Clone, Debug)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    pub(crate) fn new(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256(Sha256::new()),
            Hash::Sha384 => Self::Sha384(Sha384::new()),
            Hash::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(digest) => digest.update(bytes),
            Self::Sha384(digest) => digest.update(bytes),
            Self::Sha512(digest) => digest.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Self::Sha256(digest) => digest.finalize().to_vec(),
            Self::Sha384(digest) => digest.finalize().to_vec(),
            Self::Sha512(digest) => digest.finalize().to_vec(),
        }
    }
}

/// Digests of one thing, each made once and only if asked for.
#[derive(Debug, Default)]
pub(crate) struct Made([OnceCell<Vec<u8>>; 3]);

impl Made {
    /// The digest, which `make` makes if it is the first time.
    pub(crate) fn get_or(&self, hash: Hash, make: impl FnOnce() -> Vec<u8>) -> &[u8] {
        self.cell(hash).get_or_init(make)
    }

    /// The digest, if it was made.
    pub(crate) fn get(&self, hash: Hash) -> Option<&[u8]> {
        self.cell(hash).get().map(Vec::as_slice)
    }

    const fn cell(&self, hash: Hash) -> &OnceCell<Vec<u8>> {
        let [first, second, third] = &self.0;
        match hash {
            Hash::Sha256 => first,
            Hash::Sha384 => second,
            Hash::Sha512 => third,
        }
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
        })
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_fips_180_4_s_examples_say() {
        // FIPS 180-4 example "abc", cut anywhere.
        let expected = [
            (
                Hash::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                Hash::Sha384,
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
                 8086072ba1e7cc2358baeca134c825a7",
            ),
        ];
        for (hash, digest) in expected {
            assert_eq!(hex(&hash.of([&b"a"[..], b"bc"])), digest);
            assert_eq!(Hash::from_oid(hash.oid()), Some(hash));
        }
    }
}
