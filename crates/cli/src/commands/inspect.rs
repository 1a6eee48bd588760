//! `kpeel inspect`.

use std::path::PathBuf;

use clap::Args;
use kpeel_envelope::error::Error;
use kpeel_envelope::pipeline::{self, Request, Unfolded};
use kpeel_sandbox::{Buffer, Machine};

use crate::atomic;
use crate::draw;
use crate::failure::{Failure, Result};
use crate::hashes::Hashes;
use crate::input::Kind;
use crate::json::{self, ErrorReport};
use crate::layers::Watch;
use crate::offer::{Offer, ParserArgs};
use crate::picture;
use crate::report::{Blob, Outcome, Report};
use crate::session::Session;
use crate::svg;
use crate::terminal::Terminal;

/// Show the layers of an image as a tree
///
/// Of each layer: sections with addresses, sizes and SHA-256 of their contents, signatures, the
/// parser in `.bpf`, what the layer holds. Inner layers are found by opening the outer ones in the
/// sandbox, as `kpeel unfold` does. What could be found out is shown even when a layer cannot be
/// opened; the exit code then says so.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// The image; - is standard input
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    #[command(flatten)]
    parsers: ParserArgs,

    /// Prints JSON instead of a tree
    #[arg(long)]
    json: bool,

    /// Draws the layers to scale into an SVG file instead; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    svg: Option<PathBuf>,
}

impl Inspect {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let (report, failure) = match self.inspect(terminal) {
            Ok(done) => done,
            Err(failure) if self.json => return Err(json::print_failure(terminal, failure)),
            Err(failure) => return Err(failure),
        };
        let drawn = || svg::draw(&picture::picture(&report));
        match &self.svg {
            _ if self.json => json::print(terminal, &report)?,
            Some(file) if file.as_os_str() == "-" => terminal.result(drawn().as_bytes())?,
            Some(file) => atomic::write(file, drawn().as_bytes())?,
            None => terminal.result(draw::tree(&report).draw().as_bytes())?,
        }
        failure.map_or(Ok(()), Err)
    }

    fn inspect(&self, terminal: &mut Terminal) -> Result<(Report, Option<Failure>)> {
        let path = self.image.display().to_string();
        let offers = self.parsers.offers()?;
        let parsers: Vec<_> = offers.iter().map(Offer::parser).collect();
        let mut session = Session::new(false);
        let image = session.read(&self.image, Kind::Image, terminal)?;
        terminal.progress().begin(format!("opening {path}"), None);
        let request = Request {
            image: image.clone(),
            initrd: None,
            cmdline: None,
            crash: false,
            enforced: false,
            embedded: self.parsers.embedded(),
            parsers: &parsers,
        };
        let mut hashes = Hashes::default();
        let sha256 = hashes.sha256(image.as_ref());
        let describer = session.describer();
        let mut watch = Watch::new(session.sandbox(), hashes, describer);
        let unfolded = pipeline::unfold(&mut watch, request);
        let Watch {
            mut layers,
            recognised,
            mut hashes,
            ..
        } = watch;
        for warning in session.warnings() {
            let layer = layers.iter_mut().find(|layer| layer.depth == warning.depth);
            if let Some(opened) = layer.and_then(|layer| layer.opened_by.as_mut()) {
                opened.warnings.push(warning);
            }
        }
        let unfolded = unfolded.map(|unfolded| outcome(&unfolded, &mut hashes));
        let (result, failure) = judge(&path, unfolded, recognised, !layers.is_empty());
        let report = Report {
            size: image.len() as u64,
            sha256,
            path,
            layers,
            result,
            error: failure.as_ref().map(ErrorReport::new),
        };
        Ok((report, failure))
    }
}

/// What the end of the pipeline means for a command that only looks.
fn judge(
    path: &str,
    unfolded: std::result::Result<Outcome, Error>,
    recognised: std::result::Result<(), Error>,
    any_layer: bool,
) -> (Option<Outcome>, Option<Failure>) {
    match unfolded {
        Ok(outcome) => (Some(outcome), None),
        // A PE image that holds no kernel is worth a look too.
        Err(error) if any_layer && recognised.err().is_some_and(|unknown| same(unknown, error)) => {
            (None, None)
        }
        Err(error) => (None, Some(Failure::envelope(path, error))),
    }
}

/// Whether two errors tell the same; the pipeline adds the depth on the way.
fn same(one: Error, other: Error) -> bool {
    Error { depth: 0, ..one } == Error { depth: 0, ..other }
}

fn outcome(unfolded: &Unfolded<Buffer>, hashes: &mut Hashes) -> Outcome {
    Outcome {
        kernel: Blob::known(unfolded.kernel.as_ref(), hashes),
        kernel_machine: Machine::of_kernel(unfolded.kernel.as_ref()).map(Machine::name),
        initrd: unfolded
            .initrd
            .as_ref()
            .map(|bytes| Blob::known(bytes.as_ref(), hashes)),
        cmdline: unfolded
            .cmdline
            .as_ref()
            .map(|bytes| String::from_utf8_lossy(bytes.as_ref()).into_owned()),
        envelopes_opened: unfolded.provenance.opened,
    }
}
