//! Loading through the kernel's own host: Linux verifies the image, runs its parsers and composes the parts.
//!
//! Nothing is unpacked here, so that the signature that covers the image is the one that counts. What the kernel
//! refuses is not tried again in user space.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::str::FromStr;

use kpeel_abi::VERSION;
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pe::Pe;
use kpeel_envelope::pipeline::SECTION_BPF;
use kpeel_kexec::{Call, Circumstances, Error, FileLoad, KernelHost, Lockdown, Status};

use super::call::{capable, explained, map, unload};
use super::choose::Trusting;
use super::input::Input;
use super::{Chosen, Wish};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::input::gives_once;
use crate::terminal::Terminal;
use crate::trust::Trust;

/// Who opens the image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum HostName {
    /// The running kernel.
    Kernel,
    /// This program's sandbox.
    User,
}

impl FromStr for HostName {
    type Err = &'static str;

    fn from_str(name: &str) -> std::result::Result<Self, Self::Err> {
        match name {
            "kernel" => Ok(Self::Kernel),
            "user" => Ok(Self::User),
            _ => Err("needed kernel or user"),
        }
    }
}

/// A load that the kernel does alone.
pub(crate) struct KernelLoad {
    status: Status,
    image: Input,
    initrd: Option<Input>,
    cmdline: CString,
    signed: bool,
    /// Whether the kernel gets the copies, so that it reads what was looked at.
    sealed: bool,
    crash: bool,
    debug: bool,
}

impl Wish {
    /// The load, if the kernel's host is to do it: because it is asked for, or because it is there and can.
    ///
    /// # Errors
    /// With `--host kernel`, what it cannot do, by name; and files that cannot be read.
    pub(crate) fn for_kernel(
        &self,
        asked: Option<HostName>,
        chosen_parsers: bool,
        terminal: &mut Terminal,
    ) -> Result<Option<KernelLoad>> {
        if asked == Some(HostName::User) {
            return Ok(None);
        }
        let host =
            KernelHost::read(&self.root).map_err(|error| Failure::system(error.to_string()))?;
        let cannot = absent(host.as_ref()).or_else(|| self.beyond_kernel(chosen_parsers));
        if let Some(cannot) = cannot {
            return match asked {
                Some(_) => Err(cannot),
                None => Ok(None),
            };
        }
        // A boot entry's parts become the wish's; the wish may be needed as it was.
        let mut wish = self.clone();
        let chosen = wish.target(terminal)?;
        let load = wish.kernel_load(&chosen, terminal);
        // Whoever opens the image instead tells it by itself.
        if asked.is_some() || !matches!(load, Ok(Err(_))) {
            chosen.tell(terminal);
        }
        match load? {
            Err(cannot) if asked.is_some() => Err(cannot),
            load => Ok(load.ok()),
        }
    }

    /// What is asked for that only the sandbox can do.
    fn beyond_kernel(&self, chosen_parsers: bool) -> Option<Failure> {
        let certificates = matches!(self.trust, Some(Trust::Certificates(_)));
        let reasons = [
            (self.call == Some(Call::Segments), "--syscall segments"),
            (self.dtb.is_some(), "--dtb"),
            (chosen_parsers, "--parser and --no-embedded"),
            (certificates, "--trust with certificates"),
            (!self.revoke.is_empty(), "--revoke"),
            // Whether the image has a line of its own shows only when it is open.
            (self.command_line.is_some(), "--command-line"),
        ];
        let what = reasons.into_iter().find(|(is, _)| *is)?.1;
        Some(Failure::usage(format!(
            "--host kernel: found {what} beside it, which needs --host user"
        )))
    }

    /// The load; inside, why an image cannot go to the kernel's host.
    fn kernel_load(&self, chosen: &Chosen, terminal: &mut Terminal) -> Result<Result<KernelLoad>> {
        let path = &chosen.image;
        if self.dtb.is_some() {
            return Ok(Err(Failure::usage(
                "--host kernel: the boot entry has a device tree, which needs --host user",
            )));
        }
        if path.as_os_str() == "-" {
            return Ok(Err(Failure::usage(
                "--host kernel: found standard input, needed a file, which the kernel reads itself",
            )));
        }
        // Whoever opens the image instead has to find in it what was written into it.
        if gives_once(path) {
            return Ok(Err(no_file().of(path)));
        }
        let parts = self.cmdline(chosen.options.clone())?;
        let line = self.line(&parts)?.unwrap_or_default();
        let cmdline = CString::new(line)
            .map_err(|_| Failure::usage("command line: found a NUL in it, needed none"))?;
        let progress = terminal.progress();
        progress.begin(format!("reading {}", path.display()), None);
        let limits = Limits::default();
        let image = Input::one(path, "image", limits.image)?;
        let signed = match carried(&image)? {
            Ok(signed) => signed,
            Err(why) => return Ok(Err(why.of(path))),
        };
        let initrd = (!self.initrds.is_empty())
            .then(|| Input::joined(&self.initrds, "initrd", limits.initrd))
            .transpose()?;
        let status =
            Status::read(&self.root).map_err(|error| Failure::system(error.to_string()))?;
        let sealed = keeps_from_kernel(&Trusting::decide(self.trust.clone(), &status), &status);
        Ok(Ok(KernelLoad {
            status,
            image,
            initrd,
            cmdline,
            signed,
            sealed,
            crash: self.crash,
            debug: self.debug,
        }))
    }
}

/// Whether the kernel gets the copy instead of the file.
///
/// What carries a parser, it verifies by itself before it runs anything, whatever became of the file meanwhile. But a
/// kernel without one may have come into the file's place, and that is verified under lockdown only. There the file
/// itself counts, at which a signature of IMA's stands.
fn keeps_from_kernel(trusting: &Trusting, status: &Status) -> bool {
    let locked = matches!(
        status.lockdown,
        Lockdown::Integrity | Lockdown::Confidentiality
    );
    trusting.asks() && !locked
}

/// Why there is no host to use.
fn absent(host: Option<&KernelHost>) -> Option<Failure> {
    match host {
        Some(host) if host.abi_version == VERSION => None,
        Some(host) => Some(Failure::system(format!(
            "--host kernel: found version {} of the contract with parsers, needed {VERSION}",
            host.abi_version
        ))),
        None => Some(Failure::system(
            "--host kernel: the running kernel opens no PE boot images (CONFIG_KEXEC_PE): found no \
             /sys/kernel/kexec_pe",
        )),
    }
}

fn no_file() -> Failure {
    Failure::told(
        Exit::Image,
        "--host kernel: found a pipe, needed a file, which the kernel reads itself",
    )
}

/// Whether the image has a certificate table; inside, why the kernel's host would not take it. Only headers are read.
fn carried(image: &Input) -> Result<Result<bool>> {
    let refusal = |text: &str| {
        Ok(Err(Failure::told(
            Exit::Image,
            format!("--host kernel: {text}"),
        )))
    };
    if image.original().is_none() {
        return Ok(Err(no_file()));
    }
    let bytes = map(&image.memory, image.size)?;
    match Pe::parse(bytes.as_ref()) {
        Ok(pe) if pe.find(SECTION_BPF).next().is_some() => Ok(Ok(pe.certificate_table().is_some())),
        Ok(_) => refusal("found no section .bpf, needed an image that carries its parser"),
        Err(_) => refusal("found no PE image, needed one that carries its parser"),
    }
}

impl KernelLoad {
    /// Loads. An earlier loaded kernel of the same kind is replaced.
    pub(crate) fn load(self, terminal: &mut Terminal) -> Result<()> {
        let progress = terminal.progress();
        progress.begin(format!("loading {}", self.path()), None);
        if self.crash && self.status.crash_size == Some(0) {
            return Err(self.failure(&Error::NoCrashReservation));
        }
        self.check_files(Input::check_unchanged)?;
        let handed = |input| Input::handed(input, self.sealed).as_fd();
        let load = FileLoad {
            kernel: handed(&self.image),
            initrd: self.initrd.as_ref().map(handed),
            cmdline: &self.cmdline,
            crash: self.crash,
            debug: self.debug,
        };
        kpeel_kexec::file_load(&load).map_err(|error| self.failure(&error))?;
        self.check_files(Input::check_loaded).map_err(|changed| {
            match unload(Call::File, self.crash) {
                Ok(()) => changed,
                Err(error) => Failure::refused(format!(
                    "the file changed while it was being loaded, and unloading it failed: {error}"
                )),
            }
        })
    }

    /// Checks those files that the kernel reads itself.
    fn check_files(&self, check: impl Fn(&Input) -> Result<()>) -> Result<()> {
        if self.sealed {
            return Ok(());
        }
        check(&self.image)?;
        self.initrd.as_ref().map_or(Ok(()), check)
    }

    fn path(&self) -> String {
        let part = self.image.parts.first();
        part.map_or_else(
            || "image".to_owned(),
            |part| part.path.display().to_string(),
        )
    }

    /// What a failure means where the kernel opens the image.
    fn failure(&self, error: &Error) -> Failure {
        let about = Circumstances {
            status: &self.status,
            capable: capable(),
            signed: Some(self.signed),
            signer: None,
            unpacked: false,
            crash: self.crash,
        };
        let failure = match told(error) {
            Some((exit, text)) => Failure::told(exit, format!("{error}: {text}{LOG}")),
            None => explained(error, &about, self.image.replaced(self.sealed)),
        };
        Failure {
            path: Some(self.path()),
            ..failure
        }
    }
}

/// The kernel's log has what an errno cannot say.
const LOG: &str =
    ": the kernel's log (dmesg) names the envelope, the field, what was found and needed";

/// `include/uapi/asm-generic/errno-base.h` and `errno.h` of Linux.
const E2BIG: i32 = 7;
const ENOEXEC: i32 = 8;
const ENOMEM: i32 = 12;
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;

/// What the host's classes of errors are as an errno (`kpeel_envelope::error::Error::errno`); the others are explained
/// like every load's.
fn told(error: &Error) -> Option<(Exit, &'static str)> {
    let Error::Call { source, .. } = error else {
        return None;
    };
    Some(match source.raw_os_error()? {
        ENOEXEC => (Exit::Image, "the kernel takes no such image"),
        EOPNOTSUPP => (
            Exit::Image,
            "the image needs what this kernel does not support",
        ),
        E2BIG => (Exit::Refused, "the image exceeds a bound"),
        EINVAL => (
            Exit::System,
            "the kernel takes no such image, initrd and command line together",
        ),
        ENOMEM => (
            Exit::System,
            "memory ran out, of the machine or of the caller's memory cgroup",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::load::{Places, Target};

    fn host(abi_version: u32) -> KernelHost {
        KernelHost {
            abi_version,
            codecs: Vec::new(),
            depth: 4,
        }
    }

    #[test]
    fn only_a_host_of_this_contract_is_used() {
        assert!(absent(Some(&host(VERSION))).is_none());
        let other = absent(Some(&host(VERSION + 1))).unwrap();
        assert!(other.to_string().contains("version"), "{other}");
        let none = absent(None).unwrap();
        assert_eq!(none.exit(), Exit::System);
        assert!(none.to_string().contains("CONFIG_KEXEC_PE"), "{none}");
    }

    /// A load of this image below a root whose kernel has a host.
    fn wish(root: &Path, image: &Path) -> Wish {
        let host = root.join("sys/kernel/kexec_pe");
        fs::create_dir_all(&host).unwrap();
        for (file, text) in [("abi_version", "1"), ("codecs", "gzip"), ("depth", "4")] {
            fs::write(host.join(file), text).unwrap();
        }
        Wish::of(root, image)
    }

    #[test]
    fn only_under_lockdown_a_file_whose_signature_counts_is_handed_on_itself() {
        let open = Status::default();
        let locked = Status {
            lockdown: Lockdown::Integrity,
            ..open
        };
        let secure = Status {
            secure_boot: Some(true),
            ..open
        };
        for (trust, status, keeps) in [
            (None, open, false),
            (Some(Trust::System), open, true),
            (None, secure, true),
            (Some(Trust::None), secure, false),
            (None, locked, false),
            (Some(Trust::System), locked, false),
        ] {
            let trusting = Trusting::decide(trust, &status);
            assert_eq!(keeps_from_kernel(&trusting, &status), keeps, "{trusting:?}");
        }
    }

    #[test]
    fn a_security_module_s_refusal_names_the_way_out_where_the_kernel_got_the_copy() {
        let file = std::env::temp_dir().join(format!("kpeel-host-denied-{}", std::process::id()));
        fs::write(&file, b"image").unwrap();
        let eacces = 13;
        for sealed in [false, true] {
            let load = KernelLoad {
                status: Status::default(),
                image: Input::one(&file, "image", 60).unwrap(),
                initrd: None,
                cmdline: CString::default(),
                signed: true,
                sealed,
                crash: false,
                debug: false,
            };
            let refused = load.failure(&Error::Call {
                call: Call::File,
                source: std::io::Error::from_raw_os_error(eacces),
            });
            assert_eq!(refused.exit(), Exit::Refused);
            let text = refused.to_string();
            assert_eq!(text.contains("--trust none"), sealed, "{text}");
        }
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_pipe_is_left_unopened_to_the_sandbox() {
        let root = std::env::temp_dir().join(format!("kpeel-pipe-{}", std::process::id()));
        let pipe = root.join("pipe");
        let wish = wish(&root, &pipe);
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        // Nobody writes into it, so that whoever opens it waits for ever.
        let (told, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for asked in [None, Some(HostName::Kernel)] {
                let load = wish.for_kernel(asked, false, &mut Terminal::new());
                let found = load.map(|load| load.is_some());
                told.send(found.map_err(|failure| failure.to_string()))
                    .unwrap();
            }
        });
        let answer = || answers.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(answer(), Ok(false));
        let refused = answer().unwrap_err();
        assert!(
            refused.contains("pipe: --host kernel: found a pipe, needed a file"),
            "{refused}"
        );
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn broken_entries_are_told_of_once_however_it_ends() {
        const ROOT: &str = "KPEEL_TEST_ENTRIES";
        const ID: &str = "KPEEL_TEST_ENTRY";
        // In a process of its own, whose standard error can be read.
        if let (Ok(root), Ok(id)) = (std::env::var(ROOT), std::env::var(ID)) {
            let root = Path::new(&root);
            let mut wish = wish(root, root);
            let (id, asked) = match id.strip_suffix(" kernel") {
                Some(id) => (id, Some(HostName::Kernel)),
                None => (id.as_str(), None),
            };
            wish.image = Target::Entry(id.to_owned(), Places::default());
            let load = wish.for_kernel(asked, false, &mut Terminal::new());
            assert_eq!(load.is_err(), asked.is_some() || id == "folder");
            return;
        }
        let root = std::env::temp_dir().join(format!("kpeel-told-{}", std::process::id()));
        let entries = root.join("efi/loader/entries");
        fs::create_dir_all(&entries).unwrap();
        fs::write(root.join("efi/plain"), b"no PE image").unwrap();
        fs::write(entries.join("broken.conf"), b"title nothing\n").unwrap();
        fs::write(entries.join("plain.conf"), b"linux /plain\n").unwrap();
        fs::write(entries.join("folder.conf"), b"linux /loader\n").unwrap();
        let name = "load::host::tests::broken_entries_are_told_of_once_however_it_ends";
        // Of an image that is left to the sandbox, that one's load tells.
        for (id, times) in [("plain kernel", 1), ("folder", 1), ("plain", 0)] {
            let mut test = Command::new(std::env::current_exe().unwrap());
            test.args(["--exact", name, "--nocapture"]).env(ROOT, &root);
            let output = test.env(ID, id).output().unwrap();
            assert!(output.status.success(), "{id}: {output:?}");
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(said.matches("broken.conf: ").count(), times, "{id}: {said}");
        }
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn classes_of_the_host_keep_their_exit_codes() {
        let exit = |errno| {
            let source = std::io::Error::from_raw_os_error(errno);
            told(&Error::Call {
                call: Call::File,
                source,
            })
            .map(|told| told.0)
        };
        assert_eq!(exit(ENOEXEC), Some(Exit::Image));
        assert_eq!(exit(EOPNOTSUPP), Some(Exit::Image));
        assert_eq!(exit(E2BIG), Some(Exit::Refused));
        // Explained with the keyrings and with lockdown, as for every load.
        let (eperm, ekeyrejected) = (1, 129);
        assert_eq!(exit(ekeyrejected), None);
        assert_eq!(exit(eperm), None);
    }
}
