//! From options to sections.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use kpeel_envelope::pe::Pe;
use kpeel_image::uki::{ADDON_SBAT, NewSection, Sections, UKI_SBAT, merge_sbat, profile_sections};

use super::initrd::Initrds;
use super::signing::Signer;
use super::uki::{Uki, efi_arch, text_or_file};
use super::{hardware, kernel};
use crate::atomic::Draft;
use crate::failure::{Failure, Result};
use crate::input;
use crate::terminal::Terminal;

/// The profile of a UKI that joins others and names none for its base.
const MAIN_PROFILE: &str = "ID=main";
/// Where a system describes itself, the first that is there (os-release(5)).
const OS_RELEASE: [&str; 2] = ["/etc/os-release", "/usr/lib/os-release"];

/// What was read; sections borrow from it.
pub(super) struct Inputs {
    kernel: Option<Vec<u8>>,
    /// The kernel's own, unless the caller gives one.
    release: Option<String>,
    initrd: Option<Initrds>,
    joined: Vec<Vec<u8>>,
}

impl Inputs {
    pub(super) fn read(options: &Uki, signer: &Signer, terminal: &mut Terminal) -> Result<Self> {
        let kernel = match &options.linux {
            None => None,
            Some(path) => {
                let kernel = kernel::read(path, terminal)?;
                Some(signer.inner(path, kernel, terminal)?)
            }
        };
        let release = match (&options.linux, &kernel, &options.uname) {
            (Some(path), Some(kernel), None) => kernel::release(path, kernel, terminal)?,
            _ => None,
        };
        let image = |path: &PathBuf| input::file(path, input::Kind::Image);
        Ok(Self {
            kernel,
            release,
            initrd: Initrds::open(&options.initrd)?,
            joined: options
                .join_profile
                .iter()
                .map(image)
                .collect::<Result<_>>()?,
        })
    }

    /// Reads what was left to be read when the image is written.
    pub(super) fn read_all(&mut self) -> Result<()> {
        self.initrd.as_mut().map_or(Ok(()), Initrds::read)
    }

    /// Writes what was left to be read.
    pub(super) fn write_later(&self, draft: &mut Draft) -> Result<()> {
        let initrd = self.initrd.as_ref();
        initrd.map_or(Ok(()), |initrd| initrd.write(draft))
    }

    /// The kernel's architecture, as EFI file names have it.
    pub(super) fn efi_arch(&self) -> Option<&'static str> {
        let kernel = self.kernel.as_ref()?;
        efi_arch(Pe::parse(kernel).ok()?.headers().machine)
    }

    /// All sections in order.
    pub(super) fn sections<'s>(
        &'s self,
        options: &'s Uki,
        stub: &[u8],
    ) -> Result<Vec<NewSection<'s>>> {
        let file = |path: &Option<PathBuf>| -> Result<Option<Cow<'s, [u8]>>> {
            let read = |path: &PathBuf| input::file(path, input::Kind::Initrd);
            path.as_ref()
                .map(read)
                .transpose()
                .map(|data| data.map(Cow::Owned))
        };
        let uname = options.uname.as_deref().or(self.release.as_deref());
        let sections = Sections {
            osrel: os_release(options)?,
            cmdline: cmdline(options)?,
            dtb: file(&options.devicetree)?,
            dtbauto: files(&options.devicetree_auto)?,
            hwids: options
                .hwids
                .as_deref()
                .map(hardware::hwids)
                .transpose()?
                .map(Cow::Owned),
            uname: uname
                .filter(|uname| !uname.is_empty())
                .map(|uname| uname.as_bytes().into()),
            splash: file(&options.splash)?,
            pcrpkey: file(&options.pcrpkey)?,
            linux: self.kernel.as_deref().map(Cow::Borrowed),
            initrd: self.initrd.as_ref().map(Initrds::section).transpose()?,
            efifw: firmware(options)?,
            ucode: file(&options.microcode)?,
            others: others(options)?,
            sbat: self.sbat(options, stub)?,
            profile: profile(options)?,
            joined: self.profiles(options)?,
        };
        Ok(sections.arrange())
    }

    /// Revocation entries of all that runs. A profile has none of its own.
    fn sbat(&self, options: &Uki, stub: &[u8]) -> Result<Option<Cow<'static, [u8]>>> {
        if options.profile.is_some() && options.join_profile.is_empty() {
            return Ok(None);
        }
        let mut texts = Vec::new();
        for value in &options.sbat {
            texts.push(String::from_utf8_lossy(&text_or_file(value)?).into_owned());
        }
        let (images, default) = match &self.kernel {
            Some(kernel) => (vec![stub, kernel.as_slice()], UKI_SBAT),
            // An add-on's stub does not run.
            None => (Vec::new(), ADDON_SBAT),
        };
        if texts.is_empty() {
            texts.push(default.to_owned());
        }
        let merged = merge_sbat(&images, &texts);
        merged
            .map(|table| Some(table.into()))
            .map_err(|error| Failure::envelope("--sbat, stub and kernel", error))
    }

    fn profiles(&self, options: &Uki) -> Result<Vec<Vec<NewSection<'_>>>> {
        let mut all = Vec::new();
        for (path, image) in options.join_profile.iter().zip(&self.joined) {
            let sections = profile_sections(image);
            let blamed = |error| Failure::envelope(path.display().to_string(), error);
            all.push(sections.map_err(blamed)?);
        }
        Ok(all)
    }
}

fn files(paths: &[PathBuf]) -> Result<Vec<Cow<'static, [u8]>>> {
    let read = |path: &PathBuf| Ok(input::file(path, input::Kind::Initrd)?.into());
    paths.iter().map(read).collect()
}

fn firmware(options: &Uki) -> Result<Vec<Cow<'static, [u8]>>> {
    let read = |path: &PathBuf| Ok(hardware::firmware(path)?.into());
    options.efifw.iter().map(read).collect()
}

fn cmdline(options: &Uki) -> Result<Option<Cow<'_, [u8]>>> {
    let Some(value) = options.cmdline.as_deref() else {
        return Ok(None);
    };
    if value.starts_with('@') {
        return text_or_file(value).map(Some);
    }
    // Blanks and newlines of an option or a configuration file mean nothing.
    let folded = value.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok((!folded.is_empty()).then(|| folded.into_bytes().into()))
}

fn os_release(options: &Uki) -> Result<Option<Cow<'_, [u8]>>> {
    match options.os_release.as_deref() {
        Some("") => Ok(None),
        Some(value) => text_or_file(value).map(Some),
        None if options.linux.is_none() => Ok(None),
        None => {
            let path = OS_RELEASE.iter().map(Path::new).find(|path| path.exists());
            let read = |path| Ok(input::file(path, input::Kind::Initrd)?.into());
            path.map(read).transpose()
        }
    }
}

fn profile(options: &Uki) -> Result<Option<Cow<'_, [u8]>>> {
    match options.profile.as_deref().filter(|value| !value.is_empty()) {
        Some(value) => text_or_file(value).map(Some),
        None if options.join_profile.is_empty() => Ok(None),
        None => Ok(Some(MAIN_PROFILE.as_bytes().into())),
    }
}

fn others(options: &Uki) -> Result<Vec<NewSection<'_>>> {
    let parse = |value: &'_ String| {
        let (name, content) = value.split_once(':').ok_or_else(|| {
            Failure::usage(format!(
                "--section: found \"{value}\", needed NAME:TEXT or NAME:@PATH"
            ))
        })?;
        if !name.bytes().all(|byte| byte.is_ascii_graphic()) || !(1..=8).contains(&name.len()) {
            return Err(Failure::usage(format!(
                "--section: found the name \"{name}\", needed 1 to 8 printable ASCII characters"
            )));
        }
        Ok((name.to_owned(), content.to_owned()))
    };
    let mut all = Vec::new();
    for value in &options.section {
        let (name, content) = parse(value)?;
        all.push(NewSection::new(name, text_or_file(&content)?.into_owned()));
    }
    Ok(all)
}
