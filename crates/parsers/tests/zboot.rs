//! The zboot parser, in the sandbox.

mod support;

use kpeel_codec::{Codec, compress};
use kpeel_envelope::error::Class;
use kpeel_formats::zboot::{Error, Field, Header};
use support::{Outcome, kernel, open, said, zboot};

const CODECS: [(&str, Codec); 9] = [
    ("gzip", Codec::Gzip),
    ("zstd", Codec::Zstd),
    ("zstd22", Codec::Zstd),
    ("xzkern", Codec::Xz),
    ("xz", Codec::Xz),
    ("lzma", Codec::Lzma),
    ("lz4", Codec::Lz4),
    ("lzo", Codec::Lzo),
    ("bzip2", Codec::Bzip2),
];

fn stream(codec: Codec) -> Vec<u8> {
    compress(codec, 6, &kernel("inner")).unwrap()
}

#[test]
fn opens_every_codec_a_header_can_declare() {
    for (name, codec) in CODECS {
        let opened = open(&zboot(name, &stream(codec), &[0xff; 4])).unwrap();
        assert_eq!(opened.kernel, kernel("inner"), "{name}");
        assert_eq!((opened.initrd, opened.cmdline), (None, None));
        assert_eq!(opened.envelopes, 1);
    }
}

#[test]
fn takes_the_payload_exactly_as_the_header_says() {
    // A zstd frame ends where it ends: four bytes less, which is what a reader that takes the
    // length trailer off twice would pass on, is a truncated stream.
    let stream = stream(Codec::Zstd);
    let mut image = zboot("zstd", &stream, &[0; 4]);
    assert_eq!(open(&image).unwrap().kernel, kernel("inner"));
    image[12..16].copy_from_slice(&(stream.len() as u32 - 4).to_le_bytes());
    let error = open(&image).unwrap_err();
    assert_eq!(error.class, Class::Malformed, "{error}");
}

#[test]
fn leaves_other_images_to_other_parsers() {
    let mut image = zboot("zstd", &stream(Codec::Zstd), &[]);
    image[4] = b'Z';
    let error = open(&image).unwrap_err();
    assert!(!error.to_string().contains("zimg"), "{error}");
}

#[test]
fn complains_as_the_rules_do() {
    let whole = zboot("zstd", &stream(Codec::Zstd), &[]);
    let len = whole.len() as u32;
    let cases: [(usize, u32); 13] = [
        (8, 0),
        (8, 0x3f),
        (8, len),
        (8, len + 1),
        (8, u32::MAX),
        (12, 0),
        (12, 1),
        (12, len),
        (12, len - 0x1ff),
        (12, u32::MAX),
        (0x18, u32::from_le_bytes(*b"gzip")),
        (0x18, u32::from_le_bytes(*b"lzip")),
        (0x200, 0x8b1f),
    ];
    for (at, value) in cases {
        let mut image = whole.clone();
        image[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let rule = Header::parse(&image).unwrap_err();
        assert_eq!(as_rule(open(&image)), rule, "{value:#x} at {at:#x}");
    }
}

fn as_rule(outcome: Outcome) -> Error {
    let (class, field, found, needed) = said(outcome);
    let names = [
        kpeel_formats::zboot::PAYLOAD_OFFSET,
        kpeel_formats::zboot::PAYLOAD_SIZE,
        kpeel_formats::zboot::PAYLOAD_MAGIC,
        kpeel_formats::zboot::COMP_TYPE,
    ];
    let name = names.into_iter().find(|name| **name == field).unwrap();
    let field = Field {
        name,
        found,
        needed,
    };
    match class {
        Class::Malformed => Error::Malformed(field),
        Class::Unsupported => Error::Unsupported(field),
        other => panic!("{other:?}"),
    }
}
