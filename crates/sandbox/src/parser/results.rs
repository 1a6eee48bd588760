//! What `bpf_decompress` gave out.

use std::collections::BTreeMap;

use kpeel_abi::MemRangeResult;
use kpeel_bpf::{Access, Memory};
use kpeel_envelope::error::Result;
use kpeel_envelope::publication::Origin;

use super::places::Places;
use crate::buffer::Buffer;
use crate::loader::unmappable;

/// Live results: address of each `struct mem_range_result`, address of its bytes.
#[derive(Debug, Default)]
pub(super) struct Results {
    live: BTreeMap<u64, u64>,
}

impl Results {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// Shows `bytes` to the parser; returns the result's address.
    pub(super) fn add(
        &mut self,
        bytes: &Buffer,
        origin: Origin,
        memory: &mut Memory,
        places: &mut Places,
    ) -> Result<u64> {
        let size = bytes.len() as u32;
        let buf = memory
            .map_shared(bytes.bytes().clone())
            .map_err(unmappable)?;
        let result = MemRangeResult {
            buf,
            buf_sz: size,
            data_sz: size,
        };
        let address = memory
            .map_owned(result.to_bytes().to_vec(), Access::ReadOnly)
            .map_err(unmappable)?;
        places.add(buf, "result", origin, 0);
        self.live.insert(address, buf);
        Ok(address)
    }

    /// Takes a result back; what was published of it lives on. False if it is none.
    pub(super) fn put(&mut self, address: u64, memory: &mut Memory, places: &mut Places) -> bool {
        let Some(buf) = self.live.remove(&address) else {
            return false;
        };
        places.remove(buf);
        memory.unmap(buf);
        memory.unmap(address);
        true
    }
}
