//! What the system has: boot entries, what is loaded; and the name `kexec`.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Bench, document, fails, kernel, kpeel, succeeds};

fn put(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn below(command: &str, root: &Path) -> Command {
    let mut command = kpeel([command, "--root"]);
    command.arg(root);
    command
}

/// A root with an entry of each type.
fn with_entries(bench: &Bench) -> std::path::PathBuf {
    let root = bench.path("root");
    let mut kernel = kernel();
    kernel[0x238..][..4].copy_from_slice(&2047_u32.to_le_bytes());
    bench.uki(
        "image.efi",
        &[
            (".linux", &kernel),
            (".osrel", b"ID=tree\nVERSION_ID=3\nPRETTY_NAME=\"A Tree\"\n"),
            (".profile", b"TITLE=Main\n"),
            (".profile", b"TITLE=Rescue\n"),
            (".cmdline", b"rescue"),
        ],
    );
    put(&root, "efi/EFI/Linux/tree.efi", &bench.read("image.efi"));
    put(&root, "efi/vmlinuz", &kernel);
    put(&root, "efi/initrd", b"initrd");
    let plain = b"title Plain\nlinux /vmlinuz\ninitrd /initrd\noptions root=/dev/vda\n";
    put(&root, "efi/loader/entries/plain.conf", plain);
    put(&root, "efi/loader/entries/broken.conf", b"title nothing\n");
    put(&root, "efi/loader/loader.conf", b"default plain.conf\n");
    root
}

#[test]
fn entries_of_both_types_are_listed_one_for_each_profile() {
    let bench = Bench::new();
    let root = with_entries(&bench);
    let told = document(&succeeds(below("entries", &root).arg("--json")));
    let of = |id: &str| {
        let rows = told["entries"].as_array().unwrap().iter();
        rows.clone().find(|row| row["id"] == id).unwrap().clone()
    };
    assert_eq!(of("plain.conf")["default"], true);
    assert_eq!(of("plain.conf")["type"], 1);
    assert_eq!(of("tree.efi")["title"], "A Tree (Main)");
    assert_eq!(of("tree.efi@1")["profile"], 1);
    assert_eq!(of("tree.efi@1")["default"], false);
    assert_eq!(told["problems"].as_array().unwrap().len(), 1);
    let output = below("entries", &root).output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("* plain.conf\n"), "{shown}");
    assert!(shown.contains("  tree.efi@1\n"), "{shown}");
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("broken.conf")
    );
}

#[test]
fn an_entry_is_loaded_by_its_id() {
    let bench = Bench::new();
    let root = with_entries(&bench);
    let run = |arguments: &[&str]| {
        let mut command = kpeel(["load", "--dry-run", "--json", "--root"]);
        document(&succeeds(command.arg(&root).args(arguments)))
    };
    let default = run(&["--entry=default", "--append=quiet"]);
    assert_eq!(default["entry"], "plain.conf");
    assert_eq!(default["cmdline"]["text"], "root=/dev/vda quiet");
    assert_eq!(default["initrd"]["size"], 6);
    let rescue = run(&["--entry=tree.efi@1"]);
    assert_eq!(rescue["cmdline"]["text"], "rescue");
    assert_eq!(rescue["profile"], 1);
    let esp = root.join("efi");
    let elsewhere = run(&["--entry=tree", "--esp", esp.to_str().unwrap()]);
    assert_eq!(elsewhere["profile"], 0);
    let mut missing = kpeel(["load", "--dry-run", "--entry=other", "--root"]);
    let said = fails(missing.arg(&root), 2);
    assert!(said.contains("no boot entry other; there are: "), "{said}");
}

#[test]
fn a_system_without_entries_lists_none() {
    let bench = Bench::new();
    let told = succeeds(below("entries", &bench.path("nothing")).arg("--json"));
    assert_eq!(document(&told)["entries"].as_array().unwrap().len(), 0);
}

#[test]
fn status_tells_what_the_kernel_tells() {
    let bench = Bench::new();
    let root = bench.path("root");
    put(&root, "sys/kernel/kexec_loaded", b"1\n");
    put(&root, "sys/kernel/kexec_crash_loaded", b"0\n");
    put(&root, "sys/kernel/kexec_crash_size", b"268435456\n");
    put(
        &root,
        "sys/kernel/security/lockdown",
        b"[none] integrity confidentiality\n",
    );
    put(&root, "proc/sys/kernel/kexec_load_disabled", b"0\n");
    let shown = succeeds(&mut below("status", &root));
    for line in [
        "loaded        yes",
        "crash loaded  no",
        "crash memory  268435456 bytes",
        "disabled      no",
        "kernel host   none",
        "lockdown      none",
        "Secure Boot   unknown",
        "trust         none: kernel lockdown is off, and Secure Boot could not be read (is efivarfs mounted?)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let told = document(&succeeds(below("status", &root).arg("--json")));
    assert_eq!(told["loaded"], true);
    assert_eq!(told["crash_size"], 268_435_456);
    assert_eq!(told["secure_boot"], serde_json::Value::Null);
    assert_eq!(told["kernel_host"], serde_json::Value::Null);
    for (file, text) in [
        ("abi_version", "1\n"),
        ("codecs", "gzip zstd\n"),
        ("depth", "4\n"),
    ] {
        put(
            &root,
            &format!("sys/kernel/kexec_pe/{file}"),
            text.as_bytes(),
        );
    }
    let shown = succeeds(&mut below("status", &root));
    assert!(
        shown.contains("kernel host   version 1, depth 4, gzip zstd\n"),
        "{shown}"
    );
    put(&root, "sys/kernel/kexec_loaded", b"perhaps\n");
    fails(&mut below("status", &root), 3);
}

fn kexec(arguments: &[&str]) -> Command {
    let mut command = kpeel(arguments);
    command.arg0("/sbin/kexec");
    command
}

#[test]
fn called_as_kexec_it_takes_kexec_tools_flags() {
    assert!(succeeds(&mut kexec(&["--version"])).starts_with("kexec of kpeel "));
    let help = succeeds(&mut kexec(&["-h"]));
    assert!(help.contains("-l, --load\n"), "{help}");
    assert!(!help.contains("--real-mode"), "{help}");
    let said = fails(&mut kexec(&["-l", "--real-mode", "k"]), 2);
    assert!(
        said.contains("--real-mode: kpeel has nothing of this kind"),
        "{said}"
    );
    let said = fails(&mut kexec(&["-l"]), 2);
    assert!(said.contains("No kernel specified"), "{said}");
    let said = fails(&mut kexec(&["-l", "/nonexistent"]), 3);
    assert!(said.contains("/nonexistent: cannot open: "), "{said}");
    let mut kpeel = kpeel(["--version"]);
    assert!(succeeds(&mut kpeel).starts_with("kpeel "));
}
