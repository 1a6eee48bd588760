//! Running other programs.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::Outcome;

/// Runs a command with this input and gives its standard output.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Outcome<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error} (Debian packages openssl, sbsigntool)"))?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    let output = std::thread::scope(|scope| {
        // A tool that stops reading early closes the pipe; its status tells what that means.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output()
    })?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}: {}", output.status, said.trim()).into())
}
