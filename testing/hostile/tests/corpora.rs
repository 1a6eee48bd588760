//! The fuzz targets' corpora: one for each target, small, and what the seeds say.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A corpus is read at every start of a target; files over this are no seeds.
const MOST: usize = 16 << 10;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn files(dir: &Path) -> BTreeMap<String, PathBuf> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                path,
            )
        })
        .collect()
}

#[test]
fn every_target_is_built_and_has_seeds() {
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let targets: Vec<String> = files(&fuzz().join("targets")).into_keys().collect();
    assert_eq!(manifest.matches("[[bin]]").count(), targets.len());
    for target in &targets {
        let name = target.strip_suffix(".rs").unwrap();
        assert!(
            manifest.contains(&format!("\"targets/{target}\"")),
            "{name}"
        );
        let corpus = files(&fuzz().join("corpus").join(name));
        assert!(!corpus.is_empty(), "{name} has no seeds");
    }
}

#[test]
fn corpora_hold_the_seeds_and_finds_that_are_small() {
    for seed in kpeel_hostile::seeds::all().unwrap() {
        let path = fuzz().join("corpus").join(seed.target).join(&seed.name);
        assert!(
            path.is_file(),
            "{}: `kpeel-seeds fuzz/corpus` makes it",
            path.display()
        );
    }
    for (target, dir) in files(&fuzz().join("corpus")) {
        for (name, path) in files(&dir) {
            let len = fs::metadata(&path).unwrap().len() as usize;
            assert!(len <= MOST && len != 0, "{target}/{name}: {len} bytes");
            let plain =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(
                name.bytes().all(plain),
                "{target}/{name}: named by its fault, not by a hash"
            );
        }
    }
}
