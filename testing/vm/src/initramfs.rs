//! Initial RAM disks in the "newc" cpio format.
//!
//! Source: the kernel's `Documentation/driver-api/early-userspace/buffer-format.rst`. Everything
//! is owned by root and dated 0, so equal content gives equal bytes.

use std::path::Path;
use std::{fs, io};

const MAGIC: &str = "070701";
const TRAILER: &str = "TRAILER!!!";
/// Names and contents start at multiples of this.
const ALIGN: usize = 4;

const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_CHAR_DEVICE: u32 = 0o020_000;
const TYPE_FILE: u32 = 0o100_000;
const TYPE_SYMLINK: u32 = 0o120_000;

/// An initramfs being written. Paths are relative to the root, without a leading slash; their
/// parent directories appear by themselves.
#[derive(Clone, Debug, Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    directories: Vec<String>,
    entries: u32,
}

impl Initramfs {
    /// An archive that holds only what a kernel needs to give PID 1 a console.
    #[must_use]
    pub fn new() -> Self {
        let mut archive = Self::default();
        archive.char_device("dev/console", 0o600, 5, 1);
        for directory in ["proc", "sys", "tmp", "run"] {
            archive.directory(directory);
        }
        archive
    }

    /// Adds a directory, unless it is there.
    pub fn directory(&mut self, path: &str) {
        if path.is_empty() || self.directories.iter().any(|known| known == path) {
            return;
        }
        self.parents(path);
        self.directories.push(path.to_owned());
        self.entry(path, TYPE_DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// Adds a file that nobody executes.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        self.parents(path);
        self.entry(path, TYPE_FILE | 0o644, (0, 0), content);
    }

    /// Adds an executable file, copied from `source`.
    ///
    /// # Errors
    /// What reading `source` gives.
    pub fn program(&mut self, path: &str, source: &Path) -> io::Result<()> {
        let content = fs::read(source)?;
        self.parents(path);
        self.entry(path, TYPE_FILE | 0o755, (0, 0), &content);
        Ok(())
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, TYPE_SYMLINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device node.
    pub fn char_device(&mut self, path: &str, mode: u32, major: u32, minor: u32) {
        self.parents(path);
        self.entry(path, TYPE_CHAR_DEVICE | mode, (major, minor), &[]);
    }

    /// The finished archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, (0, 0), &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let inode = self.entries;
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("newc holds files below 4 GiB");
        let name_size = u32::try_from(path.len() + 1).expect("a path is short");
        // ino, mode, uid, gid, nlink, mtime, filesize, dev major and minor, rdev major and minor,
        // namesize (with its NUL), check.
        let (major, minor) = device;
        let fields = [
            inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0,
        ];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let end = self.bytes.len().next_multiple_of(ALIGN);
        self.bytes.resize(end, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    /// What GNU cpio, an independent reader, sees in the archive.
    fn listing(archive: &[u8]) -> String {
        let mut child = Command::new("cpio")
            .args(["--list", "--verbose", "--quiet", "--numeric-uid-gid"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("TZ", "UTC")
            .spawn()
            .expect("Debian package cpio is installed");
        child
            .stdin
            .take()
            .expect("stdin is piped")
            .write_all(archive)
            .expect("cpio reads its input");
        let output = child.wait_with_output().expect("cpio ends");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("names are ASCII")
    }

    #[test]
    fn cpio_reads_back_every_kind_of_entry() {
        let mut archive = Initramfs::new();
        archive.file("etc/deep/text", b"12345");
        archive.symlink("bin", "usr/bin");
        let listing = listing(&archive.finish());
        let lines: Vec<Vec<&str>> = listing
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let modes: Vec<(&str, &str)> = lines
            .iter()
            .map(|words| (words[0], words[words.len() - 1]))
            .collect();
        assert_eq!(
            modes,
            [
                ("drwxr-xr-x", "dev"),
                ("crw-------", "dev/console"),
                ("drwxr-xr-x", "proc"),
                ("drwxr-xr-x", "sys"),
                ("drwxr-xr-x", "tmp"),
                ("drwxr-xr-x", "run"),
                ("drwxr-xr-x", "etc"),
                ("drwxr-xr-x", "etc/deep"),
                ("-rw-r--r--", "etc/deep/text"),
                ("lrwxrwxrwx", "usr/bin"),
            ]
        );
        assert!(listing.contains("5,   1"), "console is 5:1: {listing}");
        assert!(listing.contains(" 5 Jan  1  1970 etc/deep/text"));
    }

    #[test]
    fn equal_content_gives_equal_bytes() {
        let build = || {
            let mut archive = Initramfs::new();
            archive.file("job", b"name x\n");
            archive.finish()
        };
        assert_eq!(build(), build());
    }
}
