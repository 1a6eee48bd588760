//! Command lines: the caller's profile selector, and where an image's own text ends.

/// Most bytes a command line may take up to its end.
///
/// No architecture that has UKIs takes a longer one (`COMMAND_LINE_SIZE`: 4096 on loongarch, less
/// elsewhere).
pub const CMDLINE_MAX: u64 = 4096;

/// The part of a `.cmdline` section that counts: up to its first NUL. `None` if it has more than
/// [`CMDLINE_MAX`] bytes.
#[must_use]
pub fn command_line(section: &[u8]) -> Option<&[u8]> {
    let text = section.split(|byte| *byte == 0).next().unwrap_or(&[]);
    (text.len() as u64 <= CMDLINE_MAX).then_some(text)
}

/// Most bytes a selector takes: `@`, ten digits, a space.
pub const SELECTOR_MAX: usize = 12;

/// The `@N ` before a caller's command line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Selector {
    /// N.
    pub profile: u64,
    /// Bytes it takes, the one space included.
    pub len: usize,
}

impl Selector {
    /// The selector `line` starts with: `@`, decimal digits, then one space or the end (of the
    /// bytes, or a NUL). Anything else is ordinary text.
    ///
    /// More than ten digits are not read on: they select `u64::MAX`, which no image has.
    #[must_use]
    #[inline]
    pub fn parse(line: &[u8]) -> Option<Self> {
        if line.first() != Some(&b'@') {
            return None;
        }
        let mut profile = 0;
        for at in 1..SELECTOR_MAX {
            let byte = line.get(at).copied().unwrap_or(0);
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                let len = match byte {
                    _ if at == 1 => return None,
                    b' ' => at.wrapping_add(1),
                    0 => at,
                    _ => return None,
                };
                return Some(Self { profile, len });
            }
            profile = profile.wrapping_mul(10).wrapping_add(digit as u64);
        }
        Some(Self {
            profile: u64::MAX,
            len: SELECTOR_MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(line: &[u8]) -> Option<(u64, usize)> {
        Selector::parse(line).map(|selector| (selector.profile, selector.len))
    }

    #[test]
    fn takes_a_number_and_one_space() {
        assert_eq!(selected(b"@0"), Some((0, 2)));
        assert_eq!(selected(b"@12  quiet"), Some((12, 4)));
        assert_eq!(selected(b"@007\0\0"), Some((7, 4)));
        assert_eq!(selected(b"@4294967296 "), Some((1 << 32, 12)));
    }

    #[test]
    fn leaves_other_text_alone() {
        for line in [
            "", "quiet @1", "@", "@ 1", "@x", "@1x", "@-1", "@1\t", "@@1 ",
        ] {
            assert_eq!(selected(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_longer_number_selects_what_no_image_has() {
        assert_eq!(selected(b"@00000000001 "), Some((u64::MAX, SELECTOR_MAX)));
        assert_eq!(selected(b"@99999999999"), Some((u64::MAX, SELECTOR_MAX)));
        assert_eq!(selected(b"@0000000001 "), Some((1, 12)));
    }

    #[test]
    fn ends_a_command_line_at_nul() {
        assert_eq!(command_line(b"quiet\n"), Some(&b"quiet\n"[..]));
        assert_eq!(command_line(b"a  b\0junk"), Some(&b"a  b"[..]));
        assert_eq!(command_line(b"\0"), Some(&b""[..]));
        assert_eq!(command_line(b""), Some(&b""[..]));
    }

    #[test]
    fn refuses_a_command_line_no_kernel_takes() {
        let mut text = [b'x'; CMDLINE_MAX as usize + 1];
        assert_eq!(command_line(&text), None);
        assert_eq!(command_line(&text[1..]), Some(&text[1..]));
        text[CMDLINE_MAX as usize] = 0;
        assert_eq!(command_line(&text), Some(&text[..CMDLINE_MAX as usize]));
    }
}
