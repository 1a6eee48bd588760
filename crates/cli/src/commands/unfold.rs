//! `kpeel unfold`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use kpeel_envelope::pipeline::{self, Parts, Provenance, Request};
use kpeel_formats::uki::Selector;
use kpeel_sandbox::Buffer;
use serde::Serialize;

use crate::atomic::{self, Pending};
use crate::failure::{Failure, Result};
use crate::input::Kind;
use crate::json;
use crate::offer::{Offer, ParserArgs};
use crate::report::{Blob, Warning};
use crate::session::Session;
use crate::terminal::Terminal;
use crate::trust::{Signer, Trust, Verifier};

/// Open an image until plain kernel, initrd and command line are left
///
/// Writes DIR/kernel, DIR/initrd and DIR/cmdline, those that exist; the command line has no newline
/// at its end. Each file appears complete or not at all. When the image cannot be opened or one of the
/// files cannot be put in place, DIR stays as it was; else those of the three that this image does not
/// give are removed, so that DIR never holds parts of two images.
///
/// The caller's initrd follows the image's own at the next multiple of four bytes; the caller's
/// command line follows the image's own after a space.
#[derive(Args, Debug)]
#[command(visible_alias = "extract")]
pub(crate) struct Unfold {
    /// The image; - is standard input
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Where the parts go; made if it does not exist
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Adds an initrd (may be repeated; each is padded with zeros to a multiple of four bytes)
    #[arg(long, value_name = "FILE")]
    initrd: Vec<PathBuf>,

    /// Adds a command line; `@N ` before it selects a profile
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,

    /// Selects a profile of a UKI, counted from 0
    #[arg(long, value_name = "N")]
    profile: Option<u32>,

    /// Tells the parsers that this is for a crash (kdump) kernel
    #[arg(long)]
    crash: bool,

    #[command(flatten)]
    parsers: ParserArgs,

    /// Whose signatures count: none, system (the firmware's keys and the machine owner's), or a file
    /// with certificates in PEM or DER or with an EFI signature list (may be repeated)
    ///
    /// Unless it is none, an image whose signature does not count is refused, and so is a caller's
    /// initrd or command line beside the image's own.
    #[arg(long, value_name = "none|system|FILE", default_value = "none")]
    trust: Vec<String>,

    /// Revokes the certificates and digests in a file of such a kind (may be repeated)
    #[arg(long, value_name = "FILE")]
    revoke: Vec<PathBuf>,

    /// Shows on standard error every stage, call and verdict as it happens
    #[arg(long)]
    trace: bool,

    /// Prints what was done as JSON
    #[arg(long)]
    json: bool,
}

/// A success.
struct Done {
    image: String,
    kernel: Written,
    initrd: Option<Written>,
    cmdline: Option<Written>,
    envelopes_opened: u32,
    profile: Option<u32>,
    signers: Vec<Signer>,
    warnings: Vec<Warning>,
}

/// One file written.
struct Written {
    path: String,
    bytes: Buffer,
    parts: Parts,
}

/// The JSON document of a success.
#[derive(Debug, Serialize)]
struct Report {
    image: String,
    kernel: File,
    initrd: Option<File>,
    cmdline: Option<File>,
    envelopes_opened: u32,
    profile: Option<u32>,
    /// Whose signatures counted.
    signers: Vec<Signer>,
    warnings: Vec<Warning>,
}

/// One file written.
#[derive(Debug, Serialize)]
struct File {
    path: String,
    #[serde(flatten)]
    blob: Blob,
    /// Envelope it comes from; for a kernel, the innermost that was opened.
    envelope: Option<u32>,
    /// Whether the caller's part is in it.
    caller: bool,
}

impl Report {
    /// Hashes the files: only who asked for the document waits for that.
    fn new(done: Done) -> Self {
        Self {
            image: done.image,
            kernel: File::new(done.kernel),
            initrd: done.initrd.map(File::new),
            cmdline: done.cmdline.map(File::new),
            envelopes_opened: done.envelopes_opened,
            profile: done.profile,
            signers: done.signers,
            warnings: done.warnings,
        }
    }
}

impl File {
    fn new(written: Written) -> Self {
        Self {
            path: written.path,
            blob: Blob::new(written.bytes.as_ref()),
            envelope: written.parts.envelope,
            caller: written.parts.caller,
        }
    }
}

impl Unfold {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        match self.unfold(terminal) {
            Ok(done) if self.json => json::print(terminal, &Report::new(done)),
            Err(failure) if self.json => Err(json::print_failure(terminal, failure)),
            done => done.map(|_| ()),
        }
    }

    fn unfold(&self, terminal: &mut Terminal) -> Result<Done> {
        let cmdline = self.cmdline()?;
        let offers = self.parsers.offers()?;
        let parsers: Vec<_> = offers.iter().map(Offer::parser).collect();
        let trust = Trust::parse(&self.trust)?.unwrap_or(Trust::None);
        let keys = trust.keys(&self.revoke, Path::new("/"))?;
        let verifier = keys.as_deref().map(Verifier::new).transpose()?;
        let mut session = Session::new(self.trace);
        if let Some(verifier) = verifier.clone() {
            verifier.tell_skipped(terminal);
            session = session.judged(verifier);
        }
        let image = session.read(&self.image, Kind::Image, terminal)?;
        let initrd = session.initrd(&self.initrd, terminal)?;
        let cmdline = cmdline
            .map(|line| session.buffer(line.into_bytes()))
            .transpose()?;
        let request = Request {
            image,
            initrd,
            cmdline,
            crash: self.crash,
            enforced: verifier.is_some(),
            embedded: self.parsers.embedded(),
            parsers: &parsers,
        };
        terminal
            .progress()
            .begin(format!("opening {}", self.image.display()), None);
        let unfolded = pipeline::unfold(session.sandbox(), request);
        let unfolded = unfolded.and_then(|unfolded| {
            let verified = verifier.as_ref().map_or(Ok(()), Verifier::check_verified);
            verified.map(|()| unfolded)
        });
        let warnings = session.warnings();
        for warning in &warnings {
            terminal.note(&format!(
                "kpeel: {}: {}",
                self.image.display(),
                warning.line()
            ));
        }
        let path = self.image.display().to_string();
        let unfolded = match unfolded {
            Ok(unfolded) => unfolded,
            Err(error) => {
                if let Some(details) = session.details() {
                    terminal.note(&format!("kpeel: {path}: {details}"));
                }
                let refusal = verifier.as_ref().and_then(Verifier::refusal);
                if let Some(reason) = refusal {
                    terminal.note(&format!("kpeel: {path}: {reason}"));
                }
                return Err(Failure::envelope(path, error));
            }
        };
        let Provenance {
            opened,
            initrd,
            cmdline,
            profile,
        } = unfolded.provenance;
        let kernel = Parts {
            envelope: (opened != 0).then_some(opened),
            caller: false,
        };
        let mut files = Files::new(&self.output)?;
        let done = Done {
            image: path,
            kernel: files.add("kernel", unfolded.kernel, kernel)?,
            initrd: files.add_or_remove("initrd", unfolded.initrd, initrd)?,
            cmdline: files.add_or_remove("cmdline", unfolded.cmdline, cmdline)?,
            envelopes_opened: opened,
            profile,
            signers: verifier.as_ref().map(Verifier::signers).unwrap_or_default(),
            warnings,
        };
        files.commit()?;
        Ok(done)
    }

    /// The caller's command line with the selector of `--profile` before it.
    fn cmdline(&self) -> Result<Option<String>> {
        let line = self.cmdline.as_deref();
        let Some(profile) = self.profile else {
            return Ok(line.map(str::to_owned));
        };
        let line = line.unwrap_or_default();
        if Selector::parse(line.as_bytes()).is_some() {
            return Err(Failure::usage(
                "--profile: found a selector in --cmdline too, needed only one of them",
            ));
        }
        Ok(Some(format!("@{profile} {line}")))
    }
}

/// The files of one result, which appear together once all are written.
struct Files<'d> {
    directory: &'d Path,
    pending: Vec<Pending>,
    stale: Vec<PathBuf>,
}

impl<'d> Files<'d> {
    fn new(directory: &'d Path) -> Result<Self> {
        fs::create_dir_all(directory)
            .map_err(|error| Failure::io(directory, "make the directory", error))?;
        Ok(Self {
            directory,
            pending: Vec::new(),
            stale: Vec::new(),
        })
    }

    fn add(&mut self, name: &str, bytes: Buffer, parts: Parts) -> Result<Written> {
        let path = self.directory.join(name);
        self.pending.push(Pending::write(&path, bytes.as_ref())?);
        Ok(Written {
            path: path.display().to_string(),
            bytes,
            parts,
        })
    }

    fn add_or_remove(
        &mut self,
        name: &str,
        bytes: Option<Buffer>,
        parts: Parts,
    ) -> Result<Option<Written>> {
        if let Some(bytes) = bytes {
            return self.add(name, bytes, parts).map(Some);
        }
        self.stale.push(self.directory.join(name));
        Ok(None)
    }

    fn commit(self) -> Result<()> {
        atomic::replace(self.pending, &self.stale)
    }
}
