//! Runs one step and says what it was.

use std::process::Command;

use crate::Failure;

/// Runs cargo with these arguments in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Result<(), Failure> {
    cargo_env(args, &[])
}

/// Runs cargo with these arguments and additions to its environment.
pub(crate) fn cargo_env(args: &[&str], env: &[(&str, &str)]) -> Result<(), Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(args).envs(env.iter().copied());
    run(command, &format!("cargo {}", args.join(" ")))
}

/// Runs a command; `what` is how messages call it.
pub(crate) fn run(mut command: Command, what: &str) -> Result<(), Failure> {
    eprintln!("==> {what}");
    let status = command
        .status()
        .map_err(|error| Failure::Step(format!("{what}: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Step(format!("{what}: {status}")))
}
