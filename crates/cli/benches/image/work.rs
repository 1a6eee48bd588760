//! The files, and who does what with them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use kpeel_images::make::{Scratch, noise};
use kpeel_images::oracle::expected_section;
use kpeel_images::{Item, fetch};

use crate::Outcome;
use crate::contest::Contest;

/// An ordinary initrd is about this large, and as incompressible.
pub(crate) const INITRD: usize = 48 << 20;
/// So that the image is about as large as its kernel.
pub(crate) const SMALL_INITRD: usize = 256 << 10;
/// Both are told: neither has to look for it in the kernel.
const UNAME: &str = "6.12.0-bench";
const CMDLINE: &str = "console=ttyS0 quiet";
/// Without it, tools take the system's.
const OS_RELEASE: &str = "ID=bench";

/// What all contests work on.
pub(crate) struct Work {
    scratch: Scratch,
    kernel: PathBuf,
    initrd: PathBuf,
    stub: PathBuf,
    ukify: PathBuf,
}

impl Work {
    /// What images with an initrd of this size are made of.
    pub(crate) fn prepare(initrd: usize) -> Outcome<Self> {
        let scratch = Scratch::new()?;
        let work = Self {
            kernel: fetch(Item::LinuxAmd64Unsigned)?,
            initrd: scratch.write("initrd", &noise(initrd, 1))?,
            stub: fetch(Item::StubAmd64V257)?,
            ukify: fetch(Item::Ukify)?,
            scratch,
        };
        work.make_key()?;
        Ok(work)
    }

    pub(crate) fn describe(&self) -> String {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |data| data.len());
        format!(
            "kernel {} bytes, initrd {} bytes",
            size(&self.kernel),
            size(&self.initrd)
        )
    }

    /// A UKI with the same sections.
    pub(crate) fn build(&self) -> Outcome<Contest> {
        let (ours, theirs) = (self.path("kpeel.efi"), self.path("ukify.efi"));
        let options = |out: &Path| {
            let mut options = vec![OsString::from("--cmdline=".to_owned() + CMDLINE)];
            options.push(format!("--uname={UNAME}").into());
            options.push(format!("--os-release={OS_RELEASE}").into());
            for (name, path) in [
                ("--linux", self.kernel.as_path()),
                ("--initrd", &self.initrd),
                ("--stub", &self.stub),
                ("--output", out),
            ] {
                options.push(name.into());
                options.push(path.into());
            }
            options
        };
        let mut kpeel = kpeel(&["build", "uki", "--no-parser"]);
        kpeel.extend(options(&ours));
        let modules = self.ukify.join("usr/lib/python3/dist-packages");
        let mut peer: Vec<OsString> = vec!["env".into()];
        peer.push(format!("PYTHONPATH={}", modules.display()).into());
        peer.push("/usr/bin/python3".into());
        peer.push(self.ukify.join("usr/bin/ukify").into());
        peer.push("build".into());
        peer.extend(options(&theirs));
        Ok(Contest {
            name: "build",
            kpeel,
            peer_name: "ukify",
            peer,
            goal: Some(10.0),
            hashes: false,
            image: ours.clone(),
            made: vec![ours, theirs],
            check: |contest| {
                for name in [".linux", ".initrd", ".cmdline"] {
                    let of = |image: &Path| expected_section(image, name);
                    let [ours, theirs] = contest.made.as_slice() else {
                        return Err("build makes two images".into());
                    };
                    if of(ours)? != of(theirs)? {
                        return Err(format!("{name}: kpeel's is not ukify's").into());
                    }
                }
                Ok(())
            },
        })
    }

    /// One signature, RSA 2048 with SHA-256.
    pub(crate) fn sign(&self) -> Outcome<Contest> {
        let (ours, theirs) = (self.path("kpeel-signed.efi"), self.path("sbsigned.efi"));
        let command = |start: Vec<OsString>, out: &Path| {
            let mut command = start;
            for (name, path) in [
                ("--key", self.path("key.pem")),
                ("--cert", self.path("cert.pem")),
                ("--output", out.to_owned()),
            ] {
                command.push(name.into());
                command.push(path.into());
            }
            command.push(self.path("kpeel.efi").into());
            command
        };
        Ok(Contest {
            name: "sign",
            kpeel: command(kpeel(&["sign"]), &ours),
            peer_name: "sbsign",
            peer: command(vec!["sbsign".into()], &theirs),
            goal: Some(2.0),
            hashes: true,
            image: ours.clone(),
            made: vec![ours, theirs],
            check: |contest| {
                // Either's verifier takes the other's.
                let cert = contest.image.with_file_name("cert.pem");
                succeeds(
                    Command::new("sbverify")
                        .arg("--cert")
                        .arg(cert)
                        .arg(&contest.image),
                )
            },
        })
    }

    /// The signature that sbsign made, and nothing else: what the peer does.
    pub(crate) fn verify(&self) -> Outcome<Contest> {
        Ok(Contest {
            name: "verify --outer",
            goal: Some(2.0),
            ..self.verify_with(&["verify", "--outer", "--trust"])
        })
    }

    /// The same, and every layer inside, which the peer does not look at.
    pub(crate) fn verify_layers(&self) -> Outcome<Contest> {
        Ok(self.verify_with(&["verify", "--trust"]))
    }

    fn verify_with(&self, command: &[&str]) -> Contest {
        let (image, cert) = (self.path("sbsigned.efi"), self.path("cert.pem"));
        let mut kpeel = kpeel(command);
        kpeel.extend([OsString::from(&cert), OsString::from(&image)]);
        let mut peer: Vec<OsString> = vec!["osslsigncode".into(), "verify".into()];
        peer.extend(["-CAfile".into(), OsString::from(&cert)]);
        peer.extend(["-in".into(), OsString::from(&image)]);
        Contest {
            name: "verify",
            kpeel,
            peer_name: "osslsigncode",
            peer,
            goal: None,
            hashes: true,
            made: Vec::new(),
            image,
            check: |_| Ok(()),
        }
    }

    fn make_key(&self) -> Outcome<()> {
        succeeds(
            Command::new("openssl")
                .args([
                    "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
                ])
                .args(["-subj", "/CN=kpeel benchmark"])
                .args(["-addext", "extendedKeyUsage=codeSigning"])
                .arg("-keyout")
                .arg(self.path("key.pem"))
                .arg("-out")
                .arg(self.path("cert.pem")),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }
}

fn kpeel(arguments: &[&str]) -> Vec<OsString> {
    let program = env!("CARGO_BIN_EXE_kpeel");
    [&[program], arguments]
        .concat()
        .iter()
        .map(OsString::from)
        .collect()
}

fn succeeds(command: &mut Command) -> Outcome<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{program}: {error} (Debian packages openssl, sbsigntool)"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}: {}", output.status, said.trim()).into())
}
