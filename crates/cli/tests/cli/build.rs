//! `kpeel build`: what it reads, what it refuses and how it ends. What the images hold is judged against ukify and the
//! codecs' tools elsewhere.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kpeel_images::make::{Codec, Machine};
use kpeel_images::oracle::{expected_section, expected_sections, expected_zboot_payload};
use kpeel_images::{Item, fetch};

use crate::support::{Bench, assert_same, fails, kernel, kpeel, listing, succeeds};

/// A PE image that serves as kernel, small enough for many runs.
fn small_kernel() -> PathBuf {
    fetch(Item::StubAmd64V257).unwrap()
}

/// `kpeel build uki` on systemd's stub, for `out`.
fn uki(bench: &Bench, out: &str) -> Command {
    let mut command = kpeel(["build", "uki", "--os-release=", "--uname=6.12.0-x"]);
    command
        .current_dir(bench.scratch.path())
        .arg("--stub")
        .arg(fetch(Item::StubAmd64V257).unwrap());
    command
        .arg("--linux")
        .arg(small_kernel())
        .arg("-o")
        .arg(bench.path(out));
    command
}

#[test]
fn a_uki_carries_its_parser_and_detaching_leaves_what_was_built_without() {
    let bench = Bench::new();
    succeeds(uki(&bench, "with").arg("--cmdline=quiet"));
    succeeds(uki(&bench, "without").args(["--cmdline=quiet", "--no-parser"]));
    succeeds(
        kpeel(["detach", "-o"])
            .arg(bench.path("bare"))
            .arg(bench.path("with")),
    );
    assert_same(&bench.read("bare"), &bench.read("without"));
    let told = succeeds(kpeel(["inspect", "--no-embedded"]).arg(bench.path("without")));
    assert!(told.contains("uki, x86_64, unsigned"), "{told}");
}

#[test]
fn a_kernel_packed_as_a_whole_is_unpacked() {
    let bench = Bench::new();
    let plain = fs::read(small_kernel()).unwrap();
    for codec in [Codec::Gzip, Codec::Zstd, Codec::Lz4] {
        let packed = bench.write("vmlinuz", &codec.compress(Machine::Amd64, &plain).unwrap());
        let mut command = kpeel(["build", "uki", "--os-release=", "--uname=x", "--stub"]);
        command
            .arg(fetch(Item::StubAmd64V257).unwrap())
            .arg("--linux")
            .arg(packed);
        succeeds(command.arg("-o").arg(bench.path("out")));
        assert_same(
            &expected_section(&bench.path("out"), ".linux").unwrap(),
            &plain,
        );
    }
    let other = bench.write("vmlinuz", b"no kernel at all");
    let mut command = kpeel(["build", "uki", "--linux"]);
    let said = fails(command.arg(&other).arg("-o").arg(bench.path("never")), 1);
    assert!(said.contains("vmlinuz: malformed: e_magic"), "{said}");
}

#[test]
fn firmware_comes_with_its_directorys_name() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("board-fw")).unwrap();
    bench.write("board-fw/image.bin", b"FIRMWARE");
    succeeds(uki(&bench, "out").arg("--efifw=board-fw"));
    // Four words, the name with its NUL, the firmware (systemd, src/boot/efifirmware.h).
    let mut expected = vec![0xad, 0xde, 0xed, 0xfe, 16, 0, 0, 0, 9, 0, 0, 0, 8, 0, 0, 0];
    expected.extend(b"board-fw\0FIRMWARE");
    assert_same(
        &expected_section(&bench.path("out"), ".efifw").unwrap(),
        &expected,
    );
    bench.write("board-fw/image.bin", b"");
    fails(uki(&bench, "never").arg("--efifw=board-fw"), 2);
    bench.write("board-fw/another.bin", b"FIRMWARE");
    fails(uki(&bench, "never").arg("--efifw=board-fw"), 2);
    assert!(!bench.path("never").exists());
}

#[test]
fn hardware_descriptions_say_what_they_choose() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("hw")).unwrap();
    let with = |text: &str| bench.write("hw/a.json", text.as_bytes());
    let ids = r#""hwids": ["{01234567-89AB-cdef-0123-456789abcdef}"]"#;
    with(&format!(
        r#"{{"type": "uefi-fw", "name": "N", "fwid": "board-fw", {ids}}}"#
    ));
    succeeds(uki(&bench, "out").arg("--hwids=hw"));
    let section = expected_section(&bench.path("out"), ".hwids").unwrap();
    assert_eq!(section[..4], 0x2000_001c_u32.to_le_bytes());
    assert!(section.ends_with(b"N\0board-fw\0"));
    for wrong in [
        format!(r#"{{"type": "uefi-fw", "name": "N", "compatible": "a", {ids}}}"#),
        format!(r#"{{"name": "N", {ids}}}"#),
        r#"{"name": "N", "compatible": "a", "hwids": ["0123"]}"#.to_owned(),
        "not JSON".to_owned(),
    ] {
        with(&wrong);
        let said = fails(uki(&bench, "never").arg("--hwids=hw"), 1);
        assert!(said.contains("hw/a.json"), "{said}");
    }
    assert!(!bench.path("never").exists());
}

#[test]
fn initrds_are_joined_whether_or_not_they_are_read_before_the_image_is_written() {
    let bench = Bench::new();
    let (one, two) = (vec![1; 5], vec![2; 300_000]);
    let paths = [bench.write("one", &one), bench.write("two", &two)];
    let joined = [&one[..], &[0; 3], &two].concat();
    let mut build = uki(&bench, "files");
    succeeds(
        build
            .arg("--initrd")
            .arg(&paths[0])
            .arg("--initrd")
            .arg(&paths[1]),
    );
    // What is no regular file has no size to count on.
    let mut piped = uki(&bench, "piped");
    piped
        .args(["--initrd", "/dev/stdin", "--initrd"])
        .arg(&paths[1]);
    let (from, mut to) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut to, &one).unwrap();
    drop(to);
    succeeds(piped.stdin(from));
    for image in ["files", "piped"] {
        let section = expected_section(&bench.path(image), ".initrd").unwrap();
        assert_same(&section, &joined);
    }
    assert_same(&bench.read("files"), &bench.read("piped"));
}

#[test]
fn wrong_usage_is_told_and_leaves_nothing() {
    let bench = Bench::new();
    for wrong in [
        &["--section=.toolongname:x"][..],
        &["--section=noname"],
        &["--section=.text:x"],
        &["--cmdline=a", "--section=.cmdline:b"],
        &["--sbat=no table"],
        &["--parser=unheard-of"],
    ] {
        fails(uki(&bench, "never").args(wrong), 2);
    }
    fails(uki(&bench, "never").arg("--initrd=absent"), 3);
    fails(&mut kpeel(["build", "uki", "--cmdline=x"]), 2);
    assert!(listing(bench.scratch.path()).is_empty());
    succeeds(uki(&bench, "out").args(["--section=.8-chars:x:y", "--sbat=sbat,1\nmine,1\n"]));
    assert_eq!(
        expected_section(&bench.path("out"), ".8-chars").unwrap(),
        b"x:y"
    );
}

#[test]
fn a_signed_stub_is_refused() {
    let bench = Bench::new();
    let mut command = kpeel(["build", "uki", "--cmdline=x", "--stub"]);
    command
        .arg(fetch(Item::SystemdBootAmd64).unwrap())
        .arg("-o")
        .arg(bench.path("never"));
    let said = fails(&mut command, 4);
    assert!(
        said.contains("refused (signature)") && said.contains("unsigned stub"),
        "{said}"
    );
    assert!(listing(bench.scratch.path()).is_empty());
}

#[test]
fn without_a_name_the_image_is_called_as_its_kernel() {
    let bench = Bench::new();
    fs::copy(small_kernel(), bench.path("vmlinuz-6")).unwrap();
    let mut command = kpeel([
        "build",
        "uki",
        "--os-release=",
        "--uname=x",
        "--linux=vmlinuz-6",
        "--stub",
    ]);
    succeeds(
        command
            .current_dir(bench.scratch.path())
            .arg(fetch(Item::StubAmd64V257).unwrap()),
    );
    assert_eq!(
        listing(bench.scratch.path()),
        ["vmlinuz-6", "vmlinuz-6.unsigned.efi"]
    );
}

/// `kpeel build zboot` of the small kernel for `out`.
fn zboot(bench: &Bench, out: &str) -> Command {
    let mut command = kpeel(["build", "zboot", "--linux"]);
    command.arg(small_kernel()).arg("-o").arg(bench.path(out));
    command
}

#[test]
fn a_zboot_image_for_kexec_unfolds_by_its_own_parser() {
    let bench = Bench::new();
    for codec in ["gzip", "zstd", "xz", "lzma", "lz4", "lzo"] {
        succeeds(zboot(&bench, "out").args(["--kexec-only", "--codec", codec, "--level=1"]));
        assert_same(
            &expected_zboot_payload(&bench.path("out")).unwrap(),
            &fs::read(small_kernel()).unwrap(),
        );
        let told = succeeds(kpeel(["inspect"]).arg(bench.path("out")));
        assert!(
            told.contains("opened by .bpf") && told.contains(".kexec"),
            "{told}"
        );
    }
    succeeds(zboot(&bench, "bare").args(["--kexec-only", "--level=1", "--no-parser"]));
    assert_eq!(
        expected_sections(&bench.path("bare"), ".bpf")
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn a_template_of_another_codec_or_size_is_refused() {
    let bench = Bench::new();
    let small = bench.zboot("small.efi", &kernel());
    let large = bench.zboot("large.efi", &fs::read(small_kernel()).unwrap());
    let template = |path: &PathBuf| {
        let mut command = zboot(&bench, "out");
        command.arg("--template").arg(path);
        command
    };
    let said = fails(&mut template(&small), 1);
    assert!(
        said.contains("small.efi") && said.contains("payload size"),
        "{said}"
    );
    let said = fails(template(&large).args(["--codec", "lzo"]), 2);
    assert!(said.contains("decompressor"), "{said}");
    fails(template(&large).args(["--level", "13"]), 2);
    fails(&mut template(&small_kernel()), 1);
    fails(&mut zboot(&bench, "out"), 2);
    assert!(!bench.path("out").exists());
    succeeds(&mut template(&large));
    assert_same(
        &expected_zboot_payload(&bench.path("out")).unwrap(),
        &fs::read(small_kernel()).unwrap(),
    );
}

#[test]
fn a_stub_that_is_not_there_is_named() {
    let bench = Bench::new();
    let mut command = kpeel(["build", "uki", "--cmdline=x", "--efi-arch=none", "-o"]);
    let said = fails(command.arg(bench.path("never")), 3);
    assert!(
        said.contains("addonnone.efi.stub") && said.contains("--stub"),
        "{said}"
    );
}
