//! UKIs by objcopy's classic recipe: `--add-section` and `--change-section-vma` on a stub.

use std::path::Path;
use std::process::Command;

use super::{Machine, Scratch};
use crate::{Error, Result, tool};

/// Adds `sections` to `stub` with binutils and writes the result to `out`.
///
/// The sections keep their order; names may repeat, as those of profiles do. objcopy adds no two sections of one name,
/// but renames to one: so a second pass gives the names.
///
/// # Errors
/// [`Error::Unexpected`] for a machine whose PE images Debian's binutils do not know; [`super::ukify`] makes those.
pub fn uki(stub: &Path, sections: &[(&str, &[u8])], out: &Path) -> Result<()> {
    let machine = Machine::of_image(stub)?;
    let prefix = machine.binutils().ok_or_else(|| {
        Error::unexpected(
            stub,
            "Machine",
            format!("{machine:?}"),
            "one that binutils know as PE",
        )
    })?;
    let layout = Layout::of(prefix, stub)?;
    let scratch = Scratch::new()?;
    let unnamed = scratch.join("unnamed.efi");
    let mut add = Command::new(format!("{prefix}objcopy"));
    let mut rename = Command::new(format!("{prefix}objcopy"));
    let mut address = layout.end;
    for (index, (name, content)) in sections.iter().enumerate() {
        let temporary = format!(".k{index}");
        let file = scratch.write(&format!("section{index}"), content)?;
        address = address.next_multiple_of(layout.alignment);
        add.arg("--add-section")
            .arg(format!("{temporary}={}", file.display()));
        add.arg("--change-section-vma")
            .arg(format!("{temporary}={address:#x}"));
        rename
            .arg("--rename-section")
            .arg(format!("{temporary}={name}"));
        // An empty section still gets an address of its own.
        address += content.len().max(1) as u64;
    }
    tool::run(add.arg(stub).arg(&unnamed))?;
    tool::run(rename.arg(&unnamed).arg(out))?;
    Ok(())
}

/// Where a stub leaves room.
#[derive(Debug)]
struct Layout {
    /// First address after the stub's sections, image base included.
    end: u64,
    alignment: u64,
}

/// The section alignment of every UKI since systemd 253; 252's stub states 512.
const PAGE: u64 = 4096;

impl Layout {
    fn of(prefix: &str, stub: &Path) -> Result<Self> {
        let text = tool::run(Command::new(format!("{prefix}objdump")).arg("-h").arg(stub))?;
        let text = String::from_utf8_lossy(&text);
        let ends = text
            .lines()
            .filter_map(section_row)
            .map(|row| row.address + row.size);
        let end = ends
            .max()
            .ok_or_else(|| Error::unexpected(stub, "sections", "none", "some"))?;
        Ok(Self {
            end,
            alignment: PAGE,
        })
    }
}

/// One row of `objdump -h`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) address: u64,
    pub(crate) offset: u64,
}

/// Reads a row such as `  0 .text  0001080e  0000000140001000  0000000140001000  00000600  2**4`.
pub(crate) fn section_row(line: &str) -> Option<Row> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [index, name, size, address, _, offset, alignment] = words.as_slice() else {
        return None;
    };
    index
        .parse::<u32>()
        .ok()
        .filter(|_| alignment.starts_with("2**"))?;
    let number = |word: &str| u64::from_str_radix(word, 16).ok();
    Some(Row {
        name: (*name).to_owned(),
        size: number(size)?,
        address: number(address)?,
        offset: number(offset)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_row_of_objdump_and_nothing_else() {
        let row =
            section_row("  0 .text  0001080e  0000000140001000  0000000140001000  00000600  2**4")
                .unwrap();
        assert_eq!(row.name, ".text");
        assert_eq!(
            (row.size, row.address, row.offset),
            (0x1080e, 0x1_4000_1000, 0x600)
        );
        assert_eq!(
            section_row("                  CONTENTS, ALLOC, LOAD, READONLY, CODE"),
            None
        );
        assert_eq!(
            section_row(
                "Idx Name          Size      VMA               LMA               File off  Algn"
            ),
            None
        );
    }
}
