//! Loading a kernel: what is asked for becomes what the system call takes.
//!
//! ```text
//! files -> sealed copies -> confined child opens the image -> checks -> system call
//! ```

mod call;
mod child;
mod choose;
mod host;
mod input;
mod isolate;
mod look;
mod plan;
mod results;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

use kpeel_boot::{Boot, CmdlineInputs, Entry, Part, Partitions};
use kpeel_envelope::limits::Limits;
use kpeel_formats::uki::Selector;
use kpeel_kexec::segments::TREE_MAX;
use kpeel_kexec::{Call, Status};
use kpeel_sandbox::Machine;

pub(crate) use self::call::{capable, unload, unload_failure};
pub(crate) use self::child::run as open_confined;
pub(crate) use self::choose::{CallName, Choice, Has, Trusting};
pub(crate) use self::host::HostName;
pub(crate) use self::isolate::CHILD;

use self::input::Input;
use self::isolate::Task;
use self::results::Opened;
use self::wire::Warning;
use crate::failure::{Failure, Result};
use crate::terminal::Terminal;
use crate::trust::{KeyFile, Trust};

/// Longest command line of an arm64 kernel without its NUL (`COMMAND_LINE_SIZE`).
const ARM64_CMDLINE_MAX: u64 = 2047;
/// `MAX_ELFCOREHDR_STR_LEN` (`arch/x86/kernel/kexec-bzimage64.c`), kept free in every load.
const X86_ELFCOREHDR_MAX: u64 = 30;
/// Where a bzImage says how long a command line it takes (`cmdline_size`, boot.rst).
const X86_CMDLINE_SIZE: u64 = 0x238;

/// What is asked for, by whichever command.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// Root of the system whose state is read.
    pub(crate) root: PathBuf,
    pub(crate) image: Target,
    pub(crate) initrds: Vec<PathBuf>,
    pub(crate) append: Vec<String>,
    /// The caller's whole line.
    pub(crate) command_line: Option<String>,
    pub(crate) reuse_cmdline: bool,
    pub(crate) profile: Option<u32>,
    pub(crate) crash: bool,
    pub(crate) call: Option<Call>,
    pub(crate) dtb: Option<PathBuf>,
    pub(crate) trust: Option<Trust>,
    /// Files that revoke what they list.
    pub(crate) revoke: Vec<PathBuf>,
    pub(crate) embedded: bool,
    /// Parsers offered: name, and carrier of those that do not come with kpeel.
    pub(crate) parsers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) debug: bool,
}

/// What to load.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A file.
    Path(PathBuf),
    /// A boot entry's id; `default` for the one a boot would take.
    Entry(String, Places),
}

/// Where boot entries are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    pub(crate) esp: Option<PathBuf>,
    pub(crate) xbootldr: Option<PathBuf>,
}

/// Everything a system call needs, checked.
#[derive(Debug)]
pub(crate) struct Prepared {
    wish: Wish,
    status: Status,
    trusting: Trusting,
    choice: Result<Choice>,
    entry: Option<String>,
    image: Input,
    initrd: Option<Input>,
    dtb: Option<Input>,
    parts: Vec<Part>,
    opened: Opened,
    warnings: Vec<Warning>,
}

/// What a target comes to.
struct Chosen {
    image: PathBuf,
    /// A boot entry's id and options.
    entry: Option<String>,
    options: Option<String>,
    /// What the caller has to know of how the entry was found.
    notes: Vec<String>,
}

/// The caller's files.
struct Files {
    image: Input,
    initrd: Option<Input>,
    dtb: Option<Input>,
}

impl Places {
    /// The entries there are.
    pub(crate) fn read(&self, root: &Path) -> Result<Boot> {
        let named: Vec<_> = [&self.esp, &self.xbootldr]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        let partitions = if named.is_empty() {
            Partitions::usual(root)
        } else {
            Partitions::at(named)
        };
        Boot::read(root, partitions).map_err(boot_failure)
    }
}

/// A failure of entries or of what the caller gave.
pub(crate) fn boot_failure(error: kpeel_boot::Error) -> Failure {
    use kpeel_boot::Error;
    match error {
        Error::Read { path, source } => Failure::io(&path, "read", source),
        Error::Malformed { .. } | Error::Unsupported { .. } => {
            Failure::told(crate::exit::Exit::Image, error.to_string())
        }
        _ => Failure::usage(error.to_string()),
    }
}

#[cfg(test)]
impl Wish {
    /// A wish for nothing but this image.
    fn of(root: &Path, image: &Path) -> Self {
        Self {
            root: root.to_owned(),
            image: Target::Path(image.to_owned()),
            initrds: Vec::new(),
            append: Vec::new(),
            command_line: None,
            reuse_cmdline: false,
            profile: None,
            crash: false,
            call: None,
            dtb: None,
            trust: None,
            revoke: Vec::new(),
            embedded: true,
            parsers: Vec::new(),
            debug: false,
        }
    }
}

impl Wish {
    /// Opens the image and puts everything together; nothing is loaded yet.
    pub(crate) fn prepare(mut self, terminal: &mut Terminal) -> Result<Prepared> {
        let status =
            Status::read(&self.root).map_err(|error| Failure::system(error.to_string()))?;
        let trusting = Trusting::decide(self.trust.take(), &status);
        trusting.tell_unknown(terminal);
        let keys = trusting.keys(&self.revoke, &self.root, terminal)?;
        let chosen = self.target(terminal)?;
        chosen.tell(terminal);
        let (path, entry, options) = (chosen.image, chosen.entry, chosen.options);
        let choice = Has::running().choose(self.call, self.dtb.is_some());
        let parts = self.cmdline(options)?;
        let files = self.read(&path, terminal)?;
        terminal
            .progress()
            .begin(format!("opening {}", path.display()), None);
        let (warnings, opened) = self.open(&files, &parts, keys)?;
        let opened = opened.map_err(|failure| trusting.explain(failure));
        let opened = opened.inspect_err(|_| {
            for warning in &warnings {
                terminal.note(&format!("kpeel: {}: {}", path.display(), warning.line()));
            }
        })?;
        let Files { image, initrd, dtb } = files;
        let prepared = Prepared {
            wish: self,
            status,
            trusting,
            choice,
            entry,
            image,
            initrd,
            dtb,
            parts,
            opened,
            warnings,
        };
        prepared.check()?;
        Ok(prepared)
    }

    /// Copies everything that is the caller's.
    fn read(&self, path: &Path, terminal: &mut Terminal) -> Result<Files> {
        let limits = Limits::default();
        terminal
            .progress()
            .begin(format!("reading {}", path.display()), None);
        let dtb = self.dtb.as_ref();
        Ok(Files {
            image: Input::one(path, "image", limits.image)?,
            initrd: (!self.initrds.is_empty())
                .then(|| Input::joined(&self.initrds, "initrd", limits.initrd))
                .transpose()?,
            dtb: dtb
                .map(|path| Input::one(path, "device tree", TREE_MAX))
                .transpose()?,
        })
    }

    fn open(
        &self,
        files: &Files,
        parts: &[Part],
        keys: Option<Vec<KeyFile>>,
    ) -> Result<(Vec<Warning>, Result<Opened>)> {
        let line = self.line(parts)?;
        Ok(isolate::open(&Task {
            image: &files.image,
            initrd: files.initrd.as_ref(),
            cmdline: line.as_deref(),
            crash: self.crash,
            embedded: self.embedded,
            parsers: self.parsers.clone(),
            trace: self.debug,
            keys,
        }))
    }

    /// The image's path; an entry's id and options too, whose other parts are added to the wish.
    fn target(&mut self, terminal: &mut Terminal) -> Result<Chosen> {
        let (id, places) = match &self.image {
            Target::Path(path) => return Ok(Chosen::file(path)),
            Target::Entry(id, places) => (id, places),
        };
        let boot = places.read(&self.root)?;
        // An entry that is left out may be the one that was meant.
        let problems = boot.problems().iter();
        let mut notes: Vec<_> = problems.map(ToString::to_string).collect();
        let entry = match id.as_str() {
            "default" => boot.default_entry(),
            id => boot.entry(id),
        };
        let entry: Entry = match entry {
            Ok(entry) => entry.clone(),
            Err(error) => {
                tell(&notes, terminal);
                return Err(boot_failure(error));
            }
        };
        if id == "default" && boot.misses_default() {
            let taken = &entry.id;
            notes.push(format!(
                "no boot entry is the default that loader.conf or LoaderEntryDefault names: \
                 {taken} is loaded"
            ));
        }
        let callers = std::mem::replace(&mut self.initrds, entry.initrds);
        self.initrds.extend(callers);
        self.dtb = self.dtb.take().or(entry.devicetree);
        self.profile = self.profile.or(entry.profile);
        Ok(Chosen {
            image: entry.image,
            entry: Some(entry.id),
            options: entry.options,
            notes,
        })
    }

    fn cmdline(&self, entry: Option<String>) -> Result<Vec<Part>> {
        let running = self
            .reuse_cmdline
            .then(|| {
                let path = self.root.join("proc/cmdline");
                fs::read_to_string(&path).map_err(|error| Failure::io(&path, "read", error))
            })
            .transpose()?;
        // A whole line stands for the entry's too.
        let entry = entry.filter(|_| self.command_line.is_none());
        kpeel_boot::compose(&CmdlineInputs {
            whole: self.command_line.clone(),
            running,
            entry,
            append: self.append.clone(),
            crash: self.crash,
        })
        .map_err(boot_failure)
    }

    /// The caller's line as parsers see it: with its profile selector.
    fn line(&self, parts: &[Part]) -> Result<Option<String>> {
        let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
        let line = texts.join(" ");
        match self.profile {
            None if line.is_empty() => Ok(None),
            None => Ok(Some(line)),
            Some(_) if Selector::parse(line.as_bytes()).is_some() => Err(Failure::usage(
                "--profile: found a selector in the command line too, needed only one of them",
            )),
            Some(profile) => Ok(Some(format!("@{profile} {line}"))),
        }
    }
}

impl Chosen {
    fn file(path: &Path) -> Self {
        Self {
            image: path.to_owned(),
            entry: None,
            options: None,
            notes: Vec::new(),
        }
    }

    fn tell(&self, terminal: &mut Terminal) {
        tell(&self.notes, terminal);
    }
}

fn tell(notes: &[String], terminal: &mut Terminal) {
    for note in notes {
        terminal.note(&format!("kpeel: {note}"));
    }
}

impl Prepared {
    /// What can only be checked once the image is open.
    fn check(&self) -> Result<()> {
        if let (Some(_), Some(envelope)) = (&self.wish.command_line, self.opened.cmdline_envelope) {
            return Err(Failure::usage(format!(
                "--command-line: the image has a command line of its own, in envelope {envelope}: \
                 `kpeel load --append` adds to it"
            ))
            .of(self.path()));
        }
        let allowed = self.longest_cmdline()?;
        let found = self.opened.cmdline.len() as u64;
        if found > allowed {
            return Err(Failure::usage(format!(
                "command line: found {found} bytes, needed at most {allowed}, which is what the \
                 kernel takes"
            ))
            .of(self.path()));
        }
        Ok(())
    }

    fn longest_cmdline(&self) -> Result<u64> {
        use std::os::unix::fs::FileExt;
        if self.opened.machine != Machine::X86_64 {
            return Ok(ARM64_CMDLINE_MAX);
        }
        let mut size = [0; 4];
        self.kernel()
            .read_exact_at(&mut size, X86_CMDLINE_SIZE)
            .map_err(|error| Failure::io(self.path(), "read", error))?;
        // The kernel that loads it counts the NUL in, and keeps room for what a crash load adds.
        let size = u64::from(u32::from_le_bytes(size));
        Ok(size.saturating_sub(1 + X86_ELFCOREHDR_MAX))
    }

    fn path(&self) -> &Path {
        let part = self.image.parts.first();
        part.map_or(Path::new("image"), |part| part.path.as_path())
    }

    /// The kernel's bytes, sealed.
    fn kernel(&self) -> &fs::File {
        let opened = self.opened.kernel.as_ref();
        opened.map_or(&self.image.memory, |kernel| &kernel.file)
    }

    /// Says what the caller should know before the kernel is started.
    pub(crate) fn warn(&self, terminal: &mut Terminal) {
        for line in self.warning_lines() {
            terminal.note(&format!("kpeel: {}: {line}", self.path().display()));
        }
    }

    fn warning_lines(&self) -> Vec<String> {
        let segments = self
            .choice
            .as_ref()
            .is_ok_and(|choice| choice.call == Call::Segments);
        let told = |warning: &&Warning| match warning.field.as_str() {
            // Said below in words.
            ".pcrsig" | ".pcrpkey" => !self.opened.pcrsig,
            ".dtb" => !segments || self.opened.dtb.is_none(),
            _ => true,
        };
        let lines = self.warnings.iter().filter(told).map(Warning::line);
        let sealed = self.opened.pcrsig.then(|| SEALED.to_owned());
        lines.chain(sealed).collect()
    }
}

const SEALED: &str = "warning: TPM-bound secrets stay locked after kexec: .pcrsig signs \
     measurements that only a boot by the firmware makes";
