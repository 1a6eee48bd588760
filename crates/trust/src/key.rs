//! Private keys and the certificates that go with them.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature as lc;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair};
use der::asn1::ObjectIdentifier;
use der::pem;
use kpeel_envelope::error::Class;
use pkcs8::EncryptedPrivateKeyInfoRef;
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::crypto::Curve;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::oid;
use crate::token::Token;

/// A private key.
pub struct Key(Kind);

enum Kind {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair, Curve),
    Token(Token),
}

/// A key with its certificate, and those of its issuers that a signature shall bring along.
pub struct Identity {
    pub(crate) key: Key,
    /// The signer's first.
    pub(crate) certificates: Vec<Certificate>,
}

/// Asks for the passphrase of an encrypted key.
pub type Passphrase<'p> = dyn FnMut() -> Result<Zeroizing<String>> + 'p;

impl Key {
    /// Reads a key: PKCS #8 (also encrypted), PKCS #1 or SEC 1, in PEM or DER. `passphrase` is
    /// called only for an encrypted one.
    ///
    /// # Errors
    /// `Malformed` or `Unsupported` for other files; `Misuse` for a wrong passphrase; what
    /// `passphrase` says.
    pub fn read(bytes: &[u8], passphrase: &mut Passphrase<'_>) -> Result<Self> {
        if !is_pem(bytes) {
            return Self::from_der(bytes, passphrase);
        }
        let blocks = pem_blocks(bytes)?;
        let block = blocks
            .iter()
            .find(|block| block.label.ends_with("PRIVATE KEY"))
            .ok_or_else(|| Error::malformed(KEY, "found no PRIVATE KEY in the PEM file"))?;
        if block.label == "ENCRYPTED PRIVATE KEY" {
            EncryptedPrivateKeyInfoRef::try_from(block.der.as_slice()).map_err(|error| {
                let why = format!("needed one encrypted by PBES2 with AES or triple DES ({error})");
                Error::unsupported(KEY, why)
            })?;
        }
        Self::from_der(&block.der, passphrase)
    }

    /// A key in a token, by its address (RFC 7512: `module-path`, `token`, `object`, `id`). `pin` is
    /// called if the token wants one. It needs the cargo feature `pkcs11`.
    ///
    /// # Errors
    /// `Misuse` for an address that names no key and for a wrong PIN, `System` for what the token's
    /// library says, `Unsupported` without the feature and for keys of other kinds.
    pub fn token(address: &str, pin: &mut Passphrase<'_>) -> Result<Self> {
        Token::open(address, pin).map(|token| Self(Kind::Token(token)))
    }

    fn from_der(der: &[u8], passphrase: &mut Passphrase<'_>) -> Result<Self> {
        if let Ok(encrypted) = EncryptedPrivateKeyInfoRef::try_from(der) {
            let passphrase = passphrase()?;
            let plain = encrypted.decrypt(passphrase.as_bytes()).map_err(|error| {
                let why = format!("cannot be decrypted: wrong passphrase or cipher ({error})");
                Error::misuse(KEY, why)
            })?;
            return Self::from_plain(plain.as_bytes());
        }
        Self::from_plain(der)
    }

    fn from_plain(der: &[u8]) -> Result<Self> {
        let rsa = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der));
        if let Ok(key) = rsa {
            return Ok(Self(Kind::Rsa(key)));
        }
        for curve in Curve::ALL {
            let algorithm = signing(curve);
            let key = EcdsaKeyPair::from_pkcs8(algorithm, der)
                .or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, der));
            if let Ok(key) = key {
                return Ok(Self(Kind::Ecdsa(key, curve)));
            }
        }
        let why = "needed RSA of 2048 to 8192 bits, or ECDSA on P-256, P-384 or P-521, in PKCS #8, \
                   PKCS #1 or SEC 1";
        Err(Error::unsupported(KEY, why))
    }

    /// The hash that goes with it unless another is asked for.
    pub(crate) fn usual_hash(&self) -> Hash {
        self.curve().map_or(Hash::Sha256, Curve::hash)
    }

    /// `None` for RSA.
    fn curve(&self) -> Option<Curve> {
        match &self.0 {
            Kind::Rsa(_) => None,
            Kind::Ecdsa(_, curve) => Some(*curve),
            Kind::Token(token) => token.curve(),
        }
    }

    /// Whether a signature with `hash` can be made.
    pub(crate) fn takes(&self, hash: Hash) -> bool {
        self.curve().is_none_or(|curve| curve.hash() == hash)
    }

    /// The algorithm's identifier in a `SignerInfo`, and whether it has NULL parameters.
    pub(crate) fn algorithm(&self) -> (ObjectIdentifier, bool) {
        match self.curve() {
            // What other signers of images write, and every verifier knows.
            None => (oid::RSA_ENCRYPTION, true),
            Some(Curve::P256) => (oid::ECDSA_WITH_SHA_256, false),
            Some(Curve::P384) => (oid::ECDSA_WITH_SHA_384, false),
            Some(Curve::P521) => (oid::ECDSA_WITH_SHA_512, false),
        }
    }

    /// Signs `message`, hashed with `hash`.
    pub(crate) fn sign(&self, hash: Hash, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        let failed = |_| Error::new(Class::Bug, KEY, "the backend cannot sign with it");
        match &self.0 {
            Kind::Rsa(key) => {
                let encoding: &'static dyn lc::RsaEncoding = match hash {
                    Hash::Sha256 => &lc::RSA_PKCS1_SHA256,
                    Hash::Sha384 => &lc::RSA_PKCS1_SHA384,
                    Hash::Sha512 => &lc::RSA_PKCS1_SHA512,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Kind::Ecdsa(key, _) => {
                let signature = key.sign(&random, message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Kind::Token(token) => token.sign(hash, message),
        }
    }

    /// Whether the certificate is of this key.
    fn is_of(&self, certificate: &Certificate) -> bool {
        let (algorithm, _, bits) = certificate.key();
        match &self.0 {
            Kind::Rsa(key) => algorithm == oid::RSA_ENCRYPTION && key.public_key().as_ref() == bits,
            Kind::Ecdsa(key, _) => {
                algorithm == oid::EC_PUBLIC_KEY && key.public_key().as_ref() == bits
            }
            Kind::Token(token) => token.is_of(certificate),
        }
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("certificates", &self.certificates)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// A key with certificates: the one of the key has to be among them; the others, its issuers, go
    /// along into signatures.
    ///
    /// # Errors
    /// `Misuse` when none of them is the key's.
    pub fn new(key: Key, certificates: Vec<Certificate>) -> Result<Self> {
        let mut certificates = certificates;
        let position = certificates.iter().position(|one| key.is_of(one));
        let position = position.ok_or_else(|| {
            let subjects: Vec<_> = certificates.iter().map(Certificate::subject).collect();
            let why = format!(
                "found no certificate of the key, needed one (found: {})",
                subjects.join("; ")
            );
            Error::misuse("certificate", why)
        })?;
        let leaf = certificates.remove(position);
        certificates.insert(0, leaf);
        Ok(Self { key, certificates })
    }

    /// The hash that signatures are made over unless another is asked for.
    #[must_use]
    pub fn usual_hash(&self) -> Hash {
        self.key.usual_hash()
    }

    /// The signer's certificate.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificates.first()
    }
}

const KEY: &str = "key";

const fn signing(curve: Curve) -> &'static lc::EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P384 => &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
        Curve::P521 => &lc::ECDSA_P521_SHA512_ASN1_SIGNING,
    }
}

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// One block of a PEM file.
pub(crate) struct Block {
    pub(crate) label: String,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Whether the file is in PEM.
pub(crate) fn is_pem(bytes: &[u8]) -> bool {
    bytes
        .windows(BEGIN.len())
        .any(|window| window == BEGIN.as_bytes())
}

/// Every block of a PEM file; text between them is left out (RFC 7468, section 2).
pub(crate) fn pem_blocks(bytes: &[u8]) -> Result<Vec<Block>> {
    const WHAT: &str = "PEM file";
    let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(WHAT, "is no text"))?;
    let mut rest = text;
    let mut blocks = Vec::new();
    while let Some((_, begin)) = rest.split_once(BEGIN) {
        let (label, _) = begin.split_once("-----").unwrap_or((begin, ""));
        let end = format!("{END}{label}-----");
        let (body, after) = begin
            .split_once(&end)
            .ok_or_else(|| Error::malformed(WHAT, format!("found no end of {label:?}")))?;
        if body.contains("Proc-Type:") {
            let why = "is encrypted in OpenSSL's old way, which protects little; `openssl pkcs8 \
                       -topk8` makes it PKCS #8";
            return Err(Error::unsupported(KEY, why));
        }
        let block = Zeroizing::new(format!("{BEGIN}{body}{end}\n"));
        let (label, der) = pem::decode_vec(block.as_bytes())
            .map_err(|error| Error::malformed(WHAT, format!("{label}: {error}")))?;
        blocks.push(Block {
            label: label.to_owned(),
            der: Zeroizing::new(der),
        });
        rest = after;
    }
    Ok(blocks)
}
