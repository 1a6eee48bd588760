//! Images shown to firmware under Secure Boot by an EFI program, the walker.

use std::collections::BTreeMap;
use std::fs;

use kpeel_tamper::{Authority, DIFFERENCES, Opinion, all, bases, disagreements};
use kpeel_vm::{Arch, Machine, Report, guest, init};

use crate::Outcome;
use crate::firmware::Disk;
use crate::guest::{logs, second};
use crate::row::Row;
use crate::secure_boot;
use crate::shop::{Shop, Which};

/// Begins the walker's lines.
const PREFIX: &str = "walker: ";
/// `EFI_SUCCESS` and `EFI_ACCESS_DENIED`, as the walker prints them.
const LOADED: &str = "0";
const DENIED: &str = "f";

/// What kpeel and the firmware say of every variant.
pub(super) fn tampered(shop: &Shop, row: &Row) -> Outcome<Report> {
    let authority = Authority::new()?;
    let variants = all(&authority, &bases(&authority)?)?;
    let disk = walker(row.arch, &authority)?;
    for variant in &variants {
        disk.add(&shown(&variant.name()), &variant.image)?;
    }
    let report = run(&disk, row, &format!("{PREFIX}end {}", variants.len()))?;
    let answers = answers(&report)?;
    let mut opinions = Vec::new();
    for variant in &variants {
        let name = variant.name();
        let answer = answers.get(&name).copied();
        opinions.push(Opinion {
            variant,
            kpeel: secure_boot::trusts(shop, &variant.image, authority.certificate())?,
            firmware: answer.ok_or_else(|| format!("{name}: no answer"))?,
        });
    }
    let lines = disagreements(&opinions, DIFFERENCES);
    if lines.is_empty() {
        return Ok(report);
    }
    Err(lines.join("\n").into())
}

/// A UKI that kpeel built and signed boots; without its signature, or with one byte of it changed, it is refused.
pub(super) fn uki(shop: &Shop, row: &Row) -> Outcome<Report> {
    /// Bytes of the kernel that appear once.
    const SAMPLE: std::ops::Range<usize> = 0x8_0000..0x8_0040;
    let kernel = shop.kernel(row.arch, Which::Stock)?;
    let line = row.line();
    let lockdown = "text /sys/kernel/security/lockdown none [integrity] confidentiality";
    let initrd = second(shop, row, &kernel, Some(&line), &[lockdown])?;
    let unsigned = shop.build_uki(row.arch, &kernel, &initrd, &line, &[])?;
    let authority = Authority::new()?;
    let signed = secure_boot::sign(shop, &unsigned)?;
    let disk = walker(row.arch, &authority)?;
    disk.add("start.efi", &signed)?;
    let bytes = kernel.bytes()?;
    let sample = bytes.get(SAMPLE).ok_or("a kernel that small")?;
    let mut refused = vec![("unsigned", unsigned)];
    for (name, part) in [("kernel", sample), ("command-line", line.as_bytes())] {
        let mut image = signed.clone();
        let at = image.windows(part.len()).position(|window| window == part);
        let byte = at.and_then(|at| image.get_mut(at));
        *byte.ok_or("a UKI without its parts")? ^= 1;
        refused.push((name, image));
    }
    for (name, image) in &refused {
        disk.add(&shown(name), image)?;
    }
    let report = run(&disk, row, &init::passed(row.name))?;
    let answers = answers(&report)?;
    for (name, _) in &refused {
        if answers.get(*name) != Some(&false) {
            return Err(format!("{name}: the firmware did not refuse it").into());
        }
    }
    Ok(report)
}

/// The directory whose files the walker shows.
fn shown(name: &str) -> String {
    format!("images/{name}")
}

/// A disk with the walker, signed, to be started from it.
fn walker(arch: Arch, authority: &Authority) -> Outcome<Disk> {
    let walker = guest::build_efi(arch, "testing/walker", "kpeel-walker")?;
    Disk::new(arch, &authority.sbsign(&fs::read(walker)?)?)
}

/// Runs a guest with this disk and Secure Boot on, until it prints this line.
fn run(disk: &Disk, row: &Row, line: &str) -> Outcome<Report> {
    let machine = secure_boot::on(row.arch, Machine::new(row.arch).deadline(row.deadline));
    let log = logs().join(format!("{}.log", row.name));
    Ok(disk.given_to(machine).run(line, &log)?)
}

/// What the firmware said, by the images' names: whether it loaded them.
fn answers(report: &Report) -> Outcome<BTreeMap<String, bool>> {
    let lines = report.lines.iter();
    let said = lines.filter_map(|line| line.strip_prefix(PREFIX)?.split_once(' '));
    said.filter(|(name, _)| *name != "end")
        .map(|(name, status)| match status {
            LOADED => Ok((name.to_owned(), true)),
            DENIED => Ok((name.to_owned(), false)),
            other => Err(format!("{name}: the firmware said {other}").into()),
        })
        .collect()
}
