//! The reader of a firmware's event log, as Linux shows it in `binary_bios_measurements`.
//!
//! ```text
//! TCG_PCR_EVENT     pcrIndex u32, eventType u32, digest [u8; 20], eventSize u32, event: here the
//!                   TCG_EfiSpecIdEvent, which names the algorithms and their digests' sizes
//! TCG_PCR_EVENT2... pcrIndex u32, eventType u32, count u32, count times (algorithm u16, digest),
//!                   eventSize u32, event
//! ```
//! A firmware wrote it, or whoever hands it to us: any bytes are an answer or an error.
//!
//! Source: TCG PC Client Platform Firmware Profile, section 10 "Event Logging".

use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::reader::Reader;

use crate::bank::DIGEST_MAX;
use crate::{Bank, Digest, Pcr};

/// "Spec ID Event03", NUL-terminated: a log of TPM 2.0.
const SIGNATURE: [u8; 16] = *b"Spec ID Event03\0";
/// The same of TPM 1.2.
const SIGNATURE_1_2: [u8; 16] = *b"Spec ID Event00\0";
/// Type of an event that extends nothing.
const EV_NO_ACTION: u32 = 3;
/// Bytes of the first event's digest.
const FIRST_DIGEST_LEN: usize = 20;
/// Most algorithms a log may name; TPMs have a few, the registry some 20 hashes.
const ALGORITHMS_MAX: u32 = 32;

/// A log, read whole.
#[derive(Clone, Debug)]
pub struct EventLog<'a> {
    algorithms: Vec<Algorithm>,
    events: Vec<LogEvent<'a>>,
}

/// One event.
#[derive(Clone, Debug)]
pub struct LogEvent<'a> {
    /// Place in the log, the heading event not counted, from 0.
    pub number: u32,
    /// The register extended.
    pub pcr: u32,
    /// eventType.
    pub kind: u32,
    /// What the event tells; no digest needs to be of this.
    pub data: &'a [u8],
    digests: Vec<(Bank, Digest)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Algorithm {
    id: u16,
    size: u16,
}

impl<'a> EventLog<'a> {
    /// Reads a log.
    ///
    /// # Errors
    /// `Malformed` with field, found and needed, and the number of the event; `Unsupported` for a
    /// log of TPM 1.2.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let algorithms = heading(&mut reader)?;
        let mut events = Vec::new();
        while reader.offset() < bytes.len() {
            let number = u32::try_from(events.len()).unwrap_or(u32::MAX);
            let event = LogEvent::read(&mut reader, &algorithms, number);
            events.push(event.map_err(|error| error.of_entry(number))?);
        }
        Ok(Self { algorithms, events })
    }

    /// The banks it has digests for, of those this crate knows.
    #[must_use]
    pub fn banks(&self) -> Vec<Bank> {
        let ids = self.algorithms.iter().map(|algorithm| algorithm.id);
        ids.filter_map(Bank::of_algorithm).collect()
    }

    /// The events that extended this register, in order.
    pub fn of_pcr(&self, pcr: u32) -> impl Iterator<Item = &LogEvent<'a>> {
        let extends = move |event: &&LogEvent<'_>| event.pcr == pcr && event.kind != EV_NO_ACTION;
        self.events.iter().filter(extends)
    }

    /// What the log's events come to in a register that started from zeros.
    ///
    /// None if an event has no digest for the bank.
    #[must_use]
    pub fn replay(&self, pcr: u32, bank: Bank) -> Option<Digest> {
        let mut value = Pcr::new(bank);
        for event in self.of_pcr(pcr) {
            value.extend(event.digest(bank)?);
        }
        Some(value.value())
    }
}

impl<'a> LogEvent<'a> {
    /// Its digest in a bank, if it has one.
    #[must_use]
    pub fn digest(&self, bank: Bank) -> Option<&Digest> {
        let found = self.digests.iter().find(|(of, _)| *of == bank);
        found.map(|(_, digest)| digest)
    }

    /// What sd-stub says of the event: its data as UTF-16, up to the first NUL. Never more than
    /// the data hold, and never broken: what is no text becomes U+FFFD.
    #[must_use]
    pub fn description(&self) -> String {
        let pairs = self.data.chunks_exact(2);
        let units = pairs.filter_map(|pair| Some(u16::from_le_bytes(pair.try_into().ok()?)));
        let units: Vec<_> = units.take_while(|unit| *unit != 0).collect();
        String::from_utf16_lossy(&units)
    }

    fn read(reader: &mut Reader<'a>, algorithms: &[Algorithm], number: u32) -> Result<Self> {
        let pcr = reader.u32("pcrIndex")?;
        let kind = reader.u32("eventType")?;
        let count = reader.u32("digests.count")?;
        let most = algorithms.len() as u64;
        if u64::from(count) > most {
            let needed = Needed::AtMost(most);
            return Err(Error::malformed("digests.count", count.into(), needed));
        }
        let mut digests = Vec::new();
        let mut seen = Vec::new();
        for _ in 0..count {
            let id = reader.u16("hashAlg")?;
            let known = algorithms.iter().find(|algorithm| algorithm.id == id);
            let Some(algorithm) = known.filter(|_| !seen.contains(&id)) else {
                let needed = Needed::Words("one that the heading names, and no event twice");
                return Err(Error::malformed("hashAlg", id.into(), needed));
            };
            seen.push(id);
            let bytes = reader.take(algorithm.size.into(), "digest")?;
            let digest = Bank::of_algorithm(id).zip(Digest::from_bytes(bytes));
            digests.extend(digest);
        }
        let size = reader.u32("eventSize")?;
        let data = reader.take(usize::try_from(size).unwrap_or(usize::MAX), "event")?;
        Ok(Self {
            number,
            pcr,
            kind,
            data,
            digests,
        })
    }
}

/// The first event: the algorithms of all the others.
fn heading(reader: &mut Reader<'_>) -> Result<Vec<Algorithm>> {
    reader.u32("pcrIndex")?;
    let kind = reader.u32("eventType")?;
    reader.take(FIRST_DIGEST_LEN, "digest")?;
    let size = reader.u32("eventSize")?;
    let event = reader.take(usize::try_from(size).unwrap_or(usize::MAX), "event")?;
    let mut event = Reader::new(event);
    let signature: Result<[u8; 16]> = event.take_array("signature");
    match signature {
        Ok(SIGNATURE) if kind == EV_NO_ACTION => {}
        Ok(SIGNATURE_1_2) => {
            let why = "found one of TPM 1.2, needed one of TPM 2.0";
            return Err(Error::reason(Class::Unsupported, "event log", why));
        }
        _ => {
            let why = "found no Spec ID event at its start, needed one";
            return Err(Error::reason(Class::Malformed, "event log", why));
        }
    }
    event.u32("platformClass")?;
    event.u32("specVersion")?;
    let count = event.u32("numberOfAlgorithms")?;
    if count == 0 || count > ALGORITHMS_MAX {
        let needed = Needed::Words("1 to 32");
        return Err(Error::malformed("numberOfAlgorithms", count.into(), needed));
    }
    let algorithms: Result<Vec<_>> = (0..count).map(|_| algorithm(&mut event)).collect();
    let vendor = event.take_array::<1>("vendorInfoSize")?;
    event.take(u8::from_le_bytes(vendor).into(), "vendorInfo")?;
    algorithms
}

fn algorithm(event: &mut Reader<'_>) -> Result<Algorithm> {
    let id = event.u16("algorithmId")?;
    let size = event.u16("digestSize")?;
    let needed = match Bank::of_algorithm(id) {
        Some(bank) if bank.digest_len() != usize::from(size) => bank.digest_len() as u64,
        None if usize::from(size) > DIGEST_MAX => DIGEST_MAX as u64,
        _ => return Ok(Algorithm { id, size }),
    };
    let needed = match Bank::of_algorithm(id) {
        Some(_) => Needed::Exactly(needed),
        None => Needed::AtMost(needed),
    };
    Err(Error::malformed("digestSize", size.into(), needed))
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
