//! What a boot measured, beside its image.

use kpeel_measure::compare::{Comparison, Row};
use kpeel_measure::{Measured, PCR};
use serde::Serialize;

use super::{Digests, digests, line, part_name, values};
use crate::text::{escape, shown_line};
use crate::tree::Node;

/// An event log beside an image.
#[derive(Debug, Serialize)]
pub(crate) struct Boot {
    /// The image, as the caller named it.
    path: String,
    /// The log, as the caller named it.
    log: String,
    /// The profile that was compared.
    profile: u64,
    pcr: u32,
    /// Which `.dtbauto` and `.efifw` the machine picked.
    picked: Picked,
    differences: usize,
    events: Vec<Event>,
    /// What the image's events come to.
    expected: Digests,
    /// What the log's events come to.
    logged: Digests,
}

#[derive(Debug, Serialize)]
struct Picked {
    dtbauto: Option<usize>,
    efifw: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Event {
    /// `same`, `differs`, `missing` (from the log) or `unexpected` (in the log).
    state: &'static str,
    /// The section's name; what the log calls it if it is no section of the image.
    section: String,
    part: Option<&'static str>,
    /// Number of the event in the log, all registers counted.
    number: Option<u32>,
    /// Of the image.
    expected: Digests,
    /// In the first bank that differs.
    logged: Digests,
    /// Another section of the image that has what the log shows.
    found_in: Option<FoundIn>,
}

#[derive(Debug, Serialize)]
struct FoundIn {
    index: u32,
    /// `null` for the base.
    profile: Option<u64>,
}

impl Boot {
    pub(crate) fn new(path: &str, log: &str, comparison: &Comparison) -> Self {
        let measured = &comparison.measured;
        let logged = measured.banks.iter().copied().zip(&comparison.logged);
        Self {
            path: path.to_owned(),
            log: log.to_owned(),
            profile: measured.profile,
            pcr: PCR,
            picked: Picked {
                dtbauto: measured.picks.dtbauto,
                efifw: measured.picks.efifw,
            },
            differences: comparison.differences(),
            events: comparison
                .rows
                .iter()
                .map(|row| Event::new(row, measured))
                .collect(),
            expected: values(&measured.pcrs()),
            logged: digests(logged.filter_map(|(bank, digest)| Some((bank, digest.as_ref()?)))),
        }
    }

    /// For people.
    pub(crate) fn tree(&self) -> Node {
        let (log, path) = (escape(self.log.as_bytes()), escape(self.path.as_bytes()));
        let profile = self.profile;
        let mut root = Node::new(format!("{log} beside profile {profile} of {path}"));
        for event in &self.events {
            root.push(event.node());
        }
        let mut pcr = Node::new(format!("PCR {}", self.pcr));
        pcr.line(format!("image: {}", line(&self.expected)));
        pcr.line(format!("log:   {}", line(&self.logged)));
        root.push(pcr);
        root
    }

    /// How the comparison ends, when there are differences.
    pub(crate) fn verdict(&self, differences: usize) -> String {
        let (log, path) = (escape(self.log.as_bytes()), escape(self.path.as_bytes()));
        let (all, profile) = (self.events.len(), self.profile);
        format!("{log}: {differences} of {all} events are not those of profile {profile} of {path}")
    }
}

impl Event {
    fn new(row: &Row, measured: &Measured) -> Self {
        let of_image = |event: usize, state| {
            let event = measured.events.get(event);
            Self {
                state,
                section: event.map_or(String::new(), |event| event.section.name().to_owned()),
                part: event.map(|event| part_name(event.part)),
                number: None,
                expected: event.map_or_else(Digests::new, |event| {
                    digests(measured.banks.iter().copied().zip(&event.digests))
                }),
                logged: Digests::new(),
                found_in: None,
            }
        };
        match row {
            Row::Same { event, at } => Self {
                number: Some(*at),
                ..of_image(*event, "same")
            },
            Row::Differs {
                event,
                at,
                logged,
                holder,
            } => Self {
                number: Some(*at),
                logged: digests(logged.iter().map(|(bank, digest)| (*bank, digest))),
                found_in: holder.map(|(index, profile)| FoundIn { index, profile }),
                ..of_image(*event, "differs")
            },
            Row::Missing { event } => of_image(*event, "missing"),
            Row::Unexpected { at, description } => Self {
                state: "unexpected",
                section: description.clone(),
                part: None,
                number: Some(*at),
                expected: Digests::new(),
                logged: Digests::new(),
                found_in: None,
            },
        }
    }

    fn node(&self) -> Node {
        let part = self.part.map_or(String::new(), |part| format!(" {part}"));
        let name = shown_line(&self.section);
        let mut node = Node::new(match self.state {
            "missing" => format!("{name}{part}: not in the log"),
            "unexpected" => format!("\"{name}\": only in the log"),
            state => format!("{name}{part}: {state}"),
        });
        if self.state == "same" {
            return node;
        }
        if let Some(number) = self.number {
            node.line(format!("event {number} of the log"));
        }
        if !self.expected.is_empty() {
            node.line(format!("image: {}", line(&self.expected)));
        }
        if !self.logged.is_empty() {
            node.line(format!("log:   {}", line(&self.logged)));
        }
        if let Some(found) = &self.found_in {
            let scope = match found.profile {
                Some(profile) => format!("profile {profile}"),
                None => "the base".to_owned(),
            };
            node.line(format!(
                "the log's is section {} of the image, in {scope}",
                found.index
            ));
        }
        node
    }
}
