//! The loader's data: chunks one after the other, each at a known offset.

use crate::Error;

/// Most bytes of data; Linux takes offsets in a map value below 2^29 (`BPF_MAX_VAR_OFF`).
const MAX_SIZE: usize = 1 << 28;

/// An offset in the blob.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Offset(i32);

impl Offset {
    /// `bytes` further on.
    pub(crate) fn plus(self, bytes: i32) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// The element of an array of elements of `size` bytes that starts here.
    pub(crate) fn element(self, index: usize, size: i32) -> Self {
        let index = i32::try_from(index).unwrap_or(i32::MAX);
        self.plus(index.saturating_mul(size))
    }

    pub(crate) fn get(self) -> i32 {
        self.0
    }

    /// The offset as the displacement of a load or store, if it fits.
    pub(crate) fn displacement(self) -> Option<i16> {
        i16::try_from(self.0).ok()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Blob(Vec<u8>);

impl Blob {
    /// Appends a chunk at the next multiple of `align`, a power of two.
    pub(crate) fn put(&mut self, align: usize, chunk: &[u8]) -> Result<Offset, Error> {
        let at = self.0.len().next_multiple_of(align);
        let end = at.saturating_add(chunk.len());
        let offset = i32::try_from(at).ok().filter(|_| end <= MAX_SIZE);
        let Some(offset) = offset else {
            return Err(Error::unsupported(
                "programs and constants",
                format_args!("{end} bytes"),
                format_args!("at most {MAX_SIZE}"),
            ));
        };
        self.0.resize(at, 0);
        self.0.extend_from_slice(chunk);
        Ok(Offset(offset))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// An attribute of a command while its constant fields are filled in.
#[derive(Debug)]
pub(crate) struct Attr<const N: usize>([u8; N]);

impl<const N: usize> Attr<N> {
    pub(crate) fn new() -> Self {
        Self([0; N])
    }

    /// Sets a 32-bit field.
    pub(crate) fn word(self, at: usize, value: u32) -> Self {
        self.bytes(at, &value.to_le_bytes())
    }

    /// Sets bytes; what lies past the end is cut.
    pub(crate) fn bytes(mut self, at: usize, value: &[u8]) -> Self {
        for (to, from) in self.0.iter_mut().skip(at).zip(value) {
            *to = *from;
        }
        self
    }

    pub(crate) fn get(&self) -> &[u8; N] {
        &self.0
    }
}
