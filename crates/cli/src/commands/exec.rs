//! `kpeel exec`.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use kpeel_kexec::Status;

use crate::failure::{Failure, Result};

/// Start the loaded kernel
///
/// systemd stops services and unmounts file systems first, then starts the loaded kernel.
#[derive(Args, Debug)]
pub(crate) struct Exec {
    /// Starts it at once: file systems are synced, nothing is stopped or unmounted
    #[arg(long)]
    pub(crate) now: bool,
}

/// There where systemd is the first process (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";

impl Exec {
    pub(crate) fn run(&self) -> Result<()> {
        self.start(true)
    }

    /// As [`Exec::run`]; at once, file systems are only synced if `sync` is set.
    pub(crate) fn start(&self, sync: bool) -> Result<()> {
        let status = Status::read(Path::new("/"));
        let status = status.map_err(|error| Failure::system(error.to_string()))?;
        if status.loaded == Some(false) {
            return Err(Failure::usage(NOTHING_LOADED));
        }
        if self.now {
            return now(sync);
        }
        if !systemd() {
            return Err(Failure::usage(NO_SYSTEMD));
        }
        clean()
    }
}

const NOTHING_LOADED: &str = "no kernel is loaded: `kpeel load` loads one";
const NO_SYSTEMD: &str = "the first process is not systemd, which would stop services before the \
     loaded kernel starts: stop what must be stopped, then use `kpeel exec --now`";

/// Whether systemd runs the system.
pub(crate) fn systemd() -> bool {
    PathBuf::from(SYSTEMD).is_dir()
}

/// Has systemd shut down and start the loaded kernel.
fn clean() -> Result<()> {
    let status = Command::new("systemctl")
        .arg("kexec")
        .status()
        .map_err(|error| Failure::system(format!("cannot run systemctl kexec: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::system(format!("systemctl kexec: {status}")))
}

/// Starts the loaded kernel at once; returns only when that fails.
fn now(sync: bool) -> Result<()> {
    if sync {
        rustix::fs::sync();
    }
    kpeel_kexec::reboot().map_err(|error| {
        let why = if crate::load::capable() {
            "is a kernel loaded?"
        } else {
            "starting a kernel needs CAP_SYS_BOOT: run as root"
        };
        Failure::system(format!("{error}: {why}"))
    })
}
