//! `kpeel attach` and `kpeel detach`; what they write is judged in kpeel-image.

use std::fs;

use kpeel_images::oracle::expected_section;
use kpeel_images::{Item, fetch};

use crate::support::{Bench, assert_same, fails, kernel, kpeel, listing, succeeds};

#[test]
fn an_attached_parser_is_found_and_run() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let attached = bench.path("attached");
    succeeds(
        kpeel(["attach", "--parser", "zboot", "-o"])
            .arg(&attached)
            .arg(&image),
    );
    succeeds(kpeel(["parser", "export", "zboot", "-o"]).arg(bench.path("carrier")));
    assert_same(
        &expected_section(&attached, ".bpf").unwrap(),
        &bench.read("carrier"),
    );
    let told = succeeds(kpeel(["inspect"]).arg(&attached));
    assert!(told.contains("opened by .bpf"), "{told}");
}

#[test]
fn a_carrier_from_a_file_does_the_same() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    succeeds(kpeel(["parser", "export", "zboot", "-o"]).arg(bench.path("carrier")));
    let attach = |parser: &str, out: &str| {
        let mut command = kpeel(["attach", "--parser", parser, "-o"]);
        succeeds(command.arg(bench.path(out)).arg(&image));
        bench.read(out)
    };
    let carrier = bench.path("carrier").display().to_string();
    assert_same(&attach(&carrier, "one"), &attach("zboot", "two"));
    let broken = bench.write("broken", b"no carrier");
    let mut command = kpeel(["attach", "-o"]);
    command
        .arg(bench.path("three"))
        .arg(&image)
        .arg("--parser")
        .arg(&broken);
    let said = fails(&mut command, 1);
    assert!(
        said.starts_with(&format!("kpeel: {}: malformed", broken.display())),
        "{said}"
    );
}

#[test]
fn detaching_gives_the_bytes_of_before() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let (attached, again) = (bench.path("attached"), bench.path("again"));
    succeeds(
        kpeel(["attach", "--parser", "zboot", "-o"])
            .arg(&attached)
            .arg(&image),
    );
    succeeds(kpeel(["detach", "-o"]).arg(&again).arg(&attached));
    assert_same(&fs::read(again).unwrap(), &fs::read(&image).unwrap());
    fails(kpeel(["detach", "-o"]).arg(bench.path("x")).arg(&image), 2);
}

#[test]
fn a_signed_image_is_refused_by_a_message_that_names_the_way() {
    let bench = Bench::new();
    let signed = fetch(Item::SystemdBootAmd64).unwrap();
    let out = bench.path("out");
    let attach = || {
        let mut command = kpeel(["attach", "--parser", "uki", "-o"]);
        command.arg(&out).arg(&signed);
        command
    };
    let said = fails(&mut attach(), 4);
    assert!(
        said.contains("refused (signature)") && said.contains("--drop-signature"),
        "{said}"
    );
    assert!(listing(bench.scratch.path()).is_empty());
    succeeds(attach().arg("--drop-signature"));
    let told = succeeds(kpeel(["inspect", "--no-embedded"]).arg(&out));
    assert!(told.contains("unsigned"), "{told}");
}

#[test]
fn a_second_parser_must_be_asked_for() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let out = bench.path("out");
    let attach = |from: &std::path::Path, parser: &str| {
        let mut command = kpeel(["attach", "--parser", parser, "-o"]);
        command.arg(&out).arg(from);
        command
    };
    succeeds(&mut attach(&image, "uki"));
    let said = fails(&mut attach(&out, "zboot"), 2);
    assert!(said.contains("--replace"), "{said}");
    succeeds(attach(&out, "zboot").arg("--replace"));
    succeeds(kpeel(["unfold", "-o"]).arg(bench.path("parts")).arg(&out));
}
