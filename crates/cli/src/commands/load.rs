//! `kpeel load`.

use std::borrow::Cow;
use std::path::PathBuf;

use clap::Args;

use crate::failure::Result;
use crate::json;
use crate::load::{CallName, HostName, Places, Target, Wish};
use crate::offer::{Offer, ParserArgs};
use crate::terminal::Terminal;
use crate::trust::Trust;

/// Load a kernel for the next `kpeel exec`, out of whatever image it is in
///
/// IMAGE is a Unified Kernel Image, an EFI zboot kernel, one inside the other, a plain kernel of this
/// machine, or one of these compressed as a whole. It is opened in a process of its own that can do
/// nothing but compute: no files, no network, no other programs.
///
/// The caller's initrds follow the image's own; the caller's command line follows the image's own
/// after a space. Of the caller's, `--command-line` or `--reuse-cmdline` comes first, then the boot
/// entry's options, then each `--append`.
///
/// Needs CAP_SYS_BOOT; `--dry-run` does not.
#[derive(Args, Debug)]
#[group(id = "what", required = true, multiple = false, args = ["image", "entry"])]
pub(crate) struct Load {
    /// The image; - is standard input
    #[arg(value_name = "IMAGE")]
    image: Option<PathBuf>,

    /// Loads a boot entry instead of an image: an id of `kpeel entries`, or `default`
    #[arg(long, value_name = "ID")]
    entry: Option<String>,

    /// Adds an initrd (may be repeated; each is padded with zeros to a multiple of four bytes)
    #[arg(long, value_name = "FILE")]
    initrd: Vec<PathBuf>,

    /// Adds to the command line (may be repeated)
    #[arg(long, value_name = "TEXT")]
    append: Vec<String>,

    /// Sets the command line; refused with an image that has its own
    #[arg(long, value_name = "TEXT", conflicts_with = "reuse_cmdline")]
    command_line: Option<String>,

    /// Uses the running kernel's command line, without BOOT_IMAGE, and without crashkernel for a
    /// crash kernel
    #[arg(long)]
    reuse_cmdline: bool,

    /// Selects a profile of a UKI, counted from 0
    #[arg(long, value_name = "N")]
    profile: Option<u32>,

    /// Loads the kernel that starts when the running one panics
    #[arg(long)]
    crash: bool,

    /// Shows what would be loaded, and where each part comes from; loads nothing
    #[arg(long)]
    dry_run: bool,

    /// Who opens the image: the running kernel, or kpeel's sandbox
    ///
    /// Without this option it is the kernel where it can (CONFIG_KEXEC_PE): it verifies the signature of
    /// the whole image and runs the parser that the image carries. What the kernel refuses is not
    /// tried again in the sandbox. A dry run is always the sandbox's.
    #[arg(long, value_name = "kernel|user")]
    host: Option<HostName>,

    /// Uses kexec_file_load (file) or kexec_load (segments), not what fits the running kernel
    #[arg(long, value_name = "file|segments")]
    syscall: Option<CallName>,

    /// Uses this device tree; without it the image's own, else the running kernel's (segments only)
    #[arg(long, value_name = "FILE")]
    dtb: Option<PathBuf>,

    /// Whose signatures count: none, system (the firmware's keys and the machine owner's), or a file
    /// with certificates in PEM or DER or with an EFI signature list (may be repeated)
    ///
    /// Without this option it is system where Secure Boot or kernel lockdown is on, else none. The
    /// running kernel makes its own check when the kernel is loaded, by its own keys. Where
    /// signatures count here, it is given a copy of what was judged, at which no signature of IMA's
    /// stands: with none it is given the file itself.
    #[arg(long, value_name = "none|system|FILE")]
    trust: Vec<String>,

    /// Revokes the certificates and digests in a file of such a kind (may be repeated)
    #[arg(long, value_name = "FILE", requires = "trust")]
    revoke: Vec<PathBuf>,

    /// Shows on standard error what the parsers do, and has the kernel log what it loads
    #[arg(long)]
    debug: bool,

    #[command(flatten)]
    places: PlacesArgs,

    #[command(flatten)]
    parsers: ParserArgs,

    /// Reads the state of the system below DIR
    #[arg(long, value_name = "DIR", default_value = "/", requires = "dry_run")]
    root: PathBuf,

    /// Prints the dry run as JSON
    #[arg(long, requires = "dry_run")]
    json: bool,
}

/// Where boot entries are.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PlacesArgs {
    /// Where the EFI system partition is mounted; without it /efi, /boot and /boot/efi are looked at
    #[arg(long, value_name = "DIR")]
    esp: Option<PathBuf>,

    /// Where the extended boot loader partition is mounted
    #[arg(long, value_name = "DIR")]
    xbootldr: Option<PathBuf>,
}

impl PlacesArgs {
    /// As the loader takes them.
    pub(crate) fn places(&self) -> Places {
        Places {
            esp: self.esp.clone(),
            xbootldr: self.xbootldr.clone(),
        }
    }
}

impl Load {
    pub(crate) fn run(&self, terminal: &mut Terminal) -> Result<()> {
        match self.load(terminal) {
            Err(failure) if self.json => Err(json::print_failure(terminal, failure)),
            done => done,
        }
    }

    fn load(&self, terminal: &mut Terminal) -> Result<()> {
        let wish = self.wish()?;
        if !self.dry_run
            && let Some(load) = wish.for_kernel(self.host, self.parsers.chosen(), terminal)?
        {
            return load.load(terminal);
        }
        let prepared = wish.prepare(terminal)?;
        if !self.dry_run {
            prepared.warn(terminal);
            return prepared.load(terminal);
        }
        let report = prepared.report()?;
        if self.json {
            return json::print(terminal, &report);
        }
        prepared.warn(terminal);
        terminal.result(report.text().as_bytes())
    }

    fn wish(&self) -> Result<Wish> {
        let image = match (&self.image, &self.entry) {
            (_, Some(id)) => Target::Entry(id.clone(), self.places.places()),
            (image, None) => Target::Path(image.clone().unwrap_or_default()),
        };
        Ok(Wish {
            root: self.root.clone(),
            image,
            initrds: self.initrd.clone(),
            append: self.append.clone(),
            command_line: self.command_line.clone(),
            reuse_cmdline: self.reuse_cmdline,
            profile: self.profile,
            crash: self.crash,
            call: self.syscall.map(|name| name.0),
            dtb: self.dtb.clone(),
            trust: Trust::parse(&self.trust)?,
            revoke: self.revoke.clone(),
            embedded: self.parsers.embedded(),
            parsers: offered(&self.parsers)?,
            debug: self.debug,
        })
    }
}

/// The parsers that come with kpeel.
pub(crate) fn bundled() -> Vec<(String, Option<Vec<u8>>)> {
    let names = kpeel_parsers::BUNDLED.iter();
    names
        .map(|bundled| (bundled.name.to_owned(), None))
        .collect()
}

/// Names of the parsers offered, with the carriers of those that do not come with kpeel.
fn offered(parsers: &ParserArgs) -> Result<Vec<(String, Option<Vec<u8>>)>> {
    let named = |Offer { name, carrier }: Offer| {
        let carrier = match carrier {
            Cow::Borrowed(_) => None,
            Cow::Owned(bytes) => Some(bytes),
        };
        (name, carrier)
    };
    Ok(parsers.offers()?.into_iter().map(named).collect())
}
