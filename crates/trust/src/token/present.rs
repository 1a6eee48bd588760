//! Signing by a token's library.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use der::asn1::{ObjectIdentifier, OctetStringRef, UintRef};
use der::{Any, Decode, Encode, Sequence};
use kpeel_envelope::error::Class;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::address::Address;
use crate::certificate::Certificate;
use crate::crypto::{self, Curve};
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::key::Passphrase;

/// A private key in a token, the session open.
pub(crate) struct Token {
    session: Session,
    key: ObjectHandle,
    /// `None` for RSA.
    curve: Option<Curve>,
}

impl Token {
    /// Opens a session and finds the key.
    pub(crate) fn open(address: &str, pin: &mut Passphrase<'_>) -> Result<Self> {
        let address = Address::parse(address)?;
        let library = Pkcs11::new(&address.module).map_err(failed)?;
        library
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(failed)?;
        let slot = find_slot(&library, &address)?;
        let session = library.open_ro_session(slot).map_err(failed)?;
        let info = library.get_token_info(slot).map_err(failed)?;
        if info.login_required() {
            let pin = AuthPin::new(pin()?.as_str().into());
            let login = session.login(UserType::User, Some(&pin));
            login.map_err(|error| Error::misuse("PIN", error.to_string()))?;
        }
        let key = find_key(&session, &address)?;
        let curve = curve(&session, key)?;
        Ok(Self {
            session,
            key,
            curve,
        })
    }

    /// The key's curve; `None` for RSA.
    pub(crate) fn curve(&self) -> Option<Curve> {
        self.curve
    }

    /// Whether the certificate is of this key, which a signature shows: not every token tells the
    /// public half.
    pub(crate) fn is_of(&self, certificate: &Certificate) -> bool {
        const PROBE: &[u8] = b"whose certificate is this";
        let hash = self.curve.map_or(Hash::Sha256, Curve::hash);
        let signature = self.sign(hash, PROBE);
        signature
            .is_ok_and(|signature| crypto::verify(certificate, hash, PROBE, &signature).is_ok())
    }

    /// Signs `message`, hashed with `hash`, as the backend does.
    pub(crate) fn sign(&self, hash: Hash, message: &[u8]) -> Result<Vec<u8>> {
        let digest = hash.of([message]);
        if self.curve.is_some() {
            let raw = self.session.sign(&Mechanism::Ecdsa, self.key, &digest);
            return ecdsa_value(&raw.map_err(failed)?).map_err(unusable);
        }
        let info = digest_info(hash, &digest).map_err(unusable)?;
        let signature = self.session.sign(&Mechanism::RsaPkcs, self.key, &info);
        signature.map_err(failed)
    }
}

fn find_slot(library: &Pkcs11, address: &Address) -> Result<Slot> {
    let slots = library.get_slots_with_initialized_token().map_err(failed)?;
    for slot in slots {
        let info = library.get_token_info(slot).map_err(failed)?;
        if address
            .token
            .as_deref()
            .is_none_or(|label| label == info.label())
        {
            return Ok(slot);
        }
    }
    let label = address.token.as_deref().unwrap_or("any");
    Err(Error::misuse(
        "token",
        format!("found none with label {label:?}, needed one"),
    ))
}

fn find_key(session: &Session, address: &Address) -> Result<ObjectHandle> {
    let mut template = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let label = address
        .object
        .as_ref()
        .map(|label| label.as_bytes().to_vec());
    template.extend(label.map(Attribute::Label));
    template.extend(address.id.clone().map(Attribute::Id));
    let found = session.find_objects(&template).map_err(failed)?;
    match found.as_slice() {
        [one] => Ok(*one),
        other => {
            let count = other.len();
            Err(Error::misuse(
                "key",
                format!("found {count} in the token, needed one"),
            ))
        }
    }
}

/// The key's curve; `None` for RSA.
fn curve(session: &Session, key: ObjectHandle) -> Result<Option<Curve>> {
    let wanted = [AttributeType::KeyType, AttributeType::EcParams];
    let mut is_rsa = false;
    let mut curve = None;
    for attribute in session.get_attributes(key, &wanted).map_err(failed)? {
        match attribute {
            Attribute::KeyType(kind) => is_rsa = kind == KeyType::RSA,
            Attribute::EcParams(parameters) => {
                let oid = ObjectIdentifier::from_der(&parameters).ok();
                curve = Curve::of(oid);
            }
            _ => {}
        }
    }
    match (is_rsa, curve) {
        (true, _) => Ok(None),
        (false, Some(curve)) => Ok(Some(curve)),
        (false, None) => {
            let why = "needed RSA, or ECDSA on P-256, P-384 or P-521";
            Err(Error::unsupported("key", why))
        }
    }
}

/// What RSA signs (RFC 8017, section 9.2).
fn digest_info(hash: Hash, digest: &[u8]) -> der::Result<Vec<u8>> {
    #[derive(Sequence)]
    struct DigestInfo<'d> {
        algorithm: AlgorithmIdentifierOwned,
        digest: &'d OctetStringRef,
    }
    DigestInfo {
        algorithm: AlgorithmIdentifierOwned {
            oid: hash.oid(),
            parameters: Some(Any::null()),
        },
        digest: OctetStringRef::new(digest)?,
    }
    .to_der()
}

/// `Ecdsa-Sig-Value` (RFC 3279, section 2.2.3) of the two numbers that a token gives as one.
fn ecdsa_value(raw: &[u8]) -> der::Result<Vec<u8>> {
    #[derive(Sequence)]
    struct Value<'v> {
        r: UintRef<'v>,
        s: UintRef<'v>,
    }
    let (r, s) = raw.split_at(raw.len() / 2);
    Value {
        r: UintRef::new(r)?,
        s: UintRef::new(s)?,
    }
    .to_der()
}

fn failed(error: cryptoki::error::Error) -> Error {
    // EIO: the library says why in words.
    Error::new(Class::System(5), "token", error.to_string())
}

fn unusable(error: der::Error) -> Error {
    Error::new(Class::Bug, "token", error.to_string())
}
