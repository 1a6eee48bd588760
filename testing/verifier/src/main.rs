//! Loads carriers into Linux's verifier: `kpeel-verifier [CARRIER...]`, without arguments every
//! prebuilt carrier of the tree.
//!
//! A guest boots Debian's stock 6.12 kernel, gets the anchors and kfunc stubs from a small module
//! built against that kernel's headers, and runs each carrier's loader as a host does. Printed is
//! what the verifier had to do for each program; it must stay below [`report::LIMIT`]. In the same
//! boot, twins prove that the check can fail: programs that break a rule of the ABI are refused
//! with the right errno, as is every carrier once its anchor is misspelt; and no load, good or bad,
//! may leave a descriptor open. The prebuilt carriers must load under lockdown's confidentiality
//! level as well.
#![forbid(unsafe_code)]

mod case;
mod error;
mod guest;
mod kernel;
mod report;
mod twin;

use std::path::PathBuf;
use std::process::ExitCode;

use kpeel_parsers::BUNDLED;

use case::Case;
use error::Error;

fn main() -> ExitCode {
    let files: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match verify(&files) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            println!("{wrong} loads went wrong");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("kpeel-verifier: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Gives the number of cases that went wrong.
fn verify(files: &[PathBuf]) -> Result<usize, Error> {
    let mut cases = twin::cases();
    if files.is_empty() {
        for bundled in BUNDLED {
            let carrier = Case::from_carrier(bundled.name, bundled.carrier)?;
            cases.extend(twin::with_all(carrier));
        }
    }
    for file in files {
        cases.extend(twin::with_anchor(Case::from_file(file)?));
    }
    case::demand_distinct_names(&cases)?;
    let kernel = kernel::prepare()?;
    println!("Linux {}", kernel.release);
    let console = guest::boot(&kernel, &cases)?;
    let outcomes = report::read(&console);
    Ok(cases
        .iter()
        .filter(|case| !report::tell(case, outcomes.get(&case.name)))
        .count())
}
