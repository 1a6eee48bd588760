//! `sign`, `verify`, and `--trust` where images are opened.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Bench, assert_same, document, fails, kernel, kpeel, succeeds};

/// A bench with keys: a self-signed certificate each.
pub struct Keys {
    pub bench: Bench,
}

impl Keys {
    pub fn new(names: &[&str]) -> Self {
        let bench = Bench::new();
        for name in names {
            let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
            openssl(
                &bench,
                &[
                    "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                ],
            )
            .args(&[
                "-subj",
                &format!("/CN={name}"),
                "-keyout",
                &key,
                "-out",
                &cert,
            ])
            .run();
        }
        Self { bench }
    }

    fn path(&self, name: &str) -> String {
        self.bench.path(name).to_str().unwrap().to_owned()
    }

    /// `kpeel sign IMAGE`, by the key of this name.
    pub fn sign(&self, image: &str, by: &str, out: &str) -> Command {
        let mut command = kpeel(["sign", &self.path(image), "--output", &self.path(out)]);
        command.args(["--key", &self.path(&format!("{by}.key"))]);
        command.args(["--cert", &self.path(&format!("{by}.pem"))]);
        command
    }

    /// `kpeel verify IMAGE` under the certificate of this name.
    pub fn verify(&self, image: &str, ca: &str) -> Command {
        let ca = self.path(&format!("{ca}.pem"));
        kpeel(["verify", &self.path(image), "--trust", &ca])
    }

    /// A UKI whose kernel is this.
    pub fn uki(&self, name: &str, kernel: &[u8]) -> PathBuf {
        self.bench.uki(name, &[(".linux", kernel)])
    }
}

struct Openssl(Command);

fn openssl(bench: &Bench, arguments: &[&str]) -> Openssl {
    let mut command = Command::new("openssl");
    command.current_dir(bench.scratch.path()).args(arguments);
    Openssl(command)
}

impl Openssl {
    fn args(mut self, arguments: &[&str]) -> Self {
        self.0.args(arguments);
        self
    }

    fn run(mut self) {
        let output = self.0.output().unwrap();
        assert!(output.status.success(), "{:?}: {output:?}", self.0);
    }
}

#[test]
fn what_was_signed_verifies_and_nothing_else_does() {
    let keys = Keys::new(&["mine", "other"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    let shown = succeeds(&mut keys.verify("signed.efi", "mine"));
    assert!(shown.contains("signed.efi: trusted"), "{shown}");
    assert!(shown.contains("signed by CN=mine (RSA 2048"), "{shown}");
    assert!(shown.contains("envelope 1 (uki)"), "{shown}");
    let said = fails(&mut keys.verify("signed.efi", "other"), 4);
    assert!(said.contains("CN=mine is not trusted"), "{said}");
    let said = fails(&mut keys.verify("plain.efi", "mine"), 4);
    assert!(said.contains("the image is not signed"), "{said}");
    let mut tampered = keys.bench.read("signed.efi");
    let last = tampered.len() - 5000;
    tampered[last] ^= 1;
    keys.bench.write("tampered.efi", &tampered);
    let said = fails(&mut keys.verify("tampered.efi", "mine"), 4);
    assert!(said.contains("is not what was signed"), "{said}");
}

#[test]
fn names_of_key_files_cannot_reach_the_terminal_raw() {
    const RAW: &str = "\u{1b}[2J";
    let keys = Keys::new(&["mine"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    let certificate = keys.bench.read("mine.pem");
    let name = format!("{RAW}keys");
    keys.bench.write(&format!("{name}.pem"), &certificate);
    let escaped = r"\u{1b}[2Jkeys.pem";
    let trusted = succeeds(&mut keys.verify("signed.efi", &name));
    // The same file revokes it.
    let mut revoked = keys.verify("signed.efi", &name);
    revoked.args(["--revoke", &keys.path(&format!("{name}.pem"))]);
    let revoked = String::from_utf8(revoked.output().unwrap().stdout).unwrap();
    for shown in [&trusted, &revoked] {
        assert!(shown.contains(escaped), "{shown}");
        assert!(!shown.contains(RAW), "{shown}");
    }
    assert!(trusted.contains("trusted by "), "{trusted}");
    assert!(revoked.contains("refused: "), "{revoked}");
}

/// Runs it where it could wait for ever; that it ends is demanded.
#[track_caller]
fn ends(command: &mut Command) -> Output {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} still runs");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Makes a named pipe and writes `bytes` into it once, as soon as somebody opens it to read.
fn named_pipe(path: PathBuf, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    // So that writing does not have to wait: who opens the pipe twice finds nobody.
    assert!(bytes.len() <= 64 << 10, "more than a pipe holds");
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    std::thread::spawn(move || {
        for _ in 0..60_000 {
            let opened = fs::File::options()
                .write(true)
                .custom_flags(flags)
                .open(&path);
            match opened {
                Ok(mut pipe) => return pipe.write_all(&bytes).unwrap(),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        panic!("nobody reads {}", path.display());
    })
}

#[test]
fn named_pipes_are_read_by_whoever_opens_them_first() {
    let keys = Keys::new(&["mine"]);
    keys.bench.zboot("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    let pipe = |name: &str, of: &str| named_pipe(keys.bench.path(name), keys.bench.read(of));

    let writer = pipe("1.efi", "signed.efi");
    let output = ends(keys.verify("1.efi", "mine").arg("--outer"));
    assert!(output.status.success(), "{output:?}");
    writer.join().unwrap();

    let writer = pipe("2.efi", "plain.efi");
    let output = ends(&mut keys.sign("2.efi", "mine", "same.efi"));
    assert!(output.status.success(), "{output:?}");
    writer.join().unwrap();
    assert_same(&keys.bench.read("same.efi"), &keys.bench.read("signed.efi"));
}

#[test]
fn an_image_signed_into_a_pipe_is_the_one_signed_into_a_file() {
    let keys = Keys::new(&["mine"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    let mut sign = keys.sign("plain.efi", "mine", "unused.efi");
    let piped = kpeel(["sign", &keys.path("plain.efi"), "--output", "/dev/stdout"])
        .args(sign.get_args().skip(4))
        .output()
        .unwrap();
    assert!(piped.status.success(), "{piped:?}");
    assert_same(&piped.stdout, &keys.bench.read("signed.efi"));
    // In its own place, too.
    succeeds(&mut keys.sign("plain.efi", "mine", "plain.efi"));
    assert_same(&keys.bench.read("plain.efi"), &piped.stdout);
    let nothing = succeeds(sign.arg("--replace"));
    assert!(nothing.is_empty());
}

#[test]
fn a_signed_image_is_signed_again_on_request_only() {
    let keys = Keys::new(&["mine", "other"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "one.efi"));
    let said = fails(&mut keys.sign("one.efi", "other", "two.efi"), 4);
    assert!(said.contains("--append keeps its signatures"), "{said}");
    assert!(!keys.bench.path("two.efi").exists());
    succeeds(keys.sign("one.efi", "other", "two.efi").arg("--append"));
    for ca in ["mine", "other"] {
        succeeds(&mut keys.verify("two.efi", ca));
    }
    succeeds(keys.sign("two.efi", "mine", "again.efi").arg("--replace"));
    assert_same(&keys.bench.read("again.efi"), &keys.bench.read("one.efi"));
    // Both at once come to the same as one after the other.
    let mut both = keys.sign("plain.efi", "mine", "both.efi");
    both.args([
        "--key",
        &keys.path("other.key"),
        "--cert",
        &keys.path("other.pem"),
    ]);
    succeeds(&mut both);
    assert_same(&keys.bench.read("both.efi"), &keys.bench.read("two.efi"));
}

#[test]
fn encrypted_keys_open_with_their_passphrase_only() {
    let keys = Keys::new(&["mine"]);
    keys.uki("plain.efi", &kernel());
    let pass = ["-passout", "pass:open sesame"];
    openssl(
        &keys.bench,
        &["pkcs8", "-topk8", "-in", "mine.key", "-out", "locked.key"],
    )
    .args(&pass)
    .run();
    fs::copy(keys.bench.path("mine.pem"), keys.bench.path("locked.pem")).unwrap();
    openssl(
        &keys.bench,
        &["req", "-x509", "-newkey", "rsa:2048", "-days", "30"],
    )
    .args(&["-subj", "/CN=old", "-keyout", "old.key", "-out", "old.pem"])
    .args(&pass)
    .run();
    keys.bench.write("right", b"open sesame\n");
    keys.bench.write("wrong", b"open barley\n");
    let with_key = |key: &str, file: &str| {
        let mut command = keys.sign("plain.efi", key, "signed.efi");
        command.args(["--passphrase-file", &keys.path(file)]);
        command
    };
    // `openssl pkcs8` encrypts with AES, `openssl req` with triple DES.
    for (key, ca) in [("locked", "mine"), ("old", "old")] {
        let said = fails(&mut with_key(key, "wrong"), 2);
        assert!(said.contains("wrong passphrase"), "{said}");
        succeeds(&mut with_key(key, "right"));
        succeeds(&mut keys.verify("signed.efi", ca));
    }
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    let keys = Keys::new(&["mine", "other"]);
    keys.uki("plain.efi", &kernel());
    let mut command = kpeel(["sign", &keys.path("plain.efi"), "-o", &keys.path("out.efi")]);
    command.args([
        "--key",
        &keys.path("mine.key"),
        "--cert",
        &keys.path("other.pem"),
    ]);
    let said = fails(&mut command, 2);
    assert!(said.contains("found no certificate of the key"), "{said}");
}

#[test]
fn the_document_tells_every_layer_and_what_covers_it() {
    let keys = Keys::new(&["outer", "inner"]);
    // A PE image as the innermost layer: a stub is one.
    let stub = kpeel_images::fetch(kpeel_images::Item::LinuxAmd64).unwrap();
    keys.uki("plain.efi", &fs::read(stub).unwrap());
    succeeds(&mut keys.sign("plain.efi", "outer", "signed.efi"));
    let text = succeeds(keys.verify("signed.efi", "outer").arg("--json"));
    let document = document(&text);
    assert_eq!(document["trusted"], true);
    let layers = document["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    assert_eq!(layers[0]["verdict"]["verdict"], "signed");
    assert_eq!(
        layers[0]["signatures"][0]["chain"][0]["subject"],
        "CN=outer"
    );
    assert_eq!(layers[0]["covered_by"], serde_json::Value::Null);
    assert_eq!(layers[1]["covered_by"], 1);
    // Debian's own signature, which this certificate does not answer for.
    assert_eq!(layers[1]["verdict"]["reason"]["reason"], "unknown-issuer");
}

#[test]
fn unfold_opens_what_is_trusted_and_nothing_else() {
    let keys = Keys::new(&["mine", "other"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    let out = keys.path("out");
    let unfold = |image: &str, trust: &str| {
        let trust = keys.path(trust);
        kpeel(["unfold", &keys.path(image), "-o", &out, "--trust", &trust])
    };
    for (image, trust, why) in [
        ("plain.efi", "mine.pem", "not signed"),
        ("signed.efi", "other.pem", "no trusted key signed"),
    ] {
        let said = fails(&mut unfold(image, trust), 4);
        assert!(said.contains(why), "{said}");
        assert!(!keys.bench.path("out").exists());
    }
    let text = succeeds(unfold("signed.efi", "mine.pem").arg("--json"));
    assert_eq!(document(&text)["signers"][0]["subject"], "CN=mine");
    assert_same(&keys.bench.read("out/kernel"), &kernel());
    // A signature is one for the whole: nobody adds to it.
    keys.bench
        .uki("full.efi", &[(".linux", &kernel()), (".cmdline", b"quiet")]);
    succeeds(&mut keys.sign("full.efi", "mine", "full-signed.efi"));
    let said = fails(
        unfold("full-signed.efi", "mine.pem").args(["--cmdline", "init=/bin/sh"]),
        4,
    );
    assert!(said.contains("kexec:cmdline"), "{said}");
    // A plain kernel that is no PE image cannot be signed.
    keys.bench.write("bare", &kernel());
    let said = fails(&mut unfold("bare", "mine.pem"), 4);
    assert!(said.contains("can bear none"), "{said}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn load_s_confined_child_checks_signatures_too() {
    let keys = Keys::new(&["mine", "other"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    let load = |image: &str, trust: &str| {
        let trust = keys.path(trust);
        kpeel(["load", "--dry-run", &keys.path(image), "--trust", &trust])
    };
    let shown = succeeds(&mut load("signed.efi", "mine.pem"));
    assert!(
        shown.contains("envelope 1 signed by CN=mine, trusted by CN=mine"),
        "{shown}"
    );
    let said = fails(&mut load("signed.efi", "other.pem"), 4);
    assert!(said.contains("CN=mine is not trusted"), "{said}");
    let said = fails(&mut load("plain.efi", "mine.pem"), 4);
    assert!(said.contains("the image is not signed"), "{said}");
}

#[test]
fn revoked_certificates_and_times_are_heeded() {
    let keys = Keys::new(&["mine"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    let revoke = ["--revoke", &keys.path("mine.pem")];
    let said = fails(keys.verify("signed.efi", "mine").args(revoke), 4);
    assert!(said.contains("is revoked by"), "{said}");
    succeeds(
        keys.verify("signed.efi", "mine")
            .args(["--valid-at", "now"]),
    );
    let late = ["--valid-at", "2199-01-01T00:00:00Z"];
    let said = fails(keys.verify("signed.efi", "mine").args(late), 4);
    assert!(said.contains("is expired"), "{said}");
}

/// An EFI signature list with one entry (UEFI specification, "Signature Database").
fn list(kind: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let entry = 16 + data.len() as u32;
    let sizes = [28 + entry, 0, entry].map(u32::to_le_bytes).concat();
    [&kind[..], &sizes, &[0; 16], data].concat()
}

#[test]
fn what_key_files_hold_and_nobody_can_use_is_told_wherever_they_count() {
    /// `EFI_CERT_SHA1_GUID`.
    const SHA_1: [u8; 16] = [
        0x12, 0xa5, 0x6c, 0x82, 0x10, 0xcf, 0xc9, 0x4a, 0xb1, 0x87, 0xbe, 0x01, 0x49, 0x66, 0x31,
        0xbd,
    ];
    let keys = Keys::new(&["mine"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    keys.bench.write("sha1.esl", &list(&SHA_1, &[0; 20]));
    let (image, out) = (keys.path("signed.efi"), keys.path("out"));
    let trust = keys.path("mine.pem");
    let sha1 = keys.path("sha1.esl");
    let commands = [
        &["verify"][..],
        &["unfold", "-o", &out],
        #[cfg(target_arch = "x86_64")]
        &["load", "--dry-run"],
    ];
    for command in commands {
        let told = |more: &[&str]| {
            let mut command = kpeel(command);
            command.args([&image, "--trust", &trust]).args(more);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{command:?}: {output:?}");
            String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
        };
        let line = format!("left out: {sha1}: SHA-1 digest");
        assert_eq!(told(&["--revoke", &sha1]).matches(&line).count(), 1);
        assert!(!told(&[]).contains("left out"));
    }
}

#[test]
fn a_refusal_is_one_whoever_reads_of_it() {
    let keys = Keys::new(&["mine", "other"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    for (ca, code) in [("other", 4), ("mine", 0)] {
        let mut verify = keys.verify("signed.efi", ca);
        verify.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = verify.spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn verify_says_that_layers_inside_cannot_be_opened() {
    let keys = Keys::new(&["mine"]);
    let inner = kernel();
    let sections: [&[(&str, &[u8])]; 2] = [
        &[(".linux", &inner), (".bpf", b"no carrier")],
        &[(".linux", &inner)],
    ];
    for (sections, opened) in sections.into_iter().zip([false, true]) {
        keys.bench.uki("plain.efi", sections);
        succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
        let shown = succeeds(&mut keys.verify("signed.efi", "mine"));
        assert!(shown.contains("signed.efi: trusted"), "{shown}");
        let told = shown.contains("nothing more was opened: ");
        assert_eq!(told, !opened, "{shown}");
        assert_eq!(shown.contains("malformed: envelope 1"), !opened, "{shown}");
        let outer = succeeds(keys.verify("signed.efi", "mine").arg("--outer"));
        assert!(!outer.contains("nothing more"), "{outer}");
    }
}
