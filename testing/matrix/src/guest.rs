//! One guest: its first kernel, what lies in its initramfs, and its job.

use std::fs;
use std::path::PathBuf;

use kpeel_images::cache_dir;
use kpeel_vm::{Arch, Initramfs, Machine, Report, init};

use crate::Outcome;
use crate::row::Row;
use crate::secure_boot;
use crate::shop::{Kernel, Shop};

/// A guest, ready to run.
pub struct Guest {
    kernel: Source,
    secure_boot: bool,
    append: String,
    archive: Initramfs,
    steps: Vec<String>,
    memory_mib: u32,
    stays: bool,
}

/// Where the first kernel is.
enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// Memory a guest has unless said otherwise, in MiB.
const MEMORY: u32 = 1024;
/// Where the initramfs keeps the program under test.
pub const KPEEL: &str = "/bin/kpeel";

impl Guest {
    /// A guest with this first kernel, whose initramfs holds init, kpeel (also as `kexec`) and
    /// nothing to do.
    ///
    /// # Errors
    /// When a program cannot be read.
    pub fn new(shop: &Shop, arch: Arch, kernel: &Kernel) -> Outcome<Self> {
        let programs = shop.programs(arch)?;
        let mut archive = Initramfs::new();
        archive.program("init", &programs.init)?;
        archive.program("bin/kpeel", &programs.kpeel)?;
        archive.symlink("sbin/kexec", KPEEL);
        Ok(Self {
            kernel: Source::File(kernel.path.clone()),
            secure_boot: false,
            append: String::new(),
            archive,
            steps: Vec::new(),
            memory_mib: MEMORY,
            stays: false,
        })
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.archive.file(path, content);
        self
    }

    /// Adds whatever else an initramfs can hold.
    ///
    /// # Errors
    /// What `add` gives.
    pub fn with(mut self, add: impl FnOnce(&mut Initramfs) -> Outcome<()>) -> Outcome<Self> {
        add(&mut self.archive)?;
        Ok(self)
    }

    /// Adds words to the first kernel's command line.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        self.append.push(' ');
        self.append.push_str(words);
        self
    }

    /// Adds a step of the first kernel's job.
    #[must_use]
    pub fn step(mut self, step: impl Into<String>) -> Self {
        self.steps.push(step.into());
        self
    }

    /// Adds the step that runs kpeel with these arguments.
    #[must_use]
    pub fn kpeel(self, arguments: &str) -> Self {
        self.step(format!("run {KPEEL} {arguments}"))
    }

    /// Adds a step that demands this exit status and exactly this message of a command line.
    #[must_use]
    pub fn refused(mut self, code: i32, message: &str, command: &str) -> Self {
        let path = format!("messages/{}", self.steps.len());
        self.archive.file(&path, message.as_bytes());
        self.step(format!("says /{path} {code} {command}"))
    }

    /// Adds the steps that start the loaded kernel.
    #[must_use]
    pub fn exec(self) -> Self {
        self.kpeel("exec --now").step("fail kpeel exec came back")
    }

    /// Adds the steps that crash the kernel.
    #[must_use]
    pub fn panic(self) -> Self {
        self.step("text /sys/kernel/kexec_crash_loaded 1")
            .step("write /proc/sysrq-trigger c")
            .step("fail the panic came back")
    }

    /// Gives it this much memory, in MiB.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Boots by firmware with Secure Boot on; the first kernel is this one, signed for it.
    #[must_use]
    pub(crate) fn secure_boot(mut self, signed: Vec<u8>) -> Self {
        self.kernel = Source::Bytes(signed);
        self.secure_boot = true;
        self
    }

    /// Gives the first kernel's init the last word: nothing is started.
    #[must_use]
    pub fn stays(mut self) -> Self {
        self.stays = true;
        self
    }

    /// Runs it as this row.
    ///
    /// # Errors
    /// When the guest does not pass or cannot be run.
    pub fn run(mut self, row: &Row) -> Outcome<Report> {
        let suffix = if self.stays { "" } else { "-first" };
        let mut job = format!("name {}{suffix}\n", row.name);
        for step in &self.steps {
            job.push_str(step);
            job.push('\n');
        }
        self.archive.file(init::JOB, job.as_bytes());
        let place = logs();
        fs::create_dir_all(&place)?;
        let initramfs = Temporary(place.join(format!("{}-{}.cpio", row.name, std::process::id())));
        fs::write(&initramfs.0, self.archive.finish())?;
        let copy = Temporary(place.join(format!("{}-{}.efi", row.name, std::process::id())));
        let kernel = match &self.kernel {
            Source::File(path) => path,
            Source::Bytes(bytes) => {
                fs::write(&copy.0, bytes)?;
                &copy.0
            }
        };
        let machine = Machine::new(row.arch)
            .kernel(kernel)
            .initrd(&initramfs.0)
            .memory(self.memory_mib)
            .deadline(row.deadline);
        let machine = match self.append.trim() {
            "" => machine,
            words => machine.append(words),
        };
        let machine = if self.secure_boot {
            secure_boot::on(row.arch, machine)
        } else {
            machine
        };
        let log = place.join(format!("{}.log", row.name));
        Ok(machine.run(&init::passed(row.name), &log)?)
    }
}

/// The directory of the serial logs.
#[must_use]
pub fn logs() -> PathBuf {
    cache_dir().join("matrix")
}

/// The initramfs of the second kernel: its init demands the marker, this version and exactly this
/// command line (unless the first kernel adds to it), then takes `checks`.
///
/// # Errors
/// When init cannot be read.
pub fn second(
    shop: &Shop,
    row: &Row,
    kernel: &Kernel,
    line: Option<&str>,
    checks: &[&str],
) -> Outcome<Vec<u8>> {
    let mut archive = Initramfs::new();
    archive.program("init", &shop.programs(row.arch)?.init)?;
    archive.file("marker", row.name.as_bytes());
    let mut job = format!(
        "name {0}\ntext /marker {0}\ntext /proc/sys/kernel/osrelease {1}\n",
        row.name, kernel.release
    );
    if let Some(line) = line {
        job.push_str(&format!("text /proc/cmdline {line}\n"));
    }
    for check in checks {
        job.push_str(check);
        job.push('\n');
    }
    archive.file(init::JOB, job.as_bytes());
    Ok(archive.finish())
}

/// A file that is gone with the value.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing to be done about a file that stays.
        let _ = fs::remove_file(&self.0);
    }
}
