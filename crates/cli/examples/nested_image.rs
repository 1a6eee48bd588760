//! Makes the image that docs/layers.svg shows: a UKI on systemd's stub around Debian's real zboot kernel, both layers
//! with a parser of their own.
//!
//! `cargo run -p kpeel-cli --example nested_image -- OUT`; `cargo xtask picture` draws it too.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use kpeel_image::{AttachOptions, attach};
use kpeel_images::make::{Scratch, noise, ukify};
use kpeel_images::{Item, fetch};

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args_os().nth(1).map(PathBuf::from);
    let out = out.ok_or("usage: nested_image OUT")?;
    if let Some(parent) = out.parent() {
        fs::create_dir_all(parent)?;
    }
    let scratch = Scratch::new()?;
    let zboot = with_parser(&fetch(Item::LinuxLoong64)?, "zboot")?;
    // In place of an initrd, which Debian's packages do not hold: that it cannot be read does not show.
    let initrd = noise(6 << 20, 1);
    let sections: [(&str, &[u8]); 4] = [
        (".osrel", b"ID=debian\nNAME=\"Debian GNU/Linux\"\n"),
        (".cmdline", b"root=/dev/vda2 ro quiet"),
        (".initrd", &initrd),
        (".linux", &zboot),
    ];
    let uki = scratch.join("uki");
    ukify(&fetch(Item::StubLoong64)?, &sections, &uki)?;
    fs::write(out, with_parser(&uki, "uki")?)?;
    Ok(())
}

fn with_parser(image: &Path, parser: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let parser = kpeel_parsers::by_name(parser).ok_or("no such parser")?;
    let options = AttachOptions::default();
    Ok(attach(&fs::read(image)?, parser.carrier, options).map_err(|error| error.to_string())?)
}
