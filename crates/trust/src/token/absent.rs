//! A build that cannot load a token's library.

use super::address::Address;
use crate::certificate::Certificate;
use crate::crypto::Curve;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::key::Passphrase;

/// There is none.
pub(crate) struct Token(std::convert::Infallible);

impl Token {
    pub(crate) fn open(address: &str, _: &mut Passphrase<'_>) -> Result<Self> {
        Address::parse(address)?;
        let why = "this build cannot load a token's library: the cargo feature pkcs11 is off";
        Err(Error::unsupported("token", why))
    }

    pub(crate) fn curve(&self) -> Option<Curve> {
        match self.0 {}
    }

    pub(crate) fn is_of(&self, _: &Certificate) -> bool {
        match self.0 {}
    }

    pub(crate) fn sign(&self, _: Hash, _: &[u8]) -> Result<Vec<u8>> {
        match self.0 {}
    }
}
