//! The variants, and what is to be said of each.

mod bytes;
mod chain;
mod layout;
mod pkcs7;
mod table;

use std::fmt;

use crate::Outcome;
use crate::authority::{Authority, Request, Signer};
use crate::base::Base;
use crate::digest::{Hash, hashed};
use crate::pe::{Image, entry};
use crate::pkcs7::Shape;

/// A signed image, tampered with or not.
pub struct Variant {
    /// The base's name.
    pub base: &'static str,
    /// What was done to it: lower case, digits and `-`.
    pub deed: String,
    /// What is to be said of it under the strict policy: the authority's root is trusted, now is the
    /// time, hashes are SHA-256 or stronger.
    pub expected: Verdict,
    /// The rule behind that.
    pub why: &'static str,
    /// The file.
    pub image: Vec<u8>,
}

/// What is said of an image.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// Somebody trusted signed all of it.
    Accepted,
    /// It may not be started.
    Refused(Reason),
}

/// Why an image is refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// Headers or section table contradict themselves or each other.
    Headers,
    /// The certificate table's place or lengths are wrong.
    Table,
    /// There is no signature.
    Unsigned,
    /// Bytes of the file are covered by no signature.
    Uncovered,
    /// Covered bytes are not those that were signed.
    Digest,
    /// The PKCS#7 is malformed, or its parts do not belong together.
    Signature,
    /// The hash is too weak to be trusted.
    Weak,
    /// The signer's certificate does not lead to somebody trusted, or not for this purpose or time.
    Signer,
}

impl Variant {
    /// Base and deed, the same for no other variant; fit for a file's name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.base, self.deed)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("accepted"),
            Self::Refused(reason) => write!(f, "refused: {reason:?}"),
        }
    }
}

/// Every variant of these bases, the untouched ones first.
///
/// # Errors
/// When a tool fails.
pub fn all(authority: &Authority, bases: &[Base]) -> Outcome<Vec<Variant>> {
    let mut list = Vec::new();
    for base in bases {
        let mut maker = Maker::new(base);
        maker.add(
            "untouched",
            Verdict::Accepted,
            "the base as sbsign signed it",
            base.signed.clone(),
        );
        bytes::add(&mut maker);
        table::add(&mut maker, bases);
        list.append(&mut maker.list);
    }
    let leaf = leaf(authority)?;
    if let Some(base) = bases.first() {
        let mut maker = Maker::new(base);
        layout::add(&mut maker, &leaf)?;
        pkcs7::add(&mut maker, &leaf, authority)?;
        chain::add(&mut maker, &leaf, authority)?;
        list.append(&mut maker.list);
    }
    Ok(list)
}

/// A signer whose certificate the root issued for code.
fn leaf(authority: &Authority) -> Outcome<Signer> {
    let key = authority.key("leaf", Some(2048))?;
    authority.issue(&key, &authority.root, &Request::default())
}

/// Variants of one base.
struct Maker<'a> {
    base: &'a Base,
    list: Vec<Variant>,
}

impl<'a> Maker<'a> {
    fn new(base: &'a Base) -> Self {
        Self {
            base,
            list: Vec::new(),
        }
    }

    fn signed(&self) -> Image {
        Image::new(self.base.signed.clone())
    }

    fn unsigned(&self) -> Image {
        Image::new(self.base.unsigned.clone())
    }

    fn add(&mut self, deed: &str, expected: Verdict, why: &'static str, image: Vec<u8>) {
        self.list.push(Variant {
            base: self.base.name,
            deed: deed.to_owned(),
            expected,
            why,
            image,
        });
    }

    /// A variant of the signed base.
    fn change(
        &mut self,
        deed: &str,
        expected: Verdict,
        why: &'static str,
        change: impl FnOnce(&mut Image),
    ) {
        let mut image = self.signed();
        change(&mut image);
        self.add(deed, expected, why, image.bytes);
    }
}

/// The right signature of an image, which must be padded.
fn shape(image: &Image, signer: &Signer, hash: Hash) -> Outcome<Shape> {
    Ok(Shape::new(signer, hash, hash.of(&hashed(image))?))
}

/// The image with one signature of this shape.
fn signed(image: Image, shape: &Shape) -> Outcome<Vec<u8>> {
    Ok(image.with_table(&[&entry(&shape.encode()?)]).bytes)
}
