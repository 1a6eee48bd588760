//! The system call itself, and what its failure means.

use std::ffi::CString;
use std::fs;
use std::os::fd::AsFd;
use std::sync::Arc;

use kpeel_envelope::limits::{Limits, Meter};
use kpeel_kexec::segments::{Machine, Plan, SegmentLoad, plan};
use kpeel_kexec::{Call, Circumstances, Error, FileLoad, Part, Status, explain};
use kpeel_sandbox::Buffer;

use super::Prepared;
use super::input::Input;
use super::results::Memory;
use crate::exit::Exit;
use crate::failure::{Cause, Failure, Result};
use crate::terminal::Terminal;

/// `CAP_SYS_BOOT` (`include/uapi/linux/capability.h`).
const CAP_SYS_BOOT: u32 = 22;
/// "Permission denied": what security modules of the kernel answer for a file they do not let be loaded.
const EACCES: i32 = 13;
/// "Text file busy": somebody has the file open for writing.
const ETXTBSY: i32 = 26;

/// What goes into segments, mapped.
pub(super) struct Mapped {
    kernel: Buffer,
    initrd: Option<Buffer>,
    tree: Option<Buffer>,
}

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
            let mapped = self.map()?;
            let plan = self.plan(&mapped)?;
            return plan.load().map_err(|error| self.failure(&error));
        }
        self.check_originals(Input::check_unchanged)?;
        self.load_files()?;
        self.check_originals(Input::check_loaded)
            .map_err(|changed| match unload(choice.call, self.wish.crash) {
                Ok(()) => changed,
                Err(error) => Failure::refused(format!(
                    "the file changed while it was being loaded, and a kernel that nobody checked \
                     is loaded now: unloading it failed: {error}"
                ))
                .of(self.path()),
            })
    }

    /// Refuses a crash load on a system that has no place for it.
    pub(super) fn check_reservation(&self) -> Result<()> {
        if self.wish.crash && self.status.crash_size == Some(0) {
            return Err(self.failure(&Error::NoCrashReservation));
        }
        Ok(())
    }

    /// Checks those files that the kernel reads itself; of judged ones it gets the copies.
    fn check_originals(&self, check: impl Fn(&Input) -> Result<()>) -> Result<()> {
        if self.trusting.asks() {
            return Ok(());
        }
        if self.opened.kernel.is_none() {
            check(&self.image)?;
        }
        match &self.initrd {
            Some(initrd) if self.opened.initrd.is_none() => check(initrd),
            _ => Ok(()),
        }
    }

    fn load_files(&self) -> Result<()> {
        let judged = self.trusting.asks();
        let handed = |input: &Input| input.handed(judged).as_fd().try_clone_to_owned();
        let clone = |memory: &Memory| memory.file.as_fd().try_clone_to_owned();
        let system = |error| Failure::system(format!("sharing a file: {error}"));
        let kernel = match &self.opened.kernel {
            Some(kernel) => clone(kernel),
            None => handed(&self.image),
        }
        .map_err(system)?;
        let initrd = match (&self.opened.initrd, &self.initrd) {
            (Some(initrd), _) => Some(clone(initrd)),
            (None, Some(input)) => Some(handed(input)),
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

    /// Maps what goes into segments.
    pub(super) fn map(&self) -> Result<Mapped> {
        let result = |memory: &Memory| map(&memory.file, memory.size);
        let input = |input: &Input| map(&input.memory, input.size);
        Ok(Mapped {
            kernel: match &self.opened.kernel {
                Some(kernel) => result(kernel),
                None => input(&self.image),
            }?,
            initrd: match (&self.opened.initrd, &self.initrd) {
                (Some(initrd), _) => Some(result(initrd)?),
                (None, callers) => callers.as_ref().map(input).transpose()?,
            },
            tree: match (&self.dtb, &self.opened.dtb) {
                (Some(callers), _) => Some(input(callers)?),
                (None, dtb) => dtb.as_ref().map(result).transpose()?,
            },
        })
    }

    /// Where each part would go in memory.
    pub(super) fn plan<'m>(&'m self, mapped: &'m Mapped) -> Result<Plan<'m>> {
        let cmdline = std::str::from_utf8(&self.opened.cmdline).map_err(|_| {
            let message = "command line: found bytes that are no UTF-8, needed text";
            Failure::told(Exit::Image, message).of(self.path())
        })?;
        let machine = Machine::below(&self.wish.root, self.wish.crash)
            .map_err(|error| self.failure(&error))?;
        let load = SegmentLoad {
            kernel: mapped.kernel.as_ref(),
            initrd: mapped.initrd.as_ref().map(Buffer::as_ref),
            cmdline,
            tree: mapped.tree.as_ref().map(Buffer::as_ref),
            crash: self.wish.crash,
        };
        plan(&load, &machine).map_err(|error| match (&error, &self.wish.dtb) {
            (Error::Given { part, .. }, Some(dtb)) if *part == Part::Tree => {
                self.failure(&error).of(dtb)
            }
            _ => self.failure(&error),
        })
    }

    /// What a failure means here.
    pub(super) fn failure(&self, error: &Error) -> Failure {
        let about = Circumstances {
            status: &self.status,
            capable: capable(),
            signed: Some(self.opened.signed),
            signer: self.opened.kernel_signer.as_deref(),
            unpacked: self.opened.envelopes != 0 || self.opened.unpacked,
            crash: self.wish.crash,
        };
        let copied = self.opened.kernel.is_none() && self.image.replaced(self.trusting.asks());
        explained(error, &about, copied).of(self.path())
    }
}

/// Unloads the loaded kernel, or the crash kernel.
pub(crate) fn unload(call: Call, crash: bool) -> kpeel_kexec::Result<()> {
    match call {
        Call::File => kpeel_kexec::file_unload(crash),
        Call::Segments => kpeel_kexec::segments::unload(crash),
    }
}

/// An error with what it means, as a command ends with it; `copied` where the kernel was given a judged copy in the
/// place of the image's file.
pub(crate) fn explained(error: &Error, about: &Circumstances<'_>, copied: bool) -> Failure {
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
        Error::Call { call, source } if source.raw_os_error() == Some(EACCES) => {
            let way_out = match call {
                Call::File if copied => DENIED_COPY,
                _ => "",
            };
            Failure::refused(format!("{error}: {DENIED}{way_out}"))
        }
        Error::Given { .. } => Failure::told(Exit::Image, error.to_string()),
        Error::Unsupported { .. } => Failure::usage(error.to_string()),
        _ => Failure::system(error.to_string()),
    }
}

const DENIED: &str = "a security module of the running kernel refuses it";
const DENIED_COPY: &str = "; where signatures count (--trust) the kernel is given a copy, at which no signature of IMA's \
     stands: --trust none gives it the file itself";

/// An unload's failure, with what it means.
pub(crate) fn unload_failure(error: &Error, status: &Status, crash: bool) -> Failure {
    explained(
        error,
        &Circumstances {
            status,
            capable: capable(),
            signed: None,
            signer: None,
            unpacked: false,
            crash,
        },
        false,
    )
}

/// Whether this process may load kernels.
pub(crate) fn capable() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = set.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    set.is_some_and(|set| set >> CAP_SYS_BOOT & 1 == 1)
}

/// Sealed memory, mapped: a copy would double what a load needs.
pub(super) fn map(file: &fs::File, size: u64) -> Result<Buffer> {
    // Its size was checked when it was sealed.
    let meter = Arc::new(Meter::new(Limits::default()));
    Buffer::from_sealed(file, "sealed memory", size, &meter)
        .map_err(|error| Failure::system(format!("mapping sealed memory: {error}")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kpeel_kexec::segments::Memory as Ram;

    use super::*;
    use crate::load::results::Opened;
    use crate::load::{Choice, Trusting, Wish};
    use crate::trust::Trust;

    /// How a load ends for a kernel, a device tree and a running system's tree of these bytes.
    fn exit(kernel: &[u8], given: Option<&[u8]>, running: &[u8]) -> Exit {
        let machine = Machine {
            memory: Ram::parse("40000000-7fffffff : System RAM\n").unwrap(),
            tree: running.to_vec(),
            notes: Vec::new(),
            seed: [0; 64],
        };
        let load = SegmentLoad {
            kernel,
            initrd: None,
            cmdline: "",
            tree: given,
            crash: false,
        };
        let about = Circumstances {
            status: &Status::default(),
            capable: true,
            signed: None,
            signer: None,
            unpacked: false,
            crash: false,
        };
        explained(&plan(&load, &machine).unwrap_err(), &about, false).exit()
    }

    #[test]
    fn a_broken_kernel_or_tree_is_the_image_s_fault_and_a_broken_running_tree_the_system_s() {
        // An arm64 Image's header: image_size at 16, the magic at 56.
        let mut kernel = [0; 64];
        kernel[16] = 1;
        kernel[56..60].copy_from_slice(b"ARM\x64");
        assert_eq!(exit(b"none", None, b"none"), Exit::Image);
        assert_eq!(exit(&kernel, Some(b"none"), b"none"), Exit::Image);
        assert_eq!(exit(&kernel, None, b"none"), Exit::System);
    }

    /// A load of this file under this trust, of a kernel that is in it or was unpacked.
    fn prepared(image: &Path, trust: Trust, unpacked: bool) -> Prepared {
        let status = Status::default();
        let one = || Input::one(image, "image", 1 << 20).unwrap();
        let kernel = unpacked.then(|| Memory {
            file: one().memory,
            size: 0,
        });
        Prepared {
            wish: Wish::of(Path::new("/"), image),
            trusting: Trusting::decide(Some(trust), &status),
            status,
            choice: Ok(Choice {
                call: Call::File,
                why: "",
            }),
            entry: None,
            image: one(),
            initrd: None,
            dtb: None,
            parts: Vec::new(),
            opened: Opened {
                kernel,
                initrd: None,
                cmdline: Vec::new(),
                dtb: None,
                envelopes: 0,
                unpacked,
                initrd_envelope: None,
                cmdline_envelope: None,
                profile: None,
                pcrsig: false,
                signed: false,
                kernel_signer: None,
                signers: Vec::new(),
                machine: kpeel_sandbox::Machine::X86_64,
            },
            warnings: Vec::new(),
        }
    }

    #[test]
    fn only_where_a_copy_took_a_file_s_place_a_security_module_s_refusal_names_the_way_out() {
        let denied = |call| Error::Call {
            call,
            source: std::io::Error::from_raw_os_error(EACCES),
        };
        let check = |failure: Failure, way_out: bool| {
            assert_eq!(failure.exit(), Exit::Refused);
            let text = failure.to_string();
            assert!(text.contains("a security module"), "{text}");
            assert_eq!(text.contains("--trust none"), way_out, "{text}");
        };
        let no_file = Path::new("/dev/null");
        let file = std::env::temp_dir().join(format!("kpeel-denied-{}", std::process::id()));
        fs::write(&file, b"kernel").unwrap();
        for (image, trust, unpacked, call, way_out) in [
            (file.as_path(), Trust::System, false, Call::File, true),
            (&file, Trust::System, false, Call::Segments, false),
            (&file, Trust::System, true, Call::File, false),
            (&file, Trust::None, false, Call::File, false),
            (no_file, Trust::System, false, Call::File, false),
        ] {
            let load = prepared(image, trust, unpacked);
            check(load.failure(&denied(call)), way_out);
        }
        fs::remove_file(&file).unwrap();
        for call in [Call::File, Call::Segments] {
            check(
                unload_failure(&denied(call), &Status::default(), false),
                false,
            );
        }
    }
}
