//! Full counts: `kpeel-hostile [--runs N] [--out FILE]`, and one mutation again:
//! `kpeel-hostile replay IMAGE CLASS NUMBER -o FILE`.
//!
//! Rows are written to the file as they are done; those that it holds already are not run again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use kpeel_hostile::campaign::{self, Row, every_class};
use kpeel_hostile::class::{Class, mutate};
use kpeel_hostile::counting::Counting;
use kpeel_hostile::judge::{REAL, SMALL};
use kpeel_hostile::subject::{self, Subject};
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Mutations of each class and small image.
const RUNS: u64 = 10_000;
/// Mutations of each class and real image.
const REAL_RUNS: u64 = 200;
const USAGE: &str =
    "usage: kpeel-hostile [--runs N] [--out FILE] | replay IMAGE CLASS NUMBER -o FILE";

/// The file of results.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Results {
    schema: u32,
    rows: Vec<Row>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["replay", image, class, number, "-o", out] => replay(image, class, number, out),
        words => full(words),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-hostile: {error}");
            ExitCode::FAILURE
        }
    }
}

fn full(mut words: &[&str]) -> Result<(), String> {
    let (mut runs, mut out) = (RUNS, PathBuf::from("target/hostile/mutations.json"));
    while let [option, value, rest @ ..] = words {
        match *option {
            "--runs" => runs = value.parse().map_err(|_| USAGE)?,
            "--out" => out = PathBuf::from(value),
            _ => return Err(USAGE.into()),
        }
        words = rest;
    }
    if !words.is_empty() {
        return Err(USAGE.into());
    }
    let results = Mutex::new(load(&out)?);
    let begun = Instant::now();
    let (small, real) = (subject::small()?, subject::real()?);
    let mut tasks = every_class(&small, 0, runs, SMALL);
    tasks.extend(every_class(&real, 0, runs.min(REAL_RUNS), REAL));
    let done: BTreeSet<_> = lock(&results)?.rows.iter().map(key).collect();
    tasks.retain(|task| {
        let class = task.class.map_or("", Class::name);
        !done.contains(&(task.subject.name.clone(), class.to_owned(), task.runs))
    });
    campaign::run(&tasks, &|row| {
        println!("{}", campaign::line(row));
        let stored = lock(&results).and_then(|mut results| {
            results.rows.push(row.clone());
            store(&out, &results)
        });
        if let Err(error) = stored {
            eprintln!("kpeel-hostile: {error}");
        }
    });
    let results = lock(&results)?;
    for row in campaign::sums(&results.rows) {
        println!("{}", campaign::line(&row));
    }
    println!(
        "{} s, results in {}",
        campaign::seconds(begun),
        out.display()
    );
    let faults = campaign::faults(&results.rows);
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join("\n")),
    }
}

fn lock(results: &Mutex<Results>) -> Result<std::sync::MutexGuard<'_, Results>, String> {
    results.lock().map_err(|error| error.to_string())
}

fn key(row: &Row) -> (String, String, u64) {
    (row.image.clone(), row.class.clone(), row.runs)
}

fn load(path: &Path) -> Result<Results, String> {
    if !path.exists() {
        return Ok(Results {
            schema: 1,
            ..Results::default()
        });
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn store(path: &Path, results: &Results) -> Result<(), String> {
    let text = serde_json::to_string_pretty(results).map_err(|error| error.to_string())?;
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
    }
    let new = path.with_extension("new");
    let written = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, path));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

fn replay(image: &str, class: &str, number: &str, out: &str) -> Result<(), String> {
    let find = |subjects: Vec<Subject>| subjects.into_iter().find(|subject| subject.name == image);
    let subject = match find(subject::small()?) {
        Some(subject) => subject,
        None => find(subject::real()?).ok_or("no such image")?,
    };
    let class = Class::ALL.into_iter().find(|known| known.name() == class);
    let number = number.parse().map_err(|_| USAGE)?;
    let bytes = mutate(&subject, class.ok_or("no such class")?, number);
    std::fs::write(out, bytes).map_err(|error| format!("{out}: {error}"))
}
