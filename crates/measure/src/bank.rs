//! Banks of a TPM: one hash algorithm each, and the registers in it.

use std::fmt;

use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

/// Longest digest of any [`Bank`] in bytes.
pub(crate) const DIGEST_MAX: usize = 64;

/// Zeros to hash, where memory is larger than the file.
const ZEROS: [u8; 4096] = [0; 4096];

/// A bank, named by its hash algorithm.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Bank {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// A digest of one bank's algorithm.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Digest {
    bytes: [u8; DIGEST_MAX],
    len: usize,
}

/// A platform configuration register in one bank.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pcr {
    bank: Bank,
    value: Digest,
}

impl Bank {
    /// Every bank, in the order of their identifiers.
    pub const ALL: [Self; 4] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512];

    /// The name systemd's tools give it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Its TPM_ALG_ID (TCG Algorithm Registry, table 3).
    #[must_use]
    pub const fn algorithm(self) -> u16 {
        match self {
            Self::Sha1 => 0x0004,
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
            Self::Sha512 => 0x000d,
        }
    }

    /// The bank of a TPM_ALG_ID.
    #[must_use]
    pub fn of_algorithm(algorithm: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|bank| bank.algorithm() == algorithm)
    }

    /// Bytes of its digests.
    #[must_use]
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of `bytes`.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Digest {
        self.digest_padded(bytes, 0)
    }

    /// The digest of `bytes` and as many zeros behind them.
    #[must_use]
    pub fn digest_padded(self, bytes: &[u8], zeros: u64) -> Digest {
        self.over(&[bytes], zeros)
    }

    fn over(self, parts: &[&[u8]], zeros: u64) -> Digest {
        match self {
            Self::Sha1 => hash::<Sha1>(parts, zeros),
            Self::Sha256 => hash::<Sha256>(parts, zeros),
            Self::Sha384 => hash::<Sha384>(parts, zeros),
            Self::Sha512 => hash::<Sha512>(parts, zeros),
        }
    }
}

impl Digest {
    /// `bytes` as a digest; none if there are more than any bank's algorithm gives.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut digest = Self {
            bytes: [0; DIGEST_MAX],
            len: bytes.len(),
        };
        digest.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(digest)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Pcr {
    /// The register after a reset: zeros.
    #[must_use]
    pub const fn new(bank: Bank) -> Self {
        let value = Digest {
            bytes: [0; DIGEST_MAX],
            len: bank.digest_len(),
        };
        Self { bank, value }
    }

    /// Its bank.
    #[must_use]
    pub const fn bank(&self) -> Bank {
        self.bank
    }

    /// Its value.
    #[must_use]
    pub const fn value(&self) -> Digest {
        self.value
    }

    /// Extends it: the new value is the digest of the old one and `digest`.
    ///
    /// Source: TPM 2.0 Library, part 1, "Extend of a PCR".
    pub fn extend(&mut self, digest: &Digest) {
        self.value = self
            .bank
            .over(&[self.value.as_bytes(), digest.as_bytes()], 0);
    }
}

fn hash<H: sha2::digest::Digest>(parts: &[&[u8]], mut zeros: u64) -> Digest {
    let mut hasher = H::new();
    for part in parts {
        hasher.update(part);
    }
    while zeros != 0 {
        let len = usize::try_from(zeros).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        hasher.update(ZEROS.get(..len).unwrap_or(&ZEROS));
        zeros = zeros.saturating_sub(len as u64);
    }
    let result = hasher.finalize();
    let mut digest = Digest {
        bytes: [0; DIGEST_MAX],
        len: result.len(),
    };
    for (to, from) in digest.bytes.iter_mut().zip(result.iter()) {
        *to = *from;
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-4's example "abc".
        for (bank, start) in [
            (Bank::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Bank::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a3"),
            (Bank::Sha384, "cb00753f45a35e8bb5a03d699ac65007272c32ab"),
            (Bank::Sha512, "ddaf35a193617abacc417349ae20413112e6fa4e"),
        ] {
            let digest = bank.digest(b"abc");
            assert_eq!(digest.as_bytes().len(), bank.digest_len());
            assert!(digest.to_string().starts_with(start), "{bank:?} {digest}");
        }
    }

    #[test]
    fn zeros_behind_are_hashed_as_bytes() {
        let mut bytes = b"x".to_vec();
        bytes.resize(10_001, 0);
        for bank in Bank::ALL {
            assert_eq!(bank.digest_padded(b"x", 10_000), bank.digest(&bytes));
        }
    }

    #[test]
    fn extending_hashes_old_and_new() {
        let mut pcr = Pcr::new(Bank::Sha256);
        assert_eq!(pcr.value().as_bytes(), [0; 32]);
        let digest = Bank::Sha256.digest(b"event");
        pcr.extend(&digest);
        let joined = [&[0; 32][..], digest.as_bytes()].concat();
        assert_eq!(pcr.value(), Bank::Sha256.digest(&joined));
    }

    #[test]
    fn algorithms_and_banks_agree() {
        for bank in Bank::ALL {
            assert_eq!(Bank::of_algorithm(bank.algorithm()), Some(bank));
        }
        assert_eq!(Bank::of_algorithm(0x12), None, "SM3 is no bank of ours");
        assert!(Digest::from_bytes(&[0; 65]).is_none());
        assert!(Digest::from_bytes(&[0; 64]).is_some());
    }
}
