//! The sound images that are mutated.

use std::fs;
use std::path::Path;

use kpeel_image::{AttachOptions, attach};
use kpeel_images::make::{Machine, Sample, Scratch, samples, uki, ukify};
use kpeel_images::{Item, fetch};

use crate::spans::{Layer, layers};

/// One sound image.
#[derive(Debug)]
pub struct Subject {
    /// What messages call it.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its envelopes.
    pub layers: Vec<Layer>,
    /// The caller's command line.
    pub cmdline: Option<String>,
    /// The profile that it selects.
    pub profile: usize,
}

/// Small images, with payloads of 64 KiB: every codec, every stub, profiles, one nested; each as it
/// is and with a parser of its own in the outermost envelope, the nested one with one in each, too.
///
/// # Errors
/// What the makers say.
pub fn small() -> Result<Vec<Subject>, String> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let samples = samples(scratch.path()).map_err(|error| error.to_string())?;
    // Of both machines' zboot images one is enough: only the branch filter of xz differs.
    let wanted = |sample: &&Sample| {
        !sample.name.starts_with("zboot-amd64") || sample.name.ends_with("xzkern")
    };
    // A profile is as good as none for the default's image: two of four selections are enough.
    let wanted = |sample: &&Sample| {
        wanted(sample) && !matches!(sample.profile, Some(0)) && sample.name != "uki-profiles-2"
    };
    let mut subjects = Vec::new();
    for sample in samples.iter().filter(wanted) {
        let bytes = fs::read(&sample.image).map_err(|error| error.to_string())?;
        subjects.extend(both(&sample.name, &bytes, sample.profile)?);
        if sample.name == NESTED {
            let inner = fs::read(scratch.join("uki-zboot.inner"));
            let bytes = nested(&inner.map_err(|error| error.to_string())?, &scratch)?;
            let [_, own] = both("uki-zboot-own", &bytes, None)?;
            subjects.push(own);
        }
    }
    Ok(subjects)
}

/// Small images for `x86_64` with a parser in every envelope, which Linux as a host opens as the sandbox does: every
/// codec, every stub, profiles, zboot in a UKI.
///
/// # Errors
/// What the makers say.
pub fn for_hosts() -> Result<Vec<Subject>, String> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let samples = samples(scratch.path()).map_err(|error| error.to_string())?;
    let mut subjects = Vec::new();
    for sample in samples.iter().filter(|sample| is_bzimage(&sample.kernel)) {
        let mut bytes = fs::read(&sample.image).map_err(|error| error.to_string())?;
        if sample.name == NESTED {
            let inner = fs::read(scratch.join("uki-zboot.inner"));
            bytes = nested(&inner.map_err(|error| error.to_string())?, &scratch)?;
        }
        let [_, own] = both(&sample.name, &bytes, sample.profile)?;
        subjects.push(own);
    }
    Ok(subjects)
}

/// The sample that is a zboot image in a UKI.
const NESTED: &str = "uki-zboot";

/// A UKI around this zboot image, to which its parser is added.
fn nested(zboot: &[u8], scratch: &Scratch) -> Result<Vec<u8>, String> {
    let [_, own] = both("zboot", zboot, None)?;
    let stub = fetch(Item::StubAmd64V257).map_err(|error| error.to_string())?;
    let initrd = kpeel_images::make::noise(3001, 5);
    let sections: [(&str, &[u8]); 3] = [
        (".cmdline", b"nested"),
        (".initrd", &initrd),
        (".linux", &own.bytes),
    ];
    let image = scratch.join("nested.efi");
    uki(&stub, &sections, &image).map_err(|error| error.to_string())?;
    fs::read(&image).map_err(|error| error.to_string())
}

/// "HdrS" at 0x202: `Documentation/arch/x86/boot.rst` of Linux.
fn is_bzimage(kernel: &[u8]) -> bool {
    kernel.get(0x202..0x206) == Some(b"HdrS")
}

/// Real images: loong64's zboot kernel, bare, with its own parser and in a UKI, and UKIs around
/// Debian's kernels.
///
/// # Errors
/// What the makers say.
pub fn real() -> Result<Vec<Subject>, String> {
    let scratch = Scratch::new().map_err(|error| error.to_string())?;
    let text = |error: kpeel_images::Error| error.to_string();
    let zboot = fetch(Item::LinuxLoong64).map_err(text)?;
    let bytes = fs::read(&zboot).map_err(|error| error.to_string())?;
    let mut subjects = Vec::from(both("linux-loong64", &bytes, None)?);
    let ukis = [
        ("uki-real-amd64", Item::StubAmd64V257, Item::LinuxAmd64),
        ("uki-real-arm64", Item::StubArm64, Item::LinuxArm64),
        ("uki-real-nested", Item::StubLoong64, Item::LinuxLoong64),
    ];
    for (name, stub, kernel) in ukis {
        let image = scratch.join(name);
        make_uki(stub, &fetch(kernel).map_err(text)?, &image)?;
        let bytes = fs::read(&image).map_err(|error| error.to_string())?;
        subjects.push(Subject::new(name.to_owned(), bytes, None));
    }
    Ok(subjects)
}

fn make_uki(stub: Item, kernel: &Path, image: &Path) -> Result<(), String> {
    let kernel = fs::read(kernel).map_err(|error| error.to_string())?;
    let initrd = kpeel_images::make::noise((1 << 20) + 3, 2);
    let sections: [(&str, &[u8]); 4] = [
        (".osrel", b"ID=debian\n"),
        (".cmdline", b"root=/dev/vda ro console=ttyS0"),
        (".initrd", &initrd),
        (".linux", &kernel),
    ];
    let stub = fetch(stub).map_err(|error| error.to_string())?;
    let machine = Machine::of_image(&stub).map_err(|error| error.to_string())?;
    let make = match machine {
        Machine::Loong64 => ukify,
        _ => uki,
    };
    make(&stub, &sections, image).map_err(|error| error.to_string())
}

/// An image as it is, and with its own parsers.
fn both(name: &str, bytes: &[u8], profile: Option<u32>) -> Result<[Subject; 2], String> {
    let parser = if bytes.get(4..8) == Some(b"zimg") {
        "zboot"
    } else {
        "uki"
    };
    let parser = kpeel_parsers::by_name(parser).ok_or("no such parser")?;
    let attached = attach(bytes, parser.carrier, AttachOptions::default());
    let attached = attached.map_err(|error| format!("{name}: {error}"))?;
    Ok([
        Subject::new(name.to_owned(), bytes.to_vec(), profile),
        Subject::new(format!("{name}+bpf"), attached, profile),
    ])
}

impl Subject {
    fn new(name: String, bytes: Vec<u8>, profile: Option<u32>) -> Self {
        Self {
            name,
            layers: layers(&bytes),
            bytes,
            cmdline: profile.map(|profile| format!("@{profile} caller")),
            profile: profile.unwrap_or(0) as usize,
        }
    }
}
