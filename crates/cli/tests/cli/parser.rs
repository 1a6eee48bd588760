//! `kpeel parser`.

use std::fs;

use crate::support::{Bench, assert_same, document, fails, kernel, kpeel, stderr, succeeds};

#[test]
fn lists_what_comes_with_kpeel() {
    let told = succeeds(&mut kpeel(["parser", "list"]));
    let names: Vec<_> = told
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(names, ["uki", "zboot"]);
    let told = document(&succeeds(&mut kpeel(["parser", "list", "--json"])));
    assert_eq!(told["parsers"][1]["name"], "zboot");
    assert!(
        told["parsers"][1]["parser"]["programs"][0]["kfuncs"]
            .as_array()
            .unwrap()
            .len()
            >= 3
    );
}

#[test]
fn exports_the_same_bytes_to_a_file_and_to_a_pipe() {
    let bench = Bench::new();
    let piped = kpeel(["parser", "export", "uki"]).output().unwrap();
    succeeds(kpeel(["parser", "export", "uki", "-o"]).arg(bench.path("uki")));
    assert!(piped.status.success() && piped.stdout.starts_with(b"\x7fELF"));
    assert_same(&piped.stdout, &bench.read("uki"));
}

#[test]
fn check_tells_verdict_publications_and_cost() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let mut command = kpeel(["parser", "check", "zboot", "--json"]);
    let told = document(&succeeds(command.arg(&image)));
    assert_eq!(told["verdict"], "opened");
    assert_eq!(told["published"][0]["resource"], "kexec:kernel");
    assert_eq!(told["published"][0]["size"], 20_000);
    assert!(told["instructions"].as_u64().unwrap() > 100);
    let told = succeeds(kpeel(["parser", "check", "zboot"]).arg(&image));
    assert!(told.contains("kexec:kernel: 19.5 KiB"), "{told}");
}

#[test]
fn check_tells_a_parser_that_does_not_know_the_image() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let output = kpeel(["parser", "check", "uki", "--json"])
        .arg(&image)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let told = document(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(told["verdict"], "not-mine");
    assert!(
        stderr(&output).contains("unsupported: envelope 1: .linux"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn check_tells_why_a_parser_gives_up() {
    let bench = Bench::new();
    let mut bytes = fs::read(bench.zboot("image", &kernel())).unwrap();
    bytes[8..12].copy_from_slice(&0x10_u32.to_le_bytes());
    let image = bench.write("broken", &bytes);
    let mut command = kpeel(["parser", "check", "zboot", "--trace"]);
    let said = fails(command.arg(&image), 1);
    assert!(
        said.contains("malformed: envelope 1: payload_offset: found 16"),
        "{said}"
    );
    assert!(said.contains("verdict: Malformed payload_offset"), "{said}");
}

#[test]
fn linking_what_is_no_object_names_the_file() {
    let bench = Bench::new();
    let object = bench.write("object", b"\x7fELF and no more");
    let mut command = kpeel(["parser", "link", "-o"]);
    let said = fails(command.arg(bench.path("out")).arg(&object), 1);
    assert!(
        said.starts_with(&format!("kpeel: {}: ", object.display())),
        "{said}"
    );
    assert!(!bench.path("out").exists());
}

#[test]
fn check_blames_the_parser_when_it_cannot_be_loaded() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let mut carrier = kpeel(["parser", "export", "zboot"])
        .output()
        .unwrap()
        .stdout;
    // Every instruction of the loader becomes one that does not exist.
    let insns = 64..64 + 8 * 40;
    carrier[insns].fill(0xff);
    let parser = bench.write("broken.o", &carrier);
    let said = fails(kpeel(["parser", "check"]).arg(&parser).arg(&image), 1);
    assert!(
        said.starts_with(&format!("kpeel: {}: malformed", parser.display())),
        "{said}"
    );
}
