//! Damaged objects: refused or linked, never a panic.

use kpeel_lskel::link;

use crate::elf;

/// A small generator, so that every run tries the same bytes.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }
}

#[test]
fn refuses_every_truncation() {
    let object = elf::sound().bytes();
    assert!(link(&object).is_ok());
    for len in 0..object.len() {
        assert!(link(&object[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn survives_every_byte_at_its_extremes() {
    let object = elf::sound().bytes();
    for at in 0..object.len() {
        for value in [
            0,
            1,
            0x7f,
            0x80,
            0xff,
            object[at] ^ 1,
            object[at].wrapping_add(1),
        ] {
            let mut damaged = object.clone();
            damaged[at] = value;
            let _ = link(&damaged);
        }
    }
}

#[test]
fn survives_random_damage() {
    damage_at_random(&elf::sound().bytes(), 20_000);
    damage_at_random(&crate::clang::parser(&["WITH_POST"]), 5_000);
}

fn damage_at_random(object: &[u8], rounds: usize) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..rounds {
        let mut damaged = object.to_vec();
        for _ in 0..=random.next(6) {
            let at = random.next(damaged.len());
            damaged[at] = random.next(256) as u8;
        }
        let _ = link(&damaged);
    }
}
