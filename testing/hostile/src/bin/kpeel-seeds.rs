//! Writes the fuzz targets' corpora: `kpeel-seeds DIR`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(dir) = std::env::args().nth(1) else {
        eprintln!("usage: kpeel-seeds DIR");
        return ExitCode::from(2);
    };
    match write(Path::new(&dir)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-seeds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn write(dir: &Path) -> Result<(), String> {
    for seed in kpeel_hostile::seeds::all()? {
        let target = dir.join(seed.target);
        let written = std::fs::create_dir_all(&target)
            .and_then(|()| std::fs::write(target.join(&seed.name), &seed.bytes));
        written.map_err(|error| format!("{}/{}: {error}", seed.target, seed.name))?;
    }
    Ok(())
}
