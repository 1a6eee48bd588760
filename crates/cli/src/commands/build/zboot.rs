//! `kpeel build zboot`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kpeel_codec::Codec;
use kpeel_envelope::pe::Pe;
use kpeel_image::Certificates;
use kpeel_image::zboot::{self, Payload};

use super::kernel;
use super::signing::{Signer, Signing};
use crate::atomic;
use crate::failure::{Failure, Result};
use crate::input;
use crate::offer::Offer;
use crate::terminal::Terminal;

/// The parser of zboot images among those that come with kpeel.
const PARSER: &str = "zboot";

/// Build an EFI zboot image: a compressed kernel that unpacks itself
///
/// The EFI decompressor comes from a template, a zboot image that the kernel's own build made
/// (vmlinuz.efi) for the same machine and codec: its code stays, payload and header fields are
/// replaced. The payload must fit into the template's. With --kexec-only there is no decompressor:
/// kexec opens the image, firmware refuses it, and its section `.kexec` says so.
#[derive(Args, Debug)]
pub(crate) struct Zboot {
    /// The kernel, Image or another PE image
    #[arg(long, value_name = "LINUX")]
    linux: PathBuf,

    /// A zboot image whose decompressor is taken
    #[arg(long, value_name = "ZBOOT", required_unless_present = "kexec_only")]
    template: Option<PathBuf>,

    /// Makes an image without decompressor, for kexec only
    #[arg(long, conflicts_with = "template")]
    kexec_only: bool,

    /// How the kernel is compressed [default: as the template, else zstd]
    #[arg(long, value_enum)]
    codec: Option<Name>,

    /// How hard it is compressed: gzip 0 to 12, zstd 1 to 22, xz and lzma 0 to 9; lz4 and lzo have
    /// one way [default: the hardest]
    #[arg(long)]
    level: Option<u32>,

    /// Drops the signatures of a signed template, which would not survive
    #[arg(long, requires = "template")]
    drop_signature: bool,

    /// The parser of the image: one of `kpeel parser list`, or a file with a carrier [.bpf]
    #[arg(long, value_name = "NAME|FILE", default_value = PARSER)]
    parser: String,

    /// Adds no parser
    #[arg(long)]
    no_parser: bool,

    #[command(flatten)]
    signing: Signing,

    /// Where the image goes; it appears complete or not at all
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
}

/// The codecs of zboot.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Name {
    Gzip,
    Zstd,
    Xz,
    Lzma,
    Lz4,
    Lzo,
}

impl Name {
    fn codec(self) -> Codec {
        match self {
            Self::Gzip => Codec::Gzip,
            Self::Zstd => Codec::Zstd,
            Self::Xz => Codec::Xz,
            Self::Lzma => Codec::Lzma,
            Self::Lz4 => Codec::Lz4,
            Self::Lzo => Codec::Lzo,
        }
    }
}

impl Zboot {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let signer = self.signing.signer(terminal)?;
        let template = self.template.as_deref();
        let image = |path| input::file(path, input::Kind::Image);
        let template = template.map(image).transpose()?;
        let codec = self.codec(template.as_deref())?;
        let parser = match self.no_parser {
            true => None,
            false => Some(Offer::named(&self.parser)?),
        };
        let carrier = parser.as_ref().map(|offer| offer.carrier.as_ref());
        let kernel = kernel::read(&self.linux, terminal)?;
        let machine = self.machine(&kernel)?;
        let payload = self.payload(kernel, codec, &signer, terminal)?;
        let built = match &template {
            None => zboot::kexec_only(machine, &payload, carrier),
            Some(template) => {
                self.check_machine(machine, template)?;
                let certificates = if self.drop_signature {
                    Certificates::Drop
                } else {
                    Certificates::Refuse
                };
                zboot::from_template(template, &payload, carrier, certificates)
            }
        };
        let built = built.map_err(|error| self.blame(error))?;
        let built = signer.outer(&self.output, built)?;
        atomic::write(&self.output, &built)
    }

    fn blame(&self, error: kpeel_image::Error) -> Failure {
        let path = self.template.as_ref().unwrap_or(&self.linux);
        Failure::envelope(path.display().to_string(), error)
    }

    fn codec(&self, template: Option<&[u8]>) -> Result<Codec> {
        match (self.codec, template) {
            (Some(name), _) => Ok(name.codec()),
            (None, None) => Ok(Codec::Zstd),
            (None, Some(template)) => {
                zboot::template_codec(template).map_err(|error| self.blame(error))
            }
        }
    }

    /// The machine that the kernel's PE header names.
    fn machine(&self, kernel: &[u8]) -> Result<u16> {
        let pe = Pe::parse(kernel)
            .map_err(|error| Failure::envelope(self.linux.display().to_string(), error))?;
        Ok(pe.headers().machine)
    }

    fn check_machine(&self, machine: u16, template: &[u8]) -> Result<()> {
        let pe = Pe::parse(template).map_err(|error| self.blame(error))?;
        let expected = pe.headers().machine;
        if machine == expected {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "Machine: found {machine:#x} in the kernel, needed {expected:#x} as in the template"
        )))
    }

    /// The kernel, padded for firmware and compressed.
    fn payload(
        &self,
        mut kernel: Vec<u8>,
        codec: Codec,
        signer: &Signer,
        terminal: &mut Terminal,
    ) -> Result<Payload> {
        let path = self.linux.display().to_string();
        if !self.kexec_only {
            // Signed below, the zeros are part of what is signed.
            let signed = zboot::is_signed(&kernel) && !self.signing.sign_inner;
            if self.signing.sign_inner {
                kernel = unsigned(&self.linux, &kernel)?;
            }
            let added = zboot::pad(&mut kernel).map_err(|error| Failure::envelope(&path, error))?;
            if signed && added != 0 {
                terminal.note(&format!(
                    "{path}: is signed, and the {added} bytes of zeros that firmware needs behind \
                     it hide its signature from kexec"
                ));
            }
        }
        let kernel = signer.inner(&self.linux, kernel, terminal)?;
        let level = self.level.unwrap_or(hardest(codec));
        let stream = kpeel_codec::compress(codec, level, &kernel).map_err(|error| match error {
            kpeel_codec::Error::Unsupported { .. } => Failure::usage(format!("--level: {error}")),
            error => kernel::codec_failure(&self.linux, &error),
        })?;
        Ok(Payload {
            codec,
            stream,
            unpacked: kernel.len(),
        })
    }
}

/// The kernel without its signatures.
fn unsigned(path: &Path, kernel: &[u8]) -> Result<Vec<u8>> {
    kpeel_image::with_signatures(kernel, &[])
        .and_then(|parts| parts.to_vec())
        .map_err(|error| Failure::envelope(path.display().to_string(), error))
}

/// The level at which a codec packs hardest.
fn hardest(codec: Codec) -> u32 {
    match codec {
        Codec::Gzip | Codec::Lz4 => 12,
        Codec::Zstd => 22,
        Codec::Xz | Codec::Lzma | Codec::Lzo | Codec::Bzip2 => 9,
    }
}
