//! What `kpeel measure` found out, for programs and for people.

mod boot;
mod forecast;

pub(crate) use boot::Boot;
pub(crate) use forecast::Forecast;

use std::collections::BTreeMap;

use kpeel_measure::{Bank, Digest, Part, Pcr};

/// Digests by the bank's name.
type Digests = BTreeMap<&'static str, String>;

fn digests<'d>(of: impl IntoIterator<Item = (Bank, &'d Digest)>) -> Digests {
    of.into_iter()
        .map(|(bank, digest)| (bank.name(), digest.to_string()))
        .collect()
}

fn values(pcrs: &[Pcr]) -> Digests {
    let value = |pcr: &Pcr| (pcr.bank().name(), pcr.value().to_string());
    pcrs.iter().map(value).collect()
}

fn part_name(part: Part) -> &'static str {
    match part {
        Part::Name => "name",
        Part::Contents => "contents",
    }
}

/// Digests as a line shows them.
fn line(digests: &Digests) -> String {
    let each: Vec<_> = digests
        .iter()
        .map(|(bank, digest)| format!("{bank} {digest}"))
        .collect();
    each.join(", ")
}
