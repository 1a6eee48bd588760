//! The one way in to DER: elements in order, none skipped.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, TagNumber};

/// What was wrong: the name of an element.
pub(crate) type Found<T> = std::result::Result<T, &'static str>;

/// Reads the elements of one constructed value. It never goes into an element by itself: depth is
/// that of the code.
pub(crate) struct Walk<'a>(SliceReader<'a>);

impl<'a> Walk<'a> {
    /// The elements of `content`, a constructed value without its tag and length.
    pub(crate) fn new(content: &'a [u8], name: &'static str) -> Found<Self> {
        SliceReader::new(content).map(Self).map_err(|_| name)
    }

    /// The elements inside the next element, which bears `tag`.
    pub(crate) fn inside(&mut self, tag: Tag, name: &'static str) -> Found<Self> {
        let element = self.take(tag, name)?;
        Self::new(element.value(), name)
    }

    /// The next element, which bears `tag`.
    pub(crate) fn take(&mut self, tag: Tag, name: &'static str) -> Found<AnyRef<'a>> {
        let element = AnyRef::decode(&mut self.0).map_err(|_| name)?;
        let found: Tag = der::Tagged::tag(&element);
        if found == tag { Ok(element) } else { Err(name) }
    }

    /// The next element with tag and length, whatever it is.
    pub(crate) fn raw(&mut self, name: &'static str) -> Found<&'a [u8]> {
        self.0.tlv_bytes().map_err(|_| name)
    }

    /// The next element if it bears `tag`.
    pub(crate) fn optional(&mut self, tag: Tag, name: &'static str) -> Found<Option<AnyRef<'a>>> {
        if self.0.is_finished() {
            return Ok(None);
        }
        match Tag::peek(&self.0) {
            Ok(found) if found == tag => self.take(tag, name).map(Some),
            Ok(_) => Ok(None),
            Err(_) => Err(name),
        }
    }

    /// The next element, an object identifier.
    pub(crate) fn oid(&mut self, name: &'static str) -> Found<ObjectIdentifier> {
        let element = self.take(Tag::ObjectIdentifier, name)?;
        element.decode_as().map_err(|_| name)
    }

    /// The next element, an integer below 256.
    pub(crate) fn small(&mut self, name: &'static str) -> Found<u8> {
        let element = self.take(Tag::Integer, name)?;
        element.decode_as().map_err(|_| name)
    }

    /// The identifier of the next element, an `AlgorithmIdentifier` whose parameters are NULL or
    /// absent.
    pub(crate) fn algorithm(&mut self, name: &'static str) -> Found<ObjectIdentifier> {
        let mut algorithm = self.inside(Tag::Sequence, name)?;
        let oid = algorithm.oid(name)?;
        if let Some(null) = algorithm.optional(Tag::Null, name)? {
            null.decode_as::<der::asn1::Null>().map_err(|_| name)?;
        }
        algorithm.end(name)?;
        Ok(oid)
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_finished()
    }

    /// Nothing may be left.
    pub(crate) fn end(self, name: &'static str) -> Found<()> {
        self.0.finish().map_err(|_| name)
    }
}

/// The tag `[number]` of a constructed element.
pub(crate) const fn context(number: u32) -> Tag {
    Tag::ContextSpecific {
        constructed: true,
        number: TagNumber(number),
    }
}
