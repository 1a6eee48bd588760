//! `kpeel-soak`: loads again and again on a debugging kernel, many guests long.
//!
//! What each guest found is added to a file of JSON, and the next run goes on where the last one ended, as long as kernel
//! and images are the same.
#![forbid(unsafe_code)]

#[path = "soak/plan.rs"]
mod plan;
#[path = "soak/record.rs"]
mod record;

use std::path::PathBuf;
use std::process::ExitCode;

use kpeel_kernel::{Arch, Kernel};
use kpeel_matrix::Outcome;
use kpeel_matrix::shop::Shop;
use kpeel_matrix::soak::{self, Images, Subject};
use plan::{Plan, What};
use record::Record;

const USAGE: &str = "usage: kpeel-soak WHAT [--kernel DIR] [--count N] [--boot N] [--image NAME] [--append TEXT]
                       [--without CODEC] [--out FILE]
  WHAT           loads (1000) and faults (500 failing allocations) on the kernel that watches locks and leaks,
                 loads-sanitize (100) and streams (2000 damaged ones of each codec) on the one that watches memory
  --kernel DIR   a directory with bzImage, config, kpeel.key and kpeel.crt; without it, the kernel is built
  --count N      so many altogether
  --boot N       so many of them in one guest
  --image NAME   the image whose allocations fail: zboot-gzip, zboot-zstd, uki or nested (zboot-gzip)
  --append TEXT  words for the kernel's command line (slub_debug=FZP on the first kernel)
  --without CODEC  no streams of this codec
  --out FILE     the record, target/soak/WHAT.json without it";

/// Time that a guest has, emulated on a busy machine, in seconds.
const DEADLINE: u64 = 3600;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(plan) = Plan::parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(plan: &Plan) -> Outcome<()> {
    let dir = match &plan.kernel {
        Some(dir) => dir.clone(),
        None => debugging(plan.what)?,
    };
    let mut subject = Subject::of(&dir)?;
    subject.append.clone_from(&plan.append);
    let shop = Shop::open(&[kpeel_vm::Arch::X86_64])?;
    let kernel = record::kernel(&dir, &subject)?;
    let images = Images::of(&shop, &subject)?;
    let mut intact = match plan.what {
        What::Streams => Images::intact()?,
        _ => Vec::new(),
    };
    intact.retain(|stream| {
        let without = plan.without.as_deref();
        without.is_none_or(|codec| !stream.name.starts_with(codec))
    });
    let chosen = plan.images(&images, &intact);
    let out = plan.out();
    let mut record = Record::open(&out, plan.what.name(), kernel, &chosen)?;
    let row = soak::row(plan.what.row(), DEADLINE);
    while let Some((first, count)) = plan.next(&record) {
        let commands = plan.commands(&intact, first, count);
        let (_, told) = soak::run(&shop, &row, &subject, &chosen, &commands)?;
        record.add(first, told)?;
        println!("{}: {} of {}", plan.what.name(), record.done(), plan.count);
    }
    println!("record: {}", out.display());
    record.check_times()
}

fn debugging(what: What) -> Outcome<PathBuf> {
    let kernel = Kernel {
        arch: Arch::X86_64,
        variant: what.variant(),
    };
    Ok(kpeel_kernel::dir(kernel)?)
}
