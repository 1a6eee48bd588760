//! `.sbat`: the generations by which an image can be revoked.
//!
//! Source: shim, `SBAT.md`; UAPI.5.

use kpeel_envelope::error::{Class, Error, Result};
use kpeel_envelope::pe::Pe;
use kpeel_formats::uki::Kind;

/// The first line of every table.
const FIRST: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n";
const FIRST_START: &str = "sbat,";

/// The entry of a UKI for which nobody gave one.
pub const UKI_SBAT: &str = "\
sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md
uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/
";

/// The entry of an add-on for which nobody gave one.
pub const ADDON_SBAT: &str = "\
sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md
uki-addon,1,UKI Addon,addon,1,https://www.freedesktop.org/software/systemd/man/latest/systemd-stub.html
";

/// One table out of those in `images` (stub, kernel) and `texts`, so that each can be revoked. An
/// image without a table adds nothing. The table ends with a newline and a NUL.
///
/// # Errors
/// `Malformed` for a table of an image, `Misuse` for a text, that does not begin as one must.
pub fn merge(images: &[&[u8]], texts: &[String]) -> Result<Vec<u8>> {
    let mut lines: Vec<String> = Vec::new();
    for image in images {
        let pe = Pe::parse(image)?;
        for section in pe.find(Kind::Sbat.name()) {
            let text = section.data().trim_ascii_end();
            let end = text.iter().rposition(|byte| *byte != 0);
            let text = text.get(..end.map_or(0, |end| end.saturating_add(1)));
            let text = String::from_utf8_lossy(text.unwrap_or(&[])).into_owned();
            lines.extend(entries(&text, Class::Malformed)?);
        }
    }
    for text in texts {
        lines.extend(entries(text, Class::Misuse)?);
    }
    let mut table = FIRST.to_owned();
    table.push_str(&lines.join("\n"));
    table.push_str("\n\0");
    Ok(table.into_bytes())
}

/// The lines behind the first.
fn entries(text: &str, blame: Class) -> Result<Vec<String>> {
    let text = text.trim_end_matches('\0');
    if !text.starts_with(FIRST_START) {
        let reason = "does not begin with \"sbat,\", as every such table does";
        return Err(Error::reason(blame, Kind::Sbat.name(), reason));
    }
    Ok(text.lines().skip(1).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_one_first_line_and_all_entries() {
        let texts = [UKI_SBAT.to_owned(), "sbat,1\nmine,1\nyours,2".to_owned()];
        let merged = String::from_utf8(merge(&[], &texts).unwrap()).unwrap();
        let lines: Vec<_> = merged.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[1].starts_with("uki,1,"));
        assert_eq!(lines[2..], ["mine,1", "yours,2", "\0"]);
        assert!(merged.starts_with(FIRST) && merged.ends_with("yours,2\n\0"));
    }

    #[test]
    fn refuses_a_text_that_is_no_table() {
        let error = merge(&[], &["component,1\n".to_owned()]).unwrap_err();
        assert_eq!(error.class, Class::Misuse);
    }
}
