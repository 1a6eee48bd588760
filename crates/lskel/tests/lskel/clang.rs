//! Compiles the fixture.

use std::path::Path;
use std::process::Command;

const CLANG: &str = "clang-22";

/// `tests/fixtures/parser.c` with these macros defined, as an object.
pub fn parser(macros: &[&str]) -> Vec<u8> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parser.c");
    let output = Command::new(CLANG)
        .args(["-target", "bpf", "-O2", "-mcpu=v3", "-g", "-c", "-o", "-"])
        .args(macros.iter().map(|name| format!("-D{name}")))
        .arg(&source)
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!("{CLANG}: {error}: install the Debian package {CLANG}");
    });
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{CLANG}: {errors}");
    output.stdout
}
