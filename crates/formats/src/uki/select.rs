//! Scopes, and what they come to.

use super::{Kind, MAX_SECTIONS, NAMES, slot};
use crate::zboot::Text;
use core::fmt;

/// One PE section, as far as these rules look at it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Section {
    /// Its name, NUL-padded.
    pub name: [u8; 8],
    /// Offset of its data in the file; the rules only hand it on, so a caller may have another mark
    /// here.
    pub offset: u32,
    /// Bytes of data: the smaller of VirtualSize and SizeOfRawData (but see
    /// [`Selection::measured`]).
    pub size: u32,
}

/// A run of the section table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Everything before the first `.profile`.
    Base,
    /// Profile N: its `.profile`, and everything up to the next.
    Profile(usize),
}

/// A section table that is a UKI's, checked as a whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Uki<'a> {
    sections: &'a [Section],
}

/// The effective set of one profile.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Selection<'a> {
    pub(super) base: &'a [Section],
    pub(super) own: &'a [Section],
}

/// Why a section table is no UKI's, or none that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// No `.linux` in any scope: another format.
    NotUki,
    /// More than [`MAX_SECTIONS`] sections; how many.
    TooManySections(usize),
    /// This name stands twice in one scope and may not.
    Duplicate(Kind),
    /// There is no such profile.
    NoProfile {
        /// The number asked for.
        found: u64,
        /// How many there are; `.profile` sections, so 0 also stands for "only the base".
        count: usize,
    },
    /// The effective set has no `.linux`, or an empty one.
    NoKernel,
}

impl Section {
    /// What the specification calls it, if it does.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        let name = u64::from_le_bytes(self.name);
        let known = *NAMES.get(slot(name))? == name;
        Kind::ALL
            .into_iter()
            .find(|kind| known && kind.word() == name)
    }
}

impl<'a> Uki<'a> {
    /// Checks the table: that this is a UKI, and every scope for names that stand twice.
    ///
    /// # Errors
    ///
    /// All but [`Error::NoProfile`] and [`Error::NoKernel`].
    pub fn new(sections: &'a [Section]) -> Result<Self, Error> {
        if sections.len() > MAX_SECTIONS.into() {
            return Err(Error::TooManySections(sections.len()));
        }
        if !sections
            .iter()
            .any(|section| section.kind() == Some(Kind::Linux))
        {
            return Err(Error::NotUki);
        }
        let uki = Self { sections };
        match uki.scopes().find_map(|(_, scope)| duplicate(scope)) {
            Some(kind) => Err(Error::Duplicate(kind)),
            None => Ok(uki),
        }
    }

    /// How many `.profile` sections there are.
    #[must_use]
    pub fn profiles(&self) -> usize {
        self.sections.iter().filter(starts_profile).count()
    }

    /// Every scope in order: the base, then each profile.
    pub fn scopes(&self) -> impl Iterator<Item = (Scope, &'a [Section])> + use<'a> {
        let mut rest = Some(self.sections);
        let mut next = Scope::Base;
        core::iter::from_fn(move || {
            let table = rest?;
            let skip = usize::from(next != Scope::Base);
            let end = table
                .iter()
                .skip(skip)
                .position(|section| starts_profile(&section));
            let (scope, tail) = match end {
                Some(end) => table.split_at(end.saturating_add(skip)),
                None => (table, &[][..]),
            };
            rest = end.map(|_| tail);
            let this = next;
            next = match next {
                Scope::Base => Scope::Profile(0),
                Scope::Profile(number) => Scope::Profile(number.saturating_add(1)),
            };
            Some((this, scope))
        })
    }

    /// The effective set of this profile. Profile 0 always exists.
    ///
    /// # Errors
    ///
    /// [`Error::NoProfile`], [`Error::NoKernel`].
    pub fn select(&self, profile: u64) -> Result<Selection<'a>, Error> {
        let count = self.profiles();
        let number = usize::try_from(profile).unwrap_or(usize::MAX);
        if number != 0 && number >= count {
            let found = profile;
            return Err(Error::NoProfile { found, count });
        }
        let of = |wanted| self.scopes().find(|(scope, _)| *scope == wanted);
        let selection = Selection {
            base: of(Scope::Base).map_or(&[], |(_, base)| base),
            own: of(Scope::Profile(number)).map_or(&[], |(_, own)| own),
        };
        match selection.get(Kind::Linux) {
            Some(kernel) if kernel.size != 0 => Ok(selection),
            _ => Err(Error::NoKernel),
        }
    }
}

impl<'a> Selection<'a> {
    /// The section of this kind that counts: the first in the profile's own scope, else the first
    /// in the base. It may be empty.
    #[must_use]
    pub fn get(&self, kind: Kind) -> Option<&'a Section> {
        let mut both = self.own.iter().chain(self.base);
        both.find(|section| section.kind() == Some(kind))
    }

    /// The sections that a boot by firmware would use and kexec does not, each kind once, in
    /// [`Kind::ALL`]'s order.
    pub fn left_out(&self) -> impl Iterator<Item = (Kind, &'a Section)> + use<'a> {
        let selection = *self;
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.left_out());
        kinds.filter_map(move |kind| {
            let section = selection.get(kind)?;
            (section.size != 0).then_some((kind, section))
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUki => f.write_str("not a Unified Kernel Image: no .linux section"),
            Self::TooManySections(found) => {
                write!(
                    f,
                    "NumberOfSections: found {found}, needed at most {MAX_SECTIONS}"
                )
            }
            Self::Duplicate(kind) => {
                write!(
                    f,
                    "{}: found twice in one profile, needed once",
                    Text(kind.word())
                )
            }
            Self::NoProfile { found, count: 0 } => {
                write!(f, "profile: found {found}, but the image has no profiles")
            }
            Self::NoProfile { found, count } => {
                write!(f, "profile: found {found}, needed a number below {count}")
            }
            Self::NoKernel => f.write_str(".linux: none, or an empty one, in this profile"),
        }
    }
}

impl core::error::Error for Error {}

fn starts_profile(section: &&Section) -> bool {
    section.kind() == Some(Kind::Profile)
}

/// The first kind that stands a second time in this scope and may not.
fn duplicate(scope: &[Section]) -> Option<Kind> {
    let mut seen = 0;
    scope.iter().filter_map(Section::kind).find(|kind| {
        let again = seen & kind.bit() != 0;
        seen |= kind.bit();
        again && !kind.may_repeat()
    })
}

#[cfg(test)]
extern crate std;

/// Sections named in `text`; each one's offset is its place, `!` after a name makes it empty.
#[cfg(test)]
pub(super) fn table(text: &str) -> std::vec::Vec<Section> {
    let section = |(at, name): (usize, &str)| {
        let size = u32::from(!name.ends_with('!'));
        let mut padded = [0; 8];
        for (to, from) in padded.iter_mut().zip(name.trim_end_matches('!').bytes()) {
            *to = from;
        }
        Section {
            name: padded,
            offset: at as u32,
            size,
        }
    };
    text.split_whitespace().enumerate().map(section).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec::Vec;

    fn place(text: &str, profile: u64, kind: Kind) -> Option<u32> {
        let table = table(text);
        let selection = Uki::new(&table).unwrap().select(profile).unwrap();
        selection.get(kind).map(|section| section.offset)
    }

    fn refusal(text: &str, profile: u64) -> Option<Error> {
        let table = table(text);
        Uki::new(&table).and_then(|uki| uki.select(profile)).err()
    }

    #[test]
    fn every_name_has_a_slot_of_its_own() {
        for kind in Kind::ALL {
            assert_eq!(NAMES[kind.slot()], kind.word());
            let section = table(kind.name())[0];
            assert_eq!(section.kind(), Some(kind));
        }
        for name in [".text", ".linuxx", ".LINUX", "linux", "", ".bpf"] {
            assert_eq!(table(&std::format!("{name} x"))[0].kind(), None, "{name}");
        }
    }

    #[test]
    fn without_profiles_everything_is_profile_0() {
        let image = ".text .osrel .linux .initrd";
        assert_eq!(place(image, 0, Kind::Linux), Some(2));
        assert_eq!(place(image, 0, Kind::Cmdline), None);
        let error = refusal(image, 1).unwrap();
        assert_eq!(error, Error::NoProfile { found: 1, count: 0 });
    }

    #[test]
    fn a_profile_overlays_the_base_by_name() {
        let image = ".linux .cmdline .profile .cmdline .initrd .profile .linux .initrd";
        assert_eq!(place(image, 0, Kind::Linux), Some(0));
        assert_eq!(place(image, 0, Kind::Cmdline), Some(3));
        assert_eq!(place(image, 0, Kind::Initrd), Some(4));
        assert_eq!(place(image, 0, Kind::Profile), Some(2));
        assert_eq!(place(image, 1, Kind::Linux), Some(6));
        assert_eq!(place(image, 1, Kind::Cmdline), Some(1));
        assert_eq!(place(image, 1, Kind::Initrd), Some(7));
        let error = refusal(image, 2).unwrap();
        assert_eq!(error, Error::NoProfile { found: 2, count: 2 });
        assert_eq!(
            error.to_string(),
            "profile: found 2, needed a number below 2"
        );
    }

    #[test]
    fn an_empty_section_of_a_profile_hides_the_bases() {
        let image = ".linux .dtb .profile .dtb!";
        let table = table(image);
        let selection = Uki::new(&table).unwrap().select(0).unwrap();
        assert_eq!(selection.get(Kind::Dtb).map(|dtb| dtb.size), Some(0));
        assert_eq!(selection.left_out().count(), 0);
    }

    #[test]
    fn rejects_what_may_not_stand_twice_in_one_scope() {
        let twice = |image| refusal(image, 0);
        assert_eq!(twice(".linux .linux"), Some(Error::Duplicate(Kind::Linux)));
        assert_eq!(
            twice(".linux .profile .profile .dtb .uname .dtb"),
            Some(Error::Duplicate(Kind::Dtb))
        );
        assert_eq!(twice(".linux .profile .linux .profile .linux"), None);
        assert_eq!(twice(".linux .dtbauto .dtbauto .efifw .efifw"), None);
        assert_eq!(twice(".text .text .linux .text"), None);
    }

    #[test]
    fn of_what_may_repeat_the_first_counts() {
        assert_eq!(place(".linux .dtbauto .dtbauto", 0, Kind::Dtbauto), Some(1));
        let image = ".linux .dtbauto .profile .dtbauto .dtbauto";
        assert_eq!(place(image, 0, Kind::Dtbauto), Some(3));
    }

    #[test]
    fn needs_a_kernel_in_the_effective_set() {
        assert_eq!(refusal(".text .initrd", 0), Some(Error::NotUki));
        assert_eq!(refusal("", 0), Some(Error::NotUki));
        // Another format may repeat these names as it likes.
        assert_eq!(refusal(".cmdline .cmdline", 0), Some(Error::NotUki));
        assert_eq!(refusal(".linux!", 0), Some(Error::NoKernel));
        let image = ".profile .initrd .profile .linux";
        assert_eq!(refusal(image, 0), Some(Error::NoKernel));
        assert_eq!(refusal(image, 1), None);
    }

    #[test]
    fn counts_no_further_than_96_sections() {
        let full = std::format!(".linux{}", " .text".repeat(95));
        assert_eq!(refusal(&full, 0), None);
        let error = refusal(&(full + " .text"), 0);
        assert_eq!(error, Some(Error::TooManySections(97)));
    }

    #[test]
    fn names_what_is_left_out_once() {
        let table = table(".linux .dtbauto .dtbauto .pcrsig .splash .hwids .uname .efifw!");
        let selection = Uki::new(&table).unwrap().select(0).unwrap();
        let kinds: Vec<_> = selection.left_out().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::Dtbauto, Kind::Pcrsig]);
    }
}
