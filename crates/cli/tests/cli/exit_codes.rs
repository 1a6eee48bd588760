//! Each exit code, by a way to reach it; 70 is a unit test, since nothing is known to panic.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;

use kpeel_images::make::{Machine, tiny_kernel};

use crate::support::{Bench, assert_same, fails, kernel, kpeel, stderr, succeeds};

#[test]
fn zero_for_help_version_and_success() {
    for arguments in [["--help"], ["--version"], ["help"]] {
        assert!(!succeeds(&mut kpeel(arguments)).is_empty());
    }
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    succeeds(kpeel(["inspect"]).arg(image));
}

#[test]
fn one_for_a_malformed_image() {
    let bench = Bench::new();
    let mut bytes = std::fs::read(bench.zboot("image", &kernel())).unwrap();
    let size = u32::from_le_bytes(bytes[12..16].try_into().unwrap());
    bytes[12..16].copy_from_slice(&(size + 1_000_000).to_le_bytes());
    let image = bench.write("broken", &bytes);
    let said = fails(
        kpeel(["unfold"])
            .arg(&image)
            .arg("-o")
            .arg(bench.path("out")),
        1,
    );
    let path = image.display();
    assert!(
        said.contains(&format!(
            "kpeel: {path}: malformed: envelope 1: payload_size"
        )),
        "{said}"
    );
    assert!(
        said.contains("found ") && said.contains("needed "),
        "{said}"
    );
}

#[test]
fn one_for_something_that_is_no_image() {
    let bench = Bench::new();
    let image = bench.write("text", b"just text");
    let said = fails(
        kpeel(["unfold"])
            .arg(&image)
            .arg("-o")
            .arg(bench.path("out")),
        1,
    );
    assert!(
        said.starts_with(&format!("kpeel: {}: unsupported", image.display())),
        "{said}"
    );
    fails(kpeel(["inspect"]).arg(&image), 1);
    fails(
        kpeel(["parser", "link"])
            .arg(&image)
            .arg("-o")
            .arg(bench.path("out")),
        1,
    );
}

#[test]
fn two_for_wrong_usage() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["unfold"],
        &["inspect", "x", "--no-such-option"],
        &["unfold", "x", "-o", "y", "--profile", "minus one"],
        &["parser", "export", "no-such-parser", "-o", "x"],
    ] {
        fails(&mut kpeel(arguments), 2);
    }
    let out = bench.path("out");
    let unfold = || {
        let mut command = kpeel(["unfold"]);
        command.arg(&image).arg("-o").arg(&out);
        command
    };
    let said = fails(unfold().args(["--parser", "no-such-parser"]), 2);
    assert!(
        said.contains("no-such-parser") && said.contains("uki, zboot"),
        "{said}"
    );
    fails(
        unfold().args(["--profile", "1", "--cmdline", "@2 quiet"]),
        2,
    );
    assert!(!out.exists());
    fails(unfold().args(["--cmdline", "@home"]), 2);
    assert!(!out.exists());
    succeeds(unfold().args(["--parser", "zboot", "--cmdline", "home"]));
}

#[test]
fn three_for_files_that_cannot_be_read_or_written() {
    let bench = Bench::new();
    let said = fails(kpeel(["inspect"]).arg(bench.path("absent")), 3);
    assert!(said.contains("absent: cannot open: No such file"), "{said}");
    fails(kpeel(["inspect"]).arg(bench.scratch.path()), 3);
    let image = bench.zboot("image", &kernel());
    let below_a_file = image.join("out");
    fails(
        kpeel(["unfold"]).arg(&image).arg("-o").arg(&below_a_file),
        3,
    );
    let attach = |out| {
        let mut command = kpeel(["attach", "--parser", "zboot", "-o"]);
        command.arg(out).arg(&image);
        command
    };
    fails(&mut attach(below_a_file.as_path()), 3);
    fails(&mut attach(bench.scratch.path()), 3);
    // The image itself is no place that cannot be written.
    succeeds(&mut attach(&image));
}

#[test]
fn four_for_a_bound() {
    let bench = Bench::new();
    let mut inner = kernel();
    for depth in 1..=5 {
        let path = bench.zboot(&format!("zboot{depth}"), &inner);
        inner = std::fs::read(&path).unwrap();
        let mut unfold = kpeel(["unfold"]);
        unfold.arg(&path).arg("-o").arg(bench.path("out"));
        if depth <= 4 {
            succeeds(&mut unfold);
        } else {
            let said = fails(&mut unfold, 4);
            assert!(said.contains("depth: found 5"), "{said}");
        }
    }
}

/// How the command ends, and what it says, when nobody reads its standard output.
fn unread(command: &mut Command) -> (Option<i32>, String) {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), stderr(&output))
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let ended = unread(kpeel(["inspect"]).arg(&image));
    assert_eq!(ended, (Some(0), String::new()));
}

#[test]
fn a_reader_that_goes_away_hides_no_failure() {
    let bench = Bench::new();
    let mut bytes = std::fs::read(bench.zboot("image", &kernel())).unwrap();
    bytes.truncate(bytes.len() - 8);
    let cut = bench.write("cut", &bytes);
    for arguments in [&["inspect"][..], &["inspect", "--json"]] {
        let said = fails(kpeel(arguments).arg(&cut), 1);
        assert_eq!(unread(kpeel(arguments).arg(&cut)), (Some(1), said));
    }
}

#[test]
fn three_for_an_output_that_nobody_reads_to_its_end() {
    let bench = Bench::new();
    // More than a pipe takes at once, so that writing waits for the reader.
    let kernel = tiny_kernel(Machine::Amd64, 500_000);
    let image = bench.uki("image", &[(".linux", &kernel), (".cmdline", b"quiet")]);
    let out = bench.path("out");
    std::fs::create_dir(&out).unwrap();
    let fifo = out.join("kernel");
    let made = Command::new("mkfifo").arg(&fifo).status().unwrap();
    assert!(made.success());
    let unfold = || {
        let mut command = kpeel(["unfold"]);
        command.arg(&image).arg("-o").arg(&out);
        command
    };
    let read = |most: u64| {
        let fifo = fifo.clone();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let file = File::open(fifo).unwrap();
            file.take(most).read_to_end(&mut bytes).unwrap();
            bytes
        })
    };
    let reader = read(1);
    let said = fails(&mut unfold(), 3);
    reader.join().unwrap();
    assert!(said.contains("kernel: cannot write: Broken pipe"), "{said}");
    assert!(!out.join("cmdline").exists());
    let reader = read(u64::MAX);
    succeeds(&mut unfold());
    assert_same(&reader.join().unwrap(), &kernel);
    assert!(out.join("cmdline").exists());
}
