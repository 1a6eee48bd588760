//! `kpeel parser list`.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use crate::failure::Result;
use crate::hashes::Hashes;
use crate::json;
use crate::report::Carrier;
use crate::sections;
use crate::session::Session;
use crate::terminal::Terminal;
use crate::text;

/// List the parsers that come with kpeel, in the order they are tried
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Document {
    parsers: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    name: &'static str,
    #[serde(flatten)]
    carrier: Carrier,
}

impl List {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let mut describer = Session::new(false).describer();
        let entry = |bundled: &kpeel_parsers::Bundled| Entry {
            name: bundled.name,
            carrier: sections::carrier(bundled.carrier, &mut Hashes::default(), &mut describer),
        };
        let parsers: Vec<_> = kpeel_parsers::BUNDLED.iter().map(entry).collect();
        if self.json {
            return json::print(terminal, &Document { parsers });
        }
        let mut lines = String::new();
        for Entry { name, carrier } in parsers {
            let (size, hash) = (text::size(carrier.size), carrier.sha256);
            let _ = writeln!(lines, "{name:8} {size:>10}  sha256 {hash}");
        }
        terminal.result(lines.as_bytes())
    }
}
