//! Loads many images one after the other and tells how each load ended, in a kernel with `CONFIG_KEXEC_PE_DEBUG`.
//!
//! `kpeel-loads FILE`: each line of FILE is `IMAGE<tab>COMMAND-LINE`. For each one line is printed: the system call's
//! errno (0 if it took the image), then what the kernel tells of the load, its lines parted by ` | `:
//!
//! ```text
//! kpeel-loads: IMAGE errno=8 | load 7 | class malformed | errno 8 | said malformed: envelope 1: ...
//! ```
#![expect(unsafe_code, reason = "mount and kexec_file_load are raw calls")]

#[path = "../file_load.rs"]
mod file_load;

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::process::ExitCode;
use std::ptr;

const DEBUGFS: &CStr = c"/sys/kernel/debug";
const LAST: &str = "/sys/kernel/debug/kexec_pe/last";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [list] => load_all(list),
        _ => Err("usage: kpeel-loads FILE".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-loads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load_all(list: &str) -> Result<(), String> {
    let text = fs::read_to_string(list).map_err(|error| format!("{list}: {error}"))?;
    mount_debugfs().map_err(|error| format!("debugfs: {error}"))?;
    for line in text.lines() {
        let (name, cmdline) = line.split_once('\t').ok_or("a line without a tab")?;
        let errno = load(name, cmdline).map_err(|error| format!("{name}: {error}"))?;
        let told = fs::read_to_string(LAST).map_err(|error| format!("{LAST}: {error}"))?;
        let told: Vec<&str> = told.lines().collect();
        println!("kpeel-loads: {name} errno={errno} | {}", told.join(" | "));
    }
    file_load::unload().map_err(|error| format!("unloading: {error}"))
}

/// The call's errno; an error is one of something else.
fn load(name: &str, cmdline: &str) -> io::Result<i32> {
    let image = File::open(format!("/{name}"))?;
    let line = match cmdline {
        "" => None,
        text => Some(CString::new(text)?),
    };
    match file_load::load(&image, None, line.as_deref(), 0) {
        Ok(()) => Ok(0),
        Err(error) => error.raw_os_error().ok_or(error),
    }
}

fn mount_debugfs() -> io::Result<()> {
    let kind = c"debugfs".as_ptr();
    // SAFETY: the strings are NUL-terminated literals; without data a null pointer is what the call expects.
    let result = unsafe { libc::mount(kind, DEBUGFS.as_ptr(), kind, 0, ptr::null()) };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}
