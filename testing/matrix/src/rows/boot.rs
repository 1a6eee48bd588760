//! Rows that firmware boots: images that kpeel built.

use kpeel_images::make::Scratch;
use kpeel_vm::{Initramfs, Machine, Report, init};

use crate::Outcome;
use crate::firmware::{Disk, Tpm, firmware};
use crate::guest::{KPEEL, logs, second};
use crate::row::Row;
use crate::shop::{Shop, Which};

/// What only a boot by firmware finds.
const BY_FIRMWARE: &str = "text /sys/firmware/efi/fw_platform_size 64";
/// What EDK II puts behind the command line of a kernel that it gets from QEMU, so that the kernel's
/// EFI stub finds the initrd (`OvmfPkg/Library/GenericQemuLoadImageLib`).
const BY_QEMU: &str = " initrd=initrd";

/// A UKI by `kpeel build uki`, from a disk.
pub(super) fn uki(shop: &Shop, row: &Row) -> Outcome<Report> {
    let kernel = shop.kernel(row.arch, Which::Stock)?;
    let line = row.line();
    let initrd = second(shop, row, &kernel, Some(&line), &[BY_FIRMWARE])?;
    let image = shop.build_uki(row.arch, &kernel, &initrd, &line, &[])?;
    let disk = Disk::new(row.arch, &image)?;
    run(disk.boots(row.arch)?, row)
}

/// A zboot image by `kpeel build zboot`, re-packed from the one that the kernel's own build made;
/// firmware gets it from QEMU, since it carries neither initrd nor command line.
pub(super) fn zboot(shop: &Shop, row: &Row) -> Outcome<Report> {
    let template = shop.kernel(row.arch, Which::BuiltZboot)?;
    let kernel = shop.kernel(row.arch, Which::Built)?;
    let scratch = Scratch::new()?;
    let out = scratch.join("zboot.efi");
    shop.kpeel(
        shop.host()
            .args(["build", "zboot", "--template"])
            .arg(&template.path)
            .arg("--linux")
            .arg(&kernel.path)
            .arg("--output")
            .arg(&out),
    )?;
    let line = row.line() + BY_QEMU;
    let initrd = second(shop, row, &kernel, Some(&line), &[BY_FIRMWARE])?;
    let initrd = scratch.write("initrd", &initrd)?;
    let machine = Machine::new(row.arch)
        .firmware(firmware(row.arch)?)
        .reset(kpeel_vm::Reset::Continues)
        .kernel(out)
        .initrd(initrd)
        .append(&format!("kpeel.row={}", row.name));
    run(machine, row)
}

/// A UKI with profiles on a machine with a TPM: what its firmware logged is what `kpeel measure`
/// says of the image, and of the other profile it is not.
pub(super) fn measured(shop: &Shop, row: &Row) -> Outcome<Report> {
    /// The image as the guest's second disk.
    const IMAGE: &str = "/dev/vdb";
    const LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";
    let kernel = shop.kernel(row.arch, Which::Unsigned)?;
    let line = row.line();
    let compare = format!("{KPEEL} measure {IMAGE} --compare {LOG}");
    let mut archive = Initramfs::new();
    let programs = shop.programs(row.arch)?;
    archive.program("init", &programs.init)?;
    archive.program("bin/kpeel", &programs.kpeel)?;
    // The driver of the guest's disks.
    let virtio_blk = shop.module(&kernel.release, "drivers/block/virtio_blk")?;
    archive.file("virtio_blk.ko", &virtio_blk);
    let job = format!(
        "name {}\n{BY_FIRMWARE}\ntext /proc/cmdline {line}\nmodule /virtio_blk.ko\n\
         run {compare}\nrun {compare} --profile 0\nrefuse 1 {compare} --profile 1\n",
        row.name
    );
    archive.file(init::JOB, job.as_bytes());
    let profiles: [(&str, &str); 2] = [("ID=main\nTITLE=Main\n", ""), ("ID=other\n", "other")];
    let image = shop.build_uki(row.arch, &kernel, &archive.finish(), &line, &profiles)?;
    let disk = Disk::new(row.arch, &image)?;
    let scratch = Scratch::new()?;
    let raw = scratch.write("image", &image)?;
    let tpm = Tpm::start()?;
    let machine = tpm
        .given_to(disk.boots(row.arch)?)
        .argument("-drive")
        .argument(format!(
            "if=virtio,format=raw,readonly=on,file={}",
            raw.display()
        ));
    run(machine, row)
}

fn run(machine: Machine, row: &Row) -> Outcome<Report> {
    let log = logs().join(format!("{}.log", row.name));
    let report = machine
        .deadline(row.deadline)
        .run(&init::passed(row.name), &log)?;
    Ok(report)
}
