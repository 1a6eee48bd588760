//! `examples/trio`: a format of somebody else's, built as its README says, outside this tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kpeel_images::make::{Scratch, noise};

use crate::support::{Bench, assert_same, document, fails, kernel, kpeel, succeeds};

/// The path by which the example in the tree names the kit.
const KIT: &str = "../../crates/parser-kit";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/trio")
}

/// The parser, built once by the example's own script in a copy of its directory.
fn parser(bench: &Bench) -> PathBuf {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    bench.write("trio.bpf", BUILT.get_or_init(build))
}

fn build() -> Vec<u8> {
    let copy = Scratch::new().unwrap();
    fs::create_dir(copy.join("src")).unwrap();
    for name in ["Cargo.lock", "build.sh", "src/lib.rs"] {
        fs::copy(example().join(name), copy.join(name)).unwrap();
    }
    let kit = example().join(KIT).canonicalize().unwrap();
    let manifest = fs::read_to_string(example().join("Cargo.toml")).unwrap();
    assert!(manifest.contains(KIT), "{manifest}");
    let manifest = manifest.replace(KIT, kit.to_str().unwrap());
    copy.write("Cargo.toml", manifest.as_bytes()).unwrap();
    let output = Command::new(copy.join("build.sh"))
        .env("KPEEL", env!("CARGO_BIN_EXE_kpeel"))
        // Core is built once for all runs.
        .env(
            "CARGO_TARGET_DIR",
            concat!(env!("CARGO_TARGET_TMPDIR"), "/trio"),
        )
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    fs::read(copy.join("trio.bpf")).unwrap()
}

/// A trio image by the example's own script.
fn image(bench: &Bench, kernel: &[u8], options: &[&str]) -> PathBuf {
    let path = bench.path("plain.efi");
    let output = Command::new("python3")
        .arg(example().join("make-image.py"))
        .arg("--kernel")
        .arg(bench.write("vmlinuz", kernel))
        .arg("-o")
        .arg(&path)
        .args(options)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    path
}

fn unfold(bench: &Bench, image: &Path) -> Command {
    let out = bench.path("out");
    if out.exists() {
        fs::remove_dir_all(&out).unwrap();
    }
    let mut command = kpeel(["unfold", "-o"]);
    command.arg(out).arg(image);
    command
}

#[test]
fn unfolds_by_an_offered_parser_and_by_its_own() {
    let bench = Bench::new();
    let initrd = noise(5001, 1);
    let initrd_file = bench.write("initrd.img", &initrd);
    let initrd_option = format!("--initrd={}", initrd_file.display());
    let parts = [
        &initrd_option,
        "--cmdline",
        "console=ttyS0 quiet",
        "--compress",
    ];
    let (parser, plain) = (parser(&bench), image(&bench, &kernel(), &parts));
    // kpeel itself knows nothing of the format.
    let said = fails(&mut unfold(&bench, &plain), 1);
    assert!(said.contains("unsupported"), "{said}");
    let same = || {
        assert_same(&bench.read("out/kernel"), &kernel());
        assert_same(&bench.read("out/initrd"), &initrd);
        assert_same(&bench.read("out/cmdline"), b"console=ttyS0 quiet");
    };
    succeeds(unfold(&bench, &plain).arg("--parser").arg(&parser));
    same();
    let own = bench.path("trio.efi");
    let mut attach = kpeel(["attach", "--parser"]);
    succeeds(attach.arg(&parser).arg("-o").arg(&own).arg(&plain));
    succeeds(&mut unfold(&bench, &own));
    same();
    let told = document(&succeeds(kpeel(["inspect", "--json"]).arg(&own)));
    assert_eq!(told["layers"][0]["opened_by"]["parser"], ".bpf");
}

#[test]
fn what_it_publishes_may_be_an_envelope_of_another_format() {
    let bench = Bench::new();
    let inner = fs::read(bench.zboot("inner", &kernel())).unwrap();
    let plain = image(&bench, &inner, &[]);
    let mut command = unfold(&bench, &plain);
    command.arg("--parser").arg(parser(&bench));
    succeeds(command.args(["--parser", "zboot"]));
    assert_same(&bench.read("out/kernel"), &kernel());
    assert!(!bench.path("out/initrd").exists() && !bench.path("out/cmdline").exists());
}

#[test]
fn broken_images_are_refused_by_the_field_the_parser_names() {
    let bench = Bench::new();
    let (parser, plain) = (
        parser(&bench),
        image(&bench, &kernel(), &["--cmdline", "quiet"]),
    );
    let bytes = fs::read(plain).unwrap();
    // `.trhead` is the first section, behind 1024 bytes of headers.
    let word = |at: usize, value: u32| {
        let mut bytes = bytes.clone();
        bytes[1024 + at..1024 + at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let mut other = bytes.clone();
    let name = other
        .windows(8)
        .position(|name| name == b".trhead\0")
        .unwrap();
    other[name + 1] = b'x';
    for (bytes, expected) in [
        (word(0, 1), "malformed: envelope 1: magic: found 1"),
        (
            word(4, 2),
            "unsupported: envelope 1: version: found 2 (0x2), needed 1",
        ),
        (word(8, 2), "unsupported: envelope 1: flags: found 2"),
        (
            word(12, 6),
            "malformed: envelope 1: cmdline_len: found 6 (0x6), needed 5",
        ),
        // Not a stream of any codec: the host says so.
        (word(8, 1), "envelope 1: "),
        (other, "unsupported: kernel: no parser opens it"),
    ] {
        let broken = bench.write("broken.efi", &bytes);
        let said = fails(unfold(&bench, &broken).arg("--parser").arg(&parser), 1);
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let whole = bench.write("whole.efi", &word(12, 5));
    succeeds(unfold(&bench, &whole).arg("--parser").arg(&parser));
}
