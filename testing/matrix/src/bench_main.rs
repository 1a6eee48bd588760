//! `kpeel-bench load`: kpeel against kexec-tools, from the start of the process to the system call; `linux`: images that
//! Linux opens itself against the kernel in them.
//!
//! For `load` a guest forbids loading (`kexec_load_disabled`), so that the system call comes back at once with EPERM: both
//! programs do all their work and stop at the call. A run counts only if the program names that call and that error.
#![forbid(unsafe_code)]

#[path = "bench/linux.rs"]
mod linux;
#[path = "bench/load.rs"]
mod load;
#[path = "bench/peer.rs"]
mod peer;
#[path = "bench/table.rs"]
mod table;

use std::process::ExitCode;

const USAGE: &str =
    "usage: kpeel-bench load [--arch aarch64|x86_64] [--rounds N] | linux [--rounds N]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["linux", rest @ ..] = words.as_slice() {
        return ended(linux::run(rest));
    }
    let Some(options) = load::Options::parse(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    ended(load::run(&options))
}

fn ended(result: kpeel_matrix::Outcome<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("kpeel-bench: not every program reached its system call");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("kpeel-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
