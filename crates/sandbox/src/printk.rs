//! `bpf_trace_printk`'s formats.
//!
//! Source: `bpf_bprintf_prepare()` in `kernel/bpf/helpers.c`: the conversions d, i, u, x, X, p, s and c with
//! width and the lengths l and ll; `%pK`, `%px`, `%ps`, `%pks` and their likes print as `%p`.

use kpeel_bpf::Memory;

use crate::text;

/// Longest line.
const MAX_LINE: usize = 1024;
/// Longest string argument.
const MAX_STRING: u64 = 512;

/// One conversion.
#[derive(Default)]
struct Conversion {
    zero: bool,
    left: bool,
    width: usize,
    longs: u8,
}

/// The line, or `None` for a conversion that Linux refuses too.
pub(crate) fn format(format: &[u8], values: &[u64], memory: &Memory) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let mut values = values.iter();
    let mut rest = format.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            line.push(byte);
            continue;
        }
        if rest.next_if_eq(&b'%').is_some() {
            line.push(b'%');
            continue;
        }
        let mut conversion = Conversion::default();
        while let Some(flag) = rest.next_if(|byte| matches!(byte, b'0' | b'+' | b'-' | b' ')) {
            conversion.zero |= flag == b'0';
            conversion.left |= flag == b'-';
        }
        while let Some(digit) = rest.next_if(u8::is_ascii_digit) {
            let digit = usize::from(digit.saturating_sub(b'0'));
            conversion.width = conversion.width.saturating_mul(10).saturating_add(digit);
        }
        while rest.next_if_eq(&b'l').is_some() {
            conversion.longs = conversion.longs.saturating_add(1);
        }
        let kind = rest.next()?;
        let value = *values.next()?;
        let text = match kind {
            b'p' => {
                while rest
                    .next_if(|byte| b"Kxksb4i6SsBh".contains(byte))
                    .is_some()
                {}
                format!("{value:#018x}").into_bytes()
            }
            b's' => text::read(memory, value, MAX_STRING).map_or_else(Vec::new, |text| text.bytes),
            b'c' => vec![value as u8],
            _ => conversion.number(kind, value)?,
        };
        conversion.pad(text, &mut line);
        line.truncate(MAX_LINE);
    }
    Some(line)
}

impl Conversion {
    fn number(&self, kind: u8, value: u64) -> Option<Vec<u8>> {
        if self.longs > 2 {
            return None;
        }
        let wide = self.longs > 0;
        let signed = if wide {
            value as i64
        } else {
            i64::from(value as i32)
        };
        let unsigned = if wide { value } else { u64::from(value as u32) };
        let text = match kind {
            b'd' | b'i' => signed.to_string(),
            b'u' => unsigned.to_string(),
            b'x' => format!("{unsigned:x}"),
            b'X' => format!("{unsigned:X}"),
            _ => return None,
        };
        Some(text.into_bytes())
    }

    fn pad(&self, text: Vec<u8>, line: &mut Vec<u8>) {
        let missing = self.width.min(MAX_LINE).saturating_sub(text.len());
        let fill = if self.zero && !self.left { b'0' } else { b' ' };
        let padding = std::iter::repeat_n(fill, missing);
        if self.left {
            line.extend(text);
            line.extend(padding);
        } else {
            line.extend(padding);
            line.extend(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kpeel_bpf::Access;

    #[test]
    fn formats_as_the_c_library_does() {
        let mut memory = Memory::new();
        let name = memory
            .map_owned(b"zimg\0".to_vec(), Access::ReadOnly)
            .unwrap();
        let line = |text: &str, values: &[u64]| {
            format(text.as_bytes(), values, &memory).map(|line| String::from_utf8(line).unwrap())
        };
        let minus = -7_i64 as u64;
        assert_eq!(line("%d %i %u%%", &[minus, 8, 9]).unwrap(), "-7 8 9%");
        assert_eq!(
            line("%08x|%-4d|%4d", &[0xab, 5, 6]).unwrap(),
            "000000ab|5   |   6"
        );
        assert_eq!(
            line("%lld %x", &[1 << 40, 1 << 40]).unwrap(),
            "1099511627776 0"
        );
        assert_eq!(line("%s %c\n", &[name, 65]).unwrap(), "zimg A\n");
        assert_eq!(line("%px", &[1]).unwrap(), "0x0000000000000001");
        assert_eq!(line("%s", &[1]).unwrap(), "");
    }

    #[test]
    fn refuses_unknown_conversions_and_missing_arguments() {
        let memory = Memory::new();
        for text in ["%f", "%", "%n", "%llld", "%d %d %d %d"] {
            assert_eq!(format(text.as_bytes(), &[1, 2, 3], &memory), None, "{text}");
        }
    }
}
