//! Boot loader entries and command lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kpeel_boot::{Boot, CmdlineInputs, Partitions, compose, reuse};
use kpeel_envelope::compose::{cmdline_text, split_selector};
use kpeel_formats::uki::{Selector, command_line};

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
    fs::create_dir_all(root.join("boot/loader/entries")).expect("a directory");
    root
});

/// Reads two entries and a loader.conf; asks for every entry, by its id, and for the default.
pub fn entries(bytes: &[u8]) {
    let loader = ROOT.join("boot/loader");
    let places = ["entries/a+3-1.conf", "entries/b.conf", "loader.conf"];
    let mut parts = bytes.splitn(places.len(), |byte| *byte == SEPARATOR);
    for place in places {
        fs::write(loader.join(place), parts.next().unwrap_or_default()).expect("a file");
    }
    let Ok(boot) = Boot::read(&ROOT, Partitions::usual(&ROOT)) else {
        panic!("a folder that cannot be read");
    };
    assert!(boot.entries().len() + boot.problems().len() <= 2);
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
    let Ok(log) = kpeel_measure::EventLog::parse(data) else {
        return;
    };
    for bank in log.banks() {
        let digests = log.of_pcr(kpeel_measure::PCR).map(|event| event.digest(bank));
        let all = digests.collect::<Option<Vec<_>>>();
        // A register comes of all its events or of none.
        assert_eq!(all.is_some(), log.replay(kpeel_measure::PCR, bank).is_some());
    }
    for event in log.of_pcr(kpeel_measure::PCR) {
        assert!(event.description().chars().count() <= event.data.len() / 2);
    }
}
