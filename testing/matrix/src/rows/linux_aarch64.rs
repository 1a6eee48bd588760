//! Rows in which Linux itself opens the image on aarch64, among them the zboot images of the kernel's own build.

use kpeel_images::make::Codec;
use kpeel_vm::Arch::Aarch64;

use super::linux::{self, Parts, RAW, guest};
use super::linux_codecs::{kpeel, packed};
use crate::Outcome;
use crate::guest::{Guest, second};
use crate::row::Row;
use crate::shop::{Kernel, Shop, Which};

/// The rows, slow ones first.
pub(super) fn rows() -> Vec<Row> {
    let row = |name, claim, guest| Row::new(name, Aarch64, claim, guest);
    vec![
        row(
            "aarch64-linux-codecs",
            "Linux opens signed zboot images under lockdown: re-packed in every codec, the build's own; it starts the zstd one",
            codecs,
        )
        .within(600),
        row(
            "aarch64-linux-refusals",
            "Linux opens images: policy, signatures and hostile parsers, each refused by name, a good load after each",
            linux::refusals::refusals,
        )
        .within(900),
        row(
            "aarch64-linux-attacks",
            "Linux opens images while root looks for the parser: by id, descriptor, pidfd, on the anchors",
            linux::attacks,
        )
        .within(600),
        row(
            "aarch64-linux-killed",
            "SIGKILL during a load: the caller is gone within a second, the next load works; a bomb is refused",
            linux::killed,
        )
        .within(600),
        row(
            "aarch64-linux-measured",
            "IMA measures one command line: image's and caller's together, as the second kernel gets them",
            linux::measured,
        ),
        row(
            "aarch64-linux-gzip",
            "Linux opens the kernel build's vmlinuz.efi (gzip), signed, under lockdown (confidentiality), and starts it",
            gzip,
        ),
        row(
            "aarch64-linux-uki",
            "Linux opens a signed UKI by the parser in it, under lockdown (integrity)",
            |shop, row| linux::uki(shop, row, "lockdown=integrity", ""),
        ),
        row(
            "aarch64-linux-confidentiality",
            "the same under lockdown (confidentiality)",
            |shop, row| linux::uki(shop, row, "lockdown=confidentiality", ""),
        ),
        row(
            "aarch64-linux-caller",
            "the same without lockdown: the caller's command line is added",
            |shop, row| linux::uki(shop, row, "", linux::CALLER),
        ),
        row(
            "aarch64-linux-uki-zboot",
            "Linux opens the build's vmlinuz.efi (zstd) in a signed UKI, under lockdown (integrity)",
            uki_zboot,
        ),
        row(
            "aarch64-linux-nested",
            "Linux opens a UKI in a UKI, each with its parser",
            linux::nested,
        ),
        row(
            "aarch64-linux-crash",
            "a refused crash load keeps the old crash kernel, which a panic then starts out of a UKI",
            linux::crash,
        ),
        row(
            "aarch64-linux-kpeel",
            "kpeel leaves a signed UKI to the kernel; its refusal of an unsigned one is final",
            kpeel,
        )
        .within(600),
    ]
}

/// What the caller gives beside a bare zboot image: initrd and command line.
fn bare(shop: &Shop, row: &Row, kernel: &Kernel) -> Outcome<(Vec<u8>, String)> {
    let line = row.line();
    Ok((second(shop, row, kernel, Some(&line), &[])?, line))
}

/// A zboot image of the kernel's own build with its parser.
fn built(shop: &Shop, row: &Row, which: Which) -> Outcome<Vec<u8>> {
    shop.attach(&shop.kernel(row.arch, which)?.bytes()?, "zboot")
}

/// The last one that is loaded is the one that starts.
fn codecs(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Built)?;
    let (initrd, line) = bare(shop, row, &kernel)?;
    let mut guest = guest(shop, row, "lockdown=integrity")?.file("initrd", &initrd);
    let mut images = Vec::new();
    for codec in Codec::ALL {
        let image = packed(shop, row.arch, codec, &kernel.bytes()?)?;
        images.push((codec.name(), image));
    }
    images.push(("vmlinuz-gzip", built(shop, row, Which::BuiltZbootGzip)?));
    images.push(("vmlinuz-zstd", built(shop, row, Which::BuiltZboot)?));
    for (name, image) in images {
        guest = guest
            .file(name, &shop.sign(row.arch, &image)?)
            .step(format!(
                "run {RAW} --initrd /initrd --append \"{line}\" /{name}"
            ))
            .step("text /sys/kernel/kexec_loaded 1");
    }
    Ok(guest.exec())
}

fn gzip(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::BuiltZbootGzip)?;
    let (initrd, line) = bare(shop, row, &kernel)?;
    let image = built(shop, row, Which::BuiltZbootGzip)?;
    Ok(guest(shop, row, "lockdown=confidentiality")?
        .file("initrd", &initrd)
        .file("image", &shop.sign(row.arch, &image)?)
        .step(format!(
            "run {RAW} --initrd /initrd --append \"{line}\" /image"
        ))
        .exec())
}

fn uki_zboot(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::BuiltZboot)?;
    let (initrd, line) = bare(shop, row, &kernel)?;
    let image = Parts {
        linux: built(shop, row, Which::BuiltZboot)?,
        initrd,
        line,
    };
    Ok(guest(shop, row, "lockdown=integrity")?
        .file("image", &image.signed(shop, row.arch)?)
        .step(format!("run {RAW} /image"))
        .exec())
}
