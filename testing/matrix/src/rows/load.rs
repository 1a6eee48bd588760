//! Rows that load an image and start it.

use crate::Outcome;
use crate::guest::{Guest, second};
use crate::row::Row;
use crate::shop::{Shop, Which};

/// What the caller adds to a UKI's own command line.
pub(super) const CALLER: &str = "kpeel.caller=1";

/// A bare kernel, made into the file to load by `wrap`; initrd and command line are the caller's.
pub(super) fn plain(
    shop: &Shop,
    row: &Row,
    first: Which,
    next: Which,
    wrap: impl FnOnce(&Vec<u8>) -> Vec<u8>,
) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, next)?;
    let line = row.line();
    let initrd = second(shop, row, &kernel, Some(&line), &[])?;
    Ok(Guest::new(shop, row.arch, &shop.kernel(row.arch, first)?)?
        .file("image", &wrap(&kernel.bytes()?))
        .file("initrd", &initrd)
        .kpeel(&format!(
            "load /image --initrd /initrd --command-line \"{line}\""
        ))
        .exec())
}

/// A kernel that is compressed as a whole.
pub(super) fn gzip(shop: &Shop, row: &Row, first: Which, next: Which) -> Outcome<Guest> {
    let packed = shop.gzip(row.arch, &shop.kernel(row.arch, next)?.bytes()?)?;
    plain(shop, row, first, next, |_| packed)
}

/// A UKI with initrd and command line; with a parser, that one is put into its `.bpf`.
pub(super) fn uki(
    shop: &Shop,
    row: &Row,
    first: Which,
    next: Which,
    parser: Option<&str>,
) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, next)?;
    let line = row.line();
    let initrd = second(shop, row, &kernel, Some(&format!("{line} {CALLER}")), &[])?;
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &kernel.bytes()?),
        (".initrd", &initrd),
        (".cmdline", line.as_bytes()),
    ];
    let image = shop.uki(row.arch, &sections)?;
    let image = match parser {
        Some(parser) => shop.attach(&image, parser)?,
        None => image,
    };
    start(shop, row, first, &image, "")
}

/// A UKI around a zboot kernel; both carry their parser.
pub(super) fn nested_bpf(shop: &Shop, row: &Row, first: Which) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::BuiltZboot)?;
    let line = row.line();
    let initrd = second(shop, row, &kernel, Some(&format!("{line} {CALLER}")), &[])?;
    let zboot = shop.attach(&kernel.bytes()?, "zboot")?;
    let sections: [(&str, &[u8]); 3] = [
        (".linux", &zboot),
        (".initrd", &initrd),
        (".cmdline", line.as_bytes()),
    ];
    let image = shop.uki(row.arch, &sections)?;
    start(shop, row, first, &shop.attach(&image, "uki")?, "")
}

/// A UKI whose profile 1 has the right initrd and command line; those of profile 0 must not be
/// taken.
pub(super) fn profile(shop: &Shop, row: &Row, first: Which, next: Which) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, next)?;
    let line = row.line();
    let initrd = second(shop, row, &kernel, Some(&format!("{line} {CALLER}")), &[])?;
    let sections: [(&str, &[u8]); 7] = [
        (".linux", &kernel.bytes()?),
        (".initrd", b"no initrd at all"),
        (".cmdline", b"kpeel.row=profile-0"),
        (".profile", b"ID=main\nTITLE=Main\n"),
        (".profile", b"ID=other\nTITLE=Other\n"),
        (".initrd", &initrd),
        (".cmdline", line.as_bytes()),
    ];
    let image = shop.uki(row.arch, &sections)?;
    start(shop, row, first, &image, "--profile 1 ")
}

fn start(shop: &Shop, row: &Row, first: Which, image: &[u8], options: &str) -> Outcome<Guest> {
    Ok(Guest::new(shop, row.arch, &shop.kernel(row.arch, first)?)?
        .file("image", image)
        .kpeel(&format!("load /image {options}--append {CALLER}"))
        .exec())
}
