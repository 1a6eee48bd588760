//! `union bpf_attr`: the argument block of bpf(2).
//!
//! Source: `include/uapi/linux/bpf.h`; lengths and zero rules as in Linux 6.12, `kernel/bpf/syscall.c`.

use kpeel_bpf::Memory;
use kpeel_envelope::error::Needed;

use crate::answer::{Answer, E2BIG, EINVAL, Stop};

/// `sizeof(union bpf_attr)` of Linux 6.12.
const SIZE: usize = 152;
/// Linux takes no block over a page.
const MAX_SIZE: u64 = 4096;
/// `BPF_OBJ_NAME_LEN`, its NUL included.
const NAME_LEN: usize = 16;

/// One argument block; bytes the caller did not give are zero.
#[derive(Clone, Debug)]
pub(super) struct Attr {
    bytes: [u8; SIZE],
}

impl Attr {
    /// Copies the block once.
    pub(super) fn read(memory: &Memory, address: u64, size: u64) -> Answer<Self> {
        if size > MAX_SIZE {
            return Err(Stop::bound(E2BIG, "attr size", size, MAX_SIZE));
        }
        let given = memory
            .bytes(address, size)
            .map_err(|_| Stop::unreadable("attr"))?;
        let mut bytes = [0; SIZE];
        for (to, from) in bytes.iter_mut().zip(given.iter()) {
            *to = *from;
        }
        if given.iter().skip(SIZE).any(|byte| *byte != 0) {
            return Err(Stop::bound(E2BIG, "attr size", size, SIZE as u64));
        }
        Ok(Self { bytes })
    }

    /// Refuses a block with anything behind the last field of its command.
    pub(super) fn check_end(&self, end: usize) -> Answer<()> {
        match self.bytes.iter().skip(end).position(|byte| *byte != 0) {
            None => Ok(()),
            Some(at) => {
                let needed = Needed::Words("zero behind the command's last field");
                Err(Stop::invalid(
                    "attr byte",
                    end.saturating_add(at) as u64,
                    needed,
                ))
            }
        }
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    /// An object's name: letters, digits, `_` and `.`, ended by NUL.
    pub(super) fn name(&self, at: usize) -> Answer<String> {
        let field: [u8; NAME_LEN] = self.array(at);
        let name = field.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
        if name.len() == NAME_LEN || !name.iter().all(good) {
            let reason = "is not ended, or holds other than letters, digits, _ and .";
            return Err(Stop::wrong(EINVAL, "name", reason));
        }
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let field = self.bytes.get(at..).and_then(|rest| rest.first_chunk());
        field.copied().unwrap_or([0; N])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kpeel_bpf::Access;

    fn attr(bytes: &[u8]) -> Answer<Attr> {
        let mut memory = Memory::new();
        let base = memory.map_owned(bytes.to_vec(), Access::ReadOnly).unwrap();
        Attr::read(&memory, base, bytes.len() as u64)
    }

    #[test]
    fn longer_blocks_pass_when_their_rest_is_zero() {
        assert!(attr(&[0; 168]).is_ok());
        let mut bytes = [0; 168];
        bytes[167] = 1;
        assert!(attr(&bytes).is_err());
        assert!(attr(&[0; 4097]).is_err());
        assert_eq!(attr(&[1, 2, 3, 4, 5]).unwrap().u64(0), 0x05_0403_0201);
    }

    #[test]
    fn names_are_ended_and_plain() {
        let with = |name: &[u8]| attr(name).and_then(|attr| attr.name(0));
        assert_eq!(with(b"parse_pe.1"), Ok("parse_pe.1".into()));
        assert!(with(b"parse pe").is_err());
        assert!(with(b"0123456789abcdef").is_err());
        assert_eq!(with(b"a\0b"), Ok("a".into()));
    }

    #[test]
    fn refuses_bytes_behind_the_last_field() {
        let attr = attr(&[0, 0, 0, 0, 7]).unwrap();
        assert!(attr.check_end(4).is_err());
        assert!(attr.check_end(5).is_ok());
    }
}
