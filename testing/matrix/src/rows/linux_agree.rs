//! Rows in which Linux and the sandbox open the same images.

use std::fs;
use std::path::Path;

use kpeel_vm::Arch::X86_64;
use kpeel_vm::{Report, guest};
use serde::{Deserialize, Serialize};

use super::linux::guest_of;
use crate::Outcome;
use crate::agree::{Case, Counts, Keys, cases, judge};
use crate::guest::{Guest, logs};
use crate::row::Row;
use crate::shop::{Shop, Which};

/// Mutations in CI.
const FEW: u64 = 100;
/// Mutations when everything is asked for, and how many of them share a guest.
const MANY: u64 = 2000;
const BATCH: u64 = 250;

/// The rows, slow ones first.
pub(super) fn rows() -> Vec<Row> {
    vec![
        Row::other(
            "x86_64-linux-agrees-2000",
            X86_64,
            "2,000 mutated images: Linux and the sandbox give the same resources or errors of one class",
            many,
        )
        .within(1800)
        .only_full(),
        Row::other(
            "x86_64-linux-agrees",
            X86_64,
            "every small image and 100 mutations: Linux and the sandbox give the same resources or errors of one class",
            few,
        )
        .within(900),
    ]
}

fn few(shop: &Shop, row: &Row) -> Outcome<Report> {
    let keys = keys(shop)?;
    let (report, counts) = batch(shop, row, &keys, 0, FEW)?;
    println!("{}: {}", row.name, told(&counts));
    Ok(report)
}

/// Goes on where an earlier run stopped: done batches stand in a file that names the kernel.
fn many(shop: &Shop, row: &Row) -> Outcome<Report> {
    let keys = keys(shop)?;
    let kernel = kernel_key(shop)?;
    let file = logs().join("agrees-2000.json");
    let mut done = Done::read(&file, &kernel);
    let mut last = None;
    for from in (0..MANY).step_by(BATCH as usize) {
        if done.batches.iter().any(|(number, _)| *number == from) {
            continue;
        }
        let (report, counts) = batch(shop, row, &keys, from, from + BATCH)?;
        println!("{}: {from}..{}: {}", row.name, from + BATCH, told(&counts));
        done.batches.push((from, counts));
        done.write(&file)?;
        last = Some(report);
    }
    println!("{}: {}", row.name, file.display());
    match last {
        Some(report) => Ok(report),
        // All was done before: one more guest, so that the report is one of this run.
        None => Ok(batch(shop, row, &keys, 0, BATCH)?.0),
    }
}

fn batch(shop: &Shop, row: &Row, keys: &Keys, from: u64, to: u64) -> Outcome<(Report, Counts)> {
    let cases = cases(keys, from, to)?;
    let report = guest(shop, row, &cases)?.run(row)?;
    let counts = judge(&cases, keys, &report.lines)?;
    Ok((report, counts))
}

fn guest(shop: &Shop, row: &Row, cases: &[Case]) -> Outcome<Guest> {
    let loads = guest::build(row.arch, "kpeel-init", "kpeel-loads")?;
    // The kernel's own messages would break the lines of what is told.
    let mut guest = guest_of(shop, row, Which::Forced, "loglevel=1")?
        .memory(2048)
        .with(|archive| Ok(archive.program("bin/kpeel-loads", &loads)?))?;
    let mut list = String::new();
    for case in cases {
        guest = guest.file(&case.file, &case.bytes);
        list.push_str(&format!("{}\t{}\n", case.file, case.cmdline));
    }
    Ok(guest
        .file("list", list.as_bytes())
        .step("run /bin/kpeel-loads /list")
        .stays())
}

fn keys(shop: &Shop) -> Outcome<Keys> {
    let dir = shop.keys(X86_64)?;
    let read = |name| fs::read(dir.join(name));
    Keys::new(&read("kpeel.key")?, &read("kpeel.crt")?)
}

/// What the kernel is made of, by the name of its place in the cache.
fn kernel_key(shop: &Shop) -> Outcome<String> {
    let dir = shop.keys(X86_64)?;
    Ok(dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned())
}

fn told(counts: &Counts) -> String {
    let ways = counts.iter().map(|(way, count)| format!("{way} {count}"));
    ways.collect::<Vec<_>>().join(", ")
}

/// The file of results.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Done {
    schema: u32,
    /// What the kernel is made of.
    kernel: String,
    /// First number of each batch of [`BATCH`] mutations (the first has the sound images, too), and its ends.
    batches: Vec<(u64, Counts)>,
}

impl Done {
    /// What was done with this kernel before; a file that is absent or about another one counts for nothing.
    fn read(file: &Path, kernel: &str) -> Self {
        let text = fs::read_to_string(file).unwrap_or_default();
        let read: Option<Self> = serde_json::from_str(&text).ok();
        let read = read.filter(|done| done.schema == 1 && done.kernel == kernel);
        read.unwrap_or_else(|| Self {
            schema: 1,
            kernel: kernel.to_owned(),
            batches: Vec::new(),
        })
    }

    fn write(&self, file: &Path) -> Outcome<()> {
        let new = file.with_extension("new");
        fs::write(&new, serde_json::to_string_pretty(self)?)?;
        Ok(fs::rename(&new, file)?)
    }
}
