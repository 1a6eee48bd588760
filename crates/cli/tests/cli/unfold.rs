//! `kpeel unfold`.

use std::fs;
use std::process::Stdio;

use kpeel_images::make::{Machine, tiny_kernel};

use crate::support::{
    Bench, assert_same, document, fails, kernel, kpeel, listing, stderr, succeeds,
};

#[test]
fn leaves_the_parts_that_exist_and_nothing_else() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let out = bench.path("new/out");
    let said = succeeds(kpeel(["unfold"]).arg(&image).arg("-o").arg(&out));
    assert_eq!(
        (said.as_str(), listing(&out)),
        ("", vec!["kernel".to_owned()])
    );
    assert_same(&fs::read(out.join("kernel")).unwrap(), &kernel());
}

#[test]
fn extract_is_the_same_command() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    succeeds(
        kpeel(["extract"])
            .arg(&image)
            .arg("-o")
            .arg(bench.path("out")),
    );
    assert_same(&bench.read("out/kernel"), &kernel());
    assert!(succeeds(&mut kpeel(["--help"])).contains("extract"));
}

#[test]
fn composes_image_and_caller() {
    let bench = Bench::new();
    let image = bench.uki(
        "uki",
        &[
            (".linux", &kernel()),
            (".initrd", b"image's"),
            (".cmdline", b"quiet"),
        ],
    );
    let (one, two) = (bench.write("one", b"12345"), bench.write("two", b"67"));
    let out = bench.path("out");
    let mut command = kpeel(["unfold", "--cmdline", "debug"]);
    command
        .arg(&image)
        .arg("-o")
        .arg(&out)
        .arg("--initrd")
        .arg(one)
        .arg("--initrd")
        .arg(two);
    succeeds(&mut command);
    assert_same(&bench.read("out/initrd"), b"image's\x0012345\0\0\x0067");
    assert_eq!(
        String::from_utf8(bench.read("out/cmdline")).unwrap(),
        "quiet debug"
    );
    assert_same(&bench.read("out/kernel"), &kernel());
}

#[test]
fn selects_profiles_by_option_and_by_selector() {
    let bench = Bench::new();
    let image = bench.uki(
        "uki",
        &[
            (".linux", &kernel()),
            (".cmdline", b"base"),
            (".profile", b"ID=zero\n"),
            (".profile", b"ID=one\nTITLE=\"The other\"\n"),
            (".cmdline", b"other"),
        ],
    );
    let cmdline = |arguments: &[&str]| {
        let mut command = kpeel(["unfold"]);
        succeeds(
            command
                .arg(&image)
                .arg("-o")
                .arg(bench.path("out"))
                .args(arguments),
        );
        String::from_utf8(bench.read("out/cmdline")).unwrap()
    };
    assert_eq!(cmdline(&[]), "base");
    assert_eq!(cmdline(&["--profile", "0"]), "base");
    assert_eq!(cmdline(&["--profile", "1"]), "other");
    assert_eq!(
        cmdline(&["--profile", "1", "--cmdline", "more"]),
        "other more"
    );
    assert_eq!(cmdline(&["--cmdline", "@1 more"]), "other more");
    let mut absent = kpeel(["unfold", "--profile", "7", "-o"]);
    fails(absent.arg(bench.path("out")).arg(&image), 1);
}

#[test]
fn a_failure_leaves_the_directory_as_it_was() {
    let bench = Bench::new();
    let good = bench.uki("uki", &[(".linux", &kernel()), (".cmdline", b"quiet")]);
    let bad = bench.write("bad", b"no image");
    let out = bench.path("out");
    succeeds(kpeel(["unfold"]).arg(&good).arg("-o").arg(&out));
    fs::write(out.join("unrelated"), b"mine").unwrap();
    fails(kpeel(["unfold"]).arg(&bad).arg("-o").arg(&out), 1);
    assert_eq!(listing(&out), ["cmdline", "kernel", "unrelated"]);
    let fresh = bench.path("fresh");
    fails(kpeel(["unfold"]).arg(&bad).arg("-o").arg(&fresh), 1);
    assert!(!fresh.exists());
}

#[test]
fn a_failed_write_leaves_nothing_half_written() {
    let bench = Bench::new();
    let image = bench.uki("uki", &[(".linux", &kernel()), (".cmdline", b"quiet")]);
    let out = bench.path("out");
    // A directory stands where the last file goes.
    fs::create_dir_all(out.join("cmdline/below")).unwrap();
    fs::write(out.join("initrd"), b"older").unwrap();
    fails(kpeel(["unfold"]).arg(&image).arg("-o").arg(&out), 3);
    assert!(
        !listing(&out).iter().any(|name| name.ends_with(".tmp")),
        "{:?}",
        listing(&out)
    );
}

#[test]
fn parts_of_two_images_are_never_mixed() {
    let bench = Bench::new();
    let older = [(".linux", &kernel()[..]), (".initrd", b"older")];
    let older = bench.uki("older", &older);
    let other = tiny_kernel(Machine::Amd64, 30_000);
    let newer = bench.zboot("newer", &other);
    let out = bench.path("out");
    let unfold = |image| {
        let mut command = kpeel(["unfold"]);
        command.arg(image).arg("-o").arg(&out);
        command
    };
    succeeds(&mut unfold(&older));
    // A directory stands where nothing belongs now.
    fs::create_dir(out.join("cmdline")).unwrap();
    let said = fails(&mut unfold(&newer), 3);
    assert!(
        said.contains("out/cmdline: cannot replace or remove: "),
        "{said}"
    );
    assert_eq!(listing(&out), ["cmdline", "initrd", "kernel"]);
    assert_same(&bench.read("out/kernel"), &kernel());
    assert_same(&bench.read("out/initrd"), b"older");
    fs::remove_dir(out.join("cmdline")).unwrap();
    succeeds(&mut unfold(&newer));
    assert_eq!(listing(&out), ["kernel"]);
    assert_same(&bench.read("out/kernel"), &other);
}

/// Whether files can be made without a name here; a directory on NFS cannot.
fn has_nameless_files(directory: &std::path::Path) -> bool {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::WRONLY;
    rustix::fs::open(directory, flags, Mode::RUSR).is_ok()
}

#[test]
fn a_killed_command_leaves_nothing() {
    const MOMENTS: u32 = 24;
    let bench = Bench::new();
    if !has_nameless_files(bench.scratch.path()) {
        return;
    }
    let initrd = vec![1; 64 << 20];
    let image = bench.uki("uki", &[(".linux", &kernel()), (".initrd", &initrd)]);
    let out = bench.path("out");
    let unfold = || {
        let mut command = kpeel(["unfold"]);
        command.arg(&image).arg("-o").arg(&out);
        command
    };
    let start = std::time::Instant::now();
    succeeds(&mut unfold());
    let whole = start.elapsed();
    for moment in 0..MOMENTS {
        fs::remove_dir_all(&out).unwrap();
        fs::create_dir(&out).unwrap();
        let mut child = unfold().spawn().unwrap();
        std::thread::sleep(whole * moment / MOMENTS);
        child.kill().unwrap();
        child.wait().unwrap();
        let left = listing(&out);
        assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
    }
}

#[test]
fn parts_of_an_earlier_image_are_removed() {
    let bench = Bench::new();
    let full = [
        (".linux", &kernel()[..]),
        (".initrd", b"rd"),
        (".cmdline", b"quiet"),
    ];
    let (full, plain) = (bench.uki("uki", &full), bench.zboot("zboot", &kernel()));
    let out = bench.path("out");
    succeeds(kpeel(["unfold"]).arg(&full).arg("-o").arg(&out));
    assert_eq!(listing(&out), ["cmdline", "initrd", "kernel"]);
    succeeds(kpeel(["unfold"]).arg(&plain).arg("-o").arg(&out));
    assert_eq!(listing(&out), ["kernel"]);
}

#[test]
fn reads_the_image_from_standard_input() {
    let bench = Bench::new();
    let image = fs::File::open(bench.zboot("image", &kernel())).unwrap();
    let mut command = kpeel(["unfold", "-", "-o"]);
    succeeds(command.arg(bench.path("out")).stdin(Stdio::from(image)));
    assert_same(&bench.read("out/kernel"), &kernel());
}

#[test]
fn warnings_go_to_standard_error_with_their_depth() {
    let bench = Bench::new();
    let image = bench.uki("uki", &[(".linux", &kernel()), (".pcrsig", b"{}\0")]);
    let mut command = kpeel(["unfold", "--json"]);
    let output = command
        .arg(&image)
        .arg("-o")
        .arg(bench.path("out"))
        .output()
        .unwrap();
    let said = stderr(&output);
    assert!(said.contains("warning: envelope 1: .pcrsig"), "{said}");
    let told = document(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(told["warnings"][0]["field"], ".pcrsig");
}

#[test]
fn json_tells_files_and_where_they_come_from() {
    let bench = Bench::new();
    let inner = fs::read(bench.zboot("zboot", &kernel())).unwrap();
    let image = bench.uki("uki", &[(".linux", &inner), (".initrd", b"rd")]);
    let mut command = kpeel(["unfold", "--json", "--cmdline", "quiet", "-o"]);
    let told = document(&succeeds(command.arg(bench.path("out")).arg(&image)));
    assert_eq!(told["envelopes_opened"], 2);
    assert_eq!(
        (&told["kernel"]["size"], &told["kernel"]["envelope"]),
        (&20_000.into(), &2.into())
    );
    assert_eq!(
        (&told["initrd"]["envelope"], &told["initrd"]["caller"]),
        (&1.into(), &false.into())
    );
    assert_eq!(told["cmdline"]["caller"], true);
    assert_eq!(
        told["kernel"]["path"],
        bench.path("out/kernel").display().to_string()
    );
}

#[test]
fn json_tells_why_it_failed() {
    let bench = Bench::new();
    let image = bench.write("bad", b"MZ");
    let mut command = kpeel(["unfold", "--json", "-o"]);
    let output = command.arg(bench.path("out")).arg(&image).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = document(std::str::from_utf8(&output.stdout).unwrap());
    assert_eq!(
        (&told["error"]["exit"], &told["error"]["class"]),
        (&1.into(), &"unsupported".into())
    );
    assert!(stderr(&output).contains(told["error"]["message"].as_str().unwrap()));
}

#[test]
fn trace_shows_stages_calls_and_ends() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let mut command = kpeel(["unfold", "--trace", "-o"]);
    let output = command.arg(bench.path("out")).arg(&image).output().unwrap();
    let said = stderr(&output);
    for expected in [
        "1: stage: image",
        "bpf(",
        "bpf_decompress(",
        "bpf_copy_to_kernel(",
        "returned 0",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn embedded_parsers_are_used_unless_they_are_not_wanted() {
    let bench = Bench::new();
    let image = bench.zboot("image", &kernel());
    let wrong = bench.path("wrong");
    succeeds(
        kpeel(["attach", "--parser", "uki", "-o"])
            .arg(&wrong)
            .arg(&image),
    );
    let unfold = || {
        let mut command = kpeel(["unfold"]);
        command.arg(&wrong).arg("-o").arg(bench.path("out"));
        command
    };
    let said = fails(&mut unfold(), 1);
    assert!(said.contains(".bpf"), "{said}");
    fails(unfold().args(["--no-embedded", "--parser", "uki"]), 1);
    succeeds(unfold().arg("--no-embedded"));
    assert_same(&bench.read("out/kernel"), &kernel());
}
