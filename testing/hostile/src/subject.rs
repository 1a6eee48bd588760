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
/// is and with parsers of its own.
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
    }
    Ok(subjects)
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
