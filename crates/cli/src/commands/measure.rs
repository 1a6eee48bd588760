//! `kpeel measure`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kpeel_formats::uki::Picks;
use kpeel_measure::compare::compare;
use kpeel_measure::{EventLog, Table};

use crate::exit::Exit;
use crate::failure::{Cause, Failure, Result};
use crate::input;
use crate::json;
use crate::measure::{Boot, Forecast};
use crate::terminal::Terminal;

/// Largest event log read; real ones are some ten KiB.
const LOG_MAX: u64 = 16 << 20;

/// Tell what a boot of a UKI extends PCR 11 with
///
/// Event by event, in systemd's stub's order, then what PCR 11 is in each phase that systemd reaches
/// afterwards. With --compare, a boot's event log beside it: exit code 1 says that they differ.
#[derive(Args, Debug)]
pub(crate) struct Measure {
    /// The image; - is standard input
    #[arg(value_name = "IMAGE")]
    image: PathBuf,

    /// Measures this profile [default: 0; with --compare, the one that fits best]
    #[arg(long, value_name = "N")]
    profile: Option<u64>,

    /// Hash algorithms of PCR banks [default: sha256; with --compare, all in the log]
    #[arg(long = "bank", value_name = "BANK", value_delimiter = ',')]
    banks: Vec<Bank>,

    /// Phase paths, words joined by ':'; ':' alone is none [default: those of systemd-measure]
    #[arg(
        long,
        value_name = "PATH",
        value_delimiter = ',',
        conflicts_with = "compare"
    )]
    phases: Vec<String>,

    /// The machine picks this .dtbauto section, counted from 0 [default: none]
    #[arg(long, value_name = "N")]
    dtbauto: Option<usize>,

    /// The machine picks this .efifw section, counted from 0 [default: none]
    #[arg(long, value_name = "N")]
    efifw: Option<usize>,

    /// Compares with a TPM 2.0 event log, as in
    /// /sys/kernel/security/tpm0/binary_bios_measurements
    #[arg(long, value_name = "EVENTLOG")]
    compare: Option<PathBuf>,

    /// Prints JSON instead of a tree
    #[arg(long)]
    json: bool,
}

/// Banks by name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Bank {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl From<Bank> for kpeel_measure::Bank {
    fn from(bank: Bank) -> Self {
        match bank {
            Bank::Sha1 => Self::Sha1,
            Bank::Sha256 => Self::Sha256,
            Bank::Sha384 => Self::Sha384,
            Bank::Sha512 => Self::Sha512,
        }
    }
}

impl Measure {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        match self.measure(terminal) {
            Err(failure) if self.json => Err(json::print_failure(terminal, failure)),
            done => done?,
        }
    }

    /// The outer result is of the work; the inner is how the command ends after what was printed.
    fn measure(&self, terminal: &mut Terminal) -> Result<Result<()>> {
        let path = self.image.display().to_string();
        let image = input::image(&self.image, terminal)?;
        terminal.progress().begin(format!("hashing {path}"), None);
        let table = Table::new(image.as_ref()).map_err(|error| Failure::envelope(&path, error))?;
        match &self.compare {
            None => self.forecast(&path, &table, terminal).map(Ok),
            Some(log) => self.beside(&path, &table, log, terminal),
        }
    }

    fn forecast(&self, path: &str, table: &Table<'_>, terminal: &mut Terminal) -> Result<()> {
        let banks = self.banks(&[kpeel_measure::Bank::Sha256]);
        let measured = table
            .measured(self.profile.unwrap_or(0), self.picks(), &banks)
            .map_err(|error| Failure::envelope(path, error))?;
        let forecast =
            Forecast::new(path, table, &measured, &self.phases).map_err(|error| Failure {
                path: None,
                cause: Cause::Envelope(error),
            })?;
        if self.json {
            return json::print(terminal, &forecast);
        }
        terminal.result(forecast.tree().draw().as_bytes())
    }

    fn beside(
        &self,
        path: &str,
        table: &Table<'_>,
        log: &std::path::Path,
        terminal: &mut Terminal,
    ) -> Result<Result<()>> {
        let bytes = input::read_bounded(log, "event log size", LOG_MAX)?;
        let of_log = |error| Failure::envelope(log.display().to_string(), error);
        let parsed = EventLog::parse(&bytes).map_err(of_log)?;
        let banks = self.banks(&[]);
        let banks = (!banks.is_empty()).then_some(&banks[..]);
        let compared = compare(table, &parsed, self.profile, self.picks(), banks)
            .map_err(|error| Failure::envelope(path, error))?;
        let boot = Boot::new(path, &log.display().to_string(), &compared);
        if self.json {
            json::print(terminal, &boot)?;
        } else {
            terminal.result(boot.tree().draw().as_bytes())?;
        }
        Ok(match compared.differences() {
            0 => Ok(()),
            count => Err(Failure::told(Exit::Image, boot.verdict(count))),
        })
    }

    fn picks(&self) -> Picks {
        Picks {
            dtbauto: self.dtbauto,
            efifw: self.efifw,
        }
    }

    /// Those asked for, each once, or else these.
    fn banks(&self, default: &[kpeel_measure::Bank]) -> Vec<kpeel_measure::Bank> {
        let mut banks: Vec<_> = self.banks.iter().map(|bank| (*bank).into()).collect();
        banks.sort();
        banks.dedup();
        if banks.is_empty() {
            banks.extend_from_slice(default);
        }
        banks
    }
}
