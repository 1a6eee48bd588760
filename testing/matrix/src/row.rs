//! One row of the matrix.

use std::time::Duration;

use kpeel_vm::{Arch, Report};

use crate::Outcome;
use crate::guest::Guest;
use crate::shop::Shop;

/// One guest, and what its passing proves.
pub struct Row {
    /// What the command line calls it; also the name of the job that must pass.
    pub name: &'static str,
    /// Architecture of the guest.
    pub arch: Arch,
    /// What is proven, in one line.
    pub claim: &'static str,
    /// Runs only when everything is asked for.
    pub full: bool,
    /// Time it has, emulated on a busy machine.
    pub deadline: Duration,
    /// Its guest.
    pub guest: Make,
}

/// How a row's guest comes about.
#[derive(Clone, Copy)]
pub enum Make {
    /// Makes one that runs Linux with a job.
    Linux(fn(&Shop, &Row) -> Outcome<Guest>),
    /// Runs one that does something else, and judges it.
    Other(fn(&Shop, &Row) -> Outcome<Report>),
}

impl Row {
    /// A row of the ordinary matrix.
    pub(crate) const fn new(
        name: &'static str,
        arch: Arch,
        claim: &'static str,
        guest: fn(&Shop, &Row) -> Outcome<Guest>,
    ) -> Self {
        Self {
            name,
            arch,
            claim,
            full: false,
            deadline: Duration::from_secs(300),
            guest: Make::Linux(guest),
        }
    }

    /// A row of the ordinary matrix whose guest does not run Linux.
    pub(crate) const fn other(
        name: &'static str,
        arch: Arch,
        claim: &'static str,
        run: fn(&Shop, &Row) -> Outcome<Report>,
    ) -> Self {
        Self {
            name,
            arch,
            claim,
            full: false,
            deadline: Duration::from_secs(300),
            guest: Make::Other(run),
        }
    }

    /// Makes the guest and runs it.
    ///
    /// # Errors
    /// When it cannot be made, does not pass or cannot be run.
    pub fn run(&self, shop: &Shop) -> Outcome<Report> {
        match self.guest {
            Make::Linux(make) => make(shop, self)?.run(self),
            Make::Other(run) => run(shop, self),
        }
    }

    /// The same, with this much time.
    pub(crate) const fn within(self, seconds: u64) -> Self {
        Self {
            deadline: Duration::from_secs(seconds),
            ..self
        }
    }

    /// The same, only when everything is asked for.
    pub(crate) const fn only_full(self) -> Self {
        Self { full: true, ..self }
    }

    /// The second kernel's command line: the console, no reboot loop, and the row's own word.
    #[must_use]
    pub fn line(&self) -> String {
        format!(
            "console={} panic=-1 kpeel.row={}",
            self.arch.console(),
            self.name
        )
    }
}
