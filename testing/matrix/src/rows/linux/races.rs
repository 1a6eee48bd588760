//! A caller that attacks its own load, and what a load costs the caller.

use super::parsers::around;
use super::{HOSTILE, RAW, guest, parts};
use crate::Outcome;
use crate::guest::Guest;
use crate::row::Row;
use crate::shop::Shop;

const MIB: usize = 1 << 20;

/// The slow image is loaded while its descriptors, its file and the thread are attacked; what is loaded starts.
pub(super) fn races(shop: &Shop, row: &Row) -> Outcome<Guest> {
    const SLOW: usize = 400 * MIB;
    let inner = shop.attach(&parts(shop, row, "")?.uki(shop, row.arch)?, "uki")?;
    let packed = shop.gzip(row.arch, &vec![0; SLOW])?;
    let image = shop.sign(
        row.arch,
        &around(shop, row, &inner, Some(&packed), |places| {
            shop.parser(HOSTILE, places)
        })?,
    )?;
    let line = row.line();
    let mut guest = guest(shop, row, "")?
        .memory(2048)
        .with(|archive| Ok(archive.program("bin/race", &shop.programs(row.arch)?.race)?))?
        .file("image", &image)
        .file("written", &image)
        .step("write /sys/kernel/security/ima/policy measure func=KEXEC_CMDLINE");
    for attack in ["second", "signals", "descriptors"] {
        guest = guest
            .step(format!("run /bin/race {attack} /image"))
            .step("text /sys/kernel/kexec_loaded 1")
            .kpeel("unload");
    }
    // Policy measures one and the same line once.
    guest = guest.step(format!("run {RAW} --measured \"{line}\""));
    Ok(guest
        .step("run /bin/race file /written")
        // What was written is not what was loaded.
        .refused(
            super::REFUSED,
            super::refusals::NOT_EXEC,
            &format!("{RAW} /written"),
        )
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}

/// What is decompressed is charged to the caller's memory cgroup, whose limit holds.
pub(super) fn memory(shop: &Shop, row: &Row) -> Outcome<Guest> {
    const UNPACKED: usize = 200 * MIB;
    const LIMIT: usize = 64 * MIB;
    let inner = shop.attach(&parts(shop, row, "")?.uki(shop, row.arch)?, "uki")?;
    let packed = shop.gzip(row.arch, &vec![0; UNPACKED])?;
    let signed = |packed| {
        shop.sign(
            row.arch,
            &around(shop, row, &inner, packed, |places| {
                shop.parser(HOSTILE, places)
            })?,
        )
    };
    let carrier = shop.parser(HOSTILE, &["DECOMPRESSES_THE_INITRD"])?;
    let sections: [(&str, &[u8]); 1] = [(".linux", b"a kernel")];
    let hungry = shop.attach_carrier(&shop.uki(row.arch, &sections)?, &carrier)?;
    let under = |limit: &str, lowest: usize, highest: usize, rest: &str| {
        format!("/bin/under memory {limit} {lowest} {highest} {RAW} {rest}")
    };
    // The inner image is copied once more for the architecture's loader.
    let least = UNPACKED + inner.len();
    Ok(guest(shop, row, "")?
        .memory(2048)
        .with(|archive| Ok(archive.program("bin/under", &shop.programs(row.arch)?.under)?))?
        .file("plain", &signed(None)?)
        .file("packed", &signed(Some(&packed))?)
        .file("hungry", &shop.sign(row.arch, &hungry)?)
        .file("initrd", &packed)
        .step(format!(
            "run {}",
            under("max", UNPACKED, least + 64 * MIB, "/packed")
        ))
        .step("text /sys/kernel/kexec_loaded 1")
        .kpeel("unload")
        // The twin: it is the decompression that costs that much.
        .step(format!("run {}", under("max", 0, UNPACKED - 1, "/plain")))
        .kpeel("unload")
        .step(format!(
            "run {}",
            under(
                &LIMIT.to_string(),
                LIMIT / 2,
                LIMIT,
                "--initrd /initrd /hungry"
            )
        ))
        .step("text /sys/kernel/kexec_loaded 0")
        .step(format!("run {RAW} /packed"))
        .exec())
}
