//! What the running kernel says about kexec.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};

/// Kernel lockdown (`Documentation/admin-guide/LSM`, `security/lockdown`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Lockdown {
    /// The kernel has no lockdown, or it cannot be read.
    #[default]
    Unknown,
    /// Off.
    None,
    /// Nobody may change the running kernel.
    Integrity,
    /// Nobody may read its secrets either.
    Confidentiality,
}

/// The state of kexec; `None` where the kernel does not tell.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// A kernel is loaded for the next kexec reboot.
    pub loaded: Option<bool>,
    /// A crash kernel is loaded.
    pub crash_loaded: Option<bool>,
    /// Bytes reserved for a crash kernel.
    pub crash_size: Option<u64>,
    /// `kexec_load_disabled`: no kernel can be loaded until the next boot.
    pub load_disabled: Option<bool>,
    /// Lockdown mode.
    pub lockdown: Lockdown,
    /// Secure Boot, from the firmware's variable; without EFI there is none, which is `Some(false)`.
    pub secure_boot: Option<bool>,
}

/// What firmware tells; on a machine without EFI, something of another kind.
const FIRMWARE: &str = "sys/firmware";
/// There on every machine with EFI.
const EFI: &str = "sys/firmware/efi";
/// Where efivarfs is mounted.
const VARIABLES: &str = "sys/firmware/efi/efivars";
/// The firmware's `SecureBoot` variable: four bytes of attributes, then the value.
const SECURE_BOOT: &str =
    "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

impl Status {
    /// Reads the status files below `root` (`/` on a running system).
    ///
    /// # Errors
    /// [`Error::Read`] for a file that is there but cannot be read, [`Error::Malformed`] for one
    /// that holds something else than a number.
    pub fn read(root: &Path) -> Result<Self> {
        let either = |new: &str, old: &str| match number(root, new)? {
            None => number(root, old),
            found => Ok(found),
        };
        let flag = |value: Option<u64>| value.map(|value| value != 0);
        Ok(Self {
            loaded: flag(either(
                "sys/kernel/kexec/loaded",
                "sys/kernel/kexec_loaded",
            )?),
            crash_loaded: flag(either(
                "sys/kernel/kexec/crash_loaded",
                "sys/kernel/kexec_crash_loaded",
            )?),
            crash_size: either("sys/kernel/kexec/crash_size", "sys/kernel/kexec_crash_size")?,
            load_disabled: flag(number(root, "proc/sys/kernel/kexec_load_disabled")?),
            lockdown: lockdown(root)?,
            secure_boot: secure_boot(root)?,
        })
    }
}

fn number(root: &Path, path: &str) -> Result<Option<u64>> {
    let Some(bytes) = optional(root, path)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let number = text.trim().parse();
    number
        .map(Some)
        .map_err(|_| Error::malformed("kexec status file", text.trim(), "a number"))
}

/// Off, too, where there is no such variable, or no EFI. Only what stands beside it shows that it is not merely hidden:
/// an empty folder is one where nothing is mounted, or one that a container may not look into.
fn secure_boot(root: &Path) -> Result<Option<bool>> {
    if let Some(bytes) = optional(root, SECURE_BOOT)? {
        return Ok(bytes.get(4).map(|value| *value == 1));
    }
    let filled = |path: &str| {
        let files = fs::read_dir(root.join(path));
        files.is_ok_and(|mut files| files.next().is_some())
    };
    let no_efi = filled(FIRMWARE) && matches!(root.join(EFI).try_exists(), Ok(false));
    Ok((no_efi || filled(VARIABLES)).then_some(false))
}

/// `none [integrity] confidentiality`: the mode in force stands in brackets.
fn lockdown(root: &Path) -> Result<Lockdown> {
    let bytes = optional(root, "sys/kernel/security/lockdown")?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mode = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    Ok(match mode.map(|(mode, _)| mode) {
        Some("none") => Lockdown::None,
        Some("integrity") => Lockdown::Integrity,
        Some("confidentiality") => Lockdown::Confidentiality,
        _ => Lockdown::Unknown,
    })
}

/// The file's bytes; `None` when there is no such file.
fn optional(root: &Path, path: &str) -> Result<Option<Vec<u8>>> {
    let path = root.join(path);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::read(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &[u8])]) -> tempdir::Dir {
        let dir = tempdir::Dir::new();
        for (path, bytes) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    /// A folder of its own that is gone with the value.
    mod tempdir {
        use std::path::{Path, PathBuf};
        use std::sync::atomic::{AtomicU32, Ordering};

        pub(super) struct Dir(PathBuf);

        impl Dir {
            pub(super) fn new() -> Self {
                static NEXT: AtomicU32 = AtomicU32::new(0);
                let number = NEXT.fetch_add(1, Ordering::Relaxed);
                let name = format!("kpeel-status-{}-{number}", std::process::id());
                let path = std::env::temp_dir().join(name);
                std::fs::create_dir(&path).unwrap();
                Self(path)
            }

            pub(super) fn path(&self) -> &Path {
                &self.0
            }
        }

        impl Drop for Dir {
            fn drop(&mut self) {
                let _ = std::fs::remove_dir_all(&self.0);
            }
        }
    }

    #[test]
    fn reads_the_old_places() {
        let root = root(&[
            ("sys/kernel/kexec_loaded", b"1\n"),
            ("sys/kernel/kexec_crash_loaded", b"0\n"),
            ("sys/kernel/kexec_crash_size", b"268435456\n"),
            ("proc/sys/kernel/kexec_load_disabled", b"0\n"),
            (
                "sys/kernel/security/lockdown",
                b"none [integrity] confidentiality\n",
            ),
            (SECURE_BOOT, &[6, 0, 0, 0, 1]),
        ]);
        let status = Status::read(root.path()).unwrap();
        assert_eq!(
            status,
            Status {
                loaded: Some(true),
                crash_loaded: Some(false),
                crash_size: Some(268_435_456),
                load_disabled: Some(false),
                lockdown: Lockdown::Integrity,
                secure_boot: Some(true),
            }
        );
    }

    #[test]
    fn prefers_the_new_places() {
        let root = root(&[
            ("sys/kernel/kexec/loaded", b"1"),
            ("sys/kernel/kexec_loaded", b"0"),
        ]);
        assert_eq!(Status::read(root.path()).unwrap().loaded, Some(true));
    }

    #[test]
    fn a_kernel_that_tells_nothing_is_unknown() {
        assert_eq!(Status::read(root(&[]).path()).unwrap(), Status::default());
    }

    #[test]
    fn secure_boot_is_off_without_efi_and_unknown_where_it_is_hidden() {
        let told = |files: &[(&str, &[u8])], folder: &str| {
            let root = root(files);
            fs::create_dir_all(root.path().join(folder)).unwrap();
            Status::read(root.path()).unwrap().secure_boot
        };
        let acpi: &[(&str, &[u8])] = &[("sys/firmware/acpi/tables/DSDT", b"")];
        assert_eq!(told(acpi, FIRMWARE), Some(false));
        assert_eq!(told(&[], FIRMWARE), None);
        assert_eq!(told(acpi, VARIABLES), None);
        let other = format!("{VARIABLES}/BootOrder-8be4df61-93ca-11d2-aa0d-00e098032b8c");
        assert_eq!(told(&[(other.as_str(), b"")], FIRMWARE), Some(false));
        assert_eq!(
            told(&[(SECURE_BOOT, &[6, 0, 0, 0, 0])], FIRMWARE),
            Some(false)
        );
        assert_eq!(told(&[(SECURE_BOOT, &[6])], FIRMWARE), None);
    }

    #[test]
    fn rejects_a_file_that_holds_no_number() {
        let root = root(&[("sys/kernel/kexec_loaded", b"yes")]);
        assert!(matches!(
            Status::read(root.path()),
            Err(Error::Malformed { .. })
        ));
    }
}
