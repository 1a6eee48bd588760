//! One guest per architecture, whose job is a handful of checks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kpeel_images::{Item, cache_dir, fetch};
use kpeel_vm::{Arch, Initramfs, Machine, guest, init};

use super::Outcome;

/// Emulated kernels boot in seconds; a machine that does other things as well may need longer.
const DEADLINE: Duration = Duration::from_secs(300);
/// A word of the command line that the guest must find again.
const MARKER: &str = "kpeel.marker=boot";

pub(crate) fn run(arches: &[Arch]) -> Outcome<()> {
    for &arch in arches {
        let expected = init::passed(&name(arch));
        // A second init is told that it is not the first process.
        let job = format!(
            "name {}\ntext /proc/sys/kernel/arch {}\ncmdline {MARKER}\nrefuse 1 /init\n",
            name(arch),
            arch.name()
        );
        let guest = Guest::new(arch, &name(arch), &archive(arch, Some(&job))?)?;
        let report = guest
            .machine
            .clone()
            .append(MARKER)
            .deadline(DEADLINE)
            .run(&expected, &guest.log)?;
        println!(
            "{}: {expected:?}, with {:?} in {:.1} s",
            arch.name(),
            report.accel,
            report.elapsed.as_secs_f32()
        );
    }
    Ok(())
}

/// The stock kernel with an initramfs that is gone with this value.
pub(crate) struct Guest {
    pub(crate) machine: Machine,
    /// Where the console goes.
    pub(crate) log: PathBuf,
    initramfs: PathBuf,
}

impl Guest {
    pub(crate) fn new(arch: Arch, name: &str, archive: &[u8]) -> Outcome<Self> {
        let kernel = kernel(arch)?;
        let place = cache_dir().join("vm");
        fs::create_dir_all(&place)?;
        let initramfs = place.join(format!("{name}-{}.cpio", std::process::id()));
        write(&initramfs, archive)?;
        Ok(Self {
            machine: Machine::new(arch).kernel(kernel).initrd(&initramfs),
            log: place.join(format!("{name}.log")),
            initramfs,
        })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Nothing to be done about a file that stays.
        let _ = fs::remove_file(&self.initramfs);
    }
}

/// Debian's stock kernel.
pub(crate) fn kernel(arch: Arch) -> Outcome<PathBuf> {
    let item = match arch {
        Arch::Aarch64 => Item::LinuxArm64,
        Arch::X86_64 => Item::LinuxAmd64,
    };
    Ok(fetch(item)?)
}

/// An initramfs with init and its job; without a job, without init too.
pub(crate) fn archive(arch: Arch, job: Option<&str>) -> Outcome<Vec<u8>> {
    let archive = match job {
        Some(job) => initramfs(arch, job)?,
        None => Initramfs::new(),
    };
    Ok(archive.finish())
}

/// An initramfs with init and its job, to which more can be added.
pub(crate) fn initramfs(arch: Arch, job: &str) -> Outcome<Initramfs> {
    let mut archive = Initramfs::new();
    archive.program("init", &guest::build(arch, "kpeel-init", "kpeel-init")?)?;
    archive.file(init::JOB, job.as_bytes());
    Ok(archive)
}

fn name(arch: Arch) -> String {
    format!("boot-{}", arch.name())
}

fn write(path: &Path, content: &[u8]) -> Outcome<()> {
    fs::write(path, content).map_err(|error| format!("writing {}: {error}", path.display()).into())
}
