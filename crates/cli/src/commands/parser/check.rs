//! `kpeel parser check`.

use std::path::PathBuf;

use clap::Args;
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::{Class, Error};
use kpeel_envelope::host::{Host, Source, Stage};
use kpeel_envelope::pe::Pe;
use kpeel_envelope::publication::{Complaint, Resource, Run};
use kpeel_sandbox::Buffer;
use serde::Serialize;

use crate::draw;
use crate::failure::{Failure, Result};
use crate::hashes::Hashes;
use crate::input::Kind;
use crate::json::{self, ErrorReport};
use crate::offer::Offer;
use crate::report::{self, Blob, Warning};
use crate::sections;
use crate::session::Session;
use crate::terminal::Terminal;

/// Load a parser and run it on one envelope
///
/// Shows the parser's verdict, what it publishes and what it cost. Inner envelopes are not opened.
/// The exit code tells a parser that opens the image (0) from one that does not (1).
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// The parser: a file with a carrier, or one of `kpeel parser list`
    #[arg(value_name = "FILE")]
    parser: String,

    /// The image; - is standard input
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Gives the parser a command line, `@N ` before it selects a profile
    #[arg(long, value_name = "TEXT")]
    cmdline: Option<String>,

    /// Tells the parser that this is for a crash (kdump) kernel
    #[arg(long)]
    crash: bool,

    /// Shows on standard error every call and verdict as it happens
    #[arg(long)]
    trace: bool,

    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// What the check found out; the JSON document.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    pub(crate) parser: String,
    pub(crate) image: String,
    /// `opened`, `not-mine` or `failed`.
    pub(crate) verdict: &'static str,
    pub(crate) carrier: report::Carrier,
    pub(crate) published: Vec<Published>,
    pub(crate) warnings: Vec<Warning>,
    /// Instructions executed, the loader's included.
    pub(crate) instructions: u64,
    pub(crate) error: Option<ErrorReport>,
}

/// One publication.
#[derive(Debug, Serialize)]
pub(crate) struct Published {
    pub(crate) resource: &'static str,
    pub(crate) append: bool,
    #[serde(flatten)]
    pub(crate) blob: Blob,
}

impl Check {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let (checked, failure) = match self.check(terminal) {
            Ok(done) => done,
            Err(failure) if self.json => return Err(json::print_failure(terminal, failure)),
            Err(failure) => return Err(failure),
        };
        if self.json {
            json::print(terminal, &checked)?;
        } else {
            terminal.result(draw::checked(&checked).draw().as_bytes())?;
        }
        failure.map_or(Ok(()), Err)
    }

    fn check(&self, terminal: &mut Terminal) -> Result<(Checked, Option<Failure>)> {
        let offer = Offer::named(&self.parser)?;
        let path = self.image.display().to_string();
        let mut session = Session::new(self.trace);
        let image = session.read(&self.image, Kind::Image, terminal)?;
        let cmdline = self
            .cmdline
            .clone()
            .map(|line| session.buffer(line.into_bytes()));
        let cmdline = cmdline.transpose()?;
        terminal.progress().begin(format!("opening {path}"), None);
        let done = self.stage(&mut session, &offer, &image, cmdline.as_ref());
        let (verdict, failure) = self.verdict(&done);
        let run = done.ok();
        let checked = Checked {
            parser: offer.name.clone(),
            image: path,
            verdict,
            carrier: sections::carrier(
                &offer.carrier,
                &mut Hashes::default(),
                &mut session.describer(),
            ),
            published: run.as_ref().map(published).unwrap_or_default(),
            warnings: session.warnings(),
            instructions: session.instructions(),
            error: failure.as_ref().map(ErrorReport::new),
        };
        Ok((checked, failure))
    }

    /// The word for what happened, and the failure it is.
    fn verdict(&self, done: &StageResult) -> (&'static str, Option<Failure>) {
        let of_image = |error: Error| {
            Some(Failure::envelope(
                self.image.display().to_string(),
                error.at_depth(1),
            ))
        };
        match done {
            Err((Blame::Parser, error)) => (
                "failed",
                Some(Failure::envelope(self.parser.clone(), *error)),
            ),
            Err((Blame::Image, error)) => ("failed", of_image(*error)),
            Ok(run) => match run.complaint() {
                Some(Complaint::Error(error)) => ("failed", of_image(error)),
                Some(Complaint::NotMine {
                    field,
                    found,
                    needed,
                }) => {
                    let error = Error::verdict(Class::Unsupported, field, found, needed);
                    ("not-mine", of_image(error))
                }
                None => ("opened", None),
            },
        }
    }

    /// One turn of the pipeline.
    fn stage(
        &self,
        session: &mut Session,
        offer: &Offer,
        image: &Buffer,
        cmdline: Option<&Buffer>,
    ) -> StageResult {
        let of_image = |error| (Blame::Image, error);
        let of_parser = |error| (Blame::Parser, error);
        let pe = Pe::parse(image.as_ref()).map_err(of_image)?;
        let carrier = Carrier::parse(&offer.carrier).map_err(of_parser)?;
        let stage = Stage {
            depth: 1,
            image,
            covered: pe.covered(),
            initrd: None,
            cmdline,
            crash: self.crash,
            source: Source::Offered(&offer.name),
        };
        let sandbox = session.sandbox();
        let mut armed = sandbox.arm(&stage, &carrier).map_err(of_parser)?;
        let run = sandbox.run(&mut armed).map_err(of_image)?;
        if run.complaint().is_none() {
            sandbox.post(&mut armed).map_err(of_image)?;
        }
        Ok(run)
    }
}

/// Which file a failure is about.
#[derive(Clone, Copy, Debug)]
enum Blame {
    /// The parser cannot be loaded.
    Parser,
    /// It cannot open the image.
    Image,
}

type StageResult = std::result::Result<Run<Buffer>, (Blame, Error)>;

fn published(run: &Run<Buffer>) -> Vec<Published> {
    use kpeel_envelope::publication::Mode;
    let mut all = Vec::new();
    for resource in [Resource::Kernel, Resource::Initrd, Resource::Cmdline] {
        all.extend(run.publications.of(resource).map(|publication| Published {
            resource: resource.name(),
            append: publication.mode == Mode::Append,
            blob: Blob::new(publication.bytes.as_ref()),
        }));
    }
    all
}
