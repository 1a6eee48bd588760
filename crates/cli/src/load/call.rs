//! The system call itself, and what its failure means.

use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use kpeel_kexec::segments::{Machine, Plan, SegmentLoad, plan};
use kpeel_kexec::{Call, Circumstances, Error, FileLoad, Status, explain};

use super::Prepared;
use super::results::Memory;
use crate::exit::Exit;
use crate::failure::{Cause, Failure, Result};
use crate::terminal::Terminal;

/// `CAP_SYS_BOOT` (`include/uapi/linux/capability.h`).
const CAP_SYS_BOOT: u32 = 22;
/// How errors about device trees name their field.
const TREE: &str = "device tree";
/// "Text file busy": somebody has the file open for writing.
const ETXTBSY: i32 = 26;

impl Prepared {
    /// Loads. An earlier loaded kernel of the same kind is replaced.
    pub(crate) fn load(self, terminal: &mut Terminal) -> Result<()> {
        terminal
            .progress()
            .begin(format!("loading {}", self.path().display()), None);
        let choice = match &self.choice {
            Ok(choice) => *choice,
            Err(_) => return self.choice.map(|_| ()),
        };
        self.check_reservation()?;
        if choice.call == Call::Segments {
            return self.plan()?.load().map_err(|error| self.failure(&error));
        }
        self.check_originals()?;
        self.load_files()?;
        self.check_originals().inspect_err(|_| {
            let _ = unload(choice.call, self.wish.crash);
        })
    }

    /// Refuses a crash load on a system that has no place for it.
    pub(super) fn check_reservation(&self) -> Result<()> {
        if self.wish.crash && self.status.crash_size == Some(0) {
            return Err(self.failure(&Error::NoCrashReservation));
        }
        Ok(())
    }

    /// Refuses files that changed, of those that the kernel reads itself.
    fn check_originals(&self) -> Result<()> {
        if self.opened.kernel.is_none() {
            self.image.check_unchanged()?;
        }
        match &self.initrd {
            Some(initrd) if self.opened.initrd.is_none() => initrd.check_unchanged(),
            _ => Ok(()),
        }
    }

    fn load_files(&self) -> Result<()> {
        let original = |input: &'_ super::Input| {
            let file = input.original().unwrap_or(&input.memory);
            file.as_fd().try_clone_to_owned()
        };
        let clone = |memory: &Memory| memory.file.as_fd().try_clone_to_owned();
        let system = |error| Failure::system(format!("sharing a file: {error}"));
        let kernel = match &self.opened.kernel {
            Some(kernel) => clone(kernel),
            None => original(&self.image),
        }
        .map_err(system)?;
        let initrd = match (&self.opened.initrd, &self.initrd) {
            (Some(initrd), _) => Some(clone(initrd)),
            (None, Some(input)) => Some(original(input)),
            (None, None) => None,
        }
        .transpose()
        .map_err(system)?;
        let cmdline = CString::new(self.opened.cmdline.clone()).map_err(|_| Failure {
            path: None,
            cause: Cause::Bug("a NUL in a checked command line".to_owned()),
        })?;
        kpeel_kexec::file_load(&FileLoad {
            kernel: kernel.as_fd(),
            initrd: initrd.as_ref().map(AsFd::as_fd),
            cmdline: &cmdline,
            crash: self.wish.crash,
            debug: self.wish.debug,
        })
        .map_err(|error| self.failure(&error))
    }

    /// Where each part would go in memory.
    pub(super) fn plan(&self) -> Result<Plan> {
        let kernel = match &self.opened.kernel {
            Some(kernel) => bytes(&kernel.file, kernel.size)?,
            None => bytes(&self.image.memory, self.image.size)?,
        };
        let initrd = match (&self.opened.initrd, &self.initrd) {
            (Some(initrd), _) => Some(bytes(&initrd.file, initrd.size)?),
            (None, Some(input)) => Some(bytes(&input.memory, input.size)?),
            (None, None) => None,
        };
        let tree = match (&self.dtb, &self.opened.dtb) {
            (Some(input), _) => Some(bytes(&input.memory, input.size)?),
            (None, Some(dtb)) => Some(bytes(&dtb.file, dtb.size)?),
            (None, None) => None,
        };
        let cmdline = std::str::from_utf8(&self.opened.cmdline).map_err(|_| {
            let message = "command line: found bytes that are no UTF-8, needed text";
            Failure::told(Exit::Image, message).of(self.path())
        })?;
        let machine = Machine::below(&self.wish.root, self.wish.crash)
            .map_err(|error| self.failure(&error))?;
        let load = SegmentLoad {
            kernel: &kernel,
            initrd: initrd.as_deref(),
            cmdline,
            tree: tree.as_deref(),
            crash: self.wish.crash,
        };
        plan(&load, &machine).map_err(|error| match (&error, &self.wish.dtb) {
            (Error::Malformed { field: TREE, .. }, Some(dtb)) => self.failure(&error).of(dtb),
            _ => self.failure(&error),
        })
    }

    /// What a failure means here.
    pub(super) fn failure(&self, error: &Error) -> Failure {
        let about = Circumstances {
            status: &self.status,
            capable: capable(),
            signed: Some(self.opened.signed),
            unpacked: self.opened.envelopes != 0 || self.opened.unpacked,
            crash: self.wish.crash,
        };
        explained(error, &about).of(self.path())
    }
}

/// Unloads the loaded kernel, or the crash kernel.
pub(crate) fn unload(call: Call, crash: bool) -> kpeel_kexec::Result<()> {
    match call {
        Call::File => kpeel_kexec::file_unload(crash),
        Call::Segments => kpeel_kexec::segments::unload(crash),
    }
}

/// An error with what it means, as a command ends with it.
pub(crate) fn explained(error: &Error, about: &Circumstances<'_>) -> Failure {
    if let Some(explanation) = explain(error, about) {
        let exit = if explanation.refused {
            Exit::Refused
        } else {
            Exit::System
        };
        return Failure::told(exit, format!("{error}: {}", explanation.text));
    }
    match error {
        Error::Call { source, .. } if source.raw_os_error() == Some(ETXTBSY) => Failure::refused(
            format!("{error}: another process has the file open for writing: nothing was loaded"),
        ),
        Error::Unsupported { .. } => Failure::usage(error.to_string()),
        _ => Failure::system(error.to_string()),
    }
}

/// An unload's failure, with what it means.
pub(crate) fn unload_failure(error: &Error, status: &Status, crash: bool) -> Failure {
    explained(
        error,
        &Circumstances {
            status,
            capable: capable(),
            signed: None,
            unpacked: false,
            crash,
        },
    )
}

/// Whether this process may load kernels.
pub(crate) fn capable() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_some_and(|set| set >> CAP_SYS_BOOT & 1 == 1)
}

fn bytes(file: &fs::File, size: u64) -> Result<Vec<u8>> {
    let failure = |error| Failure::system(format!("reading sealed memory: {error}"));
    let len = usize::try_from(size).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(len)
        .map_err(|_| Failure::system(format!("memory: the system has no {size} bytes left")))?;
    struct At<'f>(&'f fs::File, u64);
    impl Read for At<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read_at(buffer, self.1)?;
            self.1 = self.1.saturating_add(count as u64);
            Ok(count)
        }
    }
    At(file, 0)
        .take(size)
        .read_to_end(&mut bytes)
        .map_err(failure)?;
    Ok(bytes)
}
