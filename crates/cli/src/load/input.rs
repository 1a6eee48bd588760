//! The caller's files, copied into sealed memory before anybody looks at them.
//!
//! A file may be written to, or cut off, by another process at any time. What is checked and opened
//! is therefore the copy; and a copy taken from a file that changed meanwhile is refused, since it
//! may be half of one content and half of another.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kpeel_envelope::limits::Limits;
use kpeel_sandbox::read_chunk;
use rustix::fs::{MemfdFlags, memfd_create};

use crate::failure::{Failure, Result};

/// Initrds stand at multiples of this (`Documentation/driver-api/early-userspace`).
const INITRD_ALIGNMENT: u64 = 4;
/// A change time younger than this cannot tell the next change from this one: the kernel's clock
/// for files ticks every few milliseconds.
const TICK: Duration = Duration::from_millis(20);

/// Files joined in sealed memory.
#[derive(Debug)]
pub(crate) struct Input {
    /// The copy; nobody can change it.
    pub(crate) memory: File,
    /// Its length.
    pub(crate) size: u64,
    /// What it was copied from, in order.
    pub(crate) parts: Vec<Part>,
}

/// One file that was copied.
#[derive(Debug)]
pub(crate) struct Part {
    /// Its name, as the caller gave it.
    pub(crate) path: PathBuf,
    /// Bytes copied.
    pub(crate) size: u64,
    /// The file itself and what it was like; none for a pipe.
    original: Option<(File, Stamp)>,
}

/// What changes with every change of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Input {
    /// Copies one file; `-` is standard input.
    pub(crate) fn one(path: &Path, bound: &'static str, allowed: u64) -> Result<Self> {
        Self::joined(&[path.to_owned()], bound, allowed)
    }

    /// Copies files one behind the other, each at the next multiple of four bytes.
    pub(crate) fn joined(paths: &[PathBuf], bound: &'static str, allowed: u64) -> Result<Self> {
        let mut memory = memory(bound)?;
        let mut size: u64 = 0;
        let mut parts = Vec::new();
        for path in paths {
            let start = size.next_multiple_of(INITRD_ALIGNMENT);
            memory
                .set_len(start)
                .and_then(|()| memory.seek(SeekFrom::Start(start)))
                .map_err(|error| Failure::io(path, "copy", error))?;
            let part = Part::copy(path, &mut memory, allowed.saturating_sub(start))?;
            size = start.saturating_add(part.size);
            Limits::check(bound, size, allowed)
                .map_err(|error| Failure::envelope(path.display().to_string(), error))?;
            parts.push(part);
        }
        seal(&memory)?;
        Ok(Self {
            memory,
            size,
            parts,
        })
    }

    /// The file itself, if the copy is the whole of one regular file.
    pub(crate) fn original(&self) -> Option<&File> {
        match self.parts.as_slice() {
            [part] => part.original.as_ref().map(|(file, _)| file),
            _ => None,
        }
    }

    /// What the kernel is to read: the copy if it was judged, else the file itself.
    ///
    /// No file tells for certain that the kernel read what was judged. Whoever may write to it can put other bytes
    /// there and the old ones back, and its times do not always move: not where files live in memory (a map that was
    /// made before), not where another machine or program has them (NFS, FUSE), not even on ext4 (`EXT4_IOC_MOVE_EXT`).
    pub(crate) fn handed(&self, judged: bool) -> &File {
        self.original().filter(|_| !judged).unwrap_or(&self.memory)
    }

    /// Whether a copy is handed in a file's place, which only its being judged makes of it.
    pub(crate) fn replaced(&self, judged: bool) -> bool {
        judged && self.original().is_some()
    }

    /// Refuses files that are no longer what was copied.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        self.parts.iter().try_for_each(Part::check_unchanged)
    }

    /// After the kernel read the file itself: refuses it unless that is what was copied.
    ///
    /// A map made before the copy may write without a trace in the file's times. The kernel reads
    /// only what nobody can write to; so bytes that are the copy's now, in a file that did not
    /// change since, are those it read, as far as its times tell of changes (see [`Self::handed`]).
    pub(crate) fn check_loaded(&self) -> Result<()> {
        if let (Some(original), [part]) = (self.original(), self.parts.as_slice()) {
            let same = same_bytes(original, &self.memory)
                .map_err(|error| Failure::io(&part.path, "read", error))?;
            if !same {
                return Err(Failure::refused(CHANGED).of(&part.path));
            }
        }
        self.check_unchanged()
    }
}

/// Whether two files hold the same bytes, from their starts to their ends.
fn same_bytes(mut one: &File, mut other: &File) -> io::Result<bool> {
    const CHUNK: usize = 256 << 10;
    one.rewind()?;
    other.rewind()?;
    let (mut ones, mut others) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let read = read_chunk(&mut one, &mut ones)?;
        if read != read_chunk(&mut other, &mut others)? || ones.get(..read) != others.get(..read) {
            return Ok(false);
        }
        if read < CHUNK {
            return Ok(true);
        }
    }
}

impl Part {
    fn copy(path: &Path, memory: &mut File, allowed: u64) -> Result<Self> {
        let failure = |error| Failure::io(path, "read", error);
        // One byte more than allowed tells a file that is too long.
        let limit = allowed.saturating_add(1);
        if path.as_os_str() == "-" {
            let size = io::copy(&mut io::stdin().lock().take(limit), memory).map_err(failure)?;
            return Ok(Self {
                path: path.to_owned(),
                size,
                original: None,
            });
        }
        let file = File::open(path).map_err(|error| Failure::io(path, "open", error))?;
        let data = file.metadata().map_err(failure)?;
        if data.is_dir() {
            return Err(failure(io::ErrorKind::IsADirectory.into()));
        }
        let original = data.is_file();
        let stamp = Stamp::settled(&file).map_err(failure)?;
        let size = io::copy(&mut (&file).take(limit), memory).map_err(failure)?;
        let part = Self {
            path: path.to_owned(),
            size,
            original: original.then_some((file, stamp)),
        };
        part.check_unchanged()?;
        Ok(part)
    }

    fn check_unchanged(&self) -> Result<()> {
        let Some((file, stamp)) = &self.original else {
            return Ok(());
        };
        let data = file
            .metadata()
            .map_err(|error| Failure::io(&self.path, "read", error))?;
        let now = Stamp::of(&data);
        // Files of /proc and /sys have content without a size.
        if now == *stamp && (now.size == self.size || now.size == 0) {
            return Ok(());
        }
        Err(Failure::refused(CHANGED).of(&self.path))
    }
}

const CHANGED: &str = "the file changed while it was being loaded: nothing was loaded";

impl Stamp {
    fn of(data: &Metadata) -> Self {
        Self {
            size: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    /// The stamp of a file, once every further change will show in it.
    fn settled(file: &File) -> io::Result<Self> {
        let stamp = Self::of(&file.metadata()?);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let age = now.map_or(i128::MAX, |now| {
            let (seconds, nanos) = stamp.changed;
            let changed = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
            i128::try_from(now.as_nanos()).map_or(i128::MAX, |now| now.saturating_sub(changed))
        });
        // A clock set back makes the age negative: then nothing is known of it, and waiting would
        // not help.
        if (0..TICK.as_nanos() as i128).contains(&age) {
            std::thread::sleep(TICK);
        }
        Ok(stamp)
    }
}

/// An empty memfd that can be sealed.
pub(crate) fn memory(name: &str) -> Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = memfd_create(name, flags)
        .map_err(|error| Failure::system(format!("memfd_create: {error}")))?;
    Ok(memory.into())
}

/// Makes a memfd unchangeable, and sets its position to the start.
pub(crate) fn seal(memory: &File) -> Result<()> {
    kpeel_kexec::seal(memory)
        .map_err(|error| Failure::system(format!("sealing memory: {error}")))?;
    let mut memory = memory;
    memory
        .rewind()
        .map_err(|error| Failure::system(format!("sealing memory: {error}")))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::exit::Exit;

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("kpeel-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn content(input: &Input) -> Vec<u8> {
        let mut bytes = vec![0; input.size as usize];
        input.memory.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn joins_files_at_multiples_of_four() {
        let scratch = Scratch::new("joins");
        let paths = [scratch.file("a", b"12345"), scratch.file("b", b"67")];
        let input = Input::joined(&paths, "initrd", 10).unwrap();
        assert_eq!(content(&input), b"12345\0\0\x0067");
        assert!(input.original().is_none());
        input.check_unchanged().unwrap();
        let refused = Input::joined(&paths, "initrd", 9).unwrap_err();
        assert_eq!(refused.exit(), Exit::Refused);
        assert!(
            refused
                .to_string()
                .contains("initrd: found 10 (0xa), needed at most 9 (0x9)"),
            "{refused}"
        );
    }

    #[test]
    fn a_sealed_copy_cannot_be_changed() {
        let scratch = Scratch::new("sealed");
        let input = Input::one(&scratch.file("a", b"kernel"), "image", 6).unwrap();
        assert!(input.memory.write_at(b"x", 0).is_err());
        assert!(input.memory.set_len(3).is_err());
        assert!(input.original().is_some());
    }

    #[test]
    fn refuses_a_file_that_changed_since() {
        let scratch = Scratch::new("changed");
        for change in [
            |file: &mut File| file.write_all(b"KERNEL").unwrap(),
            |file: &mut File| file.set_len(3).unwrap(),
            |file: &mut File| file.set_len(30).unwrap(),
        ] {
            let path = scratch.file("a", b"kernel");
            let input = Input::one(&path, "image", 60).unwrap();
            input.check_unchanged().unwrap();
            change(&mut File::options().write(true).open(&path).unwrap());
            let refused = input.check_unchanged().unwrap_err();
            assert_eq!(refused.exit(), Exit::Refused);
            assert!(refused.to_string().ends_with(CHANGED));
            assert_eq!(content(&input), b"kernel");
        }
    }

    #[test]
    fn refuses_other_bytes_though_nothing_else_of_the_file_changed() {
        let scratch = Scratch::new("traceless");
        let path = scratch.file("a", b"kernel");
        let mut input = Input::one(&path, "image", 60).unwrap();
        input.check_loaded().unwrap();
        fs::write(&path, b"Kernel").unwrap();
        // As a map that was written to before the copy leaves it.
        for part in &mut input.parts {
            let (file, stamp) = part.original.as_mut().unwrap();
            *stamp = Stamp::of(&file.metadata().unwrap());
        }
        input.check_unchanged().unwrap();
        let refused = input.check_loaded().unwrap_err();
        assert_eq!(refused.exit(), Exit::Refused);
        assert!(refused.to_string().ends_with(CHANGED), "{refused}");
        // Times that moved count though the bytes are back.
        fs::write(&path, b"kernel").unwrap();
        assert!(input.check_loaded().is_err());
    }

    #[test]
    fn a_judged_file_is_not_handed_on_wherever_it_is() {
        use std::os::fd::AsRawFd;
        let scratch = Scratch::new("judged");
        let on_disk = scratch.file("a", b"kernel");
        let shared = memory("shared").unwrap();
        shared.write_all_at(b"kernel", 0).unwrap();
        let in_memory = PathBuf::from(format!("/proc/self/fd/{}", shared.as_raw_fd()));
        for path in [&on_disk, &in_memory] {
            let input = Input::one(path, "image", 6).unwrap();
            assert!(std::ptr::eq(input.handed(true), &raw const input.memory));
            let original = input.original().unwrap();
            assert!(std::ptr::eq(input.handed(false), original));
        }
    }

    #[test]
    fn compares_files_to_their_ends() {
        const CHUNK: usize = 256 << 10;
        let scratch = Scratch::new("compares");
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK] {
            let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let same = |other: &[u8]| {
                let open = |name, bytes| File::open(scratch.file(name, bytes)).unwrap();
                let (one, other) = (open("one", &bytes), open("other", other));
                let [there, back] = [same_bytes(&one, &other), same_bytes(&other, &one)];
                assert_eq!(there.unwrap(), back.unwrap());
                // Wherever the files were read to before.
                same_bytes(&one, &other).unwrap()
            };
            assert!(same(&bytes), "{len} bytes");
            assert!(!same(&[&bytes[..], b"x"].concat()), "{len} bytes and one");
            for at in [0, len / 2, len.saturating_sub(1)] {
                let mut other = bytes.clone();
                if let Some(byte) = other.get_mut(at) {
                    *byte ^= 1;
                    assert!(!same(&other), "{len} bytes, other at {at}");
                }
            }
        }
    }

    #[test]
    fn reads_files_of_the_kernel_to_their_end() {
        let input = Input::one(Path::new("/proc/cmdline"), "image", 1 << 20).unwrap();
        assert!(input.size > 0);
    }

    #[test]
    fn refuses_a_directory() {
        let refused = Input::one(Path::new("/"), "image", 60).unwrap_err();
        assert_eq!(refused.exit(), Exit::System);
    }
}
