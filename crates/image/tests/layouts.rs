//! `attach` and `detach` on layouts drawn at random, the same ones at every run.

mod support;

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::Class;
use kpeel_envelope::pe::Pe;
use kpeel_image::{AttachOptions, DetachOptions, attach, detach};
use support::{DIRECTORIES, Maker, Part, assert_same, carrier_of, part};

const NAMES: [&str; 8] = [
    ".text", ".data", ".linux", ".initrd", ".sbat", ".osrel", ".uname", ".x",
];
const LAYOUTS: u32 = 300;

/// xorshift32.
struct Draw(u32);

impl Draw {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % bound
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn maker(&mut self) -> Maker {
        let count = 1 + self.below(40) as usize;
        let mut parts = Vec::new();
        for _ in 0..count {
            let name = NAMES[self.below(8) as usize];
            let mut made = part(name, self.below(3000) as usize);
            match self.below(10) {
                0 => {
                    made = Part {
                        raw_size: 0,
                        data: Vec::new(),
                        virtual_size: 99,
                        ..made
                    }
                }
                1 => made.virtual_size += 5000,
                2 => made.virtual_size /= 2,
                3 => made.raw_size += 512,
                _ => {}
            }
            parts.push(made);
        }
        if self.chance(20) && parts.last().is_some_and(|last| last.raw_size > 3) {
            parts.last_mut().unwrap().raw_size -= 3;
        }
        let table_end: usize = 0x80 + 4 + DIRECTORIES + 16 * 8 + count * 40;
        let headers = table_end.next_multiple_of(512);
        let gap = if self.chance(20) {
            512 * self.below(4) as usize
        } else {
            0
        };
        let overlay = if self.chance(40) {
            vec![7; self.below(700) as usize]
        } else {
            Vec::new()
        };
        let first_address = [0x1000, 0x2000, headers.next_multiple_of(512) as u32];
        Maker {
            parts,
            headers,
            first: headers + gap,
            first_address: first_address[self.below(3) as usize].max(headers as u32),
            section_alignment: if self.chance(70) { 4096 } else { 512 },
            overlay,
            symbols: self.chance(30),
            check_sum: self.chance(50),
            ..Maker::default()
        }
    }

    /// Lets the table's order differ from the file's.
    fn shuffle(&mut self, image: &mut [u8], count: usize) {
        let table = 0x80 + 4 + DIRECTORIES + 16 * 8;
        for _ in 0..self.below(4) {
            let (one, other) = (
                self.below(count as u32) as usize,
                self.below(count as u32) as usize,
            );
            for at in 0..40 {
                image.swap(table + one * 40 + at, table + other * 40 + at);
            }
        }
    }
}

#[test]
fn every_layout_is_kept_covered_and_given_back() {
    let mut draw = Draw(0x2545_f491);
    let mut refused = 0;
    for number in 0..LAYOUTS {
        let maker = draw.maker();
        let mut image = maker.make();
        draw.shuffle(&mut image, maker.parts.len());
        if draw.chance(20) {
            // Bytes of somebody's behind the section table.
            let table_end = 0x80 + 4 + DIRECTORIES + 16 * 8 + maker.parts.len() * 40;
            let used = draw.below((maker.headers - table_end + 1) as u32) as usize;
            image[table_end..table_end + used].fill(5);
        }
        let before = Pe::parse(&image).unwrap();
        let data = vec![3; 1 + draw.below(4000) as usize];
        let carrier = carrier_of(&[0x95, 0, 0, 0, 0, 0, 0, 0], &data);
        let output = match attach(&image, &carrier, AttachOptions::default()) {
            Ok(output) => output,
            Err(error) => {
                // Only headers that would reach the first section in memory have no way out.
                assert_eq!(error.class, Class::Unsupported, "{number}: {error}");
                assert!(
                    maker.first_address < maker.first as u32 + 512,
                    "{number}: {error}"
                );
                refused += 1;
                continue;
            }
        };
        let after = Pe::parse(&output).unwrap();
        check_coverage(&after).unwrap();
        for (old, new) in before.sections().zip(after.sections()) {
            assert_eq!(
                (old.raw_name, old.virtual_address),
                (new.raw_name, new.virtual_address)
            );
            assert_same(&new.raw()[..old.raw().len()], old.raw());
            // Zeros may come into the file where memory had them already.
            let (old, new) = (old.data(), new.data());
            assert_same(&new[..old.len()], old);
            assert!(new[old.len()..].iter().all(|byte| *byte == 0), "{number}");
        }
        let added = after.sections().last().unwrap();
        assert_same(added.data(), &carrier);
        assert!(output.ends_with(&maker.overlay));
        assert_same(&detach(&output, DetachOptions::default()).unwrap(), &image);
    }
    assert!((1..LAYOUTS / 2).contains(&refused), "{refused} refused");
}
