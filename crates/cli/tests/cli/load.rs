//! `kpeel load --dry-run`: what would be loaded, where it comes from, what is refused.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Bench, document, fails, kpeel, stderr, succeeds};

/// Where a bzImage says how long a command line it takes.
const CMDLINE_SIZE: usize = 0x238;
/// Where the kernel tells of lockdown.
const LOCKDOWN: &str = "sys/kernel/security/lockdown";

/// A plain kernel that takes a command line.
fn kernel() -> Vec<u8> {
    let mut kernel = crate::support::kernel();
    kernel[CMDLINE_SIZE..][..4].copy_from_slice(&2047_u32.to_le_bytes());
    kernel
}

/// A dry run below a root without EFI where nothing is locked, unless the test says so, and nothing loaded.
fn dry_run(bench: &Bench, arguments: &[&str]) -> Command {
    let root = bench.path("root");
    std::fs::create_dir_all(root.join("proc")).unwrap();
    std::fs::create_dir_all(root.join("sys/firmware/devicetree")).unwrap();
    std::fs::write(
        root.join("proc/cmdline"),
        "BOOT_IMAGE=/vmlinuz root=/dev/vda crashkernel=64M\n",
    )
    .unwrap();
    let lockdown = root.join(LOCKDOWN);
    if !lockdown.exists() {
        std::fs::create_dir_all(lockdown.parent().unwrap()).unwrap();
        std::fs::write(lockdown, "[none] integrity confidentiality\n").unwrap();
    }
    let mut command = kpeel(["load", "--dry-run", "--root"]);
    command.arg(root).args(arguments);
    command
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

/// The document of a dry run and the files of `unfold` tell the same.
#[track_caller]
fn same_as_unfolded(bench: &Bench, image: &str, initrd: Option<&str>, cmdline: &str) {
    let initrds: Vec<_> = initrd
        .map(|path| ["--initrd", path])
        .into_iter()
        .flatten()
        .collect();
    let mut arguments = vec![image, "--json", "--append", cmdline];
    arguments.extend(&initrds);
    let loaded = document(&succeeds(&mut dry_run(bench, &arguments)));
    let mut unfold = kpeel(["unfold", "--json", image, "--cmdline", cmdline, "-o"]);
    let unfolded = document(&succeeds(unfold.arg(bench.path("out")).args(&initrds)));
    for name in ["kernel", "initrd"] {
        assert_eq!(loaded[name]["sha256"], unfolded[name]["sha256"], "{name}");
        assert_eq!(loaded[name]["size"], unfolded[name]["size"], "{name}");
    }
    let line = bench.read("out/cmdline");
    assert_eq!(loaded["cmdline"]["text"].as_str().unwrap().as_bytes(), line);
    assert_eq!(loaded["kernel"]["envelope"], unfolded["envelopes_opened"]);
}

#[test]
fn the_confined_child_gives_what_unfold_gives() {
    let bench = Bench::new();
    let initrd = bench.write("caller.cpio", b"the caller's initrd");
    let initrd = text(&initrd);
    let plain = bench.write("plain", &kernel());
    let zboot = bench.zboot("zboot.efi", &kernel());
    let nested = bench.read("zboot.efi");
    let uki = bench.uki(
        "uki.efi",
        &[
            (".cmdline", b"root=/dev/vda".as_slice()),
            (".initrd", b"image"),
            (".linux", &nested),
        ],
    );
    let only_kernel = bench.uki("bare.efi", &[(".linux", &kernel())]);
    for image in [plain, zboot, uki, only_kernel] {
        same_as_unfolded(&bench, text(&image), Some(initrd), "quiet");
        same_as_unfolded(&bench, text(&image), None, "quiet");
    }
}

#[test]
fn says_of_a_broken_stream_what_unfold_says() {
    let bench = Bench::new();
    let mut bytes = std::fs::read(bench.zboot("zboot.efi", &kernel())).unwrap();
    let field = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    // Near the end of a gzip stream. What of it is blamed is the decoder's affair, in C or in Rust.
    let near_the_end = field(8) + field(12) - 12;
    bytes[near_the_end] ^= 1;
    let image = bench.write("broken.efi", &bytes);
    let mut unfold = kpeel(["unfold", text(&image), "-o"]);
    let unfolded = fails(unfold.arg(bench.path("out")), 1);
    for part in [
        "malformed gzip stream: deflate data",
        " at offset ",
        ", needed ",
    ] {
        assert!(unfolded.contains(part), "{part}: {unfolded}");
    }
    let loaded = fails(&mut dry_run(&bench, &[text(&image)]), 1);
    assert_eq!(loaded, unfolded);
}

#[test]
fn shows_the_origin_of_every_part() {
    let bench = Bench::new();
    let sections = [
        (".cmdline", b"from-image".as_slice()),
        (".initrd", b"image"),
        (".linux", &kernel()),
    ];
    let uki = bench.uki("uki.efi", &sections);
    let (one, other) = (
        bench.write("1.cpio", b"12345"),
        bench.write("2.cpio", b"67"),
    );
    let arguments = [
        text(&uki),
        "--reuse-cmdline",
        "--crash",
        "--append=a  b",
        "--append=c",
        "--initrd",
        text(&one),
        "--initrd",
        text(&other),
    ];
    let shown = succeeds(&mut dry_run(&bench, &arguments));
    for line in [
        "command line  from-image root=/dev/vda a  b c",
        "              from envelope 1: from-image",
        "              from the caller: --reuse-cmdline: root=/dev/vda",
        "              from the caller: --append: a  b",
        "              from the caller: --append: c",
        "crash         yes",
        "trust         none: neither Secure Boot nor kernel lockdown is on",
        "              from envelope 1: 8 bytes",
        &format!("              from the caller: {}: 5 bytes", one.display()),
        &format!(
            "              from the caller: {}: 2 bytes",
            other.display()
        ),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let told = document(&succeeds(dry_run(&bench, &arguments).arg("--json")));
    assert_eq!(told["initrd"]["size"], 8 + 8 + 2);
    assert_eq!(told["cmdline"]["parts"][1]["origin"], "--reuse-cmdline");
    assert_eq!(told["image"]["path"], text(&uki));
}

#[test]
fn paths_cannot_reach_the_terminal_raw() {
    let bench = Bench::new();
    let raw = "\u{1b}[2J";
    let plain = bench.write(&format!("{raw}plain"), &kernel());
    let initrd = bench.write(&format!("{raw}initrd"), b"initrd");
    let keys = bench.write(&format!("{raw}keys"), b"");
    let entry = format!("linux /{raw}plain\ninitrd /{raw}initrd\ndevicetree /{raw}keys\n");
    std::fs::create_dir_all(bench.path("loader/entries")).unwrap();
    bench.write("loader/entries/e.conf", entry.as_bytes());
    let esp = text(&bench.path("")).to_owned();
    let whole = [
        text(&plain),
        "--initrd",
        text(&initrd),
        "--dtb",
        text(&keys),
    ];
    let by_entry = ["--entry=e", "--esp", &esp, "--syscall=file"];
    for arguments in [&whole[..], &by_entry] {
        let shown = succeeds(&mut dry_run(&bench, arguments));
        for name in ["plain", "initrd"] {
            let escaped = format!(r"\u{{1b}}[2J{name}");
            assert!(shown.contains(&escaped), "{shown}");
        }
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
}

#[test]
fn a_plain_kernel_is_the_file_itself() {
    let bench = Bench::new();
    let plain = bench.write("plain", &kernel());
    let shown = succeeds(&mut dry_run(
        &bench,
        &[text(&plain), "--command-line=only this"],
    ));
    assert!(shown.contains(" for x86_64, the file itself\n"), "{shown}");
    assert!(shown.contains("command line  only this\n"), "{shown}");
    assert!(shown.contains("initrd        none\n"), "{shown}");
}

#[test]
fn an_image_may_come_from_standard_input() {
    let bench = Bench::new();
    let plain = bench.write("plain", &kernel());
    let mut piped = dry_run(&bench, &["-", "--json"]);
    let told = succeeds(piped.stdin(std::fs::File::open(&plain).unwrap()));
    let named = succeeds(&mut dry_run(&bench, &[text(&plain), "--json"]));
    let [piped, named] = [told, named].map(|told| document(&told)["kernel"].clone());
    assert_eq!(piped, named);
}

#[test]
fn a_file_compressed_as_a_whole_is_unpacked() {
    let bench = Bench::new();
    let plain = bench.write("plain", &kernel());
    let packed = Command::new("gzip").arg("-k").arg(&plain).status().unwrap();
    assert!(packed.success());
    let packed = bench.path("plain.gz");
    same_kernel(&bench, &packed, &plain);
    let bytes = bench.read("plain.gz");
    let (cut, _) = bytes.split_at(bytes.len() / 2);
    let cut = bench.write("cut.gz", cut);
    let said = fails(&mut dry_run(&bench, &[text(&cut)]), 1);
    assert!(said.contains("cut.gz: malformed: "), "{said}");
}

fn same_kernel(bench: &Bench, one: &std::path::Path, other: &std::path::Path) {
    let [one, other] =
        [one, other].map(|path| document(&succeeds(&mut dry_run(bench, &[text(path), "--json"]))));
    assert_eq!(one["kernel"]["sha256"], other["kernel"]["sha256"]);
    assert_eq!(one["kernel"]["unpacked"], true);
    assert_eq!(other["kernel"]["unpacked"], false);
}

#[test]
fn images_that_cannot_be_loaded_are_refused() {
    let bench = Bench::new();
    let unknown = bench.write("unknown", b"neither kernel nor image");
    let said = fails(&mut dry_run(&bench, &[text(&unknown)]), 1);
    let message = "no parser opens it, and it is no bzImage and no arm64, riscv or loongarch Image";
    assert!(said.contains(message), "{said}");
    let arm64 = kpeel_images::make::tiny_kernel(kpeel_images::make::Machine::Arm64, 20_000);
    let foreign = bench.write("foreign", &arm64);
    let said = fails(&mut dry_run(&bench, &[text(&foreign)]), 1);
    assert!(
        said.contains("is for another machine than this x86_64"),
        "{said}"
    );
    let whole = bench.uki("whole.efi", &[(".linux", &kernel())]);
    let bytes = bench.read("whole.efi");
    let truncated = bench.write("truncated.efi", &bytes[..bytes.len() - 10_000]);
    let said = fails(&mut dry_run(&bench, &[text(&truncated)]), 1);
    assert!(said.contains("truncated.efi: malformed: "), "{said}");
    succeeds(&mut dry_run(&bench, &[text(&whole)]));
    fails(&mut dry_run(&bench, &[text(&bench.path("missing"))]), 3);
}

#[test]
fn a_failure_is_a_document_too() {
    let bench = Bench::new();
    let unknown = bench.write("unknown", b"neither kernel nor image");
    let output = dry_run(&bench, &[text(&unknown), "--json"])
        .output()
        .unwrap();
    let told = document(&String::from_utf8(output.stdout.clone()).unwrap());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told["error"]["exit"], 1);
    assert_eq!(told["error"]["field"], "kernel");
    assert!(stderr(&output).contains("no parser opens it"));
}

/// A UKI with a second profile.
fn with_profiles(bench: &Bench) -> PathBuf {
    bench.uki(
        "profiles.efi",
        &[
            (".linux", &kernel()),
            (".cmdline", b"base"),
            (".profile", b"ID=main\n"),
            (".profile", b"ID=rescue\n"),
            (".cmdline", b"rescue"),
        ],
    )
}

#[test]
fn profiles_are_selected_where_there_are_some() {
    let bench = Bench::new();
    let profiles = with_profiles(&bench);
    for (option, line) in [
        ("--profile=0", "base"),
        ("--profile=1", "rescue"),
        ("--append=@1", "rescue"),
    ] {
        let told = succeeds(&mut dry_run(&bench, &[text(&profiles), "--json", option]));
        assert_eq!(document(&told)["cmdline"]["text"], line);
    }
    let said = fails(&mut dry_run(&bench, &[text(&profiles), "--profile=7"]), 2);
    assert!(
        said.contains("profile: found 7 (0x7), needed at most 1"),
        "{said}"
    );
    let both = [text(&profiles), "--profile=1", "--append=@1 quiet"];
    let said = fails(&mut dry_run(&bench, &both), 2);
    assert!(said.contains("--profile: found a selector"), "{said}");
}

#[test]
fn a_profile_of_an_image_without_profiles_is_misuse() {
    let bench = Bench::new();
    let images = [
        bench.uki("uki.efi", &[(".linux", &kernel())]),
        bench.zboot("zboot.efi", &kernel()),
        bench.write("plain", &kernel()),
    ];
    for image in images {
        succeeds(&mut dry_run(&bench, &[text(&image), "--profile=0"]));
        for option in ["--profile=1", "--append=@1 quiet"] {
            let said = fails(&mut dry_run(&bench, &[text(&image), option]), 2);
            let message = "profile: found 1 (0x1), needed 0, since the image has no profiles";
            assert!(said.contains(message), "{said}");
        }
    }
}

#[test]
fn a_whole_command_line_needs_an_image_without_one() {
    let bench = Bench::new();
    let own = bench.uki("own.efi", &[(".cmdline", b"own"), (".linux", &kernel())]);
    let option = "--command-line=other";
    let said = fails(&mut dry_run(&bench, &[text(&own), option]), 2);
    let message = "--command-line: the image has a command line of its own, in envelope 1";
    assert!(said.contains(message), "{said}");
    let none = bench.uki("none.efi", &[(".linux", &kernel())]);
    succeeds(&mut dry_run(&bench, &[text(&none), option]));
    fails(
        &mut dry_run(&bench, &[text(&none), option, "--reuse-cmdline"]),
        2,
    );
}

#[test]
fn a_command_line_longer_than_the_kernel_takes_is_refused() {
    let bench = Bench::new();
    let plain = bench.write("plain", &kernel());
    let line = |len: usize| format!("--append={}", "x".repeat(len));
    succeeds(&mut dry_run(&bench, &[text(&plain), &line(2016)]));
    let said = fails(&mut dry_run(&bench, &[text(&plain), &line(2017)]), 2);
    let message = "command line: found 2017 bytes, needed at most 2016";
    assert!(said.contains(message), "{said}");
}

#[test]
fn sealed_secrets_are_warned_of() {
    let bench = Bench::new();
    let sealed = bench.uki("sealed.efi", &[(".linux", &kernel()), (".pcrsig", b"{}")]);
    let output = dry_run(&bench, &[text(&sealed)]).output().unwrap();
    assert!(output.status.success());
    let said = stderr(&output);
    assert!(said.contains("sealed.efi: warning: TPM-bound secrets stay locked after kexec"));
    assert_eq!(said.lines().count(), 1, "{said}");
    let plain = bench.uki("plain.efi", &[(".linux", &kernel())]);
    let output = dry_run(&bench, &[text(&plain)]).output().unwrap();
    assert_eq!(stderr(&output), "");
}

#[test]
fn where_signatures_count_by_default_the_way_out_is_told() {
    let bench = Bench::new();
    let plain = bench.write("plain", &kernel());
    let lockdown = bench.path("root/sys/kernel/security");
    std::fs::create_dir_all(&lockdown).unwrap();
    std::fs::write(
        lockdown.join("lockdown"),
        "none [integrity] confidentiality\n",
    )
    .unwrap();
    let output = dry_run(&bench, &[text(&plain)]).output().unwrap();
    let said = stderr(&output);
    assert!(!output.status.success());
    assert!(
        said.contains("--trust system (kernel lockdown is on (integrity)) asks for signatures"),
        "{said}"
    );
    succeeds(&mut dry_run(&bench, &[text(&plain), "--trust=none"]));
}

#[test]
fn what_could_not_be_read_of_signatures_is_told_unless_the_caller_decides() {
    let bench = Bench::new();
    let plain = bench.write("plain", &kernel());
    let lockdown = bench.path("root").join(LOCKDOWN);
    std::fs::create_dir_all(lockdown.parent().unwrap()).unwrap();
    let load = |options: &[&str]| {
        let mut command = kpeel(["load", "--dry-run", text(&plain), "--root"]);
        let output = command.arg(bench.path("root")).args(options).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        stderr(&output)
    };
    let said = load(&[]);
    let message =
        "kpeel: signatures do not count: neither Secure Boot nor kernel lockdown could be read";
    assert!(said.starts_with(message), "{said}");
    assert_eq!(load(&["--trust=none"]), "");
    std::fs::write(lockdown, "[none] integrity confidentiality\n").unwrap();
    let said = load(&[]);
    let message = "lockdown is off, and Secure Boot could not be read (is efivarfs mounted?);";
    assert!(said.contains(message), "{said}");
    assert_eq!(load(&["--trust=none"]), "");
    // A machine without EFI has no Secure Boot.
    std::fs::create_dir_all(bench.path("root/sys/firmware/devicetree")).unwrap();
    assert_eq!(load(&[]), "");
}

#[test]
fn what_is_wrong_with_boot_entries_is_told_when_one_is_loaded() {
    let bench = Bench::new();
    bench.write("plain", &kernel());
    std::fs::create_dir_all(bench.path("loader/entries")).unwrap();
    bench.write("loader/entries/good.conf", b"linux /plain\n");
    bench.write("loader/loader.conf", b"default wanted*\n");
    let esp = text(&bench.path("")).to_owned();
    let load = |id: &str| {
        let mut command = dry_run(&bench, &["--entry", id, "--esp", &esp]);
        stderr(&command.output().unwrap())
    };
    assert_eq!(load("good"), "");
    let other = "kpeel: no boot entry is the default that loader.conf or LoaderEntryDefault names: good.conf is loaded\n";
    assert_eq!(load("default"), other);
    bench.write("loader/entries/wanted.conf", b"title nothing\n");
    let broken = format!(
        "kpeel: {esp}loader/entries/wanted.conf: linux: found nothing, needed one of linux, uki, efi\n"
    );
    assert_eq!(load("good"), broken);
    assert_eq!(load("default"), format!("{broken}{other}"));
    let missing = load("wanted");
    assert!(missing.starts_with(&broken), "{missing}");
    assert!(
        missing.contains("no boot entry wanted; there are: good.conf"),
        "{missing}"
    );
    bench.write("loader/entries/wanted.conf", b"linux /plain\n");
    assert_eq!(load("default"), "");
}

#[test]
fn what_a_call_cannot_do_is_refused_by_name() {
    let bench = Bench::new();
    let plain = bench.write("plain", &kernel());
    let dtb = bench.write("a.dtb", b"tree");
    let arguments = [text(&plain), "--dtb", text(&dtb), "--syscall=file"];
    let shown = succeeds(&mut dry_run(&bench, &arguments));
    let message = "refusal       --dtb: kexec_file_load cannot take a device tree";
    assert!(shown.contains(message), "{shown}");
    fails(&mut dry_run(&bench, &[text(&plain), "--syscall=other"]), 2);
}

#[test]
fn a_crash_kernel_needs_a_reservation() {
    let bench = Bench::new();
    let plain = bench.write("plain", &kernel());
    let size = bench.path("root/sys/kernel/kexec_crash_size");
    std::fs::create_dir_all(size.parent().unwrap()).unwrap();
    let refusal = |size: &std::path::Path, bytes: &str| {
        std::fs::write(size, bytes).unwrap();
        let told = succeeds(&mut dry_run(&bench, &[text(&plain), "--crash", "--json"]));
        document(&told)["refusal"].to_string()
    };
    let message = "no memory is reserved for a crash kernel";
    assert!(refusal(&size, "0\n").contains(message));
    assert!(!refusal(&size, "268435456\n").contains(message));
}

#[test]
fn a_root_is_only_for_looking() {
    let bench = Bench::new();
    let plain = bench.write("plain", &kernel());
    fails(kpeel(["load", "--root", "/"]).arg(&plain), 2);
    fails(kpeel(["load", "--json"]).arg(&plain), 2);
    fails(&mut kpeel(["load", "--dry-run"]), 2);
}

#[test]
fn the_confined_command_is_not_for_people() {
    let said = fails(&mut kpeel(["open-confined"]), 2);
    assert!(said.contains("is kpeel's own, not for people"), "{said}");
    assert!(!succeeds(&mut kpeel(["--help"])).contains("open-confined"));
}
