//! Rows in which a real panic starts the crash kernel.

use crate::Outcome;
use crate::guest::{Guest, second};
use crate::row::Row;
use crate::shop::{Shop, Which};

/// Enough for the kernel, its initrd and what it does before it powers off.
pub(super) const RESERVATION: &str = "crashkernel=256M";

/// What the second kernel's init demands besides: the memory of the crashed kernel.
pub(super) const VMCORE: &str = "elf /proc/vmcore";

/// A UKI for a crash kernel.
pub(super) fn uki(shop: &Shop, row: &Row, first: Which, next: Which) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, next)?;
    let line = row.line();
    let word = format!("cmdline kpeel.row={}", row.name);
    let initrd = second(shop, row, &kernel, None, &[&word, VMCORE])?;
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &kernel.bytes()?),
        (".initrd", &initrd),
        (".cmdline", line.as_bytes()),
    ];
    Ok(Guest::new(shop, row.arch, &shop.kernel(row.arch, first)?)?
        .append(RESERVATION)
        .file("image", &shop.uki(row.arch, &sections)?)
        .kpeel("load --crash /image")
        .panic())
}
