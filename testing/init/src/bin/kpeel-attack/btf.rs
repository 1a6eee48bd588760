//! The ids of the running kernel's functions, out of its BTF (`Documentation/bpf/btf.rst`).

use std::collections::BTreeMap;

const FILE: &str = "/sys/kernel/btf/vmlinux";
const MAGIC: u16 = 0xeb9f;
const KIND_FUNC: u32 = 12;

/// Functions by name.
pub(crate) struct Types(BTreeMap<String, u32>);

impl Types {
    pub(crate) fn of_kernel() -> Result<Self, String> {
        let bytes = std::fs::read(FILE).map_err(|error| format!("{FILE}: {error}"))?;
        Self::parse(&bytes).ok_or_else(|| format!("{FILE}: cannot be read"))
    }

    pub(crate) fn function(&self, name: &str) -> Result<u32, String> {
        let id = self.0.get(name).copied();
        id.ok_or_else(|| format!("the kernel has no function {name}"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            let word = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_le_bytes(word) as usize)
        };
        if word(0)? & 0xffff != usize::from(MAGIC) {
            return None;
        }
        let header = word(4)?;
        let (types, types_len) = (header + word(8)?, word(12)?);
        let strings = header + word(16)?;
        let mut functions = BTreeMap::new();
        let (mut at, mut id) = (types, 1);
        while at < types + types_len {
            let info = word(at + 4)? as u32;
            let kind = info >> 24 & 0x1f;
            if kind == KIND_FUNC {
                let name = bytes.get(strings + word(at)?..)?;
                let name = name.split(|byte| *byte == 0).next()?;
                functions.insert(String::from_utf8_lossy(name).into_owned(), id);
            }
            at += 12 + tail(kind, (info & 0xffff) as usize)?;
            id += 1;
        }
        Some(Self(functions))
    }
}

/// Bytes behind a type's first twelve, for `count` members.
fn tail(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // INT, VAR, DECL_TAG
        1 | 14 | 17 => 4,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | 16 | 18 => 0,
        // ARRAY
        3 => 12,
        // STRUCT, UNION, DATASEC, ENUM64
        4 | 5 | 15 | 19 => count * 12,
        // ENUM, FUNC_PROTO
        6 | 13 => count * 8,
        _ => return None,
    })
}
