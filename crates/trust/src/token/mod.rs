//! Keys in tokens and hardware modules, by PKCS #11.

#[cfg(not(feature = "pkcs11"))]
#[path = "absent.rs"]
mod backend;
#[cfg(feature = "pkcs11")]
#[path = "present.rs"]
mod backend;

mod address;

pub(crate) use backend::Token;
