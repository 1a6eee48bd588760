//! `union bpf_attr` of `include/uapi/linux/bpf.h` as bytes: each command's fields by offset.

use std::marker::PhantomData;

/// Commands, `enum bpf_cmd`.
pub(crate) mod cmd {
    pub(crate) const MAP_CREATE: u32 = 0;
    pub(crate) const MAP_UPDATE_ELEM: u32 = 2;
    pub(crate) const PROG_LOAD: u32 = 5;
    pub(crate) const PROG_RUN: u32 = 10;
    pub(crate) const OBJ_GET_INFO_BY_FD: u32 = 15;
    pub(crate) const RAW_TRACEPOINT_OPEN: u32 = 17;
}

/// Offsets of the fields of `BPF_PROG_LOAD`.
pub(crate) mod prog_load {
    pub(crate) const PROG_TYPE: usize = 0;
    pub(crate) const INSN_COUNT: usize = 4;
    pub(crate) const INSNS: usize = 8;
    pub(crate) const LICENSE: usize = 16;
    pub(crate) const LOG_LEVEL: usize = 24;
    pub(crate) const LOG_SIZE: usize = 28;
    pub(crate) const LOG_BUFFER: usize = 32;
    pub(crate) const PROG_FLAGS: usize = 44;
    pub(crate) const NAME: usize = 48;
    pub(crate) const EXPECTED_ATTACH_TYPE: usize = 68;
    pub(crate) const FD_ARRAY: usize = 120;
    /// End of the last field that a loader without CO-RE sets.
    pub(crate) const SIZE: usize = 128;
}

/// The attribute of one command; zero where nothing was put.
///
/// # Invariants
/// Addresses in it come from [`Attr::address`] and [`Attr::address_mut`] and are of memory borrowed
/// for `'a`.
#[derive(Debug)]
pub(crate) struct Attr<'a> {
    bytes: [u8; CAPACITY],
    size: usize,
    borrowed: PhantomData<&'a mut [u8]>,
}

/// As large as 6.12's union.
const CAPACITY: usize = 152;

impl<'a> Attr<'a> {
    /// An attribute of this many bytes, at most [`CAPACITY`].
    pub(crate) fn new(size: usize) -> Self {
        assert!(size <= CAPACITY, "no command is larger");
        Self {
            bytes: [0; CAPACITY],
            size,
            borrowed: PhantomData,
        }
    }

    pub(crate) fn u32(mut self, offset: usize, value: u32) -> Self {
        put(&mut self.bytes, offset, &value.to_ne_bytes());
        self
    }

    /// Puts a size or a count, none of which here comes near 4 Gi.
    pub(crate) fn count(self, offset: usize, value: usize) -> Self {
        let value = u32::try_from(value).expect("sizes of a carrier fit in 32 bits");
        self.u32(offset, value)
    }

    /// Puts the address of memory that the kernel will read.
    pub(crate) fn address<T>(mut self, offset: usize, value: &'a [T]) -> Self {
        put(
            &mut self.bytes,
            offset,
            &(value.as_ptr().expose_provenance() as u64).to_ne_bytes(),
        );
        self
    }

    /// Puts the address of memory that the kernel will write to.
    pub(crate) fn address_mut<T>(mut self, offset: usize, value: &'a mut [T]) -> Self {
        put(
            &mut self.bytes,
            offset,
            &(value.as_mut_ptr().expose_provenance() as u64).to_ne_bytes(),
        );
        self
    }

    pub(crate) fn text(mut self, offset: usize, value: &str) -> Self {
        put(&mut self.bytes, offset, value.as_bytes());
        self
    }

    pub(crate) fn read_u32(&self, offset: usize) -> u32 {
        read_u32(&self.bytes, offset).expect("offsets lie inside")
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.bytes.as_mut_ptr()
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

/// Overwrites bytes at `offset`; what lies outside of `bytes` is our own mistake.
pub(crate) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes
        .get_mut(offset..offset + value.len())
        .expect("the field lies inside")
        .copy_from_slice(value);
}

/// The number at `offset`, if it lies inside.
pub(crate) fn read_u32(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}
