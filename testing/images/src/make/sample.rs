//! Small images of every kind with what they hold according to independent tools: for tests that need no real kernel.

use std::path::{Path, PathBuf};

use super::{Codec, Machine, noise, text, tiny_kernel, uki, zboot};
use crate::oracle::{expected_section, expected_sections, expected_zboot_payload};
use crate::{Item, Result, fetch};

/// An image and what opening it must give.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What it is, such as "uki-252" or "zboot-arm64-xzkern".
    pub name: String,
    /// The image's file.
    pub image: PathBuf,
    /// The profile to select, if the image has profiles.
    pub profile: Option<u32>,
    /// The innermost kernel.
    pub kernel: Vec<u8>,
    /// The initrd; none if the image has none.
    pub initrd: Option<Vec<u8>>,
    /// The command line; none if the image has none.
    pub cmdline: Option<Vec<u8>>,
}

/// Makes the small images in `dir`: each codec in a zboot image, a UKI on each stub, a UKI with profiles, a zboot
/// image in a UKI. Kernels and initrds are 64 KiB.
///
/// # Errors
/// What the tools say.
pub fn samples(dir: &Path) -> Result<Vec<Sample>> {
    let mut made = Vec::new();
    for machine in [Machine::Amd64, Machine::Arm64] {
        for codec in Codec::ALL {
            made.push(zboot_sample(dir, machine, codec)?);
        }
    }
    for stub in [Item::StubAmd64V252, Item::StubAmd64V257, Item::StubArm64] {
        made.push(uki_sample(dir, stub)?);
    }
    made.extend(profile_samples(dir)?);
    made.push(nested_sample(dir)?);
    Ok(made)
}

const SIZE: usize = 64 << 10;

fn zboot_sample(dir: &Path, machine: Machine, codec: Codec) -> Result<Sample> {
    let name = format!("zboot-{}-{}", machine.name(), codec.name());
    let image = dir.join(&name);
    zboot(machine, codec, &tiny_kernel(machine, SIZE), &image)?;
    let kernel = expected_zboot_payload(&image)?;
    Ok(Sample {
        name,
        image,
        profile: None,
        kernel,
        initrd: None,
        cmdline: None,
    })
}

fn uki_sample(dir: &Path, stub: Item) -> Result<Sample> {
    let stub_path = fetch(stub)?;
    let kernel = tiny_kernel(Machine::of_image(&stub_path)?, SIZE);
    // Neither is a multiple of 4 long: the first must be padded, the last must not.
    let (microcode, initrd) = (noise(1021, 1), noise(SIZE - 1, 2));
    let sections: [(&str, &[u8]); 6] = [
        (".osrel", b"ID=sample\n"),
        (".cmdline", b"console=ttyS0 quiet \n\0"),
        (".ucode", &microcode),
        (".initrd", &initrd),
        (".uname", b"6.12.0-sample"),
        (".linux", &kernel),
    ];
    let name = stub.name().replace("stub", "uki");
    let image = dir.join(&name);
    uki(&stub_path, &sections, &image)?;
    let mut initrd = expected_section(&image, ".ucode")?;
    initrd.resize(initrd.len().next_multiple_of(4), 0);
    initrd.extend(expected_section(&image, ".initrd")?);
    let cmdline = trimmed(&expected_section(&image, ".cmdline")?);
    let kernel = expected_section(&image, ".linux")?;
    Ok(Sample {
        name,
        image,
        profile: None,
        kernel,
        initrd: Some(initrd),
        cmdline: Some(cmdline),
    })
}

/// One image, selected three ways: by default, and each of its profiles.
fn profile_samples(dir: &Path) -> Result<Vec<Sample>> {
    let kernel = tiny_kernel(Machine::Amd64, SIZE);
    let initrds = [noise(SIZE, 3), noise(SIZE / 2, 4)];
    let sections: [(&str, &[u8]); 8] = [
        (".linux", &kernel),
        (".initrd", &initrds[0]),
        (".cmdline", b"base"),
        (".profile", b"ID=main\n"),
        (".profile", b"ID=other\nTITLE=Other\n"),
        (".cmdline", b"other"),
        (".profile", b"ID=third\n"),
        (".initrd", &initrds[1]),
    ];
    let image = dir.join("uki-profiles");
    uki(&fetch(Item::StubAmd64V257)?, &sections, &image)?;
    let kernel = expected_section(&image, ".linux")?;
    let initrds = expected_sections(&image, ".initrd")?;
    let cmdlines = expected_sections(&image, ".cmdline")?;
    // Which of the initrds and command lines, in the table's order, each selection gives.
    let selections = [
        (None, 0, 0),
        (Some(0), 0, 0),
        (Some(1), 0, 1),
        (Some(2), 1, 0),
    ];
    let sample = |(profile, initrd, cmdline): (Option<u32>, usize, usize)| Sample {
        name: format!(
            "uki-profiles-{}",
            profile.map_or_else(|| "default".to_owned(), |n| n.to_string())
        ),
        image: image.clone(),
        profile,
        kernel: kernel.clone(),
        initrd: initrds.get(initrd).cloned(),
        cmdline: cmdlines.get(cmdline).cloned(),
    };
    Ok(selections.into_iter().map(sample).collect())
}

fn nested_sample(dir: &Path) -> Result<Sample> {
    let (name, inner) = ("uki-zboot".to_owned(), dir.join("uki-zboot.inner"));
    zboot(
        Machine::Amd64,
        Codec::Zstd,
        &tiny_kernel(Machine::Amd64, SIZE),
        &inner,
    )?;
    let zboot = std::fs::read(&inner).map_err(crate::Error::io("reading", &inner))?;
    let initrd = text(SIZE);
    let sections: [(&str, &[u8]); 3] = [
        (".cmdline", b"nested"),
        (".initrd", &initrd),
        (".linux", &zboot),
    ];
    let image = dir.join(&name);
    uki(&fetch(Item::StubAmd64V257)?, &sections, &image)?;
    let kernel = expected_zboot_payload(&inner)?;
    let (initrd, cmdline) = (
        expected_section(&image, ".initrd")?,
        expected_section(&image, ".cmdline")?,
    );
    Ok(Sample {
        name,
        image,
        profile: None,
        kernel,
        initrd: Some(initrd),
        cmdline: Some(cmdline),
    })
}

/// As systemd's stub reads a command line: up to the NUL, without blanks at the end.
fn trimmed(text: &[u8]) -> Vec<u8> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    text.trim_ascii_end().to_vec()
}
