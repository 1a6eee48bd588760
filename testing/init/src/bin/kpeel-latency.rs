//! Times `kexec_file_load(2)` for several images, interleaved.
//!
//! `kpeel-latency ROUNDS FILE`: each line of FILE is `NAME<tab>IMAGE<tab>INITRD<tab>COMMAND-LINE`, the last two may be
//! empty. A round loads every image once, in turn forwards and backwards; a round before the first warms up and is not
//! told. What was loaded is let go between loads, and that is not timed. For each load one line is printed:
//!
//! ```text
//! kpeel-latency: NAME errno=0 us=123456
//! ```
#![expect(unsafe_code, reason = "kexec_file_load is a raw call")]

#[path = "../file_load.rs"]
mod file_load;

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.as_slice() {
        [rounds, file] => measure(rounds, file),
        _ => Err("usage: kpeel-latency ROUNDS FILE".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-latency: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: &str, file: &str) -> Result<(), String> {
    let rounds: u32 = rounds.parse().map_err(|_| "ROUNDS is no number")?;
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let mut entrants = text
        .lines()
        .map(|line| Entrant::open(line).map_err(|error| format!("{line:?}: {error}")))
        .collect::<Result<Vec<_>, _>>()?;
    for round in 0..=rounds {
        for entrant in &entrants {
            let failed = |error: io::Error| format!("{}: {error}", entrant.name);
            let (errno, took) = entrant.load().map_err(failed)?;
            if round > 0 {
                let micros = took.as_micros();
                println!("kpeel-latency: {} errno={errno} us={micros}", entrant.name);
            }
            file_load::unload().map_err(failed)?;
        }
        entrants.reverse();
    }
    Ok(())
}

/// One image with what goes along.
struct Entrant {
    name: String,
    image: File,
    initrd: Option<File>,
    line: Option<CString>,
}

impl Entrant {
    fn open(line: &str) -> io::Result<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, image, initrd, line] = fields[..] else {
            return Err(io::Error::other("needed four fields"));
        };
        let given = |field: &str| (!field.is_empty()).then(|| field.to_owned());
        Ok(Self {
            name: name.to_owned(),
            image: File::open(image)?,
            initrd: given(initrd).map(File::open).transpose()?,
            line: given(line).map(CString::new).transpose()?,
        })
    }

    /// The call's errno, 0 if the kernel took the image, and its time.
    fn load(&self) -> io::Result<(i32, Duration)> {
        let begun = Instant::now();
        let result = file_load::load(&self.image, self.initrd.as_ref(), self.line.as_deref(), 0);
        let took = begun.elapsed();
        match result {
            Ok(()) => Ok((0, took)),
            Err(error) => Ok((error.raw_os_error().ok_or(error)?, took)),
        }
    }
}
