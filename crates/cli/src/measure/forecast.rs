//! What a boot will measure.

use kpeel_envelope::error::Result;
use kpeel_formats::uki::Kind;
use kpeel_measure::{Measured, PCR, Table, phase};
use serde::Serialize;

use super::{Digests, digests, line, part_name, values};
use crate::text::{escape, size};
use crate::tree::Node;

/// What a boot of one profile will measure.
#[derive(Debug, Serialize)]
pub(crate) struct Forecast {
    /// The file, as the caller named it.
    path: String,
    profile: u64,
    pcr: u32,
    events: Vec<Event>,
    /// PCR 11 in each phase, `:` being before any.
    phases: Vec<Phase>,
    /// Kinds of which the machine picks one, and none was named.
    unpicked: Vec<Unpicked>,
}

#[derive(Debug, Serialize)]
struct Event {
    section: &'static str,
    /// Its place in the section table.
    index: u32,
    part: &'static str,
    /// Bytes hashed.
    size: u64,
    digests: Digests,
    /// PCR 11 after it.
    pcr: Digests,
}

#[derive(Debug, Serialize)]
struct Phase {
    phase: String,
    pcr: Digests,
}

#[derive(Debug, Serialize)]
struct Unpicked {
    section: &'static str,
    candidates: usize,
}

impl Forecast {
    /// `phases` are paths; when there are none, systemd-measure's own are taken.
    pub(crate) fn new(
        path: &str,
        table: &Table<'_>,
        measured: &Measured,
        phases: &[String],
    ) -> Result<Self> {
        let defaults = [phase::NONE].into_iter().chain(phase::DEFAULT);
        let paths: Vec<&str> = if phases.is_empty() {
            defaults.collect()
        } else {
            phases.iter().map(String::as_str).collect()
        };
        let phases: Result<_> = paths.iter().map(|path| of_phase(path, measured)).collect();
        let mut unpicked = Vec::new();
        for kind in [Kind::Dtbauto, Kind::Efifw] {
            let candidates = table.candidates(measured.profile, kind)?;
            if candidates != 0 && measured.picks.of(kind).is_none() {
                let section = kind.name();
                unpicked.push(Unpicked {
                    section,
                    candidates,
                });
            }
        }
        Ok(Self {
            path: path.to_owned(),
            profile: measured.profile,
            pcr: PCR,
            events: events(measured),
            phases: phases?,
            unpicked,
        })
    }

    /// For people.
    pub(crate) fn tree(&self) -> Node {
        let path = escape(self.path.as_bytes());
        let (profile, pcr) = (self.profile, self.pcr);
        let mut root = Node::new(format!(
            "{path}: profile {profile} extends PCR {pcr} with {} events",
            self.events.len()
        ));
        for event in &self.events {
            let (section, part, bytes) = (event.section, event.part, size(event.size));
            let digests = line(&event.digests);
            root.line(format!("{section} {part}: {bytes}, {digests}"));
        }
        for unpicked in &self.unpicked {
            let (section, option) = (unpicked.section, unpicked.section.replace('.', "--"));
            root.line(format!(
                "{section}: not counted; of {}, a machine measures the one it picks, if any ({option})",
                unpicked.candidates
            ));
        }
        let mut phases = Node::new(format!("PCR {pcr} by phase"));
        for phase in &self.phases {
            let (path, pcr) = (escape(phase.phase.as_bytes()), line(&phase.pcr));
            phases.line(format!("{path} {pcr}"));
        }
        root.push(phases);
        root
    }
}

fn events(measured: &Measured) -> Vec<Event> {
    let after = measured.after_each();
    let event = |(event, pcrs): (&kpeel_measure::Event, &Vec<_>)| Event {
        section: event.section.name(),
        index: event.index,
        part: part_name(event.part),
        size: event.size,
        digests: digests(measured.banks.iter().copied().zip(&event.digests)),
        pcr: values(pcrs),
    };
    measured.events.iter().zip(&after).map(event).collect()
}

fn of_phase(path: &str, measured: &Measured) -> Result<Phase> {
    let words = phase::words(path)?;
    let pcrs = measured.pcrs();
    let reached = pcrs
        .iter()
        .map(|pcr| (pcr.bank().name(), phase::reached(*pcr, &words).to_string()));
    Ok(Phase {
        phase: path.to_owned(),
        pcr: reached.collect(),
    })
}
