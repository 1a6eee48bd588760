//! Rows in which Linux itself opens the image: every codec, zboot in a UKI, and `kpeel load`, which leaves it to Linux.

use kpeel_images::make::{Codec, Machine, Scratch, zboot};
use kpeel_vm::Arch::{self, X86_64};

use super::linux::{Parts, RAW, guest, parts};
use crate::Outcome;
use crate::guest::{Guest, KPEEL};
use crate::row::Row;
use crate::shop::Shop;

/// The rows, slow ones first.
pub(super) fn rows() -> Vec<Row> {
    let row = |name, claim, guest| Row::new(name, X86_64, claim, guest);
    vec![
        row(
            "x86_64-linux-codecs",
            "Linux opens signed zboot images of every codec under lockdown, and starts the last",
            codecs,
        )
        .within(900),
        row(
            "x86_64-linux-uki-zboot",
            "Linux opens a zboot kernel in a signed UKI, under lockdown (confidentiality)",
            uki_zboot,
        )
        .within(600),
        row(
            "x86_64-linux-kpeel",
            "kpeel leaves a signed UKI to the kernel; its refusal of an unsigned one is final",
            kpeel,
        )
        .within(600),
    ]
}

/// A zboot image of this kernel with its parser.
pub(super) fn packed(shop: &Shop, arch: Arch, codec: Codec, kernel: &[u8]) -> Outcome<Vec<u8>> {
    let machine = match arch {
        Arch::X86_64 => Machine::Amd64,
        Arch::Aarch64 => Machine::Arm64,
    };
    let scratch = Scratch::new()?;
    let out = scratch.join("zboot.efi");
    zboot(machine, codec, kernel, &out)?;
    shop.attach(&std::fs::read(&out)?, "zboot")
}

/// A zboot image has neither initrd nor command line: both are the caller's.
fn codecs(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let Parts {
        linux,
        initrd,
        line,
    } = parts(shop, row, "")?;
    let mut guest = guest(shop, row, "lockdown=integrity")?
        .memory(1536)
        .file("initrd", &initrd);
    // The last one that is loaded is the one that starts.
    for codec in Codec::ALL.into_iter().rev() {
        let image = shop.sign(row.arch, &packed(shop, row.arch, codec, &linux)?)?;
        let name = codec.name();
        guest = guest
            .file(name, &image)
            .step(format!(
                "run {RAW} --initrd /initrd --append \"{line}\" /{name}"
            ))
            .step("text /sys/kernel/kexec_loaded 1");
    }
    Ok(guest.exec())
}

fn uki_zboot(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let plain = parts(shop, row, "")?;
    let image = Parts {
        linux: packed(shop, row.arch, Codec::Zstd, &plain.linux)?,
        ..plain
    };
    Ok(guest(shop, row, "lockdown=confidentiality")?
        .memory(1536)
        .file("image", &image.signed(shop, row.arch)?)
        .step(format!("run {RAW} /image"))
        .exec())
}

/// The inner kernel is signed by a key that the first does not trust: that the signed UKI loads shows who opened it.
pub(super) fn kpeel(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let parts = parts(shop, row, "")?;
    let unsigned = shop.attach(&parts.uki(shop, row.arch)?, "uki")?;
    Ok(guest(shop, row, "lockdown=integrity")?
        .file("unsigned", &unsigned)
        .file("image", &parts.signed(shop, row.arch)?)
        .step(format!("refuse 4 {KPEEL} load /unsigned"))
        .step("text /sys/kernel/kexec_loaded 0")
        .kpeel("load /image")
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}
