//! The boot: module, cases, and the program that loads them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use kpeel_vm::{Arch, Initramfs, Machine, guest, init};

use crate::case::{Case, Lockdown};
use crate::error::Error;
use crate::kernel::Kernel;

const NAME: &str = "verifier";
/// Emulated, a boot takes seconds; so does a program at the limit.
const DEADLINE: Duration = Duration::from_secs(240);
const LOADER: &str = "kpeel-verifier-guest";

/// Boots once, loads every case, and gives the console's lines.
pub(crate) fn boot(kernel: &Kernel, cases: &[Case]) -> Result<Vec<String>, Error> {
    let place = kpeel_images::cache_dir().join("verifier");
    let initramfs = place.join(format!("initramfs-{}", std::process::id()));
    fs::write(&initramfs, archive(kernel, cases)?).map_err(Error::system("writing", &initramfs))?;
    let log: PathBuf = place.join("serial.log");
    let result = Machine::new(Arch::X86_64)
        .kernel(&kernel.image)
        .initrd(&initramfs)
        // Warnings about an unsigned module from outside the tree are not worth a line.
        .append("loglevel=4")
        .deadline(DEADLINE)
        .run(&init::passed(NAME), &log);
    fs::remove_file(&initramfs).map_err(Error::system("removing", &initramfs))?;
    let report = result?;
    println!(
        "booted with {:?} in {:.1} s; serial log: {}",
        report.accel,
        report.elapsed.as_secs_f32(),
        log.display()
    );
    Ok(report.lines)
}

fn archive(kernel: &Kernel, cases: &[Case]) -> Result<Vec<u8>, Error> {
    let mut archive = Initramfs::new();
    for (path, bin) in [("init", "kpeel-init"), ("loader", LOADER)] {
        let program = guest::build(Arch::X86_64, bin, bin)?;
        archive
            .program(path, &program)
            .map_err(Error::system("reading", &program))?;
    }
    let module = fs::read(&kernel.module).map_err(Error::system("reading", &kernel.module))?;
    archive.file("stubs.ko", &module);
    for (index, case) in cases.iter().enumerate() {
        archive.file(&format!("cases/{index}.insn"), &case.insns);
        archive.file(&format!("cases/{index}.data"), &case.data);
    }
    archive.file("cases/open", list(cases, Lockdown::None).as_bytes());
    archive.file(
        "cases/locked",
        list(cases, Lockdown::Confidentiality).as_bytes(),
    );
    archive.file(init::JOB, job().as_bytes());
    Ok(archive.finish())
}

/// Lockdown cannot be lifted again, so it comes last; nor would the unsigned module load under it.
fn job() -> String {
    [
        &format!("name {NAME}"),
        "module /stubs.ko",
        "run /loader /cases/open",
        "write /sys/kernel/security/lockdown confidentiality",
        "run /loader /cases/locked",
        "",
    ]
    .join("\n")
}

/// The loader's list of the cases under this level of lockdown.
fn list(cases: &[Case], lockdown: Lockdown) -> String {
    cases
        .iter()
        .enumerate()
        .filter(|(_, case)| case.lockdown == lockdown)
        .map(|(index, case)| format!("{} /cases/{index}.insn /cases/{index}.data\n", case.name))
        .collect()
}
