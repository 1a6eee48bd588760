//! What holds of every attached parser, judged by the `object` crate's reader.

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::pe::Pe;
use kpeel_image::{AttachOptions, DetachOptions, attach, detach};
use object::read::pe::PeFile64;
use object::{Object, ObjectSection};

use super::{DIRECTORIES, Maker, assert_same, carrier, part};

pub const PLAIN: AttachOptions = AttachOptions {
    drop_signature: false,
    replace: false,
};

pub fn attached(image: &[u8]) -> Vec<u8> {
    attach(image, &carrier(), PLAIN).unwrap()
}

/// Names and contents as `object` reads them.
pub fn sections(image: &[u8]) -> Vec<(String, u64, Vec<u8>)> {
    let file = PeFile64::parse(image).unwrap();
    let read = |section: object::read::pe::PeSection64<'_, '_>| {
        (
            section.name().unwrap().to_owned(),
            section.address(),
            section.data().unwrap().to_vec(),
        )
    };
    file.sections().map(read).collect()
}

/// Attaches, and checks what holds of every result: old sections kept, the new one last, covered,
/// and detaching gives the bytes of before.
#[track_caller]
pub fn check(image: &[u8]) -> Vec<u8> {
    let output = attached(image);
    let mut now = sections(&output);
    let (name, address, data) = now.pop().unwrap();
    assert_eq!((name.as_str(), data), (".bpf", carrier()));
    assert!(now == sections(image), "sections differ");
    let pe = Pe::parse(&output).unwrap();
    check_coverage(&pe).unwrap();
    let headers = pe.headers();
    let base = headers.image_base;
    assert_eq!(address % u64::from(headers.section_alignment), 0);
    let last = pe.sections().last().unwrap();
    assert_eq!(u64::from(last.virtual_address) + base, address);
    assert!(u64::from(headers.size_of_image) >= last.virtual_end());
    assert_eq!(last.pointer_to_raw_data % headers.file_alignment, 0);
    assert_eq!(last.size_of_raw_data % headers.file_alignment, 0);
    assert_same(&detach(&output, DetachOptions::default()).unwrap(), image);
    output
}

/// `count` sections and headers as small as they can be.
pub fn full_headers(count: usize) -> Maker {
    let names = [".a", ".b", ".c", ".d", ".e", ".f", ".g", ".h"];
    let parts: Vec<_> = (0..count).map(|at| part(names[at % 8], 300 + at)).collect();
    let table_end: usize = 0x80 + 4 + DIRECTORIES + 16 * 8 + count * 40;
    let headers = table_end.next_multiple_of(512);
    Maker {
        parts,
        headers,
        first: headers,
        ..Maker::default()
    }
}
