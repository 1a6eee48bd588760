//! Runs a command again and again on a file that another process rewrites and truncates meanwhile.
//!
//! `kpeel-churn GOOD FILE ROUNDS CODE MESSAGE PROGRAM ARGUMENT...`: the other process fills FILE
//! with the bytes of GOOD, spoils some, cuts it short, and so on. Every round must end with exit
//! status CODE and what the file MESSAGE holds on standard error.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

/// The first argument of the process that writes.
const WRITER: &str = "--write";
/// Bytes spoilt at once.
const SPOILT: [u8; 4096] = [0xa5; 4096];
/// Time the writer has to begin.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [WRITER, good, file] => write_for_ever(good, file).map_err(|error| error.to_string()),
        [good, file, rounds, code, message, command @ ..] => {
            Churn::new(good, file).and_then(|churn| churn.run(rounds, code, message, command))
        }
        _ => Err("usage: kpeel-churn GOOD FILE ROUNDS CODE MESSAGE PROGRAM ARGUMENT...".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-churn: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The process that writes; gone with the value.
struct Churn(Child);

impl Churn {
    fn new(good: &str, file: &str) -> Result<Self, String> {
        let this = std::env::current_exe().map_err(|error| error.to_string())?;
        let child = Command::new(this).args([WRITER, good, file]).spawn();
        let churn = Self(child.map_err(|error| error.to_string())?);
        let begun = Instant::now();
        while fs::metadata(file).map_or(0, |data| data.len()) == 0 {
            if begun.elapsed() > PATIENCE {
                return Err(format!("{file}: nobody writes it"));
            }
        }
        Ok(churn)
    }

    fn run(
        mut self,
        rounds: &str,
        code: &str,
        message: &str,
        command: &[&str],
    ) -> Result<(), String> {
        let rounds: u32 = rounds.parse().map_err(|_| "ROUNDS is no number")?;
        let code: i32 = code.parse().map_err(|_| "CODE is no number")?;
        let message = fs::read_to_string(message).map_err(|error| format!("{message}: {error}"))?;
        let (program, arguments) = command.split_first().ok_or("no program")?;
        for round in 1..=rounds {
            let output = Command::new(program)
                .args(arguments)
                .output()
                .map_err(|error| format!("{program}: {error}"))?;
            let said = String::from_utf8_lossy(&output.stderr);
            if output.status.code() != Some(code) || said.trim() != message.trim() {
                return Err(format!(
                    "round {round}: {}, said {:?}, needed exit status {code} and {:?}",
                    output.status,
                    said.trim(),
                    message.trim()
                ));
            }
        }
        // A writer that has died proves nothing.
        match self.0.try_wait() {
            Ok(None) => Ok(()),
            other => Err(format!("the writer ended: {other:?}")),
        }
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fills, spoils and truncates without an end.
fn write_for_ever(good: &str, file: &str) -> io::Result<()> {
    let good = fs::read(good)?;
    let mut file: File = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(file)?;
    let middle = good.len() / 2;
    loop {
        file.rewind()?;
        file.write_all(&good)?;
        file.seek(SeekFrom::Start(middle as u64))?;
        file.write_all(&SPOILT)?;
        file.set_len(middle as u64)?;
    }
}
