//! Runs the command, and makes images for it with tools that are not ours.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kpeel_images::make::{Codec, Machine, Scratch, tiny_kernel, uki, zboot};
use kpeel_images::{Item, fetch};

/// A scratch directory with images in it.
pub struct Bench {
    pub scratch: Scratch,
}

impl Bench {
    pub fn new() -> Self {
        Self {
            scratch: Scratch::new().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        self.scratch.write(name, bytes).unwrap()
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// A gzip zboot image around `kernel`.
    pub fn zboot(&self, name: &str, kernel: &[u8]) -> PathBuf {
        let path = self.path(name);
        zboot(Machine::Amd64, Codec::Gzip, kernel, &path).unwrap();
        path
    }

    /// A UKI made with objcopy from systemd's stub.
    pub fn uki(&self, name: &str, sections: &[(&str, &[u8])]) -> PathBuf {
        let path = self.path(name);
        uki(&fetch(Item::StubAmd64V257).unwrap(), sections, &path).unwrap();
        path
    }
}

/// A plain kernel as far as its header tells.
pub fn kernel() -> Vec<u8> {
    tiny_kernel(Machine::Amd64, 20_000)
}

/// The command with these arguments.
pub fn kpeel<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kpeel"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .env_remove("RUST_BACKTRACE");
    command
}

/// Runs it; success is demanded, and standard output given back.
#[track_caller]
pub fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs it; this exit code is demanded, and standard error given back.
#[track_caller]
pub fn fails(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
    stderr(&output)
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The JSON document the command prints; `schema` is checked.
#[track_caller]
pub fn document(text: &str) -> serde_json::Value {
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(document["schema"], 1);
    document
}

/// Names of all files in a directory, hidden ones too.
pub fn listing(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Fails naming the first difference, not with all the bytes.
#[track_caller]
pub fn assert_same(one: &[u8], other: &[u8]) {
    let differs = one.iter().zip(other).position(|(one, other)| one != other);
    assert!(
        one == other,
        "lengths {} and {}, differ at {differs:?}",
        one.len(),
        other.len()
    );
}
