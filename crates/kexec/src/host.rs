//! Whether the running kernel opens PE boot images itself.
//!
//! Source: `kernel/kexec_pe/sysfs.c` of a kernel with `CONFIG_KEXEC_PE`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Error, Result};

/// The kernel's own host of parsers, as it announces itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KernelHost {
    /// Version of the contract with parsers.
    pub abi_version: u32,
    /// Names of the codecs it decompresses, as in the kernel's `lib/decompress.c`.
    pub codecs: Vec<String>,
    /// Most envelopes one inside the other.
    pub depth: u32,
}

impl KernelHost {
    /// Reads what the kernel announces below `root` (`/` on a running system); `None` if it has no such host.
    ///
    /// # Errors
    /// [`Error::Read`] for a file that is missing beside the others or cannot be read, [`Error::Malformed`] for a number
    /// that is none.
    pub fn read(root: &Path) -> Result<Option<Self>> {
        let dir = root.join("sys/kernel/kexec_pe");
        match fs::metadata(&dir) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::read(dir)(error)),
        }
        let text = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(Error::read(path))
        };
        let number = |field: &'static str, name: &str| {
            let text = text(name)?;
            let number = text.trim().parse();
            number.map_err(|_| Error::malformed(field, text.trim(), "a number"))
        };
        Ok(Some(Self {
            abi_version: number("kexec_pe's abi_version", "abi_version")?,
            codecs: text("codecs")?
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            depth: number("kexec_pe's depth", "depth")?,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root whose kernel announces these files.
    fn read(name: &str, files: &[(&str, &str)]) -> Result<Option<KernelHost>> {
        let root = std::env::temp_dir().join(format!("kpeel-host-{name}-{}", std::process::id()));
        let dir = root.join("sys/kernel/kexec_pe");
        for (file, text) in files {
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(file), text).unwrap();
        }
        let host = KernelHost::read(&root);
        let _ = fs::remove_dir_all(&root);
        host
    }

    #[test]
    fn reads_what_the_kernel_announces() {
        let files = [
            ("abi_version", "1\n"),
            ("codecs", "gzip zstd \n"),
            ("depth", "4\n"),
        ];
        let host = read("there", &files).unwrap().unwrap();
        assert_eq!((host.abi_version, host.depth), (1, 4));
        assert_eq!(host.codecs, ["gzip", "zstd"]);
    }

    #[test]
    fn a_kernel_without_it_has_none() {
        assert_eq!(read("absent", &[]).unwrap(), None);
    }

    #[test]
    fn rejects_half_an_announcement_and_no_number() {
        let half = read("half", &[("abi_version", "1\n")]);
        assert!(matches!(half, Err(Error::Read { .. })));
        let word = read("word", &[("abi_version", "one\n")]);
        assert!(matches!(word, Err(Error::Malformed { .. })));
    }
}
