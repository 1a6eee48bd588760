//! The programs and headers that a build needs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Error, Result};

/// A program of the build.
struct Tool {
    program: &'static str,
    package: &'static str,
    /// Whether its version shows in what is built.
    counts: bool,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool {
        program,
        package,
        counts: false,
    }
}

const fn counting(program: &'static str, package: &'static str) -> Tool {
    Tool {
        program,
        package,
        counts: true,
    }
}

const TOOLS: &[Tool] = &[
    tool("bc", "bc"),
    tool("bison", "bison"),
    counting("clang-22", "clang-22"),
    tool("flex", "flex"),
    counting("gzip", "gzip"),
    tool("hexdump", "bsdextrautils"),
    counting("ld.lld-22", "lld-22"),
    tool("llvm-ar-22", "llvm-22"),
    counting("llvm-objcopy-22", "llvm-22"),
    tool("make", "make"),
    tool("perl", "perl"),
    tool("setpriv", "util-linux"),
    tool("tar", "tar"),
    tool("xz", "xz-utils"),
    counting("zstd", "zstd"),
];

/// A header of the programs that the kernel's build makes for itself, and the Debian package that has it.
const HEADERS: &[(&str, &str)] = &[
    ("/usr/include/openssl/opensslv.h", "libssl-dev"),
    ("/usr/include/stdlib.h", "libc6-dev"),
];

/// The Debian packages that builds need.
#[must_use]
pub fn packages() -> Vec<&'static str> {
    let tools = TOOLS.iter().map(|tool| tool.package);
    let mut all: Vec<&str> = tools.chain(HEADERS.iter().map(|header| header.1)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Demands that everything is installed.
pub(crate) fn demand() -> Result<()> {
    let tools = TOOLS
        .iter()
        .filter(|tool| !installed(tool.program))
        .map(|tool| (tool.program, tool.package));
    let headers = HEADERS
        .iter()
        .copied()
        .filter(|(header, _)| !Path::new(header).is_file());
    let missing: Vec<(&str, &str)> = tools.chain(headers).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let all = |part: fn(&(&'static str, &'static str)) -> &'static str, with: &str| {
        let mut words: Vec<&str> = missing.iter().map(part).collect();
        words.dedup();
        words.join(with)
    };
    Err(Error::Missing {
        what: all(|pair| pair.0, ", "),
        packages: all(|pair| pair.1, " "),
    })
}

/// The versions that count, one line each.
pub(crate) fn versions() -> Result<Vec<String>> {
    TOOLS
        .iter()
        .filter(|tool| tool.counts)
        .map(version)
        .collect()
}

fn version(tool: &Tool) -> Result<String> {
    let missing = || Error::Missing {
        what: tool.program.to_owned(),
        packages: tool.package.to_owned(),
    };
    let output = Command::new(tool.program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|_| missing())?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Some put their name on a line of its own.
    let version = text.lines().find(|line| line.contains(char::is_numeric));
    Ok(format!(
        "{} {}",
        tool.program,
        version.ok_or_else(missing)?.trim()
    ))
}

fn installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_once_and_in_order() {
        let packages = packages();
        assert!(packages.is_sorted() && packages.contains(&"llvm-22"));
        assert!(packages.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn every_version_that_counts_has_a_number() {
        let version = version(&counting("tar", "tar")).unwrap();
        assert!(
            version.starts_with("tar ") && version.contains(char::is_numeric),
            "{version}"
        );
    }

    #[test]
    fn a_missing_program_is_told_with_its_package() {
        let error = version(&tool("kpeel-no-such-tool", "no-such-package")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("kpeel-no-such-tool") && text.contains("no-such-package"),
            "{text}"
        );
    }
}
