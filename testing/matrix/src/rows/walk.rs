//! Tampered images, shown to firmware under Secure Boot by an EFI program.

use std::collections::BTreeMap;
use std::fs;

use kpeel_images::make::Scratch;
use kpeel_tamper::{Authority, DIFFERENCES, Opinion, Variant, Verdict, all, bases, disagreements};
use kpeel_vm::{Machine, Report, guest};

use crate::Outcome;
use crate::guest::logs;
use crate::row::Row;
use crate::secure_boot;
use crate::shop::Shop;

/// Where firmware looks for a program on a disk (UEFI, "Removable Media Boot Behavior").
const BOOT: &str = "EFI/BOOT";
const PROGRAM: &str = "BOOTX64.EFI";
/// Begins the walker's lines.
const PREFIX: &str = "walker: ";
/// `EFI_SUCCESS` and `EFI_ACCESS_DENIED`, as the walker prints them.
const LOADED: &str = "0";
const DENIED: &str = "f";

/// What kpeel and the firmware say of every variant.
pub(super) fn firmware(_: &Shop, row: &Row) -> Outcome<Report> {
    let authority = Authority::new()?;
    let variants = all(&authority, &bases(&authority)?)?;
    let walker = guest::build_efi("testing/walker", "kpeel-walker")?;
    let disk = Scratch::new()?;
    fs::create_dir_all(disk.join(BOOT))?;
    let program = authority.sbsign(&fs::read(walker)?)?;
    fs::write(disk.join(BOOT).join(PROGRAM), program)?;
    fs::create_dir_all(disk.join("images"))?;
    for variant in &variants {
        fs::write(disk.join("images").join(variant.name()), &variant.image)?;
    }
    let path = disk.path().display().to_string().replace(',', ",,");
    let machine = secure_boot::on(Machine::new(row.arch).deadline(row.deadline))
        .argument("-drive")
        .argument(format!("if=virtio,format=raw,readonly=on,file=fat:{path}"));
    let log = logs().join(format!("{}.log", row.name));
    let report = machine.run(&format!("{PREFIX}end {}", variants.len()), &log)?;
    judge(&variants, &report.lines)?;
    Ok(report)
}

fn judge(variants: &[Variant], lines: &[String]) -> Outcome<()> {
    let answers: BTreeMap<&str, &str> = lines
        .iter()
        .filter_map(|line| line.strip_prefix(PREFIX)?.split_once(' '))
        .collect();
    let mut opinions = Vec::new();
    for variant in variants {
        let name = variant.name();
        let firmware = match answers.get(name.as_str()) {
            Some(&LOADED) => true,
            Some(&DENIED) => false,
            other => return Err(format!("{name}: the firmware said {other:?}").into()),
        };
        opinions.push(Opinion {
            variant,
            kpeel: variant.expected == Verdict::Accepted,
            firmware,
        });
    }
    let lines = disagreements(&opinions, DIFFERENCES);
    if lines.is_empty() {
        return Ok(());
    }
    Err(lines.join("\n").into())
}
