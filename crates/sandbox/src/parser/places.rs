//! Which bytes a parser may hand to a kfunc.

use std::collections::BTreeMap;

use kpeel_bpf::{MAX_FRAMES, Memory};
use kpeel_envelope::publication::Origin;

use crate::map::Maps;

/// Ranges of a stage by the address they start at.
#[derive(Debug, Default)]
pub(super) struct Places {
    ranges: BTreeMap<u64, Range>,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    name: &'static str,
    origin: Origin,
    /// Bytes from here on are shared with nobody who could change them.
    shared_from: u64,
}

/// Bytes that lie wholly inside one range.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) origin: Origin,
    /// Whether they can be handed on without a copy.
    pub(super) shared: bool,
}

impl Places {
    /// Takes a range up; `name` is what the trace calls it.
    pub(super) fn add(&mut self, base: u64, name: &'static str, origin: Origin, shared_from: u64) {
        self.ranges.insert(
            base,
            Range {
                name,
                origin,
                shared_from,
            },
        );
    }

    pub(super) fn remove(&mut self, base: u64) {
        self.ranges.remove(&base);
    }

    /// An address in words: the range, map or stack frame it is in, and how far.
    pub(super) fn show(&self, address: u64, memory: &Memory, maps: &Maps) -> String {
        let Some(region) = memory.region(address) else {
            return format!("{address:#x}");
        };
        let offset = address.wrapping_sub(region.base);
        if let Some(range) = self.ranges.get(&region.base) {
            return format!("{}+{offset:#x}", range.name);
        }
        let own = maps.iter().find(|(_, map)| map.base == region.base);
        match own {
            Some((_, map)) => format!("{}+{offset:#x}", map.attributes.name),
            None if region.base >> 32 <= MAX_FRAMES as u64 => format!("stack+{offset:#x}"),
            None => format!("{address:#x}"),
        }
    }

    /// What `len` bytes at `address` are, if they lie wholly inside the stage's image, the caller's
    /// initrd or command line, a live result, or a map of the running program.
    pub(super) fn find(
        &self,
        address: u64,
        len: u64,
        memory: &Memory,
        maps: (&Maps, &[usize]),
    ) -> Option<Place> {
        let region = memory.region(address)?;
        let offset = address.checked_sub(region.base)?;
        offset.checked_add(len).filter(|end| *end <= region.len)?;
        if let Some(range) = self.ranges.get(&region.base) {
            let shared = offset >= range.shared_from;
            return Some(Place {
                origin: range.origin,
                shared,
            });
        }
        let (maps, own) = maps;
        let is_own = own
            .iter()
            .filter_map(|id| maps.get(*id))
            .any(|map| map.base == region.base);
        is_own.then_some(Place {
            origin: Origin::Map,
            shared: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kpeel_bpf::Access;

    #[test]
    fn bytes_must_lie_wholly_inside_a_known_range() {
        let mut memory = Memory::new();
        let image = memory.map_owned(vec![0; 100], Access::ReadOnly).unwrap();
        let other = memory.map_owned(vec![0; 100], Access::ReadOnly).unwrap();
        let mut places = Places::default();
        places.add(image, "image", Origin::Image, 10);
        let maps = Maps::default();
        let find = |address, len| places.find(address, len, &memory, (&maps, &[0, 63]));
        let place = |shared| {
            Some(Place {
                origin: Origin::Image,
                shared,
            })
        };
        assert_eq!(find(image, 100), place(false));
        assert_eq!(find(image + 10, 90), place(true));
        assert_eq!(find(image + 100, 0), place(true));
        for (address, len) in [
            (image, 101),
            (image + 1, 100),
            (image + 101, 0),
            (image - 1, 1),
            (image + 1, u64::MAX),
            (other, 1),
            (0, 1),
            (u64::MAX, 1),
        ] {
            assert_eq!(find(address, len), None, "{address:#x} {len}");
        }
    }
}
