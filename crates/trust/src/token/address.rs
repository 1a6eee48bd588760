//! The address of a key in a token.
//!
//! Source: RFC 7512.

use crate::error::{Error, Result};

const SCHEME: &str = "pkcs11:";

/// Which key in which token, and the library that reaches it.
#[derive(Debug, Default, Eq, PartialEq)]
#[cfg_attr(
    not(feature = "pkcs11"),
    allow(dead_code, reason = "an address is checked in every build")
)]
pub(super) struct Address {
    /// `module-path`.
    pub(super) module: String,
    /// Label of the token; any without it.
    pub(super) token: Option<String>,
    /// Label of the key.
    pub(super) object: Option<String>,
    /// Identifier of the key.
    pub(super) id: Option<Vec<u8>>,
}

impl Address {
    /// Reads an address. A PIN has no place in it: it would be seen by everybody who lists
    /// processes.
    ///
    /// # Errors
    /// `Misuse` for one that names no library or no key, and for attributes that are not known.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let rest = text
            .strip_prefix(SCHEME)
            .ok_or_else(|| misuse("needed one that begins with pkcs11:".to_owned()))?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut address = Self::default();
        let parts = path.split(';').chain(query.split('&'));
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = decoded(value)?;
            let text = || {
                String::from_utf8(value.clone()).map_err(|_| misuse(format!("{name} is no text")))
            };
            match name {
                "module-path" => address.module = text()?,
                "token" => address.token = Some(text()?),
                "object" => address.object = Some(text()?),
                "id" => address.id = Some(value),
                // Says what is clear.
                "type" if value == b"private" => {}
                other => {
                    let known = "module-path, token, object, id";
                    return Err(misuse(format!("found {other}, needed one of {known}")));
                }
            }
        }
        if address.module.is_empty() {
            return Err(misuse(
                "found no module-path, needed the token's library".to_owned(),
            ));
        }
        if address.object.is_none() && address.id.is_none() {
            return Err(misuse(
                "found neither object nor id, needed one to find the key".to_owned(),
            ));
        }
        Ok(address)
    }
}

/// The bytes that percent signs stand for.
fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next(), rest.next()].map(Option::unwrap_or_default);
        let digits = std::str::from_utf8(&digits).unwrap_or_default();
        let byte = u8::from_str_radix(digits, 16);
        bytes.push(byte.map_err(|_| misuse(format!("{text:?} has % without two digits")))?);
    }
    Ok(bytes)
}

fn misuse(why: String) -> Error {
    Error::misuse("address of a key", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_standard_writes() {
        let text = "pkcs11:token=a%20b;object=key;id=%01%ff;type=private?module-path=/lib/x.so";
        let expected = Address {
            module: "/lib/x.so".to_owned(),
            token: Some("a b".to_owned()),
            object: Some("key".to_owned()),
            id: Some(vec![1, 0xff]),
        };
        assert_eq!(Address::parse(text).unwrap(), expected);
    }

    #[test]
    fn refuses_what_names_no_key_or_says_a_secret() {
        for text in [
            "file:x",
            "pkcs11:object=key",
            "pkcs11:token=x?module-path=/x",
            "pkcs11:object=key?module-path=/x&pin-value=1234",
            "pkcs11:object=%4?module-path=/x",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
