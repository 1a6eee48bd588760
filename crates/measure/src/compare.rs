//! An image beside what a boot measured.

use kpeel_envelope::error::{Class, Error, Result};
use kpeel_envelope::limits::Limits;
use kpeel_formats::uki::{Kind, Picks};

use crate::{Bank, Digest, Event, EventLog, LogEvent, Measured, PCR, Part, Table};

/// Most events of PCR 11 looked at: a boot makes 28 at most, failed attempts before it as many
/// each.
const EVENTS_MAX: u64 = 4096;

/// What a comparison gives.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What the image should measure: the profile and picks that fit the log best.
    pub measured: Measured,
    /// One row for each event of either side.
    pub rows: Vec<Row>,
    /// What the log's events come to, in each bank of [`Measured::banks`].
    pub logged: Vec<Option<Digest>>,
}

/// One event of one or both sides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Row {
    /// Both have it. `at` is its number in the log.
    Same {
        /// Place among [`Measured::events`].
        event: usize,
        /// Number in the log.
        at: u32,
    },
    /// Both have it, with other digests.
    Differs {
        /// Place among [`Measured::events`].
        event: usize,
        /// Number in the log.
        at: u32,
        /// The first bank in which they differ; none if the log lacks a digest there.
        logged: Option<(Bank, Digest)>,
        /// The section of this name that has what the log shows: its index and profile.
        holder: Option<(u32, Option<u64>)>,
    },
    /// The image has it, the log does not.
    Missing {
        /// Place among [`Measured::events`].
        event: usize,
    },
    /// The log has it, the image does not.
    Unexpected {
        /// Number in the log.
        at: u32,
        /// What the log calls it.
        description: String,
    },
}

impl Row {
    /// Whether both sides agree.
    #[must_use]
    pub const fn is_same(&self) -> bool {
        matches!(self, Self::Same { .. })
    }
}

impl Comparison {
    /// How many rows differ.
    #[must_use]
    pub fn differences(&self) -> usize {
        self.rows.iter().filter(|row| !row.is_same()).count()
    }
}

/// Compares what an image should measure with what a boot did, in `banks`, or in all that the log
/// has.
///
/// Without a profile, the one with the fewest differences is taken, of those that can be booted; what the
/// hardware picked is found in the log, where `picks` does not say.
///
/// # Errors
/// `Unsupported` when log and `banks` have none in common or the log has no event of PCR 11;
/// `Refused` when it has more than any boot makes; those of [`Table::measured`], of the first profile if there
/// is none without.
pub fn compare(
    table: &Table<'_>,
    log: &EventLog<'_>,
    profile: Option<u64>,
    picks: Picks,
    banks: Option<&[Bank]>,
) -> Result<Comparison> {
    let wanted = |bank: &Bank| banks.is_none_or(|banks| banks.contains(bank));
    let banks: Vec<_> = log.banks().into_iter().filter(wanted).collect();
    let Some(first) = banks.first().copied() else {
        let why = "found no bank in the log that was asked for or is known, needed one";
        return Err(Error::reason(Class::Unsupported, "event log", why));
    };
    let count = log.of_pcr(PCR).count() as u64;
    Limits::check("events of PCR 11", count, EVENTS_MAX)?;
    // Once: a log has many events of other registers, and profiles times candidates look at these.
    let named = |event| (LogEvent::description(event), event);
    let logged: Vec<(String, &LogEvent<'_>)> = log.of_pcr(PCR).map(named).collect();
    if logged.is_empty() {
        let why = "found no event of PCR 11: the boot did not go through systemd's stub";
        return Err(Error::reason(Class::Unsupported, "event log", why));
    }
    let replayed: Vec<_> = banks.iter().map(|bank| log.replay(PCR, *bank)).collect();
    let profiles = match profile {
        Some(profile) => profile..profile.saturating_add(1),
        None => 0..table.profiles()?,
    };
    let mut best: Option<Comparison> = None;
    let mut failed = None;
    for profile in profiles {
        let forecast = picks_of(table, &logged, profile, picks, first)
            .and_then(|picks| table.measured(profile, picks, &banks));
        let measured = match forecast {
            Ok(measured) => measured,
            Err(error) if error.class == Class::Bug => return Err(error),
            // Another one may be what was booted.
            Err(error) => {
                failed.get_or_insert(error);
                continue;
            }
        };
        let this = Comparison {
            rows: beside(table, &logged, &measured),
            measured,
            logged: replayed.clone(),
        };
        let better = |best: &Comparison| this.differences() < best.differences();
        if best.as_ref().is_none_or(better) {
            best = Some(this);
        }
    }
    best.ok_or(failed.unwrap_or(Error::absent(Class::Bug, "profile")))
}

/// What the hardware picked of a profile, as far as the log shows it; `picks` where that says.
fn picks_of(
    table: &Table<'_>,
    log: &[(String, &LogEvent<'_>)],
    profile: u64,
    picks: Picks,
    bank: Bank,
) -> Result<Picks> {
    Ok(Picks {
        dtbauto: picked(table, log, profile, Kind::Dtbauto, picks.dtbauto, bank)?,
        efifw: picked(table, log, profile, Kind::Efifw, picks.efifw, bank)?,
    })
}

/// Which section of a kind that hardware chooses the log shows.
fn picked(
    table: &Table<'_>,
    log: &[(String, &LogEvent<'_>)],
    profile: u64,
    kind: Kind,
    given: Option<usize>,
    bank: Bank,
) -> Result<Option<usize>> {
    if given.is_some() {
        return Ok(given);
    }
    for number in 0..table.candidates(profile, kind)? {
        let digest = table.candidate(profile, kind, number, bank)?;
        let logged = |(_, event): &(String, &LogEvent<'_>)| event.digest(bank) == digest.as_ref();
        if digest.is_some() && log.iter().any(logged) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Both sides beside each other. Each section has two events of its name in either, so names
/// align them: an event whose section the other side does not have stands alone.
fn beside(table: &Table<'_>, logged: &[(String, &LogEvent<'_>)], measured: &Measured) -> Vec<Row> {
    let mut rest = logged.iter().peekable();
    let mut rows = Vec::new();
    for (at, event) in measured.events.iter().enumerate() {
        let is_this = |other: &&(String, _)| other.0 == event.section.name();
        // What stands before it in the log belongs to no section of the image.
        if rest.clone().any(|other| is_this(&other)) {
            while let Some(other) = rest.next_if(|other| !is_this(other)) {
                rows.push(unexpected(other));
            }
        }
        match rest.next_if(is_this) {
            Some((_, other)) => rows.push(both(table, &measured.banks, at, event, other)),
            None => rows.push(Row::Missing { event: at }),
        }
    }
    rows.extend(rest.map(unexpected));
    rows
}

fn unexpected((description, event): &(String, &LogEvent<'_>)) -> Row {
    Row::Unexpected {
        at: event.number,
        description: description.clone(),
    }
}

fn both(table: &Table<'_>, banks: &[Bank], at: usize, event: &Event, logged: &LogEvent<'_>) -> Row {
    let differs = |(bank, expected): &(&Bank, &Digest)| logged.digest(**bank) != Some(*expected);
    let Some((bank, _)) = banks.iter().zip(&event.digests).find(differs) else {
        return Row::Same {
            event: at,
            at: logged.number,
        };
    };
    let found = logged.digest(*bank).map(|digest| (*bank, *digest));
    let holder = found.filter(|_| event.part == Part::Contents);
    Row::Differs {
        event: at,
        at: logged.number,
        logged: found,
        holder: holder.and_then(|(bank, digest)| table.holder(event.section, bank, &digest)),
    }
}
