//! Images in memory, and the parsers run on them in the sandbox.
//!
//! `KPEEL_CARRIERS=DIR` puts `DIR/NAME.o` in the place of the bundled carriers.
#![allow(dead_code, reason = "each test program uses a part")]

use std::path::Path;

use kpeel_envelope::error::{Class, Detail, Error, Needed};
use kpeel_envelope::host::Trust;
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pipeline::{Parser, Request, unfold};
use kpeel_parsers::{BUNDLED, Bundled};
use kpeel_sandbox::{Buffer, Sandbox, Warning};

const FILE_ALIGNMENT: usize = 512;
const SECTION_ALIGNMENT: usize = 4096;

/// What came out, or why nothing did.
pub type Outcome = Result<Opened, Error>;

#[derive(Debug)]
pub struct Opened {
    pub kernel: Vec<u8>,
    pub initrd: Option<Vec<u8>>,
    pub cmdline: Option<Vec<u8>>,
    pub warnings: Vec<(String, u64)>,
    pub envelopes: u32,
    pub instructions: u64,
}

/// The carriers under test, in the order in which a host tries them.
pub fn carriers() -> Vec<(&'static str, Vec<u8>)> {
    let rebuilt = std::env::var_os("KPEEL_CARRIERS");
    let carrier = |bundled: &Bundled| match &rebuilt {
        Some(dir) => std::fs::read(Path::new(dir).join(bundled.name).with_extension("o")).unwrap(),
        None => bundled.carrier.to_vec(),
    };
    let named = |bundled: &Bundled| (bundled.name, carrier(bundled));
    BUNDLED.iter().map(named).collect()
}

/// Opens `image` with all bundled parsers.
pub fn open(image: &[u8]) -> Outcome {
    open_with(image, "")
}

/// As [`open`], with the caller's command line.
pub fn open_with(image: &[u8], cmdline: &str) -> Outcome {
    open_in(Sandbox::new(Limits::default()), image, cmdline, false)
}

/// As [`open_with`], of an image whose signature is good, as it must be.
pub fn open_enforced(image: &[u8], cmdline: &str) -> Outcome {
    let sandbox = Sandbox::new(Limits::default()).on_verdict(|_| Ok(Trust::Verified));
    open_in(sandbox, image, cmdline, true)
}

fn open_in(mut sandbox: Sandbox<'_>, image: &[u8], cmdline: &str, enforced: bool) -> Outcome {
    let meter = sandbox.charge_to().clone();
    let buffer = |bytes: &[u8]| Buffer::from_vec(bytes.to_vec(), &meter).unwrap();
    let carriers = carriers();
    let parsers: Vec<_> = carriers
        .iter()
        .map(|(name, carrier)| Parser { name, carrier })
        .collect();
    let request = Request {
        image: buffer(image),
        initrd: None,
        cmdline: (!cmdline.is_empty()).then(|| buffer(cmdline.as_bytes())),
        crash: false,
        enforced,
        embedded: true,
        parsers: &parsers,
    };
    let unfolded = unfold(&mut sandbox, request)?;
    let bytes = |buffer: &Buffer| buffer.as_ref().to_vec();
    let warning = |warning: &Warning| (warning.field.as_str().to_owned(), warning.found);
    Ok(Opened {
        kernel: bytes(&unfolded.kernel),
        initrd: unfolded.initrd.as_ref().map(bytes),
        cmdline: unfolded.cmdline.as_ref().map(bytes),
        warnings: sandbox.warnings().iter().map(warning).collect(),
        envelopes: unfolded.provenance.opened,
        instructions: sandbox.instructions(),
    })
}

/// An error as class, field, found, needed.
pub fn said(outcome: Outcome) -> (Class, String, u64, u64) {
    let error = outcome.unwrap_err();
    match error.detail {
        Detail::Value {
            found,
            needed: Needed::Given(needed),
        } => (error.class, error.field.to_string(), found, needed),
        _ => panic!("not a parser's verdict: {error}"),
    }
}

/// A plain arm64 kernel by its header; `mark` tells it from others.
pub fn kernel(mark: &str) -> Vec<u8> {
    let mut kernel = vec![0; 64];
    kernel[16..24].copy_from_slice(&4096_u64.to_le_bytes());
    kernel[56..60].copy_from_slice(b"ARM\x64");
    kernel.extend_from_slice(mark.as_bytes());
    kernel
}

/// An EFI application with these sections.
pub fn pe(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let headers_len = 0x40 + 24 + 240 + 40 * sections.len();
    let headers_len = headers_len.next_multiple_of(FILE_ALIGNMENT);
    let mut image = vec![0; headers_len];
    let mut place = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    place(0, b"MZ");
    place(0x3c, &0x40_u32.to_le_bytes());
    place(0x40, b"PE\0\0");
    place(0x44, &0xaa64_u16.to_le_bytes());
    place(0x46, &(sections.len() as u16).to_le_bytes());
    place(0x54, &240_u16.to_le_bytes());
    place(0x56, &0x0206_u16.to_le_bytes());
    place(0x58, &0x020b_u16.to_le_bytes());
    place(0x58 + 32, &(SECTION_ALIGNMENT as u32).to_le_bytes());
    place(0x58 + 36, &(FILE_ALIGNMENT as u32).to_le_bytes());
    place(0x58 + 60, &(headers_len as u32).to_le_bytes());
    place(0x58 + 68, &10_u16.to_le_bytes());
    place(0x58 + 108, &16_u32.to_le_bytes());
    let mut address = headers_len.next_multiple_of(SECTION_ALIGNMENT);
    for (index, (name, data)) in sections.iter().enumerate() {
        let raw = data.len().next_multiple_of(FILE_ALIGNMENT);
        let start = if raw == 0 { 0 } else { image.len() };
        let at = 0x58 + 240 + 40 * index;
        image[at..at + name.len()].copy_from_slice(name.as_bytes());
        for (field, value) in [(8, data.len()), (12, address), (16, raw), (20, start)] {
            let field = at + field..at + field + 4;
            image[field].copy_from_slice(&(value as u32).to_le_bytes());
        }
        image.extend_from_slice(data);
        image.resize(image.len().next_multiple_of(FILE_ALIGNMENT), 0);
        address += data.len().max(1).next_multiple_of(SECTION_ALIGNMENT);
    }
    image[0x58 + 56..0x58 + 60].copy_from_slice(&(address as u32).to_le_bytes());
    image
}

/// A zboot image around `stream`, which `trailer` follows outside the declared payload.
pub fn zboot(codec: &str, stream: &[u8], trailer: &[u8]) -> Vec<u8> {
    let mut image = pe(&[(".gzdata", &[stream, trailer].concat())]);
    let offset = 0x200_u32;
    image[4..8].copy_from_slice(b"zimg");
    image[8..12].copy_from_slice(&offset.to_le_bytes());
    image[12..16].copy_from_slice(&(stream.len() as u32).to_le_bytes());
    image[0x18..0x18 + codec.len()].copy_from_slice(codec.as_bytes());
    image[0x38..0x3c].copy_from_slice(&[0xcd, 0x23, 0x82, 0x81]);
    image
}
