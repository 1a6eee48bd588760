//! Directories that describe hardware and hold its firmware.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kpeel_image::uki::{Device, DeviceKind, pack_firmware, pack_hwids};
use serde::Deserialize;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::input;

/// How deep directories are looked into.
const DEPTH_MAX: u32 = 32;

/// One file of a directory for `--hwids`.
#[derive(Debug, Deserialize)]
struct Description {
    r#type: Option<String>,
    name: String,
    compatible: Option<String>,
    fwid: Option<String>,
    hwids: Vec<String>,
}

/// The section `.hwids` for all `*.json` in and below `directory`, in the order of their paths.
pub(super) fn hwids(directory: &Path) -> Result<Vec<u8>> {
    let mut files = Vec::new();
    collect(directory, 0, &mut files)?;
    files.sort();
    let devices: Vec<Device> = files
        .iter()
        .map(|path| device(path))
        .collect::<Result<_>>()?;
    pack_hwids(&devices).map_err(|error| Failure::envelope(directory.display().to_string(), error))
}

/// The section `.efifw` for the one file in `directory`, whose name is the firmware's identifier.
pub(super) fn firmware(directory: &Path) -> Result<Vec<u8>> {
    let wrong = |what: &str| Failure::usage(what).of(directory);
    // A name such as `..` is no identifier: the real one is looked up.
    let real =
        fs::canonicalize(directory).map_err(|error| Failure::io(directory, "open", error))?;
    let id = real.file_name().and_then(|name| name.to_str());
    let id = id.ok_or_else(|| wrong("its name, the firmware's identifier, is no text"))?;
    let files = entries(directory)?;
    let [file] = files.as_slice() else {
        return Err(wrong(&format!(
            "found {} files, needed one: the firmware",
            files.len()
        )));
    };
    let bytes = input::file(file, input::Kind::Initrd)?;
    if bytes.is_empty() {
        return Err(Failure::usage("found an empty file, needed firmware").of(file));
    }
    pack_firmware(id, &bytes).map_err(|error| Failure::envelope(file.display().to_string(), error))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Failure::io(directory, "read", error);
    let entries = fs::read_dir(directory).map_err(failed)?;
    entries
        .map(|entry| entry.map(|entry| entry.path()).map_err(failed))
        .collect()
}

fn collect(directory: &Path, depth: u32, files: &mut Vec<PathBuf>) -> Result<()> {
    if depth > DEPTH_MAX {
        let message = format!("directories: found more than {DEPTH_MAX} below one another");
        return Err(Failure::refused(message).of(directory));
    }
    for path in entries(directory)? {
        if path.is_dir() {
            collect(&path, depth.saturating_add(1), files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    Ok(())
}

fn device(path: &Path) -> Result<Device> {
    let wrong = |what: String| Failure::told(Exit::Image, what).of(path);
    let text = input::text(path)?;
    let found: Description =
        serde_json::from_str(&text).map_err(|error| wrong(format!("malformed: {error}")))?;
    let (kind, choice) = match (found.r#type.as_deref(), found.compatible, found.fwid) {
        (None | Some("devicetree"), Some(choice), None) => (DeviceKind::DeviceTree, choice),
        (Some("uefi-fw"), None, Some(choice)) => (DeviceKind::Firmware, choice),
        (kind, ..) => {
            let kind = kind.unwrap_or("devicetree").to_owned();
            return Err(wrong(format!(
                "type: found \"{kind}\", needed \"devicetree\" with compatible alone, or \
                 \"uefi-fw\" with fwid alone"
            )));
        }
    };
    let chid = |text: &String| {
        chid(text).ok_or_else(|| wrong(format!("hwids: found \"{text}\", needed a UUID")))
    };
    let chids: BTreeSet<u128> = found.hwids.iter().map(chid).collect::<Result<_>>()?;
    let name = found.name;
    Ok(Device {
        kind,
        name,
        choice,
        chids,
    })
}

/// A UUID's text, with or without braces and hyphens.
fn chid(text: &str) -> Option<u128> {
    let digits: String = text
        .chars()
        .filter(|c| !matches!(c, '-' | '{' | '}'))
        .collect();
    let plain = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain
        .then(|| u128::from_str_radix(&digits, 16).ok())
        .flatten()
}
