//! `kpeel build --sign` and `--sign-inner`, judged by sbverify. Each image has one self-signed certificate, for which
//! sbverify's word counts.

use std::fs;
use std::path::Path;
use std::process::Command;

use kpeel_images::make::{Codec, Machine, noise, zboot};
use kpeel_images::oracle::{expected_section, expected_zboot_payload};
use kpeel_images::{Item, fetch};

use crate::support::{Bench, fails, kpeel, listing, succeeds};

fn bench() -> Bench {
    let bench = Bench::new();
    for name in ["mine", "other"] {
        let mut openssl = Command::new("openssl");
        openssl.current_dir(bench.scratch.path());
        openssl.args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
        ]);
        openssl.args([
            "-subj",
            "/CN=test",
            "-keyout",
            &format!("{name}.key"),
            "-out",
            &format!("{name}.pem"),
        ]);
        assert!(openssl.output().unwrap().status.success());
    }
    bench
}

/// `kpeel build WHAT` with `mine`, of this kernel, for `out`.
fn build(bench: &Bench, what: &str, linux: &Path, out: &str) -> Command {
    let mut command = kpeel(["build", what]);
    command
        .current_dir(bench.scratch.path())
        .arg("--linux")
        .arg(linux)
        .args(["-o", out]);
    command
}

const KEY: [&str; 4] = ["--key", "mine.key", "--cert", "mine.pem"];

fn verifies(bench: &Bench, cert: &str, image: &str) -> bool {
    let mut sbverify = Command::new("sbverify");
    sbverify
        .current_dir(bench.scratch.path())
        .args(["--cert", cert, image]);
    sbverify.output().unwrap().status.success()
}

fn stub() -> String {
    format!("--stub={}", fetch(Item::StubAmd64V257).unwrap().display())
}

#[test]
fn a_uki_is_signed_outside_inside_or_both() {
    let bench = bench();
    // One kernel without a signature, one with another's, which is replaced.
    for kernel in [Item::StubAmd64V257, Item::SystemdBootAmd64] {
        let linux = fetch(kernel).unwrap();
        for (options, outer, inner) in [
            (&["--sign"][..], true, false),
            (&["--sign-inner"], false, true),
            (&["--sign", "--sign-inner"], true, true),
        ] {
            let mut command = build(&bench, "uki", &linux, "out.efi");
            succeeds(
                command
                    .args([&stub(), "--uname=x", "--os-release="])
                    .args(options)
                    .args(KEY),
            );
            bench.write(
                "inner.efi",
                &expected_section(&bench.path("out.efi"), ".linux").unwrap(),
            );
            for (image, signed) in [("out.efi", outer), ("inner.efi", inner)] {
                assert_eq!(
                    verifies(&bench, "mine.pem", image),
                    signed,
                    "{options:?} {image}"
                );
                assert!(!verifies(&bench, "other.pem", image), "{options:?} {image}");
            }
        }
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes_signed_too() {
    let bench = bench();
    let linux = fetch(Item::StubAmd64V257).unwrap();
    for out in ["one.efi", "two.efi"] {
        let mut command = build(&bench, "uki", &linux, out);
        command.args([
            &stub(),
            "--uname=x",
            "--os-release=",
            "--sign",
            "--sign-inner",
        ]);
        succeeds(command.args(KEY));
    }
    assert!(bench.read("one.efi") == bench.read("two.efi"));
}

#[test]
fn the_kernel_in_a_zboot_image_is_signed() {
    let bench = bench();
    let linux = fetch(Item::StubArm64).unwrap();
    let mut command = build(&bench, "zboot", &linux, "out.efi");
    command.args(["--kexec-only", "--level=1", "--sign", "--sign-inner"]);
    succeeds(command.args(KEY));
    let payload = expected_zboot_payload(&bench.path("out.efi")).unwrap();
    bench.write("inner.efi", &payload);
    assert!(verifies(&bench, "mine.pem", "out.efi") && verifies(&bench, "mine.pem", "inner.efi"));
}

#[test]
fn zeros_that_firmware_needs_are_part_of_what_is_signed() {
    let bench = bench();
    // A PE image with the header of an Image: as large in memory as it says at offset 16.
    let mut kernel = fs::read(fetch(Item::StubArm64).unwrap()).unwrap();
    let size = kernel.len() + 5000;
    kernel[16..24].copy_from_slice(&(size as u64).to_le_bytes());
    kernel[0x38..0x3c].copy_from_slice(b"ARM\x64");
    let linux = bench.write("Image", &kernel);
    zboot(
        Machine::Arm64,
        Codec::Gzip,
        &noise(2 * kernel.len(), 1),
        &bench.path("template.efi"),
    )
    .unwrap();
    let mut command = build(&bench, "zboot", &linux, "out.efi");
    succeeds(
        command
            .args(["--template=template.efi", "--sign-inner"])
            .args(KEY),
    );
    let payload = expected_zboot_payload(&bench.path("out.efi")).unwrap();
    // Behind the headers, in which a signature has its entry.
    assert!(payload[0x1000..kernel.len()] == kernel[0x1000..]);
    assert!(payload.len() > size && payload[kernel.len()..size].iter().all(|byte| *byte == 0));
    bench.write("inner.efi", &payload);
    assert!(verifies(&bench, "mine.pem", "inner.efi"));
}

#[test]
fn a_key_without_use_and_a_signature_without_key_are_refused() {
    let bench = bench();
    let linux = fetch(Item::StubAmd64V257).unwrap();
    let before = listing(bench.scratch.path());
    let with = |options: &[&str]| {
        let mut command = build(&bench, "uki", &linux, "out.efi");
        command.args([&stub(), "--uname=x"]).args(options);
        command
    };
    fails(&mut with(&["--sign"]), 2);
    fails(&mut with(&["--sign-inner", "--key", "mine.key"]), 2);
    fails(&mut with(&KEY), 2);
    fails(
        &mut with(&["--sign", "--key", "mine.key", "--cert", "other.pem"]),
        2,
    );
    assert_eq!(listing(bench.scratch.path()), before);
}

#[test]
fn ukifys_configuration_file_names_the_key() {
    let bench = bench();
    let linux = fetch(Item::StubAmd64V257).unwrap();
    bench.write(
        "ukify.conf",
        b"[UKI]\nSecureBootPrivateKey=mine.key\nSecureBootCertificate=mine.pem\nSignKernel=yes\n",
    );
    let mut command = build(&bench, "uki", &linux, "out.efi");
    succeeds(command.args([&stub(), "--uname=x", "--config=ukify.conf"]));
    bench.write(
        "inner.efi",
        &expected_section(&bench.path("out.efi"), ".linux").unwrap(),
    );
    assert!(verifies(&bench, "mine.pem", "out.efi") && verifies(&bench, "mine.pem", "inner.efi"));
}
