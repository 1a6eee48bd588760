//! Boots everything that `kpeel-kernel` builds, to `kpeel-init`'s exact line: the plain image directly, so by device
//! tree, and all images by UEFI, so by ACPI. A zboot image that boots unpacked itself.
//!
//! The guest's job looks whether the kernel has what guests rely on.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use kpeel_images::cache_dir;
use kpeel_kernel::{Image, Kernel, path};
use kpeel_vm::{Arch, Firmware, Initramfs, Machine, Reset, guest, init};

/// Emulated kernels boot in seconds; a machine that does other things as well may need longer.
const DEADLINE: Duration = Duration::from_secs(300);

/// UEFI for QEMU's "virt" board; Debian package qemu-efi-aarch64.
const FIRMWARE: (&str, &str) = (
    "/usr/share/AAVMF/AAVMF_CODE.fd",
    "/usr/share/AAVMF/AAVMF_VARS.fd",
);

/// What every boot finds: both system calls' switch, a crash reservation, system call filters, lockdown.
const JOB: &str = "\
text /proc/sys/kernel/arch aarch64
cmdline kpeel.marker=kernel
text /proc/sys/kernel/kexec_load_disabled 0
text /sys/kernel/kexec_crash_size 134217728
text /proc/sys/kernel/seccomp/actions_avail kill_process kill_thread trap errno user_notif trace log allow
text /sys/kernel/security/lockdown [none] integrity confidentiality
";

/// The words that the job looks for.
const APPEND: &str = "kpeel.marker=kernel crashkernel=128M";

/// What only a boot by UEFI finds.
const UEFI_JOB: &str = "text /sys/firmware/efi/fw_platform_size 64\n";

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    let cases = [
        ("direct", Image::Plain),
        ("uefi", Image::Plain),
        ("uefi", Image::ZbootGzip),
        ("uefi", Image::ZbootZstd),
    ];
    let init = match guest::build(Arch::Aarch64, "kpeel-init", "kpeel-init") {
        Ok(init) => init,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    for (way, image) in cases {
        if let Err(error) = boot(way, image, &init) {
            eprintln!("{way} {}: {error}", image.name());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn boot(way: &str, image: Image, program: &Path) -> Outcome {
    let kernel = Kernel::STOCK_ARM64;
    let file = path(kernel, image)?;
    let name = format!("{}-{way}-{}", kernel.name(), image.name());
    let mut job = format!("name {name}\n{JOB}");
    let mut machine = Machine::new(Arch::Aarch64).kernel(file);
    if way == "uefi" {
        job += UEFI_JOB;
        machine = machine.firmware(firmware()?).reset(Reset::Continues);
    }
    let place = cache_dir().join("vm");
    fs::create_dir_all(&place)?;
    let initramfs = place.join(format!("{name}-{}.cpio", std::process::id()));
    fs::write(&initramfs, archive(&job, program)?)?;
    let report = machine
        .initrd(&initramfs)
        .append(APPEND)
        .deadline(DEADLINE)
        .run(&init::passed(&name), &place.join(format!("{name}.log")));
    fs::remove_file(&initramfs)?;
    let report = report?;
    let seconds = report.elapsed.as_secs_f32();
    println!("{way} {}: booted in {seconds:.1} s", image.name());
    Ok(())
}

fn firmware() -> Result<Firmware, Box<dyn Error>> {
    let (code, variables) = FIRMWARE;
    if !Path::new(code).is_file() {
        return Err(format!("{code} is not installed (Debian package qemu-efi-aarch64)").into());
    }
    Ok(Firmware {
        code: code.into(),
        variables: variables.into(),
    })
}

fn archive(job: &str, program: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut archive = Initramfs::new();
    archive.program("init", program)?;
    archive.file(init::JOB, job.as_bytes());
    Ok(archive.finish())
}
