//! Bytes as people read them.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// Longest text shown in a tree, in characters.
const SHOWN: usize = 160;

/// The SHA-256 of `bytes` in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `bytes` in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A size with the unit that suits it.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 3] = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match UNITS.into_iter().find(|(shift, _)| bytes >> shift != 0) {
        Some((shift, unit)) => format!("{:.1} {unit}", bytes as f64 / f64::from(1_u32 << shift)),
        None => format!("{bytes} bytes"),
    }
}

/// Untrusted text, safe for a terminal: control characters and broken UTF-8 are escaped, the end
/// of long text is left out.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let escaped = escape(bytes);
    match escaped.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", escaped.get(..end).unwrap_or_default()),
        None => escaped,
    }
}

/// As [`shown`], of text.
pub(crate) fn shown_line(text: &str) -> String {
    shown(text.as_bytes())
}

/// A line with control and format characters escaped, all else as it is.
pub(crate) fn printable(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    for character in line.chars() {
        match character {
            '"' | '\'' | '\\' => text.push(character),
            _ => text.extend(character.escape_debug()),
        }
    }
    text
}

/// Untrusted text, whole, safe for a terminal.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            // Direction overrides could make a line lie; they are format characters, which
            // `escape_debug` escapes, as it does control characters.
            match character {
                '"' | '\'' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size(0), "0 bytes");
        assert_eq!(size(1023), "1023 bytes");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "17179869184.0 GiB");
    }

    #[test]
    fn untrusted_text_cannot_reach_the_terminal_raw() {
        assert_eq!(escape(b"a\x1b[31m\xff\n\"'"), r#"a\u{1b}[31m\xff\n"'"#);
        assert_eq!(escape("\u{202e}gnp".as_bytes()), r"\u{202e}gnp");
        assert_eq!(escape("grün".as_bytes()), "grün");
        assert_eq!(shown(&[b'x'; 200]).len(), SHOWN + 3);
    }

    #[test]
    fn lines_keep_all_but_control_characters() {
        assert_eq!(
            printable("C:\\ \"x\" \u{1b}[2J\r"),
            r#"C:\ "x" \u{1b}[2J\r"#
        );
    }

    #[test]
    fn hashes_as_the_standard_says() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }
}
