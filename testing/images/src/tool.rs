//! Running other programs: their output or a clear error.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::{Error, Result};

/// Runs `command` without input and returns its standard output.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>> {
    pipe(command, &[])
}

/// Runs `command` with `input` on its standard input and returns its standard output.
pub(crate) fn pipe(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let output = run_with_input(command, input).map_err(|source| no_tool(command, source))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(Error::Tool {
        tool: describe(command),
        status: output.status.to_string(),
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// The Debian package that has `tool`.
pub(crate) fn package_of(tool: &str) -> &'static str {
    match tool {
        "apt-get" | "apt-cache" | "apt-config" | "/usr/lib/apt/apt-helper" => "apt",
        "dpkg" | "dpkg-deb" => "dpkg",
        "objcopy" | "objdump" | "as" | "ld" => "binutils",
        "aarch64-linux-gnu-objcopy" => "binutils-aarch64-linux-gnu",
        "gzip" => "gzip",
        "zstd" => "zstd",
        "xz" | "lzma" => "xz-utils",
        "lz4" => "lz4",
        "lzop" => "lzop",
        "python3" | "/usr/bin/python3" => "python3",
        "tar" => "tar",
        _ => "unknown",
    }
}

fn run_with_input(command: &mut Command, input: &[u8]) -> std::io::Result<Output> {
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        Stdio::piped()
    };
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let Some(mut stdin) = child.stdin.take() else {
        return child.wait_with_output();
    };
    std::thread::scope(|scope| {
        // A tool that stops reading early closes the pipe; its status tells what that means.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output()
    })
}

fn no_tool(command: &Command, source: std::io::Error) -> Error {
    let tool = command.get_program().to_string_lossy().into_owned();
    Error::NoTool {
        package: package_of(&tool),
        tool,
        source,
    }
}

fn describe(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_input_through_a_tool() {
        let input = vec![7; 300_000];
        assert_eq!(pipe(&mut Command::new("cat"), &input).unwrap(), input);
    }

    #[test]
    fn names_the_tool_that_fails_or_is_missing() {
        let failed = run(Command::new("sh").args(["-c", "echo why >&2; exit 3"])).unwrap_err();
        assert!(
            failed.to_string().contains("exit status: 3") && failed.to_string().contains("why"),
            "{failed}"
        );
        let missing = run(&mut Command::new("kpeel-no-such-tool")).unwrap_err();
        assert!(
            missing.to_string().contains("kpeel-no-such-tool"),
            "{missing}"
        );
    }
}
