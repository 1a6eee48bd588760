//! `.hwids`: which hardware takes which device tree or firmware.

use std::collections::{BTreeMap, BTreeSet};

use kpeel_envelope::error::{Class, Error, Result};

use crate::number::to_u32;

/// Bytes of one entry (systemd, `src/boot/chid.h`): descriptor, CHID, offsets of two strings.
const DEVICE_SIZE: usize = 4 + 16 + 4 + 4;
/// Where the descriptor holds the entry's kind; below it stands the entry's size.
const KIND_SHIFT: u32 = 28;

/// What an entry chooses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DeviceKind {
    /// A `.dtbauto`, by its `compatible`.
    DeviceTree,
    /// A `.efifw`, by its identifier.
    Firmware,
}

/// One hardware description.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// What it chooses.
    pub kind: DeviceKind,
    /// The hardware's name.
    pub name: String,
    /// `compatible` of the device tree, or the firmware's identifier.
    pub choice: String,
    /// Computer hardware ids, as the 128-bit numbers that their text is.
    pub chids: BTreeSet<u128>,
}

/// The section: entries in the order of `devices`, those of one device by ascending CHID, an empty
/// one, then the strings in order, each ended by NUL.
///
/// # Errors
/// `Misuse` for a string that holds NUL, `Unsupported` when the table does not fit into 32 bits.
pub fn pack(devices: &[Device]) -> Result<Vec<u8>> {
    let merged = merge(devices);
    let entries = merged
        .iter()
        .map(|device| device.chids.len())
        .fold(1_usize, usize::saturating_add);
    let strings = place_strings(&merged, entries.saturating_mul(DEVICE_SIZE))?;
    let offset_of = |text: &str| strings.get(text).copied().unwrap_or(0).to_le_bytes();
    let mut section = Vec::new();
    for device in &merged {
        let kind: u32 = match device.kind {
            DeviceKind::DeviceTree => 1,
            DeviceKind::Firmware => 2,
        };
        let descriptor = (kind << KIND_SHIFT) | DEVICE_SIZE as u32;
        for chid in &device.chids {
            section.extend(descriptor.to_le_bytes());
            section.extend(guid(*chid));
            section.extend(offset_of(&device.name));
            section.extend(offset_of(&device.choice));
        }
    }
    section.extend([0; DEVICE_SIZE]);
    for text in strings.keys() {
        section.extend(text.as_bytes());
        section.push(0);
    }
    Ok(section)
}

/// Offsets of all strings; they stand in order from `start` on, each ended by NUL.
fn place_strings(devices: &[Device], start: usize) -> Result<BTreeMap<&str, u32>> {
    let mut strings = BTreeMap::new();
    for text in devices.iter().flat_map(|d| [&d.name, &d.choice]) {
        if text.contains('\0') {
            let reason = "a hardware description holds NUL";
            return Err(Error::reason(Class::Misuse, ".hwids", reason));
        }
        strings.insert(text.as_str(), 0_u32);
    }
    let mut next = start;
    for (text, offset) in &mut strings {
        *offset = to_u32(".hwids", next)?;
        next = next.saturating_add(text.len()).saturating_add(1);
    }
    Ok(strings)
}

/// Descriptions of the same device become one, in the place of the first.
fn merge(devices: &[Device]) -> Vec<Device> {
    let mut merged: Vec<Device> = Vec::new();
    for device in devices {
        let same = merged.iter_mut().find(|other| {
            (other.kind, &other.name, &other.choice) == (device.kind, &device.name, &device.choice)
        });
        match same {
            Some(other) => other.chids.extend(&device.chids),
            None => merged.push(device.clone()),
        }
    }
    merged
}

/// EFI_GUID: the first three fields of the text are little-endian numbers.
fn guid(chid: u128) -> [u8; 16] {
    let mut bytes = chid.to_be_bytes();
    let (first, rest) = bytes.split_at_mut(4);
    let (second, rest) = rest.split_at_mut(2);
    let (third, _) = rest.split_at_mut(2);
    first.reverse();
    second.reverse();
    third.reverse();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, chids: &[u128]) -> Device {
        Device {
            kind: DeviceKind::DeviceTree,
            name: name.to_owned(),
            choice: "maker,board".to_owned(),
            chids: chids.iter().copied().collect(),
        }
    }

    #[test]
    fn writes_entries_an_empty_one_and_the_strings() {
        let chid = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff;
        let section = pack(&[device("Name", &[chid])]).unwrap();
        assert_eq!(section[..4], 0x1000_001c_u32.to_le_bytes());
        let guid = [
            0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
            0xff,
        ];
        assert_eq!(section[4..20], guid);
        let offset = |at: usize| u32::from_le_bytes(section[at..at + 4].try_into().unwrap());
        assert_eq!(section[28..56], [0; 28]);
        assert_eq!(&section[offset(20) as usize..][..5], b"Name\0");
        assert_eq!(&section[offset(24) as usize..][..12], b"maker,board\0");
        assert_eq!(section.len(), 56 + 5 + 12);
    }

    #[test]
    fn merges_descriptions_of_one_device_and_sorts_their_ids() {
        let both = pack(&[device("A", &[9]), device("A", &[3])]).unwrap();
        assert_eq!(both, pack(&[device("A", &[3, 9])]).unwrap());
    }

    #[test]
    fn refuses_a_string_that_would_end_early() {
        assert!(pack(&[device("A\0B", &[1])]).is_err());
        assert!(pack(&[device("AB", &[1])]).is_ok());
    }
}
