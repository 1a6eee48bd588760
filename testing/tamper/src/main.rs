//! `kpeel-tamper DIRECTORY`: writes every variant, and says what each is and what is expected.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use kpeel_tamper::{Authority, Outcome, all, bases};

fn main() -> ExitCode {
    let Some(directory) = std::env::args_os().nth(1) else {
        eprintln!("usage: kpeel-tamper DIRECTORY");
        return ExitCode::from(2);
    };
    match write(Path::new(&directory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-tamper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> Outcome<()> {
    std::fs::create_dir_all(directory)?;
    let authority = Authority::new()?;
    std::fs::write(directory.join("root.der"), authority.certificate())?;
    for variant in all(&authority, &bases(&authority)?)? {
        std::fs::write(
            directory.join(format!("{}.efi", variant.name())),
            &variant.image,
        )?;
        println!(
            "{:48} {:20} {}",
            variant.name(),
            variant.expected.to_string(),
            variant.why
        );
    }
    Ok(())
}
