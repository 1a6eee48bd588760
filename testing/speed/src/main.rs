//! `kpeel-speed`: what unfolding costs beyond the codec.
//!
//! `unfold` compares kpeel with the bare codec libraries, as ratios of interleaved runs. Times differ from machine to
//! machine and from minute to minute; ratios of runs that take turns do not.
#![forbid(unsafe_code)]

mod bench;
mod child;
mod gates;
mod image;
mod stats;
mod workloads;

use std::process::ExitCode;

const USAGE: &str = "\
usage: kpeel-speed unfold [--json] [--rounds N] [--kpeel PROGRAM]   kpeel beside the bare codecs
       kpeel-speed gates [--update]                                 instruction counts beside the baseline";

/// What any step here may fail with.
type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [child::COMMAND, rest @ ..] => child::main(rest),
        ["unfold", rest @ ..] => match bench::Options::parse(rest) {
            Some(options) => bench::run(&options),
            None => return usage(),
        },
        ["gates"] => gates::run(false),
        ["gates", "--update"] => gates::run(true),
        _ => return usage(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-speed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
