//! Writes BTF.

use super::Kind;
use super::types::{HEADER_SIZE, MAGIC, VERSION};

/// Collects types; ids count from 1 in the order of the calls.
#[derive(Default)]
pub(super) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

/// Bits of an integer's encoding.
pub(super) const SIGNED: u32 = 1;
pub(super) const BOOL: u32 = 4;

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            strings: vec![0],
            ..Self::default()
        }
    }

    pub(super) fn int(&mut self, name: &str, size: u32, encoding: u32) -> u32 {
        let bits = size.saturating_mul(8);
        self.add(Kind::Int, name, 0, size, &[encoding << 24 | bits])
    }

    /// A pointer, typedef or qualifier.
    pub(super) fn refer(&mut self, kind: Kind, name: &str, to: u32) -> u32 {
        self.add(kind, name, 0, to, &[])
    }

    /// A struct; each member is name, type and byte offset.
    pub(super) fn composite(&mut self, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let mut tail = Vec::new();
        for (name, ty, offset) in members {
            tail.extend([self.string(name), *ty, offset.saturating_mul(8)]);
        }
        self.add(Kind::Struct, name, members.len() as u32, size, &tail)
    }

    /// A static function and its prototype; parameters are name and type. Returns the function.
    pub(super) fn function(&mut self, name: &str, returns: u32, parameters: &[(&str, u32)]) -> u32 {
        let mut tail = Vec::new();
        for (name, ty) in parameters {
            tail.extend([self.string(name), *ty]);
        }
        let proto = self.add(Kind::FuncProto, "", parameters.len() as u32, returns, &tail);
        self.add(Kind::Func, name, 0, proto, &[])
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let header = [MAGIC | VERSION << 16, HEADER_SIZE, 0, types, types, strings];
        let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(self.types);
        bytes.extend(self.strings);
        bytes
    }

    /// Adds any record.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        name: &str,
        count: u32,
        third: u32,
        tail: &[u32],
    ) -> u32 {
        let name_off = self.string(name);
        let words = [name_off, kind.id() << 24 | count, third];
        self.types
            .extend(words.iter().chain(tail).flat_map(|word| word.to_le_bytes()));
        self.count = self.count.saturating_add(1);
        self.count
    }

    pub(super) fn string(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        offset
    }
}
