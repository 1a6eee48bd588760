//! The events a boot makes, worked out of the image.

use std::cell::RefCell;
use std::collections::HashMap;

use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pe::Pe;
use kpeel_envelope::section::Section;
use kpeel_formats::uki::{self, Kind, Picks, Uki};

use crate::{Bank, Digest, Pcr};

/// An image's sections, and the digests of their contents, each hashed once.
#[derive(Debug)]
pub struct Table<'a> {
    pe: Pe<'a>,
    /// As the rules look at them: `offset` is the section's index, `size` its VirtualSize.
    sections: Vec<uki::Section>,
    digests: RefCell<HashMap<(u32, Bank), Digest>>,
}

/// Half of what a section is measured as.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Part {
    /// Its name, with a NUL.
    Name,
    /// Its contents.
    Contents,
}

/// One event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// The section.
    pub section: Kind,
    /// Its place in the section table.
    pub index: u32,
    /// What of it.
    pub part: Part,
    /// Bytes hashed.
    pub size: u64,
    /// The digest in each bank, in the order of [`Measured::banks`].
    pub digests: Vec<Digest>,
}

/// What sd-stub measures of one profile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Measured {
    /// The profile.
    pub profile: u64,
    /// What the machine picks by its hardware.
    pub picks: Picks,
    /// The banks.
    pub banks: Vec<Bank>,
    /// The events in order.
    pub events: Vec<Event>,
}

impl<'a> Table<'a> {
    /// The table of an image.
    ///
    /// # Errors
    /// That the image is no PE image; `Refused` when the sections take more memory than an image
    /// may have bytes.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        let pe = Pe::parse(bytes)?;
        let memory = pe.sections().fold(0, |sum: u64, section| {
            sum.saturating_add(section.virtual_size.into())
        });
        Limits::check(
            "VirtualSize of all sections",
            memory,
            Limits::default().image,
        )?;
        let sections = pe.sections().map(|section| uki::Section {
            name: section.raw_name,
            offset: section.index,
            size: section.virtual_size,
        });
        Ok(Self {
            sections: sections.collect(),
            pe,
            digests: RefCell::default(),
        })
    }

    /// How many profiles can be selected: profile 0 always exists.
    ///
    /// # Errors
    /// That the table is no UKI's.
    pub fn profiles(&self) -> Result<u64> {
        Ok((self.uki()?.profiles() as u64).max(1))
    }

    /// How many sections of a kind that hardware chooses a profile has.
    ///
    /// # Errors
    /// As [`Table::measured`].
    pub fn candidates(&self, profile: u64, kind: Kind) -> Result<usize> {
        let selection = self.uki()?.select(profile).map_err(refusal)?;
        Ok(selection.candidates(kind).count())
    }

    /// The digest of what one of them holds; none if there is no such one.
    ///
    /// # Errors
    /// As [`Table::measured`].
    pub fn candidate(
        &self,
        profile: u64,
        kind: Kind,
        number: usize,
        bank: Bank,
    ) -> Result<Option<Digest>> {
        let selection = self.uki()?.select(profile).map_err(refusal)?;
        let section = selection.candidates(kind).nth(number);
        Ok(section.and_then(|section| self.contents(section.offset, bank)))
    }

    /// What sd-stub measures when this profile is booted on a machine that picks these sections.
    ///
    /// # Errors
    /// That the table is no UKI's; `Misuse` when there is no such profile or no such section to
    /// pick.
    pub fn measured(&self, profile: u64, picks: Picks, banks: &[Bank]) -> Result<Measured> {
        let selection = self.uki()?.select(profile).map_err(refusal)?;
        for kind in [Kind::Dtbauto, Kind::Efifw] {
            let count = selection.candidates(kind).count();
            if let Some(number) = picks.of(kind).filter(|number| *number >= count) {
                return Err(no_such(kind.name(), number as u64, count));
            }
        }
        let events = selection.measured(picks).flat_map(|(kind, section)| {
            [Part::Name, Part::Contents].map(|part| self.event(kind, section, part, banks))
        });
        Ok(Measured {
            profile,
            picks,
            banks: banks.to_vec(),
            events: events.collect(),
        })
    }

    /// Which section of this kind holds this, and in which profile it stands (none is the base).
    #[must_use]
    pub fn holder(&self, kind: Kind, bank: Bank, digest: &Digest) -> Option<(u32, Option<u64>)> {
        let mut profile = None;
        for section in &self.sections {
            if section.kind() == Some(Kind::Profile) {
                profile = Some(profile.map_or(0, |number: u64| number.saturating_add(1)));
            }
            if section.kind() == Some(kind)
                && self.contents(section.offset, bank).as_ref() == Some(digest)
            {
                return Some((section.offset, profile));
            }
        }
        None
    }

    fn uki(&self) -> Result<Uki<'_>> {
        Uki::new(&self.sections).map_err(refusal)
    }

    fn event(&self, kind: Kind, section: &uki::Section, part: Part, banks: &[Bank]) -> Event {
        let name = name_with_nul(kind);
        let digest = |bank: &Bank| match part {
            Part::Name => Some(bank.digest(&name)),
            Part::Contents => self.contents(section.offset, *bank),
        };
        Event {
            section: kind,
            index: section.offset,
            part,
            size: match part {
                Part::Name => name.len() as u64,
                Part::Contents => section.size.into(),
            },
            // Every index in the table is a section's, so there is a digest of each.
            digests: banks.iter().filter_map(digest).collect(),
        }
    }

    /// The digest of a section as it stands in memory.
    fn contents(&self, index: u32, bank: Bank) -> Option<Digest> {
        if let Some(known) = self.digests.borrow().get(&(index, bank)) {
            return Some(*known);
        }
        let section = self.pe.sections().find(|section| section.index == index)?;
        let digest = bank.digest_padded(section.data(), zeros(&section));
        self.digests.borrow_mut().insert((index, bank), digest);
        Some(digest)
    }
}

impl Measured {
    /// What the events come to in each bank.
    #[must_use]
    pub fn pcrs(&self) -> Vec<Pcr> {
        let all = self.after_each();
        all.last()
            .cloned()
            .unwrap_or_else(|| self.banks.iter().copied().map(Pcr::new).collect())
    }

    /// The same after each event.
    #[must_use]
    pub fn after_each(&self) -> Vec<Vec<Pcr>> {
        let mut pcrs: Vec<_> = self.banks.iter().copied().map(Pcr::new).collect();
        let step = |event: &Event| {
            for (pcr, digest) in pcrs.iter_mut().zip(&event.digests) {
                pcr.extend(digest);
            }
            pcrs.clone()
        };
        self.events.iter().map(step).collect()
    }
}

/// What the name's event hashes.
fn name_with_nul(kind: Kind) -> Vec<u8> {
    let mut name = kind.name().as_bytes().to_vec();
    name.push(0);
    name
}

/// Bytes that memory has behind those of the file.
fn zeros(section: &Section<'_>) -> u64 {
    u64::from(section.virtual_size).saturating_sub(section.data().len() as u64)
}

fn refusal(error: uki::Error) -> Error {
    match error {
        uki::Error::NotUki => Error::absent(Class::Unsupported, Kind::Linux.name()),
        uki::Error::TooManySections(found) => Error::value(
            Class::Unsupported,
            "NumberOfSections",
            found as u64,
            Needed::AtMost(uki::MAX_SECTIONS.into()),
        ),
        uki::Error::Duplicate(kind) => Error::malformed(kind.name(), 2, Needed::Exactly(1)),
        uki::Error::NoProfile { found, count } => no_such("profile", found, count.max(1)),
        uki::Error::NoKernel => {
            let why = "none, or an empty one, in this profile";
            Error::reason(Class::Malformed, Kind::Linux.name(), why)
        }
    }
}

/// A number that counts nothing: there are `count`, from 0.
fn no_such(field: &'static str, found: u64, count: usize) -> Error {
    let needed = match (count as u64).checked_sub(1) {
        Some(last) => Needed::AtMost(last),
        None => Needed::Words("none: the image has no such section"),
    };
    Error::value(Class::Misuse, field, found, needed)
}
