//! kpeel's PE view takes every real image, its oddities included, and sees what another PE reader sees.

use std::fs;

use kpeel_envelope::pe::Pe;
use kpeel_images::make::{Codec, Machine, Scratch, noise, text, tiny_kernel, uki, ukify, zboot};
use kpeel_images::{Item, fetch};
use object::LittleEndian as LE;
use object::pe::{IMAGE_DIRECTORY_ENTRY_SECURITY, ImageDosHeader, ImageNtHeaders64};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader};

/// One section: name, address, size in memory, offset and size in the file.
type Row = ([u8; 8], u32, u32, u32, u32);

#[test]
fn reads_every_real_image_as_another_reader_does() {
    for item in Item::pe_images() {
        let bytes = fs::read(fetch(item).unwrap()).unwrap();
        compare(item.name(), &bytes);
    }
}

#[test]
fn reads_ukis_of_every_producer() {
    let scratch = Scratch::new().unwrap();
    let kernel = tiny_kernel(Machine::Amd64, 65_536);
    let initrd = noise(65_535, 7);
    let sections: [(&str, &[u8]); 4] = [
        (".osrel", b"ID=x\n"),
        (".cmdline", b""),
        (".initrd", &initrd),
        (".linux", &kernel),
    ];
    for stub in [
        Item::StubAmd64V252,
        Item::StubAmd64V257,
        Item::StubArm64,
        Item::StubLoong64,
    ] {
        let out = scratch.join(stub.name());
        let stub_path = fetch(stub).unwrap();
        // ukify 257 lets a longer `.sbat` run into 252's `.sdmagic`: no image that anyone should take.
        if stub != Item::StubAmd64V252 {
            ukify(&stub_path, &sections, &out).unwrap();
            let bytes = fs::read(&out).unwrap();
            compare(&format!("ukify {}", stub.name()), &bytes);
        }
        if stub != Item::StubLoong64 {
            uki(&stub_path, &sections, &out).unwrap();
            compare(
                &format!("objcopy {}", stub.name()),
                &fs::read(&out).unwrap(),
            );
        }
    }
}

#[test]
fn reads_zboot_images_of_every_machine() {
    let scratch = Scratch::new().unwrap();
    for machine in [
        Machine::Amd64,
        Machine::Arm64,
        Machine::Riscv64,
        Machine::Loong64,
    ] {
        let out = scratch.join("zboot");
        zboot(machine, Codec::Gzip, &text(100_000), &out).unwrap();
        compare(&format!("{machine:?}"), &fs::read(&out).unwrap());
    }
}

#[test]
fn finds_each_signature_and_none_where_none_is() {
    for (item, expected) in [
        (Item::LinuxAmd64, 1),
        (Item::LinuxAmd64Unsigned, 0),
        (Item::LinuxArm64, 1),
        (Item::LinuxLoong64, 0),
        (Item::StubAmd64V257, 0),
        (Item::ShimAmd64, 2),
        (Item::GrubAmd64, 1),
        (Item::FwupdAmd64, 1),
        (Item::SystemdBootAmd64, 1),
    ] {
        let bytes = fs::read(fetch(item).unwrap()).unwrap();
        let certificates = Pe::parse(&bytes).unwrap().certificates();
        assert_eq!(
            certificates.map(Result::unwrap).count(),
            expected,
            "{}",
            item.name()
        );
    }
}

fn compare(name: &str, bytes: &[u8]) {
    let pe = Pe::parse(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut offset = u64::from(ImageDosHeader::parse(bytes).unwrap().nt_headers_offset());
    let (headers, directories) = ImageNtHeaders64::parse(bytes, &mut offset).unwrap();
    let optional = &headers.optional_header;
    let ours = pe.headers();
    assert_eq!(
        ours.machine,
        headers.file_header.machine.get(LE).0,
        "{name}"
    );
    assert_eq!(ours.image_base, optional.image_base(), "{name}");
    assert_eq!(ours.size_of_image, optional.size_of_image(), "{name}");
    assert_eq!(ours.size_of_headers, optional.size_of_headers(), "{name}");

    let table = headers.sections(bytes, offset).unwrap();
    let theirs: Vec<Row> = table.iter().map(row).collect();
    let seen: Vec<Row> = pe
        .sections()
        .map(|s| {
            let (raw_start, raw_size) = (s.pointer_to_raw_data, s.size_of_raw_data);
            (
                s.raw_name,
                s.virtual_address,
                s.virtual_size,
                raw_start,
                raw_size,
            )
        })
        .collect();
    assert_eq!(seen, theirs, "{name}");
    for (section, (_, _, virtual_size, start, size)) in pe.sections().zip(theirs) {
        let (start, size) = (start as usize, size.min(virtual_size) as usize);
        assert!(
            section.data() == &bytes[start..start + size],
            "{name} {:?}",
            section.name()
        );
    }

    let certificate = directories.get(IMAGE_DIRECTORY_ENTRY_SECURITY);
    let certificate = certificate.map(|entry| (entry.virtual_address.get(LE), entry.size.get(LE)));
    assert_eq!(ours.certificate, certificate.unwrap_or_default(), "{name}");
    let end = certificate
        .filter(|(_, size)| *size != 0)
        .map_or(bytes.len(), |(start, _)| start as usize);
    assert_eq!(pe.covered().len, end, "{name}");
}

fn row(section: &object::pe::ImageSectionHeader) -> Row {
    (
        section.name,
        section.virtual_address.get(LE),
        section.virtual_size.get(LE),
        section.pointer_to_raw_data.get(LE),
        section.size_of_raw_data.get(LE),
    )
}
