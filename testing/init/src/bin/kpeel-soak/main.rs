//! Loads PE boot images again and again, and looks what that does to the kernel.
//!
//! ```text
//! kpeel-soak loads FIRST COUNT EVERY LIST    loads FIRST.. in turn; a sample of the kernel's health EVERY loads
//! kpeel-soak faults FIRST COUNT LIST         the list's first image once for each failing allocation FIRST.., and after
//!                                            each the last image, which must load
//! kpeel-soak streams FIRST COUNT BATCH STREAM IMAGE
//!                                            damaged copies of STREAM, decompressed by the parser of IMAGE
//! ```
//! A list has one image a line: its path, the errno with which the kernel must refuse it, 0 for none, and the SHA-256 of the
//! kernel inside. What is found is told in lines of JSON in the kernel's log, so that the kernel's own messages do not cut
//! into them. Exit status 0 says that all ended as it had to.
#![expect(
    unsafe_code,
    reason = "kexec_file_load, bpf and memfd_create have no other interface"
)]

mod call;
mod damage;
mod faults;
mod health;
mod loads;
mod streams;

use std::fs::OpenOptions;
use std::io::Write as _;
use std::process::ExitCode;

use loads::Image;

/// What anything here fails with: a sentence for the console.
type Outcome<T> = Result<T, String>;

const USAGE: &str = "usage: kpeel-soak loads FIRST COUNT EVERY LIST | faults FIRST COUNT LIST | streams FIRST COUNT BATCH \
                     STREAM IMAGE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-soak: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: &[&str]) -> Outcome<()> {
    let number = |word: &str| {
        word.parse()
            .map_err(|_| format!("{word} is no number\n{USAGE}"))
    };
    match words {
        ["loads", first, count, every, list] => loads::run(
            &Image::list(list)?,
            number(first)?,
            number(count)?,
            number(every)?,
        ),
        ["faults", first, count, list] => {
            faults::run(&Image::list(list)?, number(first)?, number(count)?)
        }
        ["streams", first, count, batch, stream, image] => streams::run(
            stream,
            image,
            number(first)?,
            number(count)?,
            number(batch)?,
        ),
        _ => Err(USAGE.to_owned()),
    }
}

/// Tells a line of JSON in the kernel's log, at the level of notices.
fn say(json: &str) -> Outcome<()> {
    let failed = |error| format!("/dev/kmsg: {error}");
    let mut log = OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .map_err(failed)?;
    // One write is one record; without the line's end, it would wait for the next one.
    log.write_all(format!("<5>kpeel-soak: {json}\n").as_bytes())
        .map_err(failed)
}

/// A file's text.
fn read(path: &str) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

/// Writes a word into one of the kernel's files.
fn write(path: &str, text: &str) -> Outcome<()> {
    std::fs::write(path, text).map_err(|error| format!("{path}: {error}"))
}
