//! What a load would do, for `--dry-run`.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt;

use kpeel_boot::Origin;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Prepared;
use super::input::Input;
use super::results::Memory;
use crate::failure::{Failure, Result};
use crate::text::{escape, hex, printable, size};
use crate::trust::Signer;

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    image: Blob,
    /// Boot entry it comes from.
    entry: Option<String>,
    crash: bool,
    profile: Option<u32>,
    trust: Named,
    /// Whose signatures counted.
    signers: Vec<Signer>,
    /// None if no call can load it; `refusal` says why.
    call: Option<Named>,
    refusal: Option<String>,
    kernel: Kernel,
    initrd: Option<Composed>,
    cmdline: Option<Line>,
    device_tree: Option<Tree>,
    /// Places in memory, where we choose them.
    segments: Vec<Segment>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Named {
    name: String,
    why: String,
}

#[derive(Debug, Serialize)]
struct Blob {
    path: String,
    size: u64,
    sha256: String,
}

#[derive(Debug, Serialize)]
struct Kernel {
    size: u64,
    sha256: String,
    machine: &'static str,
    /// Envelope it lay in; 0 if the file itself is the kernel.
    envelope: u32,
    /// Whether the file was compressed as a whole.
    unpacked: bool,
    signed: bool,
}

#[derive(Debug, Serialize)]
struct Composed {
    size: u64,
    sha256: String,
    parts: Vec<Piece>,
}

#[derive(Debug, Serialize)]
struct Piece {
    /// `envelope` or `caller`.
    origin: &'static str,
    envelope: Option<u32>,
    path: Option<String>,
    size: u64,
}

#[derive(Debug, Serialize)]
struct Line {
    text: String,
    parts: Vec<Words>,
}

#[derive(Debug, Serialize)]
struct Words {
    /// `envelope`, or the option or entry that gave it.
    origin: &'static str,
    envelope: Option<u32>,
    text: String,
}

#[derive(Debug, Serialize)]
struct Tree {
    /// `--dtb`, `image` or `running`.
    origin: &'static str,
    size: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Segment {
    part: &'static str,
    address: String,
    size: u64,
}

impl Prepared {
    /// What loading it would do.
    pub(crate) fn report(&self) -> Result<Report> {
        let call = self.choice.as_ref().map(|choice| Named {
            name: choice.call.to_string(),
            why: choice.why.to_owned(),
        });
        let no_place = self.check_reservation().err();
        let refusal = no_place.as_ref().or(self.choice.as_ref().err());
        let mut report = Report {
            image: Blob {
                path: self.path().display().to_string(),
                size: self.image.size,
                sha256: sha256(&self.image.memory)?,
            },
            entry: self.entry.clone(),
            crash: self.wish.crash,
            profile: self.opened.profile,
            trust: Named {
                name: self.trusting.name(),
                why: self.trusting.why.to_owned(),
            },
            signers: self.opened.signers.clone(),
            call: call.ok(),
            refusal: refusal.map(ToString::to_string),
            kernel: self.kernel_report()?,
            initrd: self.initrd_report()?,
            cmdline: self.cmdline_report(),
            device_tree: None,
            segments: Vec::new(),
            warnings: self.warning_lines(),
        };
        if self.uses_segments() {
            report.device_tree = Some(self.tree_report());
            let mapped = self.map()?;
            match self.plan(&mapped) {
                Ok(plan) => report.segments = plan.segments.iter().map(Segment::new).collect(),
                // Not everybody who may look may also see physical addresses.
                Err(failure) => report.refusal = Some(failure.to_string()),
            }
        }
        Ok(report)
    }

    fn uses_segments(&self) -> bool {
        let choice = self.choice.as_ref();
        choice.is_ok_and(|choice| choice.call == kpeel_kexec::Call::Segments)
    }

    fn kernel_report(&self) -> Result<Kernel> {
        let opened = &self.opened;
        Ok(Kernel {
            size: opened
                .kernel
                .as_ref()
                .map_or(self.image.size, |kernel| kernel.size),
            sha256: sha256(self.kernel())?,
            machine: opened.machine.name(),
            envelope: opened.envelopes,
            unpacked: opened.unpacked,
            signed: opened.signed,
        })
    }

    fn initrd_report(&self) -> Result<Option<Composed>> {
        let (file, size) = match (&self.opened.initrd, &self.initrd) {
            (Some(Memory { file, size }), _) => (file, *size),
            (None, Some(Input { memory, size, .. })) => (memory, *size),
            (None, None) => return Ok(None),
        };
        let callers = self.initrd.as_ref();
        let mut parts = Vec::new();
        if let Some(envelope) = self.opened.initrd_envelope {
            parts.push(Piece {
                origin: "envelope",
                envelope: Some(envelope),
                path: None,
                size: size.saturating_sub(callers.map_or(0, |input| input.size)),
            });
        }
        parts.extend(
            callers
                .iter()
                .flat_map(|input| &input.parts)
                .map(|part| Piece {
                    origin: "caller",
                    envelope: None,
                    path: Some(part.path.display().to_string()),
                    size: part.size,
                }),
        );
        Ok(Some(Composed {
            size,
            sha256: sha256(file)?,
            parts,
        }))
    }

    fn cmdline_report(&self) -> Option<Line> {
        let text = String::from_utf8_lossy(&self.opened.cmdline).into_owned();
        let callers: Vec<_> = self.parts.iter().map(|part| part.text.as_str()).collect();
        let callers = callers.join(" ");
        let callers = super::results::without_selector(&callers);
        let mut parts = Vec::new();
        if let Some(envelope) = self.opened.cmdline_envelope {
            let images = text.strip_suffix(callers).unwrap_or(&text);
            parts.push(Words {
                origin: "envelope",
                envelope: Some(envelope),
                text: images.trim_end().to_owned(),
            });
        }
        parts.extend(self.parts.iter().map(|part| Words {
            origin: origin(part.origin),
            envelope: None,
            text: part.text.clone(),
        }));
        (!text.is_empty()).then_some(Line { text, parts })
    }

    fn tree_report(&self) -> Tree {
        let (origin, size) = match (&self.dtb, &self.opened.dtb) {
            (Some(input), _) => ("--dtb", Some(input.size)),
            (None, Some(dtb)) => ("image", Some(dtb.size)),
            (None, None) => ("running", None),
        };
        Tree { origin, size }
    }
}

impl Segment {
    fn new(segment: &kpeel_kexec::segments::Segment<'_>) -> Self {
        Self {
            part: segment.part,
            address: format!("{:#x}", segment.address),
            size: segment.size,
        }
    }
}

impl Report {
    /// For people. Warnings are left out: they go to standard error.
    pub(crate) fn text(&self) -> String {
        let mut shown = String::new();
        // Paths may come from a boot entry, and a refusal or a name of keys may hold one.
        let mut line = |name: &str, value: String| {
            let _ = writeln!(shown, "{name:13} {}", printable(&value));
        };
        line(
            "image",
            format!("{} ({})", self.image.path, size(self.image.size)),
        );
        if let Some(entry) = &self.entry {
            line("entry", escape(entry.as_bytes()));
        }
        line("crash", if self.crash { "yes" } else { "no" }.to_owned());
        match &self.call {
            Some(call) => line("call", format!("{}: {}", call.name, call.why)),
            None => line("call", "none".to_owned()),
        }
        if let Some(refusal) = &self.refusal {
            line("refusal", refusal.clone());
        }
        line("trust", format!("{}: {}", self.trust.name, self.trust.why));
        for signer in &self.signers {
            let Signer {
                envelope,
                subject,
                by,
            } = signer;
            line(
                "",
                format!("envelope {envelope} signed by {subject}, trusted by {by}"),
            );
        }
        if let Some(profile) = self.profile {
            line("profile", profile.to_string());
        }
        line("kernel", self.kernel.text());
        let (initrd, cmdline) = (self.initrd.as_ref(), self.cmdline.as_ref());
        let none = || "none".to_owned();
        line("initrd", initrd.map_or_else(none, |it| size(it.size)));
        for part in initrd.iter().flat_map(|initrd| &initrd.parts) {
            line("", part.text());
        }
        let text = cmdline.map(|cmdline| escape(cmdline.text.as_bytes()));
        line("command line", text.unwrap_or_else(none));
        for part in cmdline.iter().flat_map(|cmdline| &cmdline.parts) {
            line("", part.text());
        }
        if let Some(tree) = &self.device_tree {
            line("device tree", tree.text());
        }
        for segment in &self.segments {
            let Segment {
                part,
                address,
                size,
            } = segment;
            line("segment", format!("{address} {size:#x} {part}"));
        }
        shown
    }
}

impl Kernel {
    fn text(&self) -> String {
        let from = match (self.envelope, self.unpacked) {
            (0, false) => "the file itself".to_owned(),
            (0, true) => "the file, decompressed".to_owned(),
            (envelope, _) => format!("from envelope {envelope}"),
        };
        let signed = if self.signed { ", signed" } else { "" };
        format!("{} for {}, {from}{signed}", size(self.size), self.machine)
    }
}

impl Piece {
    fn text(&self) -> String {
        let from = from(self.origin, self.envelope, self.path.as_deref());
        format!("{from}: {}", size(self.size))
    }
}

impl Words {
    fn text(&self) -> String {
        let from = from(self.origin, self.envelope, None);
        format!("{from}: {}", escape(self.text.as_bytes()))
    }
}

impl Tree {
    fn text(&self) -> String {
        match (self.origin, self.size) {
            ("running", _) => "of the running kernel".to_owned(),
            (origin, bytes) => format!("from {origin}: {}", size(bytes.unwrap_or(0))),
        }
    }
}

fn from(origin: &str, envelope: Option<u32>, path: Option<&str>) -> String {
    match (envelope, path) {
        (Some(envelope), _) => format!("from envelope {envelope}"),
        (None, Some(path)) => format!("from the caller: {path}"),
        (None, None) => format!("from the caller: {origin}"),
    }
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Whole => "--command-line",
        Origin::Running => "--reuse-cmdline",
        Origin::Entry => "entry",
        Origin::Append => "--append",
    }
}

/// The SHA-256 of a sealed file's content.
fn sha256(file: &File) -> Result<String> {
    let mut digest = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let count = file
            .read_at(&mut chunk, at)
            .map_err(|error| Failure::system(format!("reading sealed memory: {error}")))?;
        if count == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(chunk.get(..count).unwrap_or_default());
        at = at.saturating_add(count as u64);
    }
}
