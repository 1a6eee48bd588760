//! Which profile of an image a log is compared with.

use kpeel_envelope::error::{Class, Field, Result};
use kpeel_formats::uki::Picks;
use kpeel_measure::compare::{Comparison, compare};
use kpeel_measure::{Bank, EventLog, Measured, PCR, Table};

#[path = "../../envelope/tests/support/mod.rs"]
mod support;
use support::image;

/// EV_IPL, and SHA-256 in a log ("Event Types"; TCG Algorithm Registry).
const EV_IPL: u32 = 13;
const SHA_256: u16 = 0x000b;

/// The log of a boot that measured this.
fn log_of(measured: &Measured) -> Vec<u8> {
    let mut heading = b"Spec ID Event03\0".to_vec();
    // Class, versions, one algorithm and the size of its digests, no vendor's bytes.
    heading.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0]);
    let mut log = [0, 3_u32].map(u32::to_le_bytes).concat();
    log.extend([0; 20]);
    log.extend((heading.len() as u32).to_le_bytes());
    log.extend(heading);
    for event in &measured.events {
        log.extend([PCR, EV_IPL, 1].map(u32::to_le_bytes).concat());
        log.extend(SHA_256.to_le_bytes());
        log.extend(event.digests[0].as_bytes());
        let name = event.section.name().encode_utf16().chain([0]);
        let name: Vec<u8> = name.flat_map(u16::to_le_bytes).collect();
        log.extend((name.len() as u32).to_le_bytes());
        log.extend(name);
    }
    log
}

/// The log of a boot of profile 1 of [`PROFILES`], compared with an image of these sections.
fn compared(sections: &[(&str, &[u8])], profile: Option<u64>) -> Result<Comparison> {
    let (booted, image) = (image(&PROFILES), image(sections));
    let (booted, table) = (Table::new(&booted).unwrap(), Table::new(&image).unwrap());
    let picks = Picks::default();
    let log = log_of(&booted.measured(1, picks, &[Bank::Sha256]).unwrap());
    compare(
        &table,
        &EventLog::parse(&log).unwrap(),
        profile,
        picks,
        None,
    )
}

/// Of two profiles the second only has a kernel.
const PROFILES: [(&str, &[u8]); 6] = [
    (".osrel", b"ID=os"),
    (".profile", b"ID=none"),
    (".cmdline", b"none"),
    (".profile", b"ID=one"),
    (".linux", b"kernel"),
    (".cmdline", b"one"),
];

#[test]
fn a_profile_that_cannot_be_booted_does_not_hide_one_that_can() {
    for profile in [None, Some(1)] {
        let comparison = compared(&PROFILES, profile).unwrap();
        assert_eq!(comparison.measured.profile, 1);
        assert_eq!(comparison.differences(), 0);
    }
    let error = compared(&PROFILES, Some(0)).unwrap_err();
    assert_eq!(error.field, Field::Named(".linux"));
}

/// What is said is what is wrong with the first.
#[test]
fn an_image_of_which_no_profile_can_be_booted_is_an_error() {
    let mut profiles = PROFILES;
    profiles[4].1 = b"";
    let error = compared(&profiles, None).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Malformed, Field::Named(".linux"))
    );
}
