//! `kpeel status`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use kpeel_kexec::{KernelHost, Lockdown, Status as Kexec};
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
    /// The kernel's own host of parsers; null if it has none.
    kernel_host: Option<HostReport>,
    lockdown: Option<&'static str>,
    secure_boot: Option<bool>,
    /// Whose signatures a load would ask for.
    trust: String,
    trust_why: &'static str,
}

/// What the kernel's host says of itself.
#[derive(Debug, Serialize)]
struct HostReport {
    abi_version: u32,
    codecs: Vec<String>,
    depth: u32,
}

impl Status {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let told = Kexec::read(&self.root)
            .and_then(|status| Ok((status, KernelHost::read(&self.root)?)))
            .map_err(|error| Failure::system(error.to_string()));
        match told {
            Ok((status, host)) => {
                let report = Report::new(&status, host, Has::running());
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
    fn new(status: &Kexec, host: Option<KernelHost>, has: Has) -> Self {
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
            kernel_host: host.map(|host| HostReport {
                abi_version: host.abi_version,
                codecs: host.codecs,
                depth: host.depth,
            }),
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
        let host = self.kernel_host.as_ref().map(|host| {
            let (version, depth) = (host.abi_version, host.depth);
            format!(
                "version {version}, depth {depth}, {}",
                host.codecs.join(" ")
            )
        });
        line("kernel host", host.as_deref().unwrap_or("none"));
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
