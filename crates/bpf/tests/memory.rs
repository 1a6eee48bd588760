//! Regions as the host sees them.

use bytes::Bytes;
use kpeel_bpf::{Access, Direction, FaultKind, MapError, Memory, Region};
use std::borrow::Cow;

fn send<T: Send>(_: &T) {}

#[test]
fn regions_are_apart_and_addresses_are_positive_and_not_small() {
    let mut memory = Memory::new();
    send(&memory);
    let first = memory.map_owned(vec![1; 4], Access::ReadWrite).unwrap();
    let second = memory.map_shared(Bytes::from_static(&[2; 4])).unwrap();
    assert!(first >= 1 << 32 && (second as i64) > 0);
    assert_eq!(first & 0xffff_ffff, 0);
    assert!(second - first >= 1 << 32);
    // No 16-bit displacement from anywhere in a region leads into the other.
    for distance in 1..=u64::from(u16::MAX) {
        assert!(memory.read_u8(second - distance).is_err());
        assert!(memory.read_u8(first + 3 + distance).is_err());
    }
}

#[test]
fn a_patched_view_reads_its_head_over_the_body() {
    let mut memory = Memory::new();
    let body = Bytes::from(vec![1, 2, 3, 4, 5, 6, 7, 8]);
    let base = memory
        .map_patched(vec![0xa, 0xb, 0xc], body.clone())
        .unwrap();
    let needed = [0xa, 0xb, 0xc, 4, 5, 6, 7, 8];
    assert_eq!(*memory.bytes(base, 8).unwrap(), needed);
    for start in 0..8 {
        for end in start..=8 {
            let (address, len) = (base + start as u64, (end - start) as u64);
            assert_eq!(*memory.bytes(address, len).unwrap(), needed[start..end]);
            assert_eq!(*memory.share(address, len).unwrap(), needed[start..end]);
            let mut read = vec![0; end - start];
            memory.read(address, &mut read).unwrap();
            assert_eq!(read, needed[start..end]);
            let (head, body) = memory.parts(address, len).unwrap();
            assert_eq!([head, body].concat(), needed[start..end]);
        }
    }
    assert_eq!(memory.read_u64(base), Ok(u64::from_le_bytes(needed)));
    assert_eq!(memory.read_u32(base + 1), Ok(0x0504_0c0b));
    assert_eq!(memory.read_u16(base + 3), Ok(0x0504));
    assert!(memory.read_u64(base + 1).is_err());
    // Beyond the head nothing is copied.
    assert_eq!(
        memory.share(base + 3, 5).unwrap().as_ptr(),
        body[3..].as_ptr()
    );
    assert!(matches!(memory.bytes(base, 3), Ok(Cow::Borrowed(_))));
    assert!(matches!(memory.bytes(base + 3, 5), Ok(Cow::Borrowed(_))));
}

#[test]
fn a_head_is_no_longer_than_its_body() {
    let mut memory = Memory::new();
    let body = || Bytes::from_static(&[0; 4]);
    assert!(memory.map_patched(vec![1; 4], body()).is_ok());
    let error = memory.map_patched(vec![1; 5], body()).unwrap_err();
    assert_eq!(error, MapError::Head { head: 5, body: 4 });
}

#[test]
fn shared_bytes_are_shared_on_and_owned_ones_copied() {
    let mut memory = Memory::new();
    let bytes = Bytes::from(vec![1, 2, 3, 4]);
    let shared = memory.map_shared(bytes.clone()).unwrap();
    assert_eq!(
        memory.share(shared + 1, 2).unwrap().as_ptr(),
        bytes[1..].as_ptr()
    );
    let owned = memory.map_owned(bytes.to_vec(), Access::ReadWrite).unwrap();
    let copy = memory.share(owned, 4).unwrap();
    memory.write_u8(owned, 9).unwrap();
    assert_eq!(*copy, [1, 2, 3, 4]);
}

#[test]
fn ids_are_never_used_twice() {
    let mut memory = Memory::new();
    let first = memory.map_owned(vec![1; 4], Access::ReadWrite).unwrap();
    assert!(memory.unmap(first));
    assert!(!memory.unmap(first));
    let second = memory.map_owned(vec![2; 4], Access::ReadWrite).unwrap();
    assert_ne!(first, second);
    assert_eq!(memory.read_u8(first).unwrap_err().kind, FaultKind::Unmapped);
    assert_eq!(memory.read_u8(second), Ok(2));
}

#[test]
fn regions_that_come_and_go_are_bounded() {
    let mut memory = Memory::new();
    let error = loop {
        match memory.map_owned(Vec::new(), Access::ReadOnly) {
            Ok(base) => assert!(memory.unmap(base)),
            Err(error) => break error,
        }
    };
    assert_eq!(
        error,
        MapError::TooMany {
            allowed: kpeel_bpf::MAX_REGIONS
        }
    );
}

#[test]
fn owned_bytes_come_back() {
    let mut memory = Memory::new();
    let base = memory.map_owned(vec![1, 2, 3], Access::ReadWrite).unwrap();
    memory.write(base + 1, &[9]).unwrap();
    assert_eq!(memory.take(base + 1), None);
    assert_eq!(memory.take(base), Some(vec![1, 9, 3]));
    assert_eq!(memory.take(base), None);
    let shared = memory.map_shared(Bytes::from_static(&[1])).unwrap();
    assert_eq!(memory.take(shared), None);
    assert!(memory.unmap(shared));
}

#[test]
fn protection_changes_what_owned_regions_allow() {
    let mut memory = Memory::new();
    let base = memory.map_owned(vec![0; 4], Access::ReadOnly).unwrap();
    let fault = memory.write_u32(base, 1).unwrap_err();
    assert_eq!(
        (fault.kind, fault.direction),
        (FaultKind::ReadOnly, Direction::Write)
    );
    memory.protect(base, Access::ReadWrite).unwrap();
    memory.write_u32(base, 1).unwrap();
    memory.protect(base, Access::ReadOnly).unwrap();
    assert!(memory.write_u32(base, 2).is_err());
    assert_eq!(memory.read_u32(base), Ok(1));
    let shared = memory.map_shared(Bytes::from_static(&[1])).unwrap();
    for base in [shared, base + 1, 0, 1 << 32, u64::MAX] {
        let error = memory.protect(base, Access::ReadWrite).unwrap_err();
        assert_eq!(error, MapError::NotOwned { base });
    }
}

#[test]
fn regions_are_found_by_any_address_up_to_their_end() {
    let mut memory = Memory::new();
    let base = memory.map_owned(vec![0; 4], Access::ReadWrite).unwrap();
    let region = Region {
        base,
        len: 4,
        access: Access::ReadWrite,
    };
    assert_eq!(memory.region(base), Some(region));
    assert_eq!(memory.region(base + 4), Some(region));
    assert_eq!(memory.region(base + 5), None);
    assert_eq!(memory.region(0), None);
    assert_eq!(memory.region(u64::MAX), None);
}

#[test]
fn ranges_are_checked_without_wrapping() {
    let mut memory = Memory::new();
    let base = memory.map_owned(vec![0; 4], Access::ReadWrite).unwrap();
    for (address, len) in [
        (base, u64::MAX),
        (base + 4, u64::MAX - 3),
        (base, 5),
        (base + 5, 0),
        (u64::MAX, 1),
        (0, 0),
    ] {
        assert!(memory.bytes(address, len).is_err(), "{address:#x} {len}");
        assert!(memory.share(address, len).is_err(), "{address:#x} {len}");
        assert!(memory.parts(address, len).is_err(), "{address:#x} {len}");
        assert!(
            memory.bytes_mut(address, len).is_err(),
            "{address:#x} {len}"
        );
    }
    assert_eq!(*memory.bytes(base + 4, 0).unwrap(), []);
    assert_eq!(*memory.bytes_mut(base, 4).unwrap(), [0; 4]);
}

#[test]
fn values_are_written_little_endian() {
    let mut memory = Memory::new();
    let base = memory.map_owned(vec![0; 16], Access::ReadWrite).unwrap();
    memory.write_u8(base, 0x11).unwrap();
    memory.write_u16(base + 1, 0x2233).unwrap();
    memory.write_u32(base + 3, 0x4455_6677).unwrap();
    memory.write_u64(base + 7, 0x8899_aabb_ccdd_eeff).unwrap();
    let needed = [
        0x11, 0x33, 0x22, 0x77, 0x66, 0x55, 0x44, 0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88, 0,
    ];
    assert_eq!(memory.take(base).unwrap(), needed);
}
