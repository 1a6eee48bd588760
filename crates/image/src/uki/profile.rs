//! Profiles that were built on their own, to be joined to a UKI.

use std::borrow::Cow;

use kpeel_envelope::error::{Class, Error, Result};
use kpeel_envelope::pe::Pe;
use kpeel_envelope::pipeline::SECTION_BPF;
use kpeel_formats::uki::Kind;

use super::NewSection;

/// The sections of the profile in `image`, from its one `.profile` on; those before it are the
/// stub's. A parser is left out, since the UKI has its own.
///
/// # Errors
/// Those of [`Pe::parse`]; `Malformed` when there is not exactly one `.profile`.
pub fn sections(image: &[u8]) -> Result<Vec<NewSection<'_>>> {
    let pe = Pe::parse(image)?;
    let name = Kind::Profile.name();
    let malformed = |reason| Error::reason(Class::Malformed, name, reason);
    match pe.find(name).count() {
        0 => return Err(malformed("none in the profile to be joined, needed one")),
        1 => {}
        _ => return Err(malformed("several in the profile to be joined, needed one")),
    }
    let own = pe
        .sections()
        .skip_while(|section| !section.is_named(name))
        .filter(|section| !section.is_named(SECTION_BPF));
    own.map(|section| {
        let name = String::from_utf8(section.name().to_vec())
            .map_err(|_| malformed("a section's name is no text"))?;
        Ok(NewSection::new(name, Cow::Borrowed(section.data())))
    })
    .collect()
}
