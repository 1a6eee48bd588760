//! Full counts: `kpeel-hostile [--runs N] [--out FILE]`, and one mutation again:
//! `kpeel-hostile replay IMAGE CLASS NUMBER -o FILE`.
//!
//! Rows are written to the file as they are done; those that this program wrote there already are not run again.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use kpeel_counting::Counting;
use kpeel_hostile::campaign::{self, Row, every_class};
use kpeel_hostile::class::{Class, mutate};
use kpeel_hostile::judge::{REAL, SMALL};
use kpeel_hostile::record::{Fuzzing, Mutations};
use kpeel_hostile::subject::{self, Subject};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Mutations of each class and small image.
const RUNS: u64 = 10_000;
/// Mutations of each class and real image.
const REAL_RUNS: u64 = 200;
const USAGE: &str =
    "usage: kpeel-hostile [--runs N] [--out FILE] | replay IMAGE CLASS NUMBER -o FILE | tables";
/// The records that documents quote.
const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/record.json");
const FUZZING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/record.json");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["replay", image, class, number, "-o", out] => replay(image, class, number, out),
        ["tables"] => tables(RECORD, FUZZING),
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

fn full(words: &[&str]) -> Result<(), String> {
    let (runs, out) = options(words)?;
    let mut results = Mutations::load(&out)?.gone_on_by(program()?);
    let begun = Instant::now();
    let (small, real) = (subject::small()?, subject::real()?);
    let mut tasks = every_class(&small, 0, runs, SMALL);
    tasks.extend(every_class(&real, 0, runs.min(REAL_RUNS), REAL));
    results.planned = tasks.len();
    let done: BTreeSet<_> = results.rows.iter().map(key).collect();
    tasks.retain(|task| {
        let class = task.class.map_or("", Class::name);
        !done.contains(&(task.subject.name.clone(), class.to_owned(), task.runs))
    });
    let results = Mutex::new(results);
    campaign::run(&tasks, &|row| {
        println!("{}", campaign::line(row));
        let stored = lock(&results).and_then(|mut results| {
            results.rows.push(row.clone());
            results.store(&out)
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

/// What this program is told by: another build of it has another kpeel in it.
fn program() -> Result<String, String> {
    let path = std::env::current_exe().map_err(|error| error.to_string())?;
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut hasher = DefaultHasher::new();
    hasher.write(&bytes);
    Ok(format!("{:016x}", hasher.finish()))
}

fn options(mut words: &[&str]) -> Result<(u64, PathBuf), String> {
    let (mut runs, mut out) = (RUNS, PathBuf::from("target/hostile/mutations.json"));
    while let [option, value, rest @ ..] = words {
        match *option {
            "--runs" => runs = value.parse().map_err(|_| USAGE)?,
            "--out" => out = PathBuf::from(value),
            _ => return Err(USAGE.into()),
        }
        words = rest;
    }
    match words {
        [] => Ok((runs, out)),
        _ => Err(USAGE.into()),
    }
}

fn lock(results: &Mutex<Mutations>) -> Result<std::sync::MutexGuard<'_, Mutations>, String> {
    results.lock().map_err(|error| error.to_string())
}

fn key(row: &Row) -> (String, String, u64) {
    (row.image.clone(), row.class.clone(), row.runs)
}

/// Prints what documents quote.
fn tables(mutations: &str, fuzzing: &str) -> Result<(), String> {
    let mutations = Mutations::load(Path::new(mutations))?;
    let fuzzing = Fuzzing::load(Path::new(fuzzing))?;
    println!("{}\n\n{}", mutations.summary(), mutations.table());
    println!("{}", fuzzing.table());
    Ok(())
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
