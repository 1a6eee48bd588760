//! The one map of constants: sections `.rodata*`, in the order of their first use.

use std::collections::BTreeMap;

use crate::Error;
use crate::input::{Section, Symbol};
use crate::site::Site;

/// Alignment of map values in both hosts; a section cannot ask for more.
const MAX_ALIGN: u64 = 8;

#[derive(Default)]
pub(crate) struct Rodata {
    bytes: Vec<u8>,
    /// Section index to offset in `bytes`.
    at: BTreeMap<usize, u64>,
}

impl Rodata {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The map offset of `symbol + addend`, which must lie inside `section`.
    pub(crate) fn address(
        &mut self,
        site: &Site<'_>,
        index: usize,
        section: &Section<'_>,
        symbol: &Symbol<'_>,
        addend: i32,
    ) -> Result<i32, Error> {
        let size = section.data.len() as u64;
        let offset = symbol.value.checked_add_signed(addend.into());
        let Some(offset) = offset.filter(|offset| *offset < size) else {
            return Err(Error::unsupported(
                format_args!("{site}, reference to section `{}`", section.name),
                format_args!("{:#x} + {addend}", symbol.value),
                format_args!("an offset below {size:#x}"),
            ));
        };
        let address = self.base(index, section)?.checked_add(offset);
        let address = address.and_then(|address| i32::try_from(address).ok());
        address.ok_or_else(|| {
            let at = format!("section `{}`", section.name);
            Error::unsupported(at, "constants beyond 2 GiB", "less")
        })
    }

    /// Where a section stands in the map; appends it at its first use.
    fn base(&mut self, index: usize, section: &Section<'_>) -> Result<u64, Error> {
        if let Some(base) = self.at.get(&index) {
            return Ok(*base);
        }
        if !section.align.is_power_of_two() || section.align > MAX_ALIGN {
            return Err(Error::unsupported(
                format_args!("section `{}`, sh_addralign", section.name),
                section.align,
                "1, 2, 4 or 8",
            ));
        }
        let base = self.bytes.len().next_multiple_of(section.align as usize);
        self.bytes.resize(base, 0);
        self.bytes.extend_from_slice(section.data);
        self.at.insert(index, base as u64);
        Ok(base as u64)
    }
}
