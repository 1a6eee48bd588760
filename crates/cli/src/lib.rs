//! The `kpeel` command: its arguments, its output, its exit codes.
//!
//! What it does, the other crates do. A command is one file in `commands/`: a struct of arguments
//! and a `run`; [`commands::Command`] lists them.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

mod atomic;
mod commands;
mod draw;
mod exit;
mod failure;
mod hashes;
mod input;
mod json;
mod layers;
mod load;
mod measure;
mod offer;
mod personality;
mod picture;
mod progress;
mod report;
mod sections;
mod session;
mod svg;
mod terminal;
mod text;
mod tree;
mod trust;
mod xml;

use std::panic::{AssertUnwindSafe, UnwindSafe};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::commands::Command;
use crate::exit::Exit;
use crate::terminal::Terminal;

/// Open PE boot images envelope by envelope.
///
/// A PE boot image (an EFI zboot kernel, a Unified Kernel Image, or one inside the other) is a stack
/// of envelopes. Each may carry, in its section `.bpf`, the BPF program that opens it; kpeel runs
/// these parsers in a sandbox until plain kernel, initrd and command line are left. Images without
/// `.bpf` are opened by the parsers that come with kpeel.
#[derive(Debug, Parser)]
#[command(name = "kpeel", version, max_term_width = 100, after_long_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   an image, carrier or object is malformed or unsupported
  2   wrong usage
  3   the system failed: files, memory, system calls
  4   refused by policy: a signature, a bound, a permission
  70  a bug in kpeel

Messages name what is wrong, what was found there and what was needed.";

/// Runs the command on the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if Path::new(&name).file_name() == Some(personality::NAME.as_ref()) {
        return run_as_kexec(arguments);
    }
    guarded(|| match Cli::try_parse() {
        Ok(cli) => run(&cli.command),
        Err(error) => {
            // Help and version go to standard output and are no error.
            let _ = error.print();
            if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            }
        }
    })
    .into()
}

/// kexec-tools' flags and exit codes.
fn run_as_kexec(arguments: std::env::ArgsOs) -> ExitCode {
    let mut code = None;
    let exit = guarded(AssertUnwindSafe(|| {
        ended(|terminal| {
            code = Some(personality::run(arguments, terminal)?);
            Ok(())
        })
    }));
    code.map_or(exit.into(), ExitCode::from)
}

/// The command's arguments, for manual pages and shell completions.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// A panic is a bug of ours: it has an exit code of its own, and leaves nothing half-written, since
/// unwinding removes temporary files.
fn guarded(work: impl FnOnce() -> Exit + UnwindSafe) -> Exit {
    std::panic::catch_unwind(work).unwrap_or(Exit::Bug)
}

fn run(command: &Command) -> Exit {
    ended(|terminal| command.run(terminal))
}

/// How work ends, which is said too.
fn ended(work: impl FnOnce(&mut Terminal) -> failure::Result<()>) -> Exit {
    let mut terminal = Terminal::new();
    match work(&mut terminal) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            terminal.error(&failure);
            failure.exit()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_as_a_bug() {
        assert_eq!(guarded(|| panic!("on purpose, in a test")), Exit::Bug);
        assert_eq!(guarded(|| Exit::Done), Exit::Done);
    }

    #[test]
    fn arguments_are_sound() {
        command().debug_assert();
    }
}
