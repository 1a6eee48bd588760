//! `cargo xtask bench image`: kpeel beside the tools that people build, sign and verify images with.
//!
//! Both do the same work on the same files, in turn, in one run; what is told are ratios of medians.
//! Where both make the image's SHA-256, that alone is timed too: no program can be faster.
//! Peak memory is the largest resident set of the program's process, as the kernel counted it. A
//! program that is missing or fails ends the benchmark with an error.
#![forbid(unsafe_code)]

mod contest;
mod run;
mod work;

use std::process::ExitCode;

use contest::Contest;
use work::Work;

/// Runs that are counted, unless said otherwise.
const ROUNDS: usize = 9;
const USAGE: &str = "usage: cargo xtask bench image [--rounds N]";

/// What any step may fail with.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--bench")
        .collect();
    let done = match words.as_slice() {
        [run::MEASURED, command @ ..] => run::measured(command),
        [] => compare(ROUNDS),
        ["--rounds", rounds] => match rounds.parse() {
            Ok(rounds) if rounds > 0 => compare(rounds),
            _ => return usage(),
        },
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench image: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn compare(rounds: usize) -> Outcome<()> {
    for initrd in [work::INITRD, work::SMALL_INITRD] {
        let work = Work::prepare(initrd)?;
        println!("{}", work.describe());
        println!("{}", Contest::HEAD);
        // Each builds on what the one before it has left.
        let contests = [Work::build, Work::sign, Work::verify, Work::verify_layers];
        for contest in contests {
            println!("{}", contest(&work)?.fight(rounds)?);
        }
    }
    Ok(())
}
