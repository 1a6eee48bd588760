//! Rows in which each kernel loads and starts the next.
//!
//! The initrd goes along unchanged: `retain_initrd` keeps it in memory after it was unpacked, where
//! `/sys/firmware/initrd` shows it. So the only thing that differs from kernel to kernel is the
//! command line, which names the job.

use kpeel_vm::Arch::{self, Aarch64, X86_64};

use crate::Outcome;
use crate::guest::{Guest, KPEEL};
use crate::row::Row;
use crate::shop::{Shop, Which};

/// The image's own part of the command line ends with it.
const RETAIN: &str = "retain_initrd";

pub(super) fn rows() -> Vec<Row> {
    vec![
        row(
            "x86_64-hops-3",
            X86_64,
            "three kernels in a row",
            |shop, row| hops(shop, row, 3),
        )
        .within(600),
        row(
            "aarch64-hops-20",
            Aarch64,
            "twenty kernels in a row",
            |shop, row| hops(shop, row, 20),
        )
        .within(900),
        row(
            "x86_64-hops-20",
            X86_64,
            "twenty kernels in a row",
            |shop, row| hops(shop, row, 20),
        )
        .within(3000)
        .only_full(),
        row(
            "aarch64-hops-100",
            Aarch64,
            "a hundred kernels in a row",
            |shop, row| hops(shop, row, 100),
        )
        .within(3600)
        .only_full(),
    ]
}

fn row(
    name: &'static str,
    arch: Arch,
    claim: &'static str,
    guest: fn(&Shop, &Row) -> Outcome<Guest>,
) -> Row {
    Row::new(name, arch, claim, guest)
}

fn hops(shop: &Shop, row: &Row, count: u32) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Stock)?;
    let line = format!("{} {RETAIN}", row.line());
    let sections: [(&str, &[u8]); 2] =
        [(".linux", &kernel.bytes()?), (".cmdline", line.as_bytes())];
    let image = shop.attach(&shop.uki(row.arch, &sections)?, "uki")?;
    let mut guest = Guest::new(shop, row.arch, &kernel)?
        .append(&format!("{RETAIN} {}", words(0)))
        .file("image", &image)
        .file("marker", row.name.as_bytes());
    for hop in 0..count {
        let job = format!(
            "name {0}-{hop}\ncmdline kpeel.hop={hop}\n\
             run {KPEEL} load /image --initrd /sys/firmware/initrd --append \"{1}\"\n\
             run {KPEEL} exec --now\nfail kpeel exec came back\n",
            row.name,
            words(hop + 1)
        );
        guest = guest.file(&path(hop), job.as_bytes());
    }
    let last = format!(
        "name {0}\ntext /marker {0}\ntext /proc/sys/kernel/osrelease {1}\n\
         text /proc/cmdline {line} {2}\n",
        row.name,
        kernel.release,
        words(count)
    );
    Ok(guest.file(&path(count), last.as_bytes()))
}

fn words(hop: u32) -> String {
    format!("kpeel.job=/{} kpeel.hop={hop}", path(hop))
}

fn path(hop: u32) -> String {
    format!("hop/{hop}")
}
