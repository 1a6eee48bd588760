//! `kpeel entries`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use kpeel_boot::{Boot, Entry, Kind};
use serde::Serialize;

use super::load::PlacesArgs;
use crate::failure::Result;
use crate::json;
use crate::terminal::Terminal;
use crate::text::escape;

/// List the boot entries that `kpeel load --entry` can load
///
/// These are entries of the Boot Loader Specification: text files in loader/entries (type 1), and
/// Unified Kernel Images in EFI/Linux (type 2), one for each profile. `*` marks the default.
#[derive(Args, Debug)]
pub(crate) struct Entries {
    #[command(flatten)]
    places: PlacesArgs,

    /// Prints JSON
    #[arg(long)]
    json: bool,

    /// Looks for entries below DIR
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// The JSON document.
#[derive(Debug, Serialize)]
struct Report {
    entries: Vec<Row>,
    /// What is wrong with entries that are not listed.
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    id: String,
    /// 1 or 2.
    r#type: u8,
    default: bool,
    title: String,
    version: Option<String>,
    machine_id: Option<String>,
    sort_key: Option<String>,
    image: String,
    initrds: Vec<String>,
    options: Option<String>,
    devicetree: Option<String>,
    profile: Option<u32>,
    /// Boot attempts left; 0 means that the entry is known to be bad.
    tries_left: Option<u32>,
    source: String,
}

impl Entries {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let report = match self.places.places().read(&self.root) {
            Ok(boot) => Report::new(&boot),
            Err(failure) if self.json => return Err(json::print_failure(terminal, failure)),
            Err(failure) => return Err(failure),
        };
        for problem in &report.problems {
            terminal.note(&format!("kpeel: {problem}"));
        }
        if self.json {
            return json::print(terminal, &report);
        }
        if report.entries.is_empty() {
            terminal.note("kpeel: no boot entries found");
        }
        terminal.result(report.text().as_bytes())
    }
}

impl Report {
    fn new(boot: &Boot) -> Self {
        let default = boot.default_entry().map(|entry| entry.id.as_str()).ok();
        let rows = boot.entries().iter();
        Self {
            entries: rows.map(|entry| Row::new(entry, default)).collect(),
            problems: boot
                .problems()
                .iter()
                .map(|problem| escape(problem.to_string().as_bytes()))
                .collect(),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for row in &self.entries {
            let mark = if row.default { '*' } else { ' ' };
            let _ = writeln!(text, "{mark} {}", escape(row.id.as_bytes()));
            let mut line = |name: &str, value: &str| {
                let _ = writeln!(text, "    {name:8} {}", escape(value.as_bytes()));
            };
            line("title", &row.title);
            if let Some(version) = &row.version {
                line("version", version);
            }
            line("image", &row.image);
            for initrd in &row.initrds {
                line("initrd", initrd);
            }
            if let Some(options) = &row.options {
                line("options", options);
            }
            if let Some(profile) = row.profile {
                line("profile", &profile.to_string());
            }
            if row.tries_left == Some(0) {
                line("tries", "none left: known to be bad");
            }
        }
        text
    }
}

impl Row {
    fn new(entry: &Entry, default: Option<&str>) -> Self {
        let shown = |path: &Path| path.display().to_string();
        Self {
            id: entry.id.clone(),
            r#type: match entry.kind {
                Kind::Type1 => 1,
                Kind::Type2 => 2,
            },
            default: default == Some(entry.id.as_str()),
            title: entry.title.clone(),
            version: entry.version.clone(),
            machine_id: entry.machine_id.clone(),
            sort_key: entry.sort_key.clone(),
            image: shown(&entry.image),
            initrds: entry.initrds.iter().map(|path| shown(path)).collect(),
            options: entry.options.clone(),
            devicetree: entry.devicetree.as_deref().map(shown),
            profile: entry.profile,
            tries_left: entry.tries_left,
            source: shown(&entry.source),
        }
    }
}
