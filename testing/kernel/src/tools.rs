//! The programs and headers that a build needs.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::kernel::Kernel;
use crate::{Error, Result, bindgen, size};

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

/// What kernels with Rust and BTF in them need besides. `rustc` by its path: the one that is first in `PATH` may be
/// another, without the sources of `core`.
const PATCHED_TOOLS: &[Tool] = &[
    tool("openssl", "openssl"),
    tool("pahole", "pahole"),
    tool("patch", "patch"),
    tool(size::PROGRAM, "llvm-22"),
    counting(RUSTC, "rustc-web"),
];

/// Debian's Rust compiler, whose sources of `core` are in a package of the same version.
pub(crate) const RUSTC: &str = "/usr/bin/rustc";

/// Its clippy, by its path for the same reason.
pub(crate) const CLIPPY: &str = "/usr/bin/clippy-driver";

/// What [`crate::lint`] needs besides.
const LINT_TOOL: Tool = tool(CLIPPY, "rust-web-clippy");

/// A file of those sources.
const CORE: (&str, &str) = (
    "/usr/lib/rustlib/src/rust/library/core/src/lib.rs",
    "rust-web-src",
);

/// A header of the programs that the kernel's build makes for itself, and the Debian package that has it.
const HEADERS: &[(&str, &str)] = &[
    ("/usr/include/openssl/opensslv.h", "libssl-dev"),
    ("/usr/include/stdlib.h", "libc6-dev"),
    // Of objtool and resolve_btfids.
    ("/usr/include/libelf.h", "libelf-dev"),
];

/// The Debian packages that builds need.
#[must_use]
pub fn packages() -> Vec<&'static str> {
    let tools = TOOLS.iter().chain(PATCHED_TOOLS).map(|tool| tool.package);
    let files = HEADERS.iter().map(|header| header.1).chain([CORE.1]);
    let mut all: Vec<&str> = tools.chain(files).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The tools of this kernel's build.
fn tools(kernel: Kernel) -> impl Iterator<Item = &'static Tool> {
    let more = if kernel.is_patched() {
        PATCHED_TOOLS
    } else {
        &[]
    };
    TOOLS.iter().chain(more)
}

/// Demands that everything is installed that this kernel's build needs.
pub(crate) fn demand(kernel: Kernel) -> Result<()> {
    demand_with(kernel, &[])
}

/// Demands the same and what lets clippy look at it.
pub(crate) fn demand_lint(kernel: Kernel) -> Result<()> {
    demand_with(kernel, &[LINT_TOOL])
}

fn demand_with(kernel: Kernel, more: &'static [Tool]) -> Result<()> {
    let core = kernel.is_patched().then_some(CORE);
    let tools = tools(kernel)
        .chain(more)
        .filter(|tool| !installed(tool.program))
        .map(|tool| (tool.program, tool.package));
    let headers = HEADERS
        .iter()
        .copied()
        .chain(core)
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
pub(crate) fn versions(kernel: Kernel) -> Result<Vec<String>> {
    let mut all = tools(kernel)
        .filter(|tool| tool.counts)
        .map(version)
        .collect::<Result<Vec<String>>>()?;
    if kernel.is_patched() {
        all.push(format!("tool bindgen {}", bindgen::VERSION));
    }
    Ok(all)
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
        "tool {} {}",
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
            version.starts_with("tool tar ") && version.contains(char::is_numeric),
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
