//! The maps of a stage: arrays and ring buffers.

mod ring;

use std::sync::Arc;

use kpeel_abi::{MAX_LOADER_MAPS, MapType};
use kpeel_bpf::{Access, MAX_REGION, Memory};
use kpeel_envelope::error::Needed;
use kpeel_envelope::limits::Meter;

use crate::answer::{Answer, E2BIG, EBUSY, EEXIST, ENOTSUPP, EPERM, Stop};
use crate::buffer::{Charge, zeroed};
use crate::helpers::transfer;

pub(crate) use ring::Ring;

/// `BPF_F_RDONLY`: user space may not write.
const FLAG_RDONLY: u32 = 1 << 3;
/// `BPF_F_WRONLY`: user space may not read.
const FLAG_WRONLY: u32 = 1 << 4;
/// `BPF_F_RDONLY_PROG`: programs may not write.
const FLAG_RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_MMAPABLE`.
const FLAG_MMAPABLE: u32 = 1 << 10;
const ARRAY_FLAGS: u32 = FLAG_RDONLY | FLAG_WRONLY | FLAG_RDONLY_PROG | FLAG_MMAPABLE;

/// `BPF_NOEXIST` and `BPF_EXIST` of an update.
const UPDATE_NOEXIST: u64 = 1;
const UPDATE_EXIST: u64 = 2;

const KEY_SIZE: u32 = 4;
const VALUE_ALIGNMENT: u64 = 8;
/// Page size of the machine the sandbox shows, whatever the real one has.
const PAGE: u32 = 4096;

/// What a program holds of a map whose address it has no business with.
const HANDLES: u64 = 0xffff_8880_0000_0000;
const HANDLE_SIZE: u64 = 0x1000;

/// `BPF_MAP_CREATE`'s attributes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Attributes {
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) name: String,
}

/// One map; its bytes are a region of the program's memory.
#[derive(Debug)]
pub(crate) struct Map {
    pub(crate) attributes: Attributes,
    pub(crate) kind: MapType,
    pub(crate) base: u64,
    pub(crate) ring: Ring,
    /// Bytes of one array entry, rounded up.
    stride: u64,
    frozen: bool,
    /// Descriptors and programs that hold it.
    holders: u32,
    _charge: Charge,
}

/// All maps of a stage, by the order of their creation.
#[derive(Debug, Default)]
pub(crate) struct Maps {
    maps: Vec<Option<Map>>,
}

impl Maps {
    /// Creates a map, held once.
    pub(crate) fn create(
        &mut self,
        attributes: Attributes,
        memory: &mut Memory,
        meter: &Arc<Meter>,
    ) -> Answer<usize> {
        let kind = MapType::from_id(attributes.map_type).ok_or(Stop::forbidden(
            "map_type",
            attributes.map_type.into(),
            "ARRAY (2) or RINGBUF (27)",
        ))?;
        let id = self.maps.len();
        let (found, allowed) = ((id as u64).saturating_add(1), MAX_LOADER_MAPS as u64);
        if found > allowed {
            return Err(Stop::bound(EPERM, "maps of a loader", found, allowed));
        }
        let (size, stride) = match kind {
            MapType::Array => array_size(&attributes)?,
            MapType::Ringbuf => (ring_size(&attributes)?, 0),
        };
        if size > MAX_REGION {
            return Err(Stop::bound(E2BIG, "map size", size, MAX_REGION));
        }
        let charge = Charge::new(meter, size).map_err(Stop::memory)?;
        let bytes = zeroed(size as usize).map_err(Stop::memory)?;
        let base = memory
            .map_owned(bytes, Access::ReadWrite)
            .map_err(|_| Stop::bound(E2BIG, "map size", size, MAX_REGION))?;
        let mut map = Map {
            attributes,
            kind,
            base,
            ring: Ring::new(size),
            stride,
            frozen: false,
            holders: 1,
            _charge: charge,
        };
        map.guard(memory, Access::ReadOnly);
        self.maps.push(Some(map));
        Ok(id)
    }

    pub(crate) fn get(&self, id: usize) -> Option<&Map> {
        self.maps.get(id)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: usize) -> Option<&mut Map> {
        self.maps.get_mut(id)?.as_mut()
    }

    /// Maps alive, with their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Map)> {
        self.maps
            .iter()
            .enumerate()
            .filter_map(|(id, map)| Some((id, map.as_ref()?)))
    }

    pub(crate) fn hold(&mut self, id: usize) {
        if let Some(map) = self.get_mut(id) {
            map.holders = map.holders.saturating_add(1);
        }
    }

    /// Lets a map go; with its last holder it is gone.
    pub(crate) fn release(&mut self, id: usize, memory: &mut Memory) {
        let Some(slot) = self.maps.get_mut(id) else {
            return;
        };
        if let Some(map) = slot {
            map.holders = map.holders.saturating_sub(1);
            if map.holders == 0 {
                memory.unmap(map.base);
                *slot = None;
            }
        }
    }

    /// What a program holds to name the map in a call.
    pub(crate) fn handle(id: usize) -> u64 {
        HANDLES.wrapping_add((id as u64).wrapping_mul(HANDLE_SIZE))
    }

    /// The map that a handle names.
    pub(crate) fn by_handle(handle: u64) -> Option<usize> {
        let offset = handle.checked_sub(HANDLES)?;
        let id = offset / HANDLE_SIZE;
        (offset % HANDLE_SIZE == 0 && id < MAX_LOADER_MAPS as u64).then_some(id as usize)
    }
}

impl Map {
    /// The address of byte `offset` of a value that programs may point into.
    pub(crate) fn value_address(&self, offset: u32) -> Result<u64, &'static str> {
        if self.kind != MapType::Array || self.attributes.max_entries != 1 {
            return Err("address in a map: only arrays of one entry have one");
        }
        if offset >= self.attributes.value_size {
            return Err("address in a map: the offset is outside of the value");
        }
        Ok(self.base.wrapping_add(offset.into()))
    }

    /// `BPF_MAP_UPDATE_ELEM`; `key` and `value` are addresses.
    pub(crate) fn update(
        &mut self,
        key: u64,
        value: u64,
        flags: u64,
        memory: &mut Memory,
    ) -> Answer<()> {
        if self.frozen || self.attributes.flags & FLAG_RDONLY != 0 {
            return Err(Stop::wrong(EPERM, "map", "is frozen or read-only"));
        }
        if self.kind != MapType::Array {
            return Err(Stop::wrong(
                ENOTSUPP,
                "map",
                "is a ring buffer, which has no elements",
            ));
        }
        let key = memory.read_u32(key).map_err(|_| Stop::unreadable("key"))?;
        let size = u64::from(self.attributes.value_size);
        memory
            .parts(value, size)
            .map_err(|_| Stop::unreadable("value"))?;
        if flags > UPDATE_EXIST {
            let needed = Needed::AtMost(UPDATE_EXIST);
            return Err(Stop::invalid("update flags", flags, needed));
        }
        if key >= self.attributes.max_entries {
            return Err(Stop::bound(
                E2BIG,
                "key",
                key.into(),
                self.attributes.max_entries.into(),
            ));
        }
        if flags == UPDATE_NOEXIST {
            return Err(Stop::wrong(
                EEXIST,
                "update flags",
                "array elements always exist",
            ));
        }
        let address = self.base.wrapping_add(self.stride.wrapping_mul(key.into()));
        self.guard(memory, Access::ReadWrite);
        let written = transfer(memory, address, size, value);
        self.guard(memory, Access::ReadOnly);
        written.map(drop)
    }

    /// `BPF_MAP_FREEZE`.
    pub(crate) fn freeze(&mut self) -> Answer<()> {
        if self.frozen {
            return Err(Stop::wrong(EBUSY, "map", "is frozen already"));
        }
        self.frozen = true;
        Ok(())
    }

    /// Opens or closes a map that programs may only read.
    fn guard(&mut self, memory: &mut Memory, access: Access) {
        if self.attributes.flags & FLAG_RDONLY_PROG != 0 {
            // The region is this map's own, so there is nothing to fail.
            let _ = memory.protect(self.base, access);
        }
    }
}

/// Bytes of an array and of one entry.
fn array_size(attributes: &Attributes) -> Answer<(u64, u64)> {
    let Attributes {
        key_size,
        value_size,
        max_entries,
        flags,
        ..
    } = *attributes;
    if key_size != KEY_SIZE {
        return Err(Stop::invalid(
            "key_size",
            key_size.into(),
            Needed::Exactly(KEY_SIZE.into()),
        ));
    }
    if max_entries == 0 {
        return Err(Stop::invalid("max_entries", 0, Needed::AtLeast(1)));
    }
    if value_size == 0 {
        return Err(Stop::invalid("value_size", 0, Needed::AtLeast(1)));
    }
    if flags & !ARRAY_FLAGS != 0 {
        let needed = Needed::Words("flags a loader may use: 0x8, 0x10, 0x80, 0x400");
        return Err(Stop::invalid("map_flags", flags.into(), needed));
    }
    let largest = i32::MAX as u32;
    if value_size > largest {
        return Err(Stop::bound(
            E2BIG,
            "value_size",
            value_size.into(),
            largest.into(),
        ));
    }
    let stride = u64::from(value_size).next_multiple_of(VALUE_ALIGNMENT);
    Ok((stride.saturating_mul(max_entries.into()), stride))
}

fn ring_size(attributes: &Attributes) -> Answer<u64> {
    let Attributes {
        key_size,
        value_size,
        max_entries,
        flags,
        ..
    } = *attributes;
    for (field, found) in [
        ("key_size", key_size),
        ("value_size", value_size),
        ("map_flags", flags),
    ] {
        if found != 0 {
            return Err(Stop::invalid(field, found.into(), Needed::Exactly(0)));
        }
    }
    if !max_entries.is_power_of_two() || max_entries % PAGE != 0 {
        let needed = Needed::Words("a power of two, at least a page of 4096");
        return Err(Stop::invalid("max_entries", max_entries.into(), needed));
    }
    Ok(max_entries.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::EINVAL;
    use kpeel_counting::peak_of;
    use kpeel_envelope::limits::Limits;

    fn array(value_size: u32, max_entries: u32, flags: u32) -> Attributes {
        let map_type = MapType::Array as u32;
        let name = String::new();
        Attributes {
            map_type,
            key_size: 4,
            value_size,
            max_entries,
            flags,
            name,
        }
    }

    fn ring(max_entries: u32) -> Attributes {
        let map_type = MapType::Ringbuf as u32;
        Attributes {
            map_type,
            max_entries,
            ..Attributes::default()
        }
    }

    fn create(attributes: Attributes) -> Answer<u64> {
        let meter = Arc::new(Meter::new(Limits {
            memory: 1 << 20,
            ..Limits::default()
        }));
        let (mut maps, mut memory) = (Maps::default(), Memory::new());
        let id = maps.create(attributes, &mut memory, &meter)?;
        let held = meter.held();
        maps.release(id, &mut memory);
        assert_eq!(meter.held(), 0);
        Ok(held)
    }

    fn errno(answer: Answer<u64>) -> i32 {
        match answer {
            Err(Stop::Deny(errno, _)) => errno,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn charges_what_a_map_may_fill_and_gives_it_back() {
        assert_eq!(create(array(5, 3, 0)), Ok(24));
        assert_eq!(create(ring(8192)), Ok(8192));
    }

    #[test]
    fn refuses_what_linux_or_the_table_refuses() {
        assert_eq!(
            errno(create(Attributes {
                map_type: 1,
                ..array(8, 1, 0)
            })),
            EPERM
        );
        assert_eq!(
            errno(create(Attributes {
                key_size: 8,
                ..array(8, 1, 0)
            })),
            EINVAL
        );
        assert_eq!(errno(create(array(0, 1, 0))), EINVAL);
        assert_eq!(errno(create(array(8, 0, 0))), EINVAL);
        assert_eq!(errno(create(array(8, 1, 1 << 6))), EINVAL);
        assert_eq!(errno(create(array(u32::MAX, 1, 0))), E2BIG);
        assert_eq!(errno(create(array(1 << 30, 1 << 30, 0))), E2BIG);
        assert_eq!(errno(create(array(1 << 21, 1, 0))), 12);
        for size in [0, 2048, 4096 * 3] {
            assert_eq!(errno(create(ring(size))), EINVAL);
        }
    }

    #[test]
    fn programs_cannot_write_a_read_only_map_but_updates_can() {
        let meter = Arc::new(Meter::new(Limits::default()));
        let (mut maps, mut memory) = (Maps::default(), Memory::new());
        let id = maps
            .create(array(4, 1, FLAG_RDONLY_PROG), &mut memory, &meter)
            .unwrap();
        let args = memory
            .map_owned(vec![0, 0, 0, 0, 1, 2, 3, 4], Access::ReadWrite)
            .unwrap();
        let map = maps.get_mut(id).unwrap();
        map.update(args, args + 4, 0, &mut memory).unwrap();
        assert_eq!(memory.read_u32(map.base), Ok(0x0403_0201));
        assert!(memory.write_u8(map.base, 0).is_err());
        map.freeze().unwrap();
        assert!(map.update(args, args + 4, 0, &mut memory).is_err());
        assert!(map.freeze().is_err());
    }

    #[test]
    fn an_update_holds_no_copy_of_its_value() {
        const SIZE: u32 = 4 << 20;
        let meter = Arc::new(Meter::new(Limits::default()));
        let (mut maps, mut memory) = (Maps::default(), Memory::new());
        let array = array(SIZE, 1, FLAG_RDONLY_PROG);
        let id = maps.create(array, &mut memory, &meter).unwrap();
        let value = [&[0; 4][..], &vec![7; SIZE as usize]].concat();
        let args = memory.map_owned(value, Access::ReadWrite).unwrap();
        let map = maps.get_mut(id).unwrap();
        let (updated, peak) = peak_of(|| map.update(args, args + 4, 0, &mut memory));
        assert_eq!(updated, Ok(()));
        assert!(peak <= 1 << 20, "{peak} bytes");
        let last = map.base + u64::from(SIZE) - 8;
        assert_eq!(memory.read_u64(last), Ok(0x0707_0707_0707_0707));
    }

    #[test]
    fn handles_name_their_map_and_nothing_else() {
        assert_eq!(Maps::by_handle(Maps::handle(63)), Some(63));
        assert_eq!(Maps::by_handle(Maps::handle(64)), None);
        assert_eq!(Maps::by_handle(Maps::handle(3) + 1), None);
        assert_eq!(Maps::by_handle(0), None);
    }
}
