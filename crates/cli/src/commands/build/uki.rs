//! `kpeel build uki`.

use std::borrow::Cow;
use std::path::PathBuf;

use clap::Args;
use kpeel_envelope::error::Class;
use kpeel_envelope::pe::Pe;
use kpeel_envelope::pipeline::SECTION_BPF;
use kpeel_image::Part;
use kpeel_image::uki::{NewSection, assemble};

use super::config;
use super::sections::Inputs;
use super::signing::Signing;
use crate::atomic::{self, Draft};
use crate::failure::{Failure, Result};
use crate::input;
use crate::offer::Offer;
use crate::terminal::Terminal;

/// The parser of UKIs among those that come with kpeel.
const PARSER: &str = "uki";
/// Where systemd keeps its stubs.
const STUBS: &str = "/usr/lib/systemd/boot/efi";

/// Build a Unified Kernel Image, an add-on or a profile
///
/// Options are named as ukify names them, and sections stand in ukify's order. With --linux the
/// result is a UKI and carries its parser; without, it is an add-on, or with --profile a profile for
/// --join-profile. TEXT|@PATH is the text itself or a file that holds it.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Uki {
    /// The kernel, a PE image: bzImage, Image with EFI stub, or zboot [.linux]
    ///
    /// A file that is packed as a whole (Image.gz) is unpacked.
    #[arg(long, value_name = "LINUX")]
    pub(super) linux: Option<PathBuf>,

    /// An initrd; several are joined in this order, each padded to 4 bytes [.initrd]
    #[arg(long, value_name = "INITRD")]
    pub(super) initrd: Vec<PathBuf>,

    /// The kernel's command line; blanks of a TEXT are folded [.cmdline]
    #[arg(long, value_name = "TEXT|@PATH")]
    pub(super) cmdline: Option<String>,

    /// os-release; with --linux the system's unless given, empty for none [.osrel]
    #[arg(long, value_name = "TEXT|@PATH")]
    pub(super) os_release: Option<String>,

    /// `uname -r` of the kernel; read from it unless given [.uname]
    #[arg(long, value_name = "VERSION")]
    pub(super) uname: Option<String>,

    /// SBAT entries beside those of stub and kernel (may be repeated) [.sbat]
    #[arg(long, value_name = "TEXT|@PATH")]
    pub(super) sbat: Vec<String>,

    /// A picture, BMP [.splash]
    #[arg(long, value_name = "BMP")]
    pub(super) splash: Option<PathBuf>,

    /// A device tree [.dtb]
    #[arg(long, value_name = "PATH")]
    pub(super) devicetree: Option<PathBuf>,

    /// A device tree that the hardware chooses (may be repeated) [.dtbauto]
    #[arg(long, value_name = "PATH")]
    pub(super) devicetree_auto: Vec<PathBuf>,

    /// A directory with descriptions of hardware, *.json [.hwids]
    #[arg(long, value_name = "DIR")]
    pub(super) hwids: Option<PathBuf>,

    /// Microcode, an uncompressed cpio archive [.ucode]
    #[arg(long, value_name = "UCODE")]
    pub(super) microcode: Option<PathBuf>,

    /// A directory that is named as its firmware's identifier and holds one file (may be
    /// repeated) [.efifw]
    #[arg(long, value_name = "DIR")]
    pub(super) efifw: Vec<PathBuf>,

    /// The public key that secrets are sealed against, PEM [.pcrpkey]
    #[arg(long, value_name = "KEY")]
    pub(super) pcrpkey: Option<PathBuf>,

    /// What the profile is called, lines such as ID=main [.profile]
    #[arg(long, value_name = "TEXT|@PATH")]
    pub(super) profile: Option<String>,

    /// A profile built with --profile and without --linux, to be added (may be repeated)
    #[arg(long, value_name = "PATH")]
    pub(super) join_profile: Vec<PathBuf>,

    /// A section of any other name (may be repeated)
    #[arg(long, value_name = "NAME:TEXT|@PATH")]
    pub(super) section: Vec<String>,

    /// The EFI program that the sections are added to [default: systemd's for the architecture]
    #[arg(long, value_name = "PATH")]
    pub(super) stub: Option<PathBuf>,

    /// Which of systemd's stubs is taken: x64, aa64, ... [default: the kernel's, else this
    /// machine's]
    #[arg(long, value_name = "ARCH")]
    pub(super) efi_arch: Option<String>,

    /// Demands an add-on: no kernel, and something that a stub takes from add-ons
    #[arg(long, conflicts_with_all = ["linux", "profile", "join_profile"])]
    pub(super) addon: bool,

    /// ukify's configuration file; options on the command line come before its settings
    #[arg(short, long, value_name = "PATH")]
    pub(super) config: Option<PathBuf>,

    /// The parser of the image: one of `kpeel parser list`, or a file with a carrier [.bpf]
    #[arg(long, value_name = "NAME|FILE", default_value = PARSER)]
    pub(super) parser: String,

    /// Adds no parser
    #[arg(long)]
    pub(super) no_parser: bool,

    #[command(flatten)]
    pub(super) signing: Signing,

    /// Where the image goes; it appears complete or not at all [default: LINUX's name and
    /// .unsigned.efi, with --sign .efi]
    #[arg(short, long, value_name = "OUT")]
    pub(super) output: Option<PathBuf>,
}

impl Uki {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        let mut options = self.clone();
        if let Some(path) = &self.config {
            let text = input::text(path)?;
            for note in config::apply(&mut options, &text, path)? {
                terminal.note(&note);
            }
        }
        options.build(terminal)
    }

    fn build(&self, terminal: &mut Terminal) -> Result<()> {
        let signer = self.signing.signer(terminal)?;
        let output = self.output_path()?;
        let mut inputs = Inputs::read(self, &signer, terminal)?;
        let stub_path = self.stub_path(&inputs)?;
        let stub = input::file(&stub_path, input::Kind::Image)?;
        if self.signing.sign || has_check_sum(&stub) {
            inputs.read_all()?;
        }
        let sections = inputs.sections(self, &stub)?;
        if self.addon {
            check_addon(&sections)?;
        }
        let parser = self.parser(&sections)?;
        let carrier = parser.as_ref().map(|offer| offer.carrier.as_ref());
        // What the caller put together wrongly is no fault of the stub's.
        let blamed = |error: kpeel_image::Error| match error.class {
            Class::Misuse => Failure::usage(error.to_string()),
            _ => Failure::envelope(stub_path.display().to_string(), error),
        };
        let editor = assemble(&stub, sections, carrier).map_err(blamed)?;
        let parts = editor.parts().map_err(blamed)?;
        if self.signing.sign {
            let image = parts.to_vec().map_err(blamed)?;
            return atomic::write(&output, &signer.outer(&output, image)?);
        }
        let mut draft = Draft::create(&output)?;
        for part in parts.iter() {
            match part {
                Part::Bytes(bytes) => draft.write(bytes)?,
                Part::Later(_) => inputs.write_later(&mut draft)?,
            }
        }
        draft.finish().commit()
    }

    fn output_path(&self) -> Result<PathBuf> {
        if let Some(output) = &self.output {
            return Ok(output.clone());
        }
        let name = self.linux.as_ref().and_then(|linux| linux.file_name());
        let name = name.ok_or_else(|| Failure::usage("--output is needed without --linux"))?;
        let mut name = name.to_owned();
        name.push(if self.signing.sign {
            ".efi"
        } else {
            ".unsigned.efi"
        });
        Ok(name.into())
    }

    /// The stub given, else systemd's.
    fn stub_path(&self, inputs: &Inputs) -> Result<PathBuf> {
        if let Some(stub) = &self.stub {
            return Ok(stub.clone());
        }
        let arch = match &self.efi_arch {
            Some(arch) => arch.as_str(),
            None => inputs
                .efi_arch()
                .or_else(running_efi_arch)
                .ok_or_else(|| Failure::usage("--efi-arch or --stub is needed here"))?,
        };
        let kind = if self.linux.is_some() {
            "linux"
        } else {
            "addon"
        };
        let path = PathBuf::from(format!("{STUBS}/{kind}{arch}.efi.stub"));
        if path.exists() {
            return Ok(path);
        }
        Err(Failure::system(
            "is not there; systemd brings it (Debian's package systemd-boot-efi), or --stub names one",
        )
        .of(&path))
    }

    /// The parser to add: to UKIs, unless told otherwise.
    fn parser(&self, sections: &[NewSection<'_>]) -> Result<Option<Offer>> {
        let given = sections.iter().any(|section| section.name == SECTION_BPF);
        if self.linux.is_none() || self.no_parser || given {
            return Ok(None);
        }
        Offer::named(&self.parser).map(Some)
    }
}

/// Whether an image with this stub has a checksum, which all bytes go into.
fn has_check_sum(stub: &[u8]) -> bool {
    Pe::parse(stub).is_ok_and(|pe| pe.headers().check_sum != 0)
}

/// Architectures' names in EFI file names, by PE machine ("Machine Types").
pub(super) fn efi_arch(machine: u16) -> Option<&'static str> {
    Some(match machine {
        0x014c => "ia32",
        0x01c2 => "arm",
        0x5032 => "riscv32",
        0x5064 => "riscv64",
        0x6232 => "loongarch32",
        0x6264 => "loongarch64",
        0x8664 => "x64",
        0xaa64 => "aa64",
        _ => return None,
    })
}

fn running_efi_arch() -> Option<&'static str> {
    Some(match kpeel_sandbox::Machine::running()?.name() {
        "x86_64" => "x64",
        "aarch64" => "aa64",
        "riscv64" => "riscv64",
        _ => "loongarch64",
    })
}

/// systemd-stub passes over an add-on that has none of these.
fn check_addon(sections: &[NewSection<'_>]) -> Result<()> {
    const TAKEN: [&str; 5] = [".cmdline", ".dtb", ".dtbauto", ".ucode", ".initrd"];
    let taken =
        |section: &NewSection<'_>| TAKEN.contains(&section.name.as_ref()) && !section.is_empty();
    if sections.iter().any(taken) {
        return Ok(());
    }
    Err(Failure::usage(
        "--addon: found nothing a stub takes from an add-on, needed one of --cmdline, --initrd, \
         --microcode, --devicetree, --devicetree-auto",
    ))
}

/// TEXT, or what the file at @PATH holds.
pub(super) fn text_or_file(value: &str) -> Result<Cow<'_, [u8]>> {
    match value.strip_prefix('@') {
        Some(path) => Ok(input::file(path.as_ref(), input::Kind::Initrd)?.into()),
        None => Ok(value.as_bytes().into()),
    }
}
