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

use kpeel_kernel::{Arch, Kernel, Variant};
use kpeel_matrix::Outcome;
use kpeel_matrix::shop::Shop;
use kpeel_matrix::soak::{self, Images, Subject};
use plan::{Plan, What};
use record::Record;

const USAGE: &str = "usage: kpeel-soak loads|faults|streams [--kernel DIR] [--count N] [--boot N] [--image NAME] [--append TEXT]
                                        [--without CODEC] [--log FILE] [--out FILE]
  --kernel DIR   a directory with bzImage, config, kpeel.key and kpeel.crt; without it, the debugging kernel is built
  --count N      so many loads (1000), failing allocations (500) or damaged streams of each codec (2000) altogether
  --boot N       so many of them in one guest
  --image NAME   the image whose allocations fail: zboot-gzip, zboot-zstd, uki or nested (zboot-gzip)
  --append TEXT  words for the kernel's command line
  --without CODEC  no streams of this codec
  --log FILE     the console of a guest that did the next part and ended well: judged and added first
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
        None => debugging()?,
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
    let mut record = Record::open(&plan.out, plan.what.name(), kernel, &chosen)?;
    if let Some(log) = &plan.log {
        let console: Vec<String> = std::fs::read_to_string(log)?
            .lines()
            .map(str::to_owned)
            .collect();
        record.add(record.done(), soak::told(&subject, &console)?)?;
    }
    let row = soak::row(plan.what.row(), DEADLINE);
    while let Some((first, count)) = plan.next(&record) {
        let commands = plan.commands(&intact, first, count);
        let (_, told) = soak::run(&shop, &row, &subject, &chosen, &commands)?;
        record.add(first, told)?;
        println!("{}: {} of {}", plan.what.name(), record.done(), plan.count);
    }
    println!("record: {}", plan.out.display());
    record.check_times()
}

fn debugging() -> Outcome<PathBuf> {
    let kernel = Kernel {
        arch: Arch::X86_64,
        variant: Variant::KpeelDebug,
    };
    Ok(kpeel_kernel::dir(kernel)?)
}
