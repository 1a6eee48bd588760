//! Boot loader entries and command lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kpeel_boot::{Boot, CmdlineInputs, Partitions, compose, reuse};
use kpeel_envelope::compose::{cmdline_text, split_selector};
use kpeel_envelope::pe::Pe;
use kpeel_formats::uki::{Picks, Selector, command_line};
use kpeel_measure::compare::{Row, compare};
use kpeel_measure::{EventLog, Table};

/// Parts of an input are told apart by this byte, which no text holds.
const SEPARATOR: u8 = 0xff;

/// A root with a place for entries, in memory where the system has such a place.
static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        memory.into()
    } else {
        std::env::temp_dir()
    };
    let root = dir.join(format!("kpeel-fuzz-{}", std::process::id()));
    for dir in ["boot/loader/entries", "boot/EFI/Linux"] {
        fs::create_dir_all(root.join(dir)).expect("a directory");
    }
    root
});

/// Most profiles of a UKI: each is a section (`MAX_SECTIONS` of `kpeel-envelope`).
const PROFILES: usize = 96;

/// Reads two entries, a loader.conf and a UKI; asks for every entry, by its id, and for the default.
pub fn entries(bytes: &[u8]) {
    let loader = ROOT.join("boot/loader");
    let places = [
        "entries/a+3-1.conf",
        "entries/b.conf",
        "loader.conf",
        "../EFI/Linux/c+1.efi",
    ];
    let mut parts = bytes.splitn(places.len(), |byte| *byte == SEPARATOR);
    for place in places {
        fs::write(loader.join(place), parts.next().unwrap_or_default()).expect("a file");
    }
    let Ok(boot) = Boot::read(&ROOT, Partitions::usual(&ROOT)) else {
        panic!("a folder that cannot be read");
    };
    assert!(boot.entries().len() + boot.problems().len() <= 2 + PROFILES);
    for entry in boot.entries() {
        assert!(boot.entry(&entry.id).is_ok(), "{}", entry.id);
    }
    for problem in boot.problems() {
        assert!(!problem.to_string().is_empty());
    }
    let _ = boot.default_entry();
}

/// Composes the caller's line of its parts; splits, trims and reads lines as the image's parsers do.
pub fn cmdline(bytes: &[u8]) {
    if let Ok((_, rest)) = split_selector(bytes) {
        assert!(bytes.ends_with(rest));
    }
    if let Ok(text) = cmdline_text(bytes) {
        assert!(bytes.starts_with(text) && !text.contains(&0));
    }
    let _ = Selector::parse(bytes);
    if let Some(line) = command_line(bytes) {
        assert!(line.len() <= bytes.len() && !line.contains(&0));
    }
    let mut parts = bytes.split(|byte| *byte == SEPARATOR);
    let mut text = || {
        let part = parts.next()?;
        Some(String::from_utf8_lossy(part).into_owned())
    };
    let inputs = CmdlineInputs {
        running: text(),
        entry: text(),
        append: text().into_iter().collect(),
        whole: text(),
        crash: bytes.len() % 2 == 0,
    };
    if let Some(running) = &inputs.running {
        assert!(reuse(running, inputs.crash).len() <= running.len());
    }
    let composed = compose(&inputs);
    assert_eq!(
        composed.is_err(),
        inputs.whole.is_some() && inputs.running.is_some()
    );
    for part in composed.into_iter().flatten() {
        assert!(!part.text.is_empty() && part.text == part.text.trim());
    }
}

/// An event log, and what is asked of one.
pub fn event_log(data: &[u8]) {
    let Ok(log) = EventLog::parse(data) else {
        return;
    };
    for bank in log.banks() {
        let digests = log
            .of_pcr(kpeel_measure::PCR)
            .map(|event| event.digest(bank));
        let all = digests.collect::<Option<Vec<_>>>();
        // A register comes of all its events or of none.
        assert_eq!(
            all.is_some(),
            log.replay(kpeel_measure::PCR, bank).is_some()
        );
    }
    for event in log.of_pcr(kpeel_measure::PCR) {
        assert!(event.description().chars().count() <= event.data.len() / 2);
    }
}

/// Sections of a measured image take no more than this: their padding is hashed, too.
const MEASURED: u64 = 1 << 20;

/// Four bytes say how long the image is; the log follows it.
pub fn measure(data: &[u8]) {
    let Some((len, rest)) = data.split_first_chunk() else {
        return;
    };
    let Some((image, log)) = rest.split_at_checked(u32::from_le_bytes(*len) as usize) else {
        return;
    };
    let (Ok(pe), Ok(table)) = (Pe::parse(image), Table::new(image)) else {
        return;
    };
    let memory: u64 = pe
        .sections()
        .map(|section| u64::from(section.virtual_size))
        .sum();
    let Ok(log) = EventLog::parse(log) else {
        return;
    };
    if memory > MEASURED {
        return;
    }
    let Ok(comparison) = compare(&table, &log, None, Picks::default(), None) else {
        return;
    };
    let events = log.of_pcr(kpeel_measure::PCR).count();
    let measured = &comparison.measured;
    let of_log = |row: &&Row| !matches!(row, Row::Missing { .. });
    let of_image = |row: &&Row| !matches!(row, Row::Unexpected { .. });
    assert_eq!(comparison.rows.iter().filter(of_log).count(), events);
    assert_eq!(
        comparison.rows.iter().filter(of_image).count(),
        measured.events.len()
    );
    // All events the same: so are the registers.
    if comparison.differences() == 0 {
        let registers = measured.pcrs().into_iter().map(|pcr| Some(pcr.value()));
        assert!(registers.eq(comparison.logged));
    }
}
