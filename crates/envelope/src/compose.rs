//! How an image's resources and the caller's become one.

use super::error::{Class, Error, Needed, Refusal, Result};
use super::host::Host;
use super::limits::{Limits, ABI_SIZE_MAX};
use super::publication::{Resource, MAX_PUBLICATIONS};

/// Initrds are joined at multiples of this (the kernel's unpacker skips zeros between archives,
/// and archives start at multiples of 4: `Documentation/driver-api/early-userspace`).
pub const INITRD_ALIGNMENT: usize = 4;

/// Highest profile number a selector can name.
pub const MAX_PROFILE: u32 = 255;

/// Most digits of a selector, leading zeros included: as many as the UKI parser reads.
const DIGITS_MAX: usize = 10;

/// Splits the profile selector `@N ` off a command line: the number, and the rest without the
/// selector and its one space.
///
/// # Errors
/// `Misuse` when `@` starts the line, but no number up to [`MAX_PROFILE`] with a space or the end
/// behind it follows.
pub fn split_selector(cmdline: &[u8]) -> Result<(Option<u32>, &[u8])> {
    let Some(rest) = cmdline.strip_prefix(b"@") else {
        return Ok((None, cmdline));
    };
    let end = rest.iter().position(|byte| *byte == b' ');
    let (digits, rest) = match end {
        Some(end) => (rest.get(..end), rest.get(end.saturating_add(1)..)),
        None => (Some(rest), None),
    };
    let digits = digits.unwrap_or(&[]);
    let number = core::str::from_utf8(digits)
        .ok()
        .filter(|_| digits.len() <= DIGITS_MAX && digits.iter().all(u8::is_ascii_digit));
    match number
        .and_then(|text| text.parse::<u32>().ok())
        .filter(|number| *number <= MAX_PROFILE)
    {
        Some(number) => Ok((Some(number), rest.unwrap_or(&[]))),
        None => Err(Error::reason(
            Class::Misuse,
            "profile selector",
            "a command line that starts with @ needs a number of at most 255 and a space there",
        )),
    }
}

/// A command line's text: without what may pad a section (NULs and white space at its end). A NUL
/// inside would hide what follows from the kernel.
///
/// # Errors
/// `Malformed` for a NUL inside.
pub fn cmdline_text(bytes: &[u8]) -> Result<&[u8]> {
    let is_padding = |byte: &u8| *byte == 0 || byte.is_ascii_whitespace();
    let len = bytes
        .iter()
        .rposition(|byte| !is_padding(byte))
        .map_or(0, |at| at.saturating_add(1));
    let text = bytes.get(..len).unwrap_or(&[]);
    if let Some(at) = text.iter().position(|byte| *byte == 0) {
        let needed = Needed::Words("no NUL before the end of the text");
        return Err(Error::malformed("kexec:cmdline NUL", at as u64, needed));
    }
    Ok(text)
}

/// Joins the parts of `resource` that there are, in order, of [`MAX_PUBLICATIONS`] at most; each is copied once.
///
/// # Errors
/// `Refused` (bound) when the whole is too large, and what [`Host::concat`] returns.
pub fn join<H: Host>(
    host: &mut H,
    resource: Resource,
    parts: &[Option<H::Buffer>],
) -> Result<Option<H::Buffer>> {
    let mut pieces: [&[u8]; 2 * MAX_PUBLICATIONS] = [&[]; 2 * MAX_PUBLICATIONS];
    let mut pairs = pieces.chunks_exact_mut(2);
    let (mut size, mut only, mut count) = (0_usize, None, 0_u32);
    for part in parts.iter().flatten() {
        let bytes = part.as_ref();
        let joint: &[u8] = match resource {
            _ if count == 0 => &[],
            Resource::Cmdline => b" ",
            _ => padding(size),
        };
        size = size.saturating_add(joint.len()).saturating_add(bytes.len());
        if let Some([before, piece]) = pairs.next() {
            (*before, *piece) = (joint, bytes);
        }
        (only, count) = (Some(part), count.saturating_add(1));
    }
    check_size(host, resource, &[size])?;
    match count {
        0 | 1 => Ok(only.cloned()),
        _ => host.concat(&pieces).map(Some),
    }
}

/// Refuses what policy does not let a caller add: with enforced signatures, the signature covers
/// the image's own initrd and command line together with its kernel.
///
/// # Errors
/// `Refused` (signature), naming the resource.
pub fn check_caller(
    resource: Resource,
    enforced: bool,
    image_has: bool,
    caller_has: bool,
) -> Result<()> {
    if enforced && image_has && caller_has {
        let class = Class::Refused(Refusal::Signature);
        let reason = "the signed image carries its own, which the caller's would change";
        return Err(Error::reason(class, resource.name(), reason));
    }
    Ok(())
}

fn padding(len: usize) -> &'static [u8] {
    const ZEROS: [u8; INITRD_ALIGNMENT] = [0; INITRD_ALIGNMENT];
    ZEROS
        .get(..len.wrapping_neg() % INITRD_ALIGNMENT)
        .unwrap_or(&[])
}

pub(super) fn check_size<H: Host>(host: &H, resource: Resource, parts: &[usize]) -> Result<()> {
    let size = parts
        .iter()
        .fold(0_u64, |sum, part| sum.saturating_add(*part as u64));
    let limits = host.meter().limits();
    let allowed = match resource {
        Resource::Kernel => limits.kernel,
        Resource::Initrd => limits.initrd,
        Resource::Cmdline => limits.cmdline,
    };
    Limits::check(resource.name(), size, allowed.min(ABI_SIZE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_a_selector_and_one_space_only() {
        assert_eq!(
            split_selector(b"@12  quiet"),
            Ok((Some(12), &b" quiet"[..]))
        );
        assert_eq!(split_selector(b"@0"), Ok((Some(0), &b""[..])));
        assert_eq!(split_selector(b"quiet @1"), Ok((None, &b"quiet @1"[..])));
        assert_eq!(split_selector(b""), Ok((None, &b""[..])));
    }

    #[test]
    fn rejects_selectors_without_a_small_number() {
        for line in [
            &b"@"[..],
            b"@x ",
            b"@1x quiet",
            b"@256 ",
            b"@-1 ",
            b"@ 1",
            b"@99999999999 ",
        ] {
            assert_eq!(split_selector(line).unwrap_err().class, Class::Misuse);
        }
    }

    #[test]
    fn cuts_padding_and_rejects_hidden_text() {
        assert_eq!(
            cmdline_text(b"quiet splash\n\0\0"),
            Ok(&b"quiet splash"[..])
        );
        assert_eq!(cmdline_text(b"\0\0"), Ok(&b""[..]));
        assert!(cmdline_text(b"quiet\0init=/bin/sh").is_err());
    }

    #[test]
    fn pads_to_four_bytes() {
        assert_eq!(
            [0, 1, 2, 3, 4].map(|len| padding(len).len()),
            [0, 3, 2, 1, 0]
        );
    }

    #[test]
    fn refuses_the_callers_part_only_beside_a_signed_one() {
        assert!(check_caller(Resource::Initrd, true, true, true).is_err());
        for (enforced, image, caller) in [
            (false, true, true),
            (true, false, true),
            (true, true, false),
        ] {
            assert_eq!(
                check_caller(Resource::Initrd, enforced, image, caller),
                Ok(())
            );
        }
    }
}
