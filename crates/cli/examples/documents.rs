//! Writes man pages and shell completions, all made from the command line's own definition.
//!
//! `cargo run -p kpeel-cli --example documents -- OUTDIR`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

fn main() -> io::Result<()> {
    let out = std::env::args_os().nth(1).map(PathBuf::from);
    let out = out.ok_or_else(|| io::Error::other("usage: documents OUTDIR"))?;
    man_pages(&out.join("man"))?;
    completions(&out.join("completions"))
}

fn man_pages(out: &Path) -> io::Result<()> {
    fs::create_dir_all(out)?;
    clap_mangen::generate_to(kpeel_cli::command(), out)
}

fn completions(out: &Path) -> io::Result<()> {
    fs::create_dir_all(out)?;
    for shell in [Shell::Bash, Shell::Fish, Shell::Zsh] {
        clap_complete::generate_to(shell, &mut kpeel_cli::command(), "kpeel", out)?;
    }
    Ok(())
}
