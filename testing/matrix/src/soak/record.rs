//! The record of all guests: JSON that grows with each of them.

use std::fs;
use std::path::{Path, PathBuf};

use kpeel_matrix::Outcome;
use kpeel_matrix::soak::{Image, Subject, sha256};
use serde_json::{Map, Value, json};

/// Options that make a kernel look after itself.
const CHECKS: &[&str] = &[
    "PROVE_LOCKING",
    "PROVE_RCU",
    "DEBUG_ATOMIC_SLEEP",
    "SLUB_DEBUG_ON",
    "DEBUG_KMEMLEAK",
    "KASAN",
    "UBSAN",
    "FAULT_INJECTION",
];
/// Longer than any decompression may take, in milliseconds.
const LONGEST: u64 = 5000;

/// Version, digest and checks of the kernel in a directory, as they stand in the record.
pub(crate) fn kernel(dir: &Path, subject: &Subject) -> Outcome<Value> {
    let path = dir.join("config");
    let config = fs::read_to_string(&path);
    let config = config.map_err(|error| format!("{}: {error}", path.display()))?;
    let on = |name: &&&str| {
        config
            .lines()
            .any(|line| line == format!("CONFIG_{name}=y"))
    };
    let checks: Vec<&&str> = CHECKS.iter().filter(on).collect();
    Ok(json!({
        "release": subject.kernel.release,
        "sha256": subject.sha256,
        "checks": checks,
        "append": subject.append,
    }))
}

/// The record, in memory and on disk.
pub(crate) struct Record {
    path: PathBuf,
    value: Value,
}

impl Record {
    /// Goes on with the record in the file if it is about the same, else begins one.
    pub(crate) fn open(path: &Path, what: &str, kernel: Value, images: &[&Image]) -> Outcome<Self> {
        let digests: Map<String, Value> = images
            .iter()
            .map(|image| (image.name.clone(), sha256(&image.bytes).into()))
            .collect();
        let fresh = json!({
            "schema": 1,
            "what": what,
            "kernel": kernel,
            "images": digests,
            "done": 0,
            "guests": [],
        });
        let old = fs::read_to_string(path).ok();
        let old = old.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let same = |old: &Value| {
            ["schema", "what", "kernel", "images"]
                .iter()
                .all(|name| old.get(name) == fresh.get(name))
        };
        let value = old.filter(same).unwrap_or(fresh);
        Ok(Self {
            path: path.to_owned(),
            value,
        })
    }

    /// Loads, failing allocations, or streams of each codec that were done.
    pub(crate) fn done(&self) -> u32 {
        let done = self.value["done"].as_u64().unwrap_or(0);
        u32::try_from(done).unwrap_or(u32::MAX)
    }

    /// Whether a load has no more allocations that could fail.
    pub(crate) fn exhausted(&self) -> bool {
        self.guests().iter().any(|guest| {
            let told = guest["told"].as_array();
            told.is_some_and(|told| told.iter().any(|line| line["exhausted"] == true))
        })
    }

    /// Adds what a guest told, and writes the record.
    ///
    /// # Errors
    /// When it told nothing, or the record cannot be written.
    pub(crate) fn add(&mut self, first: u32, told: Vec<Value>) -> Outcome<()> {
        let count = done_in(&told).ok_or("the guest did not say how much it did")?;
        self.value["done"] = (u64::from(first) + count).into();
        let guest = json!({ "first": first, "told": told });
        if let Some(guests) = self.value["guests"].as_array_mut() {
            guests.push(guest);
        }
        self.write()
    }

    /// Demands that no stream took too long.
    pub(crate) fn check_times(&self) -> Outcome<()> {
        let told = self
            .guests()
            .iter()
            .filter_map(|guest| guest["told"].as_array());
        for line in told.flatten() {
            let took = line["longest_ms"].as_u64().unwrap_or(0);
            if took > LONGEST {
                let codec = &line["codec"];
                return Err(format!("{codec}: {took} ms, needed at most {LONGEST}").into());
            }
        }
        Ok(())
    }

    fn guests(&self) -> &[Value] {
        self.value["guests"].as_array().map_or(&[], Vec::as_slice)
    }

    fn write(&self) -> Outcome<()> {
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        let part = self.path.with_extension("part");
        fs::write(&part, text(&self.value))?;
        fs::rename(&part, &self.path)?;
        Ok(())
    }
}

/// The record as JSON: a line for each field and for each thing a guest told.
fn text(record: &Value) -> String {
    let lines = |values: &[String], open: &str, close: &str| {
        format!("{open}\n{}\n{close}", values.join(",\n"))
    };
    let guest = |guest: &Value| {
        let told = guest["told"].as_array().map_or(&[][..], Vec::as_slice);
        let told: Vec<String> = told.iter().map(Value::to_string).collect();
        lines(
            &told,
            &format!("{{\"first\":{},\"told\":[", guest["first"]),
            "]}",
        )
    };
    let fields = record.as_object().into_iter().flatten();
    let fields: Vec<String> = fields
        .map(|(name, value)| match value.as_array() {
            Some(guests) if name == "guests" => {
                let guests: Vec<String> = guests.iter().map(guest).collect();
                format!("\"{name}\":{}", lines(&guests, "[", "]"))
            }
            _ => format!("\"{name}\":{value}"),
        })
        .collect();
    lines(&fields, "{", "}\n")
}

/// How much the guest did: the least of what its commands say.
fn done_in(told: &[Value]) -> Option<u64> {
    let whole = |line: &&Value| {
        let codec = line["codec"].as_str();
        codec.is_none_or(|name| !name.ends_with("-zeros"))
    };
    let counts = told.iter().filter(whole).filter_map(|line| {
        let names = ["loads", "points", "streams"];
        names.iter().find_map(|name| line[*name].as_u64())
    });
    counts.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_reads_as_the_record() {
        let guests = json!([{ "first": 0, "told": [{"loads": 3}, {"sample": 3}] }, { "first": 3, "told": [] }]);
        for record in [json!({"done": 3, "guests": guests}), json!({"guests": []})] {
            let read: Value = serde_json::from_str(&text(&record)).unwrap();
            assert_eq!(read, record);
        }
    }

    #[test]
    fn the_slowest_codec_decides_how_much_was_done() {
        let told = [
            json!({"streams": 9, "codec": "gzip"}),
            json!({"streams": 7, "codec": "xz"}),
            json!({"streams": 4, "codec": "xz-zeros"}),
        ];
        assert_eq!(done_in(&told), Some(7));
        assert_eq!(done_in(&[json!({"points": 3})]), Some(3));
    }
}
