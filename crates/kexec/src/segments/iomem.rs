//! Physical memory, from `/proc/iomem`.
//!
//! ```text
//! 40000000-bfffffff : System RAM
//!   40210000-41bfffff : Kernel code
//!   7e000000-7fffffff : reserved
//! ```
//!
//! Source: `kernel/resource.c` (format), `arch/arm64/kernel/setup.c` (names).

use std::ops::Range;

use crate::error::{Error, Result};

const RAM: &str = "System RAM";
const CRASH: &str = "Crash kernel";
/// Children of RAM that nothing may be placed on.
const TAKEN: [&str; 3] = ["reserved", "Kernel code", "Kernel data"];

/// Physical memory by use; ends are exclusive.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// RAM the kernel knows.
    pub ram: Vec<Range<u64>>,
    /// Parts of it in use.
    pub taken: Vec<Range<u64>>,
    /// What is reserved for a crash kernel.
    pub crash: Option<Range<u64>>,
}

impl Memory {
    /// Reads the text of `/proc/iomem`.
    ///
    /// # Errors
    /// [`Error::IomemHidden`] when all addresses are zero, [`Error::Malformed`] for other text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut memory = Self::default();
        let mut hidden = true;
        for line in text.lines() {
            let (range, name) = parse_line(line)?;
            hidden &= range == (0..1);
            match name {
                RAM => memory.ram.push(range),
                CRASH => memory.crash = larger(memory.crash.take(), range),
                name if TAKEN.contains(&name) => memory.taken.push(range),
                _ => {}
            }
        }
        if hidden {
            return Err(Error::IomemHidden);
        }
        if memory.ram.is_empty() {
            return Err(Error::malformed("/proc/iomem", "no System RAM", "some"));
        }
        Ok(memory)
    }
}

/// With `crashkernel=,high` there are two; the kernel goes to the larger.
fn larger(one: Option<Range<u64>>, other: Range<u64>) -> Option<Range<u64>> {
    let size = |range: &Range<u64>| range.end - range.start;
    Some(match one {
        Some(one) if size(&one) >= size(&other) => one,
        _ => other,
    })
}

fn parse_line(line: &str) -> Result<(Range<u64>, &str)> {
    let malformed = || Error::malformed("/proc/iomem line", line, "START-END : NAME");
    let (range, name) = line.trim_start().split_once(" : ").ok_or_else(malformed)?;
    let (start, end) = range.split_once('-').ok_or_else(malformed)?;
    let number = |text: &str| u64::from_str_radix(text, 16).map_err(|_| malformed());
    let (start, end) = (number(start)?, number(end)?);
    if end < start {
        return Err(malformed());
    }
    Ok((start..end.saturating_add(1), name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_memory_and_its_uses() {
        let memory = Memory::parse(
            "09000000-09000fff : pl011@9000000\n\
             \x20 09000000-09000fff : 9000000.pl011 pl011@9000000\n\
             40000000-bfffffff : System RAM\n\
             \x20 40210000-41bfffff : Kernel code\n\
             \x20 b0000000-b7ffffff : Crash kernel\n\
             \x20 bfe00000-bfffffff : reserved\n",
        )
        .unwrap();
        assert_eq!(memory.ram, [0x4000_0000..0xc000_0000]);
        assert_eq!(
            memory.taken,
            [0x4021_0000..0x41c0_0000, 0xbfe0_0000..0xc000_0000]
        );
        assert_eq!(memory.crash, Some(0xb000_0000..0xb800_0000));
    }

    #[test]
    fn the_larger_of_two_reservations_counts() {
        let memory = Memory::parse(
            "0-ffff : System RAM\n 100-1ff : Crash kernel\n 1000-1fff : Crash kernel\n",
        );
        assert_eq!(memory.unwrap().crash, Some(0x1000..0x2000));
    }

    #[test]
    fn says_when_addresses_are_hidden() {
        let text = "00000000-00000000 : System RAM\n  00000000-00000000 : Kernel code\n";
        assert!(matches!(Memory::parse(text), Err(Error::IomemHidden)));
    }

    #[test]
    fn rejects_other_text() {
        for text in ["x", "1-0 : System RAM", "zz-ff : System RAM", "0-ff : pci"] {
            assert!(
                matches!(Memory::parse(text), Err(Error::Malformed { .. })),
                "{text}"
            );
        }
    }
}
