//! The ELF core header of a crash load: tells the crash kernel where the memory of the crashed one
//! lies, and where its processors left their registers.
//!
//! Source: `Documentation/admin-guide/kdump/kdump.rst`, `fs/proc/vmcore.c`.

use std::fs;
use std::ops::Range;
use std::path::Path;

use super::iomem::Memory;
use crate::error::{Error, Result};

const HEADER_SIZE: u16 = 64;
const PROGRAM_HEADER_SIZE: u16 = 56;
const TYPE_CORE: u16 = 4;
const MACHINE_AARCH64: u16 = 183;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// Read, write, execute, as the kernel's own writer says (`crash_prepare_elf64_headers`).
const FLAGS_RWX: u32 = 7;

/// The ELF header and program headers: one note for each processor and for vmcoreinfo, one load
/// for each piece of RAM outside the crash reservation.
pub(super) fn write(memory: &Memory, notes: &[Range<u64>]) -> Vec<u8> {
    let loads = without(&memory.ram, memory.crash.as_ref());
    let count = u16::try_from(notes.len() + loads.len()).unwrap_or(u16::MAX);
    let mut elf = Vec::new();
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    elf.extend_from_slice(&TYPE_CORE.to_le_bytes());
    elf.extend_from_slice(&MACHINE_AARCH64.to_le_bytes());
    elf.extend_from_slice(&1_u32.to_le_bytes());
    for offset in [0, u64::from(HEADER_SIZE), 0] {
        elf.extend_from_slice(&offset.to_le_bytes());
    }
    elf.extend_from_slice(&0_u32.to_le_bytes());
    for half in [HEADER_SIZE, PROGRAM_HEADER_SIZE, count, 0, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes());
    }
    for note in notes {
        program_header(&mut elf, PT_NOTE, 0, note);
    }
    for load in &loads {
        program_header(&mut elf, PT_LOAD, FLAGS_RWX, load);
    }
    elf
}

/// Offsets are physical addresses; virtual ones are left to vmcoreinfo, which readers use on
/// arm64.
fn program_header(elf: &mut Vec<u8>, kind: u32, flags: u32, range: &Range<u64>) {
    let size = range.end - range.start;
    elf.extend_from_slice(&kind.to_le_bytes());
    elf.extend_from_slice(&flags.to_le_bytes());
    for field in [range.start, 0, range.start, size, size, 0] {
        elf.extend_from_slice(&field.to_le_bytes());
    }
}

fn without(ram: &[Range<u64>], hole: Option<&Range<u64>>) -> Vec<Range<u64>> {
    let Some(hole) = hole else {
        return ram.to_vec();
    };
    let cut = |piece: &Range<u64>| {
        [
            piece.start..piece.end.min(hole.start),
            piece.start.max(hole.end)..piece.end,
        ]
    };
    ram.iter()
        .flat_map(cut)
        .filter(|piece| piece.start < piece.end)
        .collect()
}

/// Places of the processors' notes and of vmcoreinfo, from sysfs below `root`.
pub(super) fn notes(root: &Path) -> Result<Vec<Range<u64>>> {
    let mut notes = Vec::new();
    let processors = root.join("sys/devices/system/cpu");
    let entries = fs::read_dir(&processors).map_err(Error::read(&processors))?;
    let mut folders: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("crash_notes").exists())
        .collect();
    // The notes carry no processor number: readers count, as the kernel does.
    folders.sort_by_key(|folder| processor(folder));
    for folder in folders {
        let address = hex_file(&folder.join("crash_notes"), 16)?;
        let size = hex_file(&folder.join("crash_notes_size"), 10)?;
        notes.push(address..address.saturating_add(size));
    }
    let path = root.join("sys/kernel/vmcoreinfo");
    let text = fs::read_to_string(&path).map_err(Error::read(&path))?;
    let (address, size) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let (address, size) = (number(&path, address, 16)?, number(&path, size, 16)?);
    notes.push(address..address.saturating_add(size));
    Ok(notes)
}

/// The number in `cpuN`.
fn processor(folder: &Path) -> Option<u32> {
    folder
        .file_name()?
        .to_str()?
        .strip_prefix("cpu")?
        .parse()
        .ok()
}

fn hex_file(path: &Path, radix: u32) -> Result<u64> {
    let text = fs::read_to_string(path).map_err(Error::read(path))?;
    number(path, text.trim(), radix)
}

fn number(path: &Path, text: &str, radix: u32) -> Result<u64> {
    let digits = text.trim_start_matches("0x");
    u64::from_str_radix(digits, radix).map_err(|_| {
        Error::malformed(
            "crash notes file",
            format!("{} in {}", text, path.display()),
            "a number",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_count_by_number() {
        let mut folders: Vec<_> = ["cpu10", "cpu2", "cpu0"]
            .map(std::path::PathBuf::from)
            .into();
        folders.sort_by_key(|folder| processor(folder));
        assert_eq!(
            folders,
            ["cpu0", "cpu2", "cpu10"].map(std::path::PathBuf::from)
        );
    }

    #[test]
    fn lists_notes_and_memory_outside_the_reservation() {
        let memory = Memory {
            ram: [0x1000..0x9000].into(),
            taken: Vec::new(),
            crash: Some(0x4000..0x5000),
        };
        let elf = write(&memory, &[0x1100..0x1200]);
        assert_eq!(elf.len(), 64 + 3 * 56);
        assert_eq!(elf[56..58], 3_u16.to_le_bytes());
        let header = |index: usize| &elf[64 + index * 56..][..56];
        assert_eq!(header(0)[..4], PT_NOTE.to_le_bytes());
        assert_eq!(header(0)[8..16], 0x1100_u64.to_le_bytes());
        assert_eq!(header(1)[32..40], 0x3000_u64.to_le_bytes());
        assert_eq!(header(2)[8..16], 0x5000_u64.to_le_bytes());
        assert_eq!(header(2)[32..40], 0x4000_u64.to_le_bytes());
    }
}
