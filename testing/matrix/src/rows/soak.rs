//! The row that loads again and again on the ordinary kernel; `kpeel-soak` does so on the debugging one.

use kpeel_vm::Arch::X86_64;
use kpeel_vm::Report;

use crate::Outcome;
use crate::row::Row;
use crate::shop::{Shop, Which};
use crate::soak::{self, Images, Subject};

/// Loads in the ordinary matrix.
const LOADS: u32 = 30;

pub(super) fn rows() -> Vec<Row> {
    let row = Row::other(
        "x86_64-linux-soak",
        X86_64,
        "Linux opens 30 images, good and bad in turn: no warning, and nothing is lost",
        loads,
    );
    vec![row.within(900)]
}

fn loads(shop: &Shop, row: &Row) -> Outcome<Report> {
    let kernel = shop.kernel(row.arch, Which::Patched)?;
    let dir = kernel.path.parent().ok_or("a kernel without a directory")?;
    let subject = Subject::of(dir)?;
    let images = Images::of(shop, &subject)?;
    let all: Vec<&soak::Image> = images.all.iter().collect();
    let command = format!("loads 0 {LOADS} {LOADS} /list");
    let (report, _) = soak::run(shop, row, &subject, &all, &[command])?;
    Ok(report)
}
