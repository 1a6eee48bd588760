//! What images hold, according to tools that are not kpeel's.

use std::fs;
use std::path::Path;
use std::process::Command;

use object::LittleEndian as LE;
use object::pe::{ImageDosHeader, ImageNtHeaders64};
use object::read::pe::ImageNtHeaders;

use crate::make::{Codec, Machine, Scratch};
use crate::{Error, Item, Result, fetch, tool};

/// The content of the image's one section called `name`: binutils' `objcopy --dump-section` where they know the
/// machine, else the `object` crate.
///
/// # Errors
/// [`Error::Unexpected`] when there is not exactly one.
pub fn expected_section(image: &Path, name: &str) -> Result<Vec<u8>> {
    let found = expected_sections(image, name)?;
    let [content] = <[Vec<u8>; 1]>::try_from(found).map_err(|found| {
        Error::unexpected(image, name, format!("{} sections", found.len()), "1")
    })?;
    let Some(prefix) = Machine::of_image(image)?.binutils() else {
        return Ok(content);
    };
    let scratch = Scratch::new()?;
    let (dumped, copy) = (scratch.join("dumped"), scratch.join("copy"));
    let mut objcopy = Command::new(format!("{prefix}objcopy"));
    objcopy
        .arg("--dump-section")
        .arg(format!("{name}={}", dumped.display()));
    tool::run(objcopy.arg(image).arg(copy))?;
    // objcopy makes no file of an empty section.
    let dumped = fs::read(&dumped).unwrap_or_default();
    if dumped == content {
        return Ok(dumped);
    }
    Err(Error::unexpected(
        image,
        name,
        "objcopy and the object crate differ",
        "agreement",
    ))
}

/// The contents of all sections called `name`, in the table's order, by the `object` crate's PE reader.
///
/// # Errors
/// [`Error::Unexpected`] when that crate cannot read the image.
pub fn expected_sections(image: &Path, name: &str) -> Result<Vec<Vec<u8>>> {
    let bytes = fs::read(image).map_err(Error::io("reading", image))?;
    sections_of(&bytes, name).map_err(|error| Error::unexpected(image, name, error, "a PE image"))
}

/// What the payload of a zboot image unpacks to, by the codec's own tool.
///
/// # Errors
/// [`Error::Unexpected`] when the header makes no sense, else what the tool says.
pub fn expected_zboot_payload(image: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(image).map_err(Error::io("reading", image))?;
    zboot_payload(&bytes)
        .unwrap_or_else(|| Err(Error::unexpected(image, "zboot header", "none", "one")))
}

/// PCR 11 after a boot of these sections, in one bank and phase, by systemd-measure; in hex.
///
/// `sections` are those of the profile that is booted, each name once; `.pcrsig` and names systemd does not know are
/// left out. The phase is a path such as `enter-initrd:leave-initrd`, or `:`.
///
/// # Errors
/// What fetching [`Item::SystemdMeasure`] or running it says.
pub fn expected_pcr11(sections: &[(&str, &[u8])], bank: &str, phase: &str) -> Result<String> {
    let root = fetch(Item::SystemdMeasure)?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let scratch = Scratch::new()?;
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(format!("{0}:{0}/systemd", libraries.display()));
    command.arg(root.join("usr/lib/systemd/systemd-measure"));
    command.args(["calculate", "--bank", bank, "--phase", phase]);
    for (index, (name, content)) in sections.iter().enumerate() {
        if *name == ".pcrsig" {
            continue;
        }
        let file = scratch.write(&format!("section{index}"), content)?;
        let option = name.trim_start_matches('.');
        command.arg(format!("--{option}={}", file.display()));
    }
    let told = tool::run(&mut command)?;
    let told = String::from_utf8_lossy(&told);
    let value = told.trim().strip_prefix(&format!("11:{bank}="));
    value
        .map(str::to_owned)
        .ok_or_else(|| Error::unexpected(&root, "systemd-measure", told.trim(), "11:BANK=HEX"))
}

fn sections_of(bytes: &[u8], name: &str) -> std::result::Result<Vec<Vec<u8>>, String> {
    let failed = |error: object::Error| error.to_string();
    let dos = ImageDosHeader::parse(bytes).map_err(failed)?;
    let mut offset = u64::from(dos.nt_headers_offset());
    let (headers, _) = ImageNtHeaders64::parse(bytes, &mut offset).map_err(failed)?;
    let table = headers.sections(bytes, offset).map_err(failed)?;
    let found = table
        .iter()
        .filter(|section| section.raw_name() == name.as_bytes());
    let contents = found.map(|section| {
        // What a loader maps: no more than the section's size in memory.
        let (start, size) = (
            section.pointer_to_raw_data.get(LE),
            section.size_of_raw_data.get(LE),
        );
        let size = size.min(section.virtual_size.get(LE));
        let content = bytes
            .get(start as usize..)
            .and_then(|rest| rest.get(..size as usize));
        content
            .map(<[u8]>::to_vec)
            .ok_or_else(|| "a section past the end of the file".to_owned())
    });
    contents.collect()
}

fn zboot_payload(bytes: &[u8]) -> Option<Result<Vec<u8>>> {
    let word =
        |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    if bytes.get(4..8)? != b"zimg" {
        return None;
    }
    let stream = bytes.get(word(8)?..)?.get(..word(12)?)?;
    let name = bytes.get(0x18..0x38)?.split(|byte| *byte == 0).next()?;
    let codec = Codec::by_name(std::str::from_utf8(name).ok()?)?;
    Some(codec.decompress(stream))
}
