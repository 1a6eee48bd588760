//! Parsers named on the command line.

use std::borrow::Cow;
use std::path::Path;

use clap::Args;
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::pipeline::Parser;

use crate::failure::{Failure, Result};
use crate::input;

/// Which parsers may open envelopes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ParserArgs {
    /// Offers a parser to envelopes that carry none (may be repeated; tried in order)
    ///
    /// NAME is one of `kpeel parser list`, FILE a carrier, the contents of a `.bpf` section; a file
    /// that bears a parser's name is written ./NAME. A parser that says the image is not of its
    /// format passes it on to the next. Without this option, the parsers that come with kpeel are
    /// offered.
    #[arg(long = "parser", value_name = "NAME|FILE")]
    parsers: Vec<String>,

    /// Ignores the parsers that envelopes carry
    #[arg(long)]
    no_embedded: bool,
}

/// A parser and how messages call it.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) carrier: Cow<'static, [u8]>,
}

impl ParserArgs {
    /// Whether envelopes may use their own parsers.
    pub(crate) fn embedded(&self) -> bool {
        !self.no_embedded
    }

    /// Whether parsers were chosen, rather than left to the image and to kpeel.
    pub(crate) fn chosen(&self) -> bool {
        self.no_embedded || !self.parsers.is_empty()
    }

    /// The parsers offered, in order.
    pub(crate) fn offers(&self) -> Result<Vec<Offer>> {
        if self.parsers.is_empty() {
            return Ok(kpeel_parsers::BUNDLED.iter().map(Offer::bundled).collect());
        }
        self.parsers.iter().map(|name| Offer::named(name)).collect()
    }
}

impl Offer {
    /// The parser that comes with kpeel under this name, else the one in this file.
    pub(crate) fn named(name: &str) -> Result<Self> {
        if let Some(bundled) = kpeel_parsers::by_name(name) {
            return Ok(Self::bundled(bundled));
        }
        if !name.contains('/') && name != "-" && !Path::new(name).exists() {
            let known: Vec<_> = kpeel_parsers::BUNDLED
                .iter()
                .map(|parser| parser.name)
                .collect();
            let known = known.join(", ");
            return Err(Failure::usage(format!(
                "--parser: found \"{name}\", needed a file or one of: {known}"
            )));
        }
        let carrier = input::read_parser(Path::new(name))?;
        // Told here, a broken file is blamed itself, not the image it is offered to.
        Carrier::parse(&carrier).map_err(|error| Failure::envelope(name, error))?;
        Ok(Self {
            name: name.to_owned(),
            carrier: carrier.into(),
        })
    }

    /// As the pipeline takes it.
    pub(crate) fn parser(&self) -> Parser<'_> {
        Parser {
            name: &self.name,
            carrier: &self.carrier,
        }
    }

    fn bundled(bundled: &kpeel_parsers::Bundled) -> Self {
        Self {
            name: bundled.name.to_owned(),
            carrier: Cow::Borrowed(bundled.carrier),
        }
    }
}
