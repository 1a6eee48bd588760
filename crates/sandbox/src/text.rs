//! Strings in a program's memory.

use kpeel_bpf::Memory;

/// A string as far as it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Text {
    /// Without the NUL.
    pub(crate) bytes: Vec<u8>,
    /// Whether the NUL was found within the limit.
    pub(crate) ended: bool,
}

/// Reads up to `limit` bytes, the NUL included; `None` where memory ends before either.
pub(crate) fn read(memory: &Memory, address: u64, limit: u64) -> Option<Text> {
    let (len, ended) = measure(memory, address, limit)?;
    let bytes = memory.bytes(address, len).ok()?.into_owned();
    Some(Text { bytes, ended })
}

/// How long the string is that [`read`] would read, and whether it ended; takes no memory.
pub(crate) fn measure(memory: &Memory, address: u64, limit: u64) -> Option<(u64, bool)> {
    let region = memory.region(address)?;
    let room = region.base.checked_add(region.len)?.checked_sub(address)?;
    let (head, body) = memory.parts(address, room.min(limit)).ok()?;
    match head.iter().chain(body).position(|byte| *byte == 0) {
        Some(end) => Some((end as u64, true)),
        None if room < limit => None,
        None => Some((limit, false)),
    }
}

/// Text for people: printable ASCII in quotes, anything else escaped.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kpeel_bpf::Access;

    #[test]
    fn strings_end_at_their_nul_or_the_limit_but_not_at_the_end_of_memory() {
        let mut memory = Memory::new();
        let base = memory
            .map_owned(b"ab\0cde".to_vec(), Access::ReadOnly)
            .unwrap();
        let text = |bytes: &[u8], ended| {
            Some(Text {
                bytes: bytes.to_vec(),
                ended,
            })
        };
        assert_eq!(read(&memory, base, 64), text(b"ab", true));
        assert_eq!(read(&memory, base, 3), text(b"ab", true));
        assert_eq!(read(&memory, base, 2), text(b"ab", false));
        assert_eq!(read(&memory, base + 3, 3), text(b"cde", false));
        assert_eq!(read(&memory, base + 3, 4), None);
        assert_eq!(read(&memory, base + 6, 1), None);
        assert_eq!(read(&memory, 0, 1), None);
    }
}
