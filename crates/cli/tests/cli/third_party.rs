//! A format that kpeel does not know, opened by a parser that a stranger wrote in C.

use std::path::{Path, PathBuf};
use std::process::Command;

use kpeel_images::make::{Machine, Zboot};

use crate::support::{Bench, assert_same, fails, kernel, kpeel, succeeds};

const CLANG: &str = "clang-22";

fn compile(bench: &Bench) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/plain.bpf.c");
    let object = bench.path("plain.o");
    let status = Command::new(CLANG)
        .args(["-target", "bpf", "-O2", "-g", "-c", "-o"])
        .arg(&object)
        .arg(source)
        .status()
        .unwrap_or_else(|error| panic!("{CLANG}: {error}: install the Debian package {CLANG}"));
    assert!(status.success());
    object
}

fn image(bench: &Bench) -> PathBuf {
    let path = bench.path("image");
    let stream = &kernel();
    Zboot {
        machine: Machine::Amd64,
        name: "plain",
        stream,
        trailer: None,
    }
    .write(&path)
    .unwrap();
    path
}

#[test]
fn linked_checked_offered_and_attached() {
    let bench = Bench::new();
    let (object, image, carrier) = (compile(&bench), image(&bench), bench.path("plain.bpf"));
    succeeds(kpeel(["parser", "link", "-o"]).arg(&carrier).arg(object));
    let told = succeeds(kpeel(["parser", "check"]).arg(&carrier).arg(&image));
    assert!(
        told.contains("program parse for bpf_handle_pefile"),
        "{told}"
    );

    let out = bench.path("out");
    let unfold = |image: &Path| {
        let mut command = kpeel(["unfold", "-o"]);
        command.arg(&out).arg(image);
        command
    };
    // kpeel's own parsers know the header but not the codec.
    let said = fails(&mut unfold(&image), 1);
    assert!(said.contains("comp_type"), "{said}");
    succeeds(unfold(&image).arg("--parser").arg(&carrier));
    assert_same(&bench.read("out/kernel"), &kernel());

    let attached = bench.path("attached");
    let mut attach = kpeel(["attach", "--parser"]);
    succeeds(attach.arg(&carrier).arg("-o").arg(&attached).arg(&image));
    std::fs::remove_dir_all(&out).unwrap();
    succeeds(&mut unfold(&attached));
    assert_same(&bench.read("out/kernel"), &kernel());
}

#[test]
fn an_offered_parser_passes_on_what_is_not_its_own() {
    let bench = Bench::new();
    let (object, carrier) = (compile(&bench), bench.path("plain.bpf"));
    succeeds(kpeel(["parser", "link", "-o"]).arg(&carrier).arg(object));
    let zboot = bench.zboot("zboot", &kernel());
    let mut alone = kpeel(["unfold", "-o"]);
    alone
        .arg(bench.path("out"))
        .arg(&zboot)
        .arg("--parser")
        .arg(&carrier);
    fails(&mut alone, 1);
    succeeds(alone.args(["--parser", "zboot"]));
    assert_same(&bench.read("out/kernel"), &kernel());
}
