//! What sd-stub measures into PCR 11, and in which order.
//!
//! Source: the order is that of `enum UnifiedSection` in systemd's `src/fundamental/uki.h`, which
//! sd-stub and systemd-measure follow and to which systemd only ever appends. UAPI.5's text lists
//! `.dtbauto`, `.efifw` and `.hwids` elsewhere and leaves `.profile` out; the machines follow the
//! enum.

use super::{Kind, Section, Selection};

/// The kinds that are measured, in the order of measuring: all but `.pcrsig`, which signs the
/// result.
pub const MEASURED: [Kind; 14] = [
    Kind::Linux,
    Kind::Osrel,
    Kind::Cmdline,
    Kind::Initrd,
    Kind::Ucode,
    Kind::Splash,
    Kind::Dtb,
    Kind::Uname,
    Kind::Sbat,
    Kind::Pcrpkey,
    Kind::Profile,
    Kind::Dtbauto,
    Kind::Hwids,
    Kind::Efifw,
];

/// What a machine takes of the kinds that it chooses by its hardware ([`Kind::by_hardware`]).
///
/// Numbers count [`Selection::candidates`] from 0; none means that nothing fits the machine, and
/// nothing is measured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Picks {
    /// Which `.dtbauto`.
    pub dtbauto: Option<usize>,
    /// Which `.efifw`.
    pub efifw: Option<usize>,
}

impl Kind {
    /// Whether the machine's hardware ids decide which section of this kind counts, if any.
    #[must_use]
    pub const fn by_hardware(self) -> bool {
        matches!(self, Self::Dtbauto | Self::Efifw)
    }
}

impl Picks {
    /// The number picked for this kind.
    #[must_use]
    pub const fn of(self, kind: Kind) -> Option<usize> {
        match kind {
            Kind::Dtbauto => self.dtbauto,
            Kind::Efifw => self.efifw,
            _ => None,
        }
    }
}

impl<'a> Selection<'a> {
    /// The sections of a kind that a machine can choose from: the base's, then the profile's own.
    pub fn candidates(&self, kind: Kind) -> impl Iterator<Item = &'a Section> + use<'a> {
        let both = self.base.iter().chain(self.own);
        both.filter(move |section| section.kind() == Some(kind))
    }

    /// What is measured, in order. Each section stands for two events: its name with a NUL, then
    /// its contents.
    ///
    /// What counts is memory, so [`Section::size`] has to be VirtualSize here: contents end with
    /// zeros where it is larger than SizeOfRawData. An empty section is not measured, and an empty
    /// one of the profile still hides the base's.
    pub fn measured(&self, picks: Picks) -> impl Iterator<Item = (Kind, &'a Section)> + use<'a> {
        let selection = *self;
        MEASURED.into_iter().filter_map(move |kind| {
            let section = if kind.by_hardware() {
                selection.candidates(kind).nth(picks.of(kind)?)?
            } else {
                selection.get(kind)?
            };
            (section.size != 0).then_some((kind, section))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Uki, select::table};
    use super::*;
    extern crate std;
    use std::string::String;
    use std::vec::Vec;

    /// Names and places of what is measured.
    fn measured(image: &str, profile: u64, picks: Picks) -> String {
        let table = table(image);
        let selection = Uki::new(&table).unwrap().select(profile).unwrap();
        let all: Vec<_> = selection
            .measured(picks)
            .map(|(kind, section)| std::format!("{}@{}", kind.name(), section.offset))
            .collect();
        all.join(" ")
    }

    #[test]
    fn everything_but_signatures_is_measured_once() {
        for kind in Kind::ALL {
            let times = MEASURED
                .iter()
                .filter(|measured| **measured == kind)
                .count();
            assert_eq!(times, usize::from(kind != Kind::Pcrsig), "{kind:?}");
        }
    }

    #[test]
    fn the_table_s_order_does_not_matter() {
        let image = ".sbat .hwids .pcrpkey .pcrsig .uname .text .cmdline .osrel .initrd .linux";
        assert_eq!(
            measured(image, 0, Picks::default()),
            ".linux@9 .osrel@7 .cmdline@6 .initrd@8 .uname@4 .sbat@0 .pcrpkey@2 .hwids@1"
        );
    }

    #[test]
    fn a_profile_s_sections_and_its_separator_are_measured() {
        let image = ".linux .cmdline .dtb .profile .profile .cmdline .dtb!";
        assert_eq!(
            measured(image, 0, Picks::default()),
            ".linux@0 .cmdline@1 .dtb@2 .profile@3"
        );
        // The empty `.dtb` hides the base's.
        assert_eq!(
            measured(image, 1, Picks::default()),
            ".linux@0 .cmdline@5 .profile@4"
        );
    }

    #[test]
    fn what_hardware_chooses_is_measured_if_it_is_chosen() {
        let image = ".linux .efifw .dtbauto .dtbauto .hwids .profile .dtbauto";
        let picks = |dtbauto, efifw| Picks { dtbauto, efifw };
        assert_eq!(
            measured(image, 0, picks(None, None)),
            ".linux@0 .profile@5 .hwids@4"
        );
        assert_eq!(
            measured(image, 0, picks(Some(1), Some(0))),
            ".linux@0 .profile@5 .dtbauto@3 .hwids@4 .efifw@1"
        );
        assert_eq!(
            measured(image, 0, picks(Some(2), Some(1))),
            ".linux@0 .profile@5 .dtbauto@6 .hwids@4"
        );
    }
}
