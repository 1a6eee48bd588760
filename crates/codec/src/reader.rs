//! The one way into compressed bytes: bounds-checked, and every refusal names field and offset.

use crate::{Bound, Codec, Error, Value};

/// Reads a stream front to back.
pub(crate) struct Reader<'a> {
    codec: Codec,
    input: &'a [u8],
    /// Where `input` starts in the stream.
    base: usize,
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(codec: Codec, input: &'a [u8]) -> Self {
        Self::within(codec, input, 0)
    }

    /// Reads a part that starts at offset `base` of the stream.
    pub(crate) fn within(codec: Codec, input: &'a [u8], base: usize) -> Self {
        Reader {
            codec,
            input,
            base,
            at: 0,
        }
    }

    /// Where the next byte is in the stream.
    pub(crate) fn offset(&self) -> usize {
        self.base.saturating_add(self.at)
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// What has been read since offset `start`.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.input
            .get(start.saturating_sub(self.base)..self.at)
            .unwrap_or_default()
    }

    /// The next `len` bytes, or Malformed because the input ends before.
    pub(crate) fn take(&mut self, field: &'static str, len: usize) -> Result<&'a [u8], Error> {
        match self.rest().get(..len) {
            Some(bytes) => {
                self.at = self.at.saturating_add(len);
                Ok(bytes)
            }
            None => Err(Error::Malformed {
                codec: self.codec,
                field,
                offset: self.offset() as u64,
                found: Value::Bytes(self.rest().len() as u64),
                needed: Value::Bytes(len as u64),
            }),
        }
    }

    /// The next `N` bytes by value.
    pub(crate) fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let bytes = self.take(field, N)?;
        let mut array = [0; N];
        array.copy_from_slice(bytes);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, Error> {
        let [byte] = self.array(field)?;
        Ok(byte)
    }

    pub(crate) fn u16_le(&mut self, field: &'static str) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u32_le(&mut self, field: &'static str) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u16_be(&mut self, field: &'static str) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array(field)?))
    }

    pub(crate) fn u32_be(&mut self, field: &'static str) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array(field)?))
    }

    /// Skips up to and including the next zero byte.
    pub(crate) fn skip_string(&mut self, field: &'static str) -> Result<(), Error> {
        match self.rest().iter().position(|&byte| byte == 0) {
            Some(end) => self.take(field, end.saturating_add(1)).map(drop),
            None => Err(self.malformed(
                field,
                Value::Text("the end of the input"),
                Value::Text("a zero byte that ends it"),
            )),
        }
    }

    /// Malformed at the current offset.
    pub(crate) fn malformed(&self, field: &'static str, found: Value, needed: Value) -> Error {
        malformed(self.codec, field, self.offset(), found, needed)
    }

    /// Refuses unless `found` is `needed`; for a field of `len` bytes that was just read.
    pub(crate) fn expect(
        &self,
        field: &'static str,
        len: usize,
        found: u64,
        needed: u64,
    ) -> Result<(), Error> {
        if found == needed {
            return Ok(());
        }
        let at = self.offset().saturating_sub(len);
        Err(malformed(
            self.codec,
            field,
            at,
            Value::Number(found),
            Value::Number(needed),
        ))
    }

    /// Refuses unless the next bytes are `magic`.
    pub(crate) fn magic(&mut self, magic: &[u8]) -> Result<(), Error> {
        let found = self.take("magic", magic.len())?;
        if found == magic {
            return Ok(());
        }
        let number = |bytes: &[u8]| bytes.iter().take(8).fold(0, |n, &b| n << 8 | u64::from(b));
        self.expect("magic", magic.len(), number(found), number(magic))?;
        Err(self.malformed(
            "magic",
            Value::Text("other bytes"),
            Value::Text("the codec's magic"),
        ))
    }
}

/// Malformed at `offset`.
pub(crate) fn malformed(
    codec: Codec,
    field: &'static str,
    offset: usize,
    found: Value,
    needed: Value,
) -> Error {
    Error::Malformed {
        codec,
        field,
        offset: offset as u64,
        found,
        needed,
    }
}

/// Limit if `asked` is more than `allowed`.
pub(crate) fn within(codec: Codec, bound: Bound, asked: u64, allowed: u64) -> Result<(), Error> {
    if asked <= allowed {
        return Ok(());
    }
    Err(Error::Limit {
        codec,
        bound,
        asked,
        allowed,
    })
}

/// Malformed because the compressed data at `offset` do not decode.
pub(crate) fn corrupt(codec: Codec, field: &'static str, offset: usize) -> Error {
    malformed(
        codec,
        field,
        offset,
        Value::Text("corrupt data"),
        Value::Text("an intact stream"),
    )
}

/// Malformed because the input ends inside `field`.
pub(crate) fn truncated(codec: Codec, field: &'static str, offset: usize) -> Error {
    malformed(
        codec,
        field,
        offset,
        Value::Text("the end of the input"),
        Value::Text("more data"),
    )
}
