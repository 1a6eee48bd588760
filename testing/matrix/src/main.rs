//! `kpeel-matrix`: boots guests in which kpeel loads a kernel and starts it.
#![forbid(unsafe_code)]

mod options;
mod report;

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use kpeel_matrix::row::Row;
use kpeel_matrix::shop::Shop;
use kpeel_matrix::{Outcome, all};
use kpeel_vm::Arch;
use options::{Options, Request};
use report::Report;

fn main() -> ExitCode {
    let rows = all();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Options::parse(&arguments, &rows) {
        Ok(Request::List) => {
            for row in &rows {
                let tier = if row.full { " (--full)" } else { "" };
                println!("{:24} {}{tier}", row.name, row.claim);
            }
            ExitCode::SUCCESS
        }
        Ok(Request::Run(options)) => {
            let chosen: Vec<&Row> = rows.iter().filter(|row| options.takes(row)).collect();
            match run(&chosen, options.jobs) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => {
                    eprintln!("kpeel-matrix: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Err(message) => {
            eprintln!("kpeel-matrix: {message}\n{}", options::USAGE);
            ExitCode::from(2)
        }
    }
}

/// Runs the rows, `jobs` at a time; whether all passed.
fn run(rows: &[&Row], jobs: usize) -> Outcome<bool> {
    let started = Instant::now();
    let mut arches: Vec<Arch> = Vec::new();
    for row in rows {
        if !arches.contains(&row.arch) {
            arches.push(row.arch);
        }
    }
    let shop = Shop::open(&arches)?;
    let report = Mutex::new(Report::default());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..jobs.min(rows.len()) {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let begun = Instant::now();
                    let outcome = row.run(&shop);
                    let mut report = report.lock().expect("no worker panics with the lock");
                    report.add(row, begun.elapsed(), outcome);
                }
            });
        }
    });
    let report = report.into_inner().expect("all workers have ended");
    report.finish(started.elapsed())
}
