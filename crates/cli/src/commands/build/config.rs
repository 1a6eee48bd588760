//! ukify's configuration file (ukify(1), "CONFIG FILE").
//!
//! Sections in brackets, settings as `Key = value`, `#` begins a comment at the begin of a line or
//! behind a blank; a line that begins with a blank goes on with the value before it. What the
//! command line gives counts before a setting, but initrds and device trees to choose from come
//! together: the file's first.

use std::path::Path;

use super::signing::Signing;
use super::uki::Uki;
use crate::failure::{Failure, Result};

/// One setting.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Setting {
    section: String,
    key: String,
    value: String,
}

/// Takes over the settings in `text`, the file at `path`. Returns what is to be told about them.
///
/// # Errors
/// Usage for a line that is no setting, and for settings whose effect the image would lack.
pub(super) fn apply(options: &mut Uki, text: &str, path: &Path) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    for setting in parse(text).map_err(|message| Failure::usage(message).of(path))? {
        let Setting {
            section,
            key,
            value,
        } = setting;
        let named = format!("[{section}] {key}");
        if section.starts_with("PCRSignature:") {
            return Err(unsupported(&named).of(path));
        }
        if section != "UKI" {
            notes.push(format!("{}: unknown setting {named}", path.display()));
            continue;
        }
        match take(options, &key, &value) {
            Taken::Done => {}
            Taken::Without => {
                notes.push(format!("{}: {named} changes nothing here", path.display()))
            }
            Taken::Unknown => notes.push(format!("{}: unknown setting {named}", path.display())),
            Taken::Unsupported => return Err(unsupported(&named).of(path)),
        }
    }
    Ok(notes)
}

enum Taken {
    Done,
    /// A setting that tunes what kpeel does another way.
    Without,
    Unknown,
    Unsupported,
}

fn unsupported(named: &str) -> Failure {
    Failure::usage(format!(
        "{named}: kpeel does not do this, and the image would lack it"
    ))
}

fn take(options: &mut Uki, key: &str, value: &str) -> Taken {
    let path = || Some(value.into());
    let text = || Some(value.to_owned());
    let list = || value.split_whitespace().map(Into::into);
    match key {
        "Linux" => set(&mut options.linux, path),
        "OSRelease" => set(&mut options.os_release, text),
        "Cmdline" => set(&mut options.cmdline, text),
        "Initrd" => drop(options.initrd.splice(0..0, list())),
        "DeviceTreeAuto" => drop(options.devicetree_auto.splice(0..0, list())),
        "Firmware" => drop(options.efifw.splice(0..0, list())),
        "Microcode" => set(&mut options.microcode, path),
        "Splash" => set(&mut options.splash, path),
        "DeviceTree" => set(&mut options.devicetree, path),
        "HWIDs" => set(&mut options.hwids, path),
        "Uname" => set(&mut options.uname, text),
        "SBAT" => {
            if options.sbat.is_empty() {
                options.sbat.push(value.to_owned());
            }
        }
        "PCRPKey" => set(&mut options.pcrpkey, path),
        "Profile" => set(&mut options.profile, text),
        "EFIArch" => set(&mut options.efi_arch, text),
        "Stub" => set(&mut options.stub, path),
        _ => return take_signing(&mut options.signing, key, value),
    }
    Taken::Done
}

/// Settings about signatures.
fn take_signing(signing: &mut Signing, key: &str, value: &str) -> Taken {
    match key {
        "SecureBootPrivateKey" => {
            // A key in the file is there to sign with.
            signing.sign = true;
            set(&mut signing.key, || Some(value.into()));
        }
        "SecureBootCertificate" => set(&mut signing.cert, || Some(value.into())),
        "SignKernel" => signing.sign_inner |= is_true(value),
        "SecureBootCertificateName" => return Taken::Unsupported,
        "PCRBanks"
        | "SigningEngine"
        | "SigningProvider"
        | "CertificateProvider"
        | "SecureBootSigningTool"
        | "SecureBootCertificateDir"
        | "SecureBootCertificateValidity" => return Taken::Without,
        _ => return Taken::Unknown,
    }
    Taken::Done
}

/// ukify's words for yes.
fn is_true(value: &str) -> bool {
    matches!(
        value.to_ascii_lowercase().as_str(),
        "1" | "true" | "yes" | "y" | "t" | "on"
    )
}

fn set<T>(option: &mut Option<T>, value: impl FnOnce() -> Option<T>) {
    if option.is_none() {
        *option = value();
    }
}

/// All settings in order; of a key that stands twice in one section the last counts.
fn parse(text: &str) -> std::result::Result<Vec<Setting>, String> {
    let mut settings: Vec<Setting> = Vec::new();
    let mut section = None;
    let mut continues = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = without_comment(line);
        let trimmed = line.trim();
        if trimmed.is_empty() {
            continues = false;
            continue;
        }
        let last = settings
            .last_mut()
            .filter(|_| continues && line.starts_with([' ', '\t']));
        if let Some(last) = last {
            last.value.push('\n');
            last.value.push_str(trimmed);
            continue;
        }
        if let Some(name) = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = Some(name.to_owned());
            continues = false;
            continue;
        }
        let setting = setting(trimmed, section.as_deref())
            .map_err(|message| format!("line {number}: {message}"))?;
        let same = |old: &Setting| (&old.section, &old.key) == (&setting.section, &setting.key);
        settings.retain(|old| !same(old));
        settings.push(setting);
        continues = true;
    }
    Ok(settings)
}

/// The setting in `line`, in this section.
fn setting(line: &str, section: Option<&str>) -> std::result::Result<Setting, String> {
    let (key, value) = line
        .split_once('=')
        .ok_or_else(|| format!("found \"{line}\", needed Key=value"))?;
    let section = section.ok_or("found a setting, needed [UKI] before it")?;
    Ok(Setting {
        section: section.to_owned(),
        key: key.trim().to_owned(),
        value: value.trim().to_owned(),
    })
}

/// The line up to a `#` that begins it or follows a blank.
fn without_comment(line: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| {
        line.get(..*at)
            .is_none_or(|before| before.is_empty() || before.ends_with([' ', '\t']))
    };
    let comment = line.match_indices('#').find(begins);
    comment.and_then(|(at, _)| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str, mut options: Uki) -> (Uki, Vec<String>) {
        let notes = apply(&mut options, text, Path::new("ukify.conf")).unwrap();
        (options, notes)
    }

    #[test]
    fn the_command_line_comes_first_and_lists_come_together() {
        let options = Uki {
            cmdline: Some("mine".into()),
            initrd: vec!["c".into()],
            ..Uki::default()
        };
        let text = "[UKI]\nCmdline=its\nInitrd = a b # both\nUname=6.1#x\n";
        let (options, notes) = applied(text, options);
        assert_eq!(options.cmdline.as_deref(), Some("mine"));
        assert_eq!(
            options.initrd,
            ["a", "b", "c"].map(std::path::PathBuf::from)
        );
        assert_eq!(options.uname.as_deref(), Some("6.1#x"));
        assert!(notes.is_empty(), "{notes:?}");
    }

    #[test]
    fn values_go_on_in_lines_that_begin_with_a_blank() {
        let text = "# about\n[UKI]\nCmdline = root=/dev/sda\n  quiet\n\nStub=/stub\n";
        let (options, _) = applied(text, Uki::default());
        assert_eq!(options.cmdline.as_deref(), Some("root=/dev/sda\nquiet"));
        assert_eq!(options.stub, Some("/stub".into()));
    }

    #[test]
    fn names_what_it_does_not_know_and_refuses_what_would_be_missing() {
        let (_, notes) = applied(
            "[UKI]\nColour=red\nPCRBanks=sha1\n[Else]\nA=b\n",
            Uki::default(),
        );
        assert_eq!(notes.len(), 3, "{notes:?}");
        for text in [
            "[PCRSignature:initrd]\nPhases=enter-initrd\n",
            "[UKI]\nSecureBootCertificateName=mine\n",
            "[UKI]\nLinux\n",
            "Linux=before any section\n",
        ] {
            assert!(
                apply(&mut Uki::default(), text, Path::new("x")).is_err(),
                "{text}"
            );
        }
    }
}
