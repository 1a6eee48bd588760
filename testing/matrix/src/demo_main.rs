//! `kpeel-demo`: shows a kexec into a UKI, start to end.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args().len() > 1 {
        eprintln!("usage: kpeel-demo");
        return ExitCode::from(2);
    }
    match kpeel_matrix::demo::run() {
        Ok(seen) => {
            println!("\n{seen}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("\nkpeel-demo: {error}");
            ExitCode::FAILURE
        }
    }
}
