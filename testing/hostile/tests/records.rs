//! The documents tell what the machines counted, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use kpeel_hostile::record::{Fuzzing, Mutations};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_document_quotes_the_records() {
    let document = fs::read_to_string(root().join("docs/hostile-input.md")).unwrap();
    let record = root().join("testing/hostile/record.json");
    let mutations = Mutations::load(&record).unwrap();
    assert!(!mutations.rows.is_empty(), "{}", record.display());
    let fuzzing = Fuzzing::load(&root().join("fuzz/record.json")).unwrap();
    for part in [mutations.summary(), mutations.table(), fuzzing.table()] {
        let told = "`cargo run -p kpeel-hostile -- tables` prints what belongs there";
        assert!(document.contains(&part), "{told}; not there:\n{part}");
    }
}
