//! Boots guests that hold Debian's stock kernel and `kpeel-init`.
//!
//! - `kpeel-vm boot ARCH...` boots one guest per architecture, with a handful of checks as its job.
//!   It proves that kernel, emulator, initramfs, init and the judging of the run work together,
//!   before anything else is blamed.
//! - `kpeel-vm selftest` boots guests that must not pass, each for another reason, and one that
//!   must.
#![forbid(unsafe_code)]

mod boot;
mod selftest;

use std::error::Error;
use std::process::ExitCode;

use kpeel_vm::Arch;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["selftest"] => selftest::run(),
        ["boot", names @ ..] if !names.is_empty() => match arches(names) {
            Some(arches) => boot::run(&arches),
            None => return usage(),
        },
        _ => return usage(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-vm: {error}");
            ExitCode::FAILURE
        }
    }
}

fn arches(names: &[&str]) -> Option<Vec<Arch>> {
    names.iter().map(|name| Arch::from_name(name)).collect()
}

fn usage() -> ExitCode {
    eprintln!("usage: kpeel-vm boot aarch64|x86_64... | selftest");
    ExitCode::from(2)
}

/// What either command may fail with.
type Outcome<T> = Result<T, Box<dyn Error>>;
