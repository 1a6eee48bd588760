//! Edits of sections, judged by the `object` crate: what they name changes, everything else stays.

mod support;

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::{Class, Field, Refusal};
use kpeel_envelope::pe::Pe;
use kpeel_image::{Certificates, Contents, Editor, Part};
use kpeel_images::make::noise;
use object::LittleEndian as LE;
use object::read::pe::PeFile64;
use support::{DIRECTORIES, Maker, OPTIONAL, assert_same, part};

/// One section as `object` reads it: name, address, characteristics and the file's bytes.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    name: String,
    address: u32,
    characteristics: u32,
    data: Vec<u8>,
    raw: Vec<u8>,
}

fn seen(image: &[u8]) -> Vec<Seen> {
    let file = PeFile64::parse(image).unwrap();
    let read = |header: &object::pe::ImageSectionHeader| {
        let (at, size) = header.pe_file_range();
        let raw = header.size_of_raw_data.get(LE) as usize;
        let start = header.pointer_to_raw_data.get(LE) as usize;
        Seen {
            name: String::from_utf8(header.raw_name().to_vec()).unwrap(),
            address: header.virtual_address.get(LE),
            characteristics: header.characteristics.get(LE).0,
            data: image[at as usize..][..size as usize].to_vec(),
            raw: image[start..][..raw].to_vec(),
        }
    };
    file.section_table().iter().map(read).collect()
}

/// The headers up to the section table without the fields that an edit may change.
fn other_header_bytes(image: &[u8], maker: &Maker) -> Vec<u8> {
    let (coff, optional) = (maker.lfanew + 4, maker.lfanew + 4 + OPTIONAL);
    let mut head = image[..maker.lfanew + 4 + DIRECTORIES + 16 * 8].to_vec();
    let certificates = coff + DIRECTORIES + 4 * 8;
    for (at, len) in [
        (coff + 2, 2),      // NumberOfSections
        (coff + 8, 4),      // PointerToSymbolTable
        (optional + 8, 4),  // SizeOfInitializedData
        (optional + 56, 4), // SizeOfImage
        (optional + 60, 4), // SizeOfHeaders
        (optional + 64, 4), // CheckSum
        (certificates, 8),
    ] {
        head[at..at + len].fill(0);
    }
    head
}

/// A small generator, so that every run tries the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

const NAMES: [&str; 8] = [".a", ".b", ".c", ".d", ".e", ".f", ".g", ".h"];

fn random_maker(dice: &mut Dice) -> Maker {
    let count = 1 + dice.below(NAMES.len());
    let mut parts = Vec::new();
    for name in &NAMES[..count] {
        let mut part = part(name, 1 + dice.below(9000));
        // Some linkers do not fill the file up, and some sections are longer in memory.
        if dice.below(4) == 0 {
            part.raw_size = part.data.len();
        }
        if dice.below(4) == 0 {
            part.virtual_size += dice.below(5000) as u32;
        }
        parts.push(part);
    }
    let len = dice.below(3) * dice.below(700);
    Maker {
        parts,
        overlay: noise(len, 1 + dice.below(99) as u64),
        certificate: noise(dice.below(2) * (1 + dice.below(90)), 3),
        symbols: dice.below(2) == 0,
        check_sum: dice.below(2) == 0,
        first: 0x400 + 0x200 * dice.below(2),
        ..Maker::default()
    }
}

#[test]
fn random_edits_keep_every_byte_they_do_not_name() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for round in 0..400 {
        let maker = random_maker(&mut dice);
        let image = maker.make();
        let before = seen(&image);
        let mut expected: Vec<(Seen, bool)> = before.iter().map(|s| (s.clone(), true)).collect();
        let mut editor = Editor::parse(&image).unwrap();
        let keeps = dice.below(2) == 0;
        editor.set_certificates(if keeps {
            Certificates::Keep
        } else {
            Certificates::Drop
        });
        for step in 0..1 + dice.below(5) {
            let data = noise(dice.below(6000), (round * 10 + step) as u64 + 1);
            match dice.below(3) {
                0 => {
                    let name = format!(".n{step}");
                    editor.add(&name, data.clone(), Contents::Data).unwrap();
                    let new = Seen {
                        name,
                        address: 0,
                        characteristics: 0x4000_0040,
                        raw: Vec::new(),
                        data,
                    };
                    expected.push((new, false));
                }
                1 if !expected.is_empty() => {
                    let index = dice.below(expected.len());
                    let room = editor.room(index).unwrap();
                    let replaced = editor.replace(index, data.clone());
                    assert_eq!(replaced.is_ok(), data.len() as u64 <= room, "{replaced:?}");
                    if replaced.is_ok() {
                        expected[index].0.data = data;
                        expected[index].1 = false;
                    }
                }
                _ if !expected.is_empty() => {
                    let index = dice.below(expected.len());
                    editor.remove_at(index).unwrap();
                    expected.remove(index);
                }
                _ => {}
            }
        }
        let output = editor.finish().unwrap();
        compare(&maker, &image, &output, &expected, round);
        check_rest(&maker, &image, &output, keeps);
    }
}

#[track_caller]
fn compare(maker: &Maker, image: &[u8], output: &[u8], expected: &[(Seen, bool)], round: usize) {
    let now = seen(output);
    assert_eq!(now.len(), expected.len(), "round {round}");
    for (now, (old, untouched)) in now.iter().zip(expected) {
        assert_eq!(
            (&now.name, now.characteristics),
            (&old.name, old.characteristics)
        );
        // Where memory is longer than the file, padding in the file shows the same zeros.
        let (data, padding) = now.data.split_at(old.data.len());
        assert!(data == old.data, "round {round}: {} differs", now.name);
        assert!(padding.iter().all(|byte| *byte == 0) && (*untouched || padding.is_empty()));
        if *untouched {
            assert_eq!(now.address, old.address);
            assert!(now.raw.starts_with(&old.raw), "round {round}: {}", now.name);
        }
    }
    let others = |image: &[u8]| other_header_bytes(image, maker);
    assert_same(&others(output), &others(image));
}

/// Overlay, symbols, certificate table, coverage, sizes.
#[track_caller]
fn check_rest(maker: &Maker, image: &[u8], output: &[u8], keeps: bool) {
    let (old, new) = (Pe::parse(image).unwrap(), Pe::parse(output).unwrap());
    check_coverage(&new).unwrap();
    let end = |pe: &Pe<'_>| {
        pe.certificate_table()
            .map_or(pe.bytes().len(), |table| table.start)
    };
    let tail = &output[..end(&new)];
    // The old table and the new one stand at multiples of 8: up to 7 zeros each.
    let zeros = tail
        .iter()
        .rev()
        .take_while(|byte| **byte == 0)
        .count()
        .min(14);
    let overlay = &maker.overlay;
    let found = (0..=zeros).any(|cut| tail[..tail.len() - cut].ends_with(overlay));
    assert!(found, "overlay of {} bytes", overlay.len());
    let table = |pe: &Pe<'_>| {
        pe.certificate_table()
            .map(|range| pe.bytes()[range].to_vec())
    };
    assert_eq!(table(&new), table(&old).filter(|_| keeps));
    if maker.symbols {
        let file = PeFile64::parse(output).unwrap();
        let name = |symbol| object::ObjectSymbol::name(&symbol).unwrap().to_owned();
        let names: Vec<_> = object::Object::symbols(&file).map(name).collect();
        assert_eq!(names, ["_text"]);
    }
    let field = maker.lfanew + 4 + OPTIONAL + 64;
    let sum = u32::from_le_bytes(output[field..field + 4].try_into().unwrap());
    let right = support::slow_check_sum(output, field);
    assert_eq!(sum, if maker.check_sum { right } else { 0 });
    let end = new
        .sections()
        .map(|section| section.virtual_end())
        .max()
        .unwrap_or(0);
    assert!(u64::from(new.headers().size_of_image) >= end);
}

#[test]
fn pieces_are_the_image() {
    let image = Maker {
        check_sum: true,
        ..Maker::default()
    }
    .make();
    let mut editor = Editor::parse(&image).unwrap();
    editor.add(".new", &b"odd"[..], Contents::Data).unwrap();
    let parts = editor.parts().unwrap();
    assert_same(&parts.to_vec().unwrap(), &editor.finish().unwrap());
    assert_eq!(parts.len(), editor.finish().unwrap().len());
}

#[test]
fn bytes_put_in_later_make_the_same_image() {
    let image = Maker::default().make();
    let data = [0xa5; 1001];
    let mut with = Editor::parse(&image).unwrap();
    let mut without = Editor::parse(&image).unwrap();
    with.add(".new", &data[..], Contents::Data).unwrap();
    without
        .add_later(".new", data.len(), Contents::Data)
        .unwrap();
    for editor in [&mut with, &mut without] {
        editor.add(".last", &b"end"[..], Contents::Data).unwrap();
    }
    let parts = without.parts().unwrap();
    let pieces = parts.iter().map(|part| match part {
        Part::Bytes(bytes) => bytes,
        Part::Later(len) => &data[..len],
    });
    let joined = pieces.collect::<Vec<_>>().concat();
    assert_same(&joined, &with.finish().unwrap());
    // What needs all bytes says so.
    assert_eq!(without.finish().unwrap_err().class, Class::Misuse);
}

#[test]
fn a_section_grows_in_its_place_up_to_the_next_one() {
    let image = Maker::default().make();
    let mut editor = Editor::parse(&image).unwrap();
    assert_eq!(editor.find(".text"), [0]);
    assert_eq!(editor.room(0).unwrap(), 4096);
    editor.replace(0, vec![5; 4096]).unwrap();
    let error = editor.replace(0, vec![5; 4097]).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("VirtualSize"))
    );
    let output = editor.finish().unwrap();
    assert_eq!(seen(&output)[0].data, [5; 4096]);
    assert_eq!(seen(&output)[1..], seen(&image)[1..]);
}

#[test]
fn a_certificate_table_is_refused_dropped_or_kept_as_told() {
    let maker = Maker {
        certificate: vec![7; 90],
        overlay: vec![1; 3],
        ..Maker::default()
    };
    let image = maker.make();
    let edited = |certificates| {
        let mut editor = Editor::parse(&image).unwrap();
        editor.set_certificates(certificates);
        editor.add(".new", &b"new"[..], Contents::Data).unwrap();
        editor.finish()
    };
    let error = edited(Certificates::Refuse).unwrap_err();
    assert_eq!(error.class, Class::Refused(Refusal::Signature));
    let dropped = edited(Certificates::Drop).unwrap();
    assert!(Pe::parse(&dropped).unwrap().certificate_table().is_none());
    let kept = edited(Certificates::Keep).unwrap();
    let table = |image: &[u8]| {
        let range = Pe::parse(image).unwrap().certificate_table().unwrap();
        assert_eq!((range.start % 8, range.end), (0, image.len()));
        image[range].to_vec()
    };
    assert_eq!(table(&kept), table(&image));
    assert!(kept.starts_with(&dropped[..0x80]));
}

#[test]
fn takes_nx_compat_away_and_nothing_else() {
    let mut image = Maker::default().make();
    let field = 0x80 + 4 + OPTIONAL + 70;
    image[field..field + 2].copy_from_slice(&0x8160_u16.to_le_bytes());
    let mut editor = Editor::parse(&image).unwrap();
    assert_same(&editor.finish().unwrap(), &image);
    editor.clear_nx_compat();
    let mut cleared = image.clone();
    cleared[field..field + 2].copy_from_slice(&0x8060_u16.to_le_bytes());
    assert_same(&editor.finish().unwrap(), &cleared);
}

#[test]
fn refuses_names_that_do_not_fit() {
    let image = Maker::default().make();
    let mut editor = Editor::parse(&image).unwrap();
    for name in ["", "ninechars"] {
        let error = editor.add(name, &b"x"[..], Contents::Data).unwrap_err();
        assert_eq!(error.class, Class::Misuse);
    }
    editor.add("8 chars.", &b"x"[..], Contents::Data).unwrap();
    editor.add(".none", &b""[..], Contents::Data).unwrap();
    let output = editor.finish().unwrap();
    let names: Vec<_> = seen(&output)
        .into_iter()
        .map(|section| section.name)
        .collect();
    assert_eq!(names[3..], ["8 chars.", ".none"]);
    assert_eq!(editor.remove_at(9).unwrap_err().class, Class::Misuse);
    assert!(editor.remove_at(4).is_ok());
}
