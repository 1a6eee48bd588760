//! `kpeel status`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use kpeel_kexec::{Lockdown, Status as Kexec};
use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::json;
use crate::load::{Has, Trusting};
use crate::terminal::Terminal;

/// Show what is loaded, and what the running kernel lets be loaded
#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Prints JSON
    #[arg(long)]
    json: bool,

    /// Reads the state of the system below DIR
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// The JSON document; what the kernel does not tell is null.
#[derive(Debug, Serialize)]
struct Report {
    loaded: Option<bool>,
    crash_loaded: Option<bool>,
    /// Bytes reserved for a crash kernel.
    crash_size: Option<u64>,
    load_disabled: Option<bool>,
    /// System calls the kernel has.
    calls: Vec<&'static str>,
    /// The one a load would use.
    chosen: Option<String>,
    /// Why that one, or why none.
    chosen_why: String,
    lockdown: Option<&'static str>,
    secure_boot: Option<bool>,
    /// Whose signatures a load would ask for.
    trust: String,
    trust_why: &'static str,
}

impl Status {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let status = Kexec::read(&self.root).map_err(|error| Failure::system(error.to_string()));
        match status {
            Ok(status) => {
                let report = Report::new(&status, Has::running());
                if self.json {
                    return json::print(terminal, &report);
                }
                terminal.result(report.text().as_bytes())
            }
            Err(failure) if self.json => Err(json::print_failure(terminal, failure)),
            Err(failure) => Err(failure),
        }
    }
}

impl Report {
    fn new(status: &Kexec, has: Has) -> Self {
        let calls = [(has.file, "kexec_file_load"), (has.segments, "kexec_load")];
        let (chosen, chosen_why) = match has.choose(None, false) {
            Ok(choice) => (Some(choice.call.to_string()), choice.why.to_owned()),
            Err(failure) => (None, failure.to_string()),
        };
        let trusting = Trusting::decide(None, status);
        Self {
            loaded: status.loaded,
            crash_loaded: status.crash_loaded,
            crash_size: status.crash_size,
            load_disabled: status.load_disabled,
            calls: calls
                .into_iter()
                .filter_map(|(has, name)| has.then_some(name))
                .collect(),
            chosen,
            chosen_why,
            lockdown: lockdown(status.lockdown),
            secure_boot: status.secure_boot,
            trust: trusting.name(),
            trust_why: trusting.why,
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:13} {value}");
        };
        line("loaded", yes_no(self.loaded));
        line("crash loaded", yes_no(self.crash_loaded));
        let reserved = self.crash_size.map(|bytes| format!("{bytes} bytes"));
        line("crash memory", reserved.as_deref().unwrap_or("unknown"));
        line("disabled", yes_no(self.load_disabled));
        match self.calls.as_slice() {
            [] => line("calls", "none"),
            calls => line("calls", &calls.join(", ")),
        }
        let chosen = self.chosen.as_deref().unwrap_or("none");
        line("chosen", &format!("{chosen}: {}", self.chosen_why));
        line("lockdown", self.lockdown.unwrap_or("unknown"));
        line("Secure Boot", yes_no(self.secure_boot));
        line("trust", &format!("{}: {}", self.trust, self.trust_why));
        text
    }
}

fn yes_no(value: Option<bool>) -> &'static str {
    match value {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

fn lockdown(mode: Lockdown) -> Option<&'static str> {
    match mode {
        Lockdown::Unknown => None,
        Lockdown::None => Some("none"),
        Lockdown::Integrity => Some("integrity"),
        Lockdown::Confidentiality => Some("confidentiality"),
    }
}
