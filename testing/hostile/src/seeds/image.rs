//! Images and carriers.

use kpeel_images::make::{Codec, Machine, tiny_kernel};

use super::Seed;
use crate::write::put;

const FILE_ALIGNMENT: usize = 512;
const SECTION_ALIGNMENT: usize = 4096;
/// Where the small image's headers lie.
const COFF: usize = 0x44;
const OPTIONAL: usize = COFF + 20;
const TABLE: usize = OPTIONAL + 240;
const ENTRY: usize = 40;
/// Fields: offset in the file, width in bytes.
const E_LFANEW: (usize, usize) = (0x3c, 4);
const SECTIONS: (usize, usize) = (COFF + 2, 2);
const OPTIONAL_SIZE: (usize, usize) = (COFF + 16, 2);
const MAGIC: (usize, usize) = (OPTIONAL, 2);
const SIZE_OF_HEADERS: (usize, usize) = (OPTIONAL + 60, 4);
const DIRECTORIES: (usize, usize) = (OPTIONAL + 108, 4);
const CERTIFICATE: (usize, usize) = (OPTIONAL + 112 + 32, 8);
/// ELF64: `e_shoff`, `e_shnum`.
const E_SHOFF: (usize, usize) = (0x28, 8);
const E_SHNUM: (usize, usize) = (0x3c, 2);

pub(super) fn seeds() -> Result<Vec<Seed>, String> {
    let mut seeds = headers();
    seeds.extend(carriers());
    seeds.extend(whole()?);
    Ok(seeds)
}

fn with(bytes: &[u8], changes: &[((usize, usize), u64)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for ((at, width), value) in changes {
        put(&mut bytes, *at, *width, *value);
    }
    bytes
}

fn headers() -> Vec<Seed> {
    let sound = pe(&[(".text", b"code"), (".data", b"data")]);
    let end = sound.len() as u64;
    let entry = |number: usize, field: usize| (TABLE + ENTRY * number + field, 4);
    let mut signed = with(&sound, &[(CERTIFICATE, end | 16 << 32)]);
    signed.extend([16, 0, 0, 0, 0, 2, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let mut endless = signed.clone();
    put(&mut endless, end as usize, 4, 0);
    let seed =
        |name, changes: &[((usize, usize), u64)]| Seed::new("pe", name, with(&sound, changes));
    vec![
        seed("sound", &[]),
        seed("e-lfanew-past-end", &[(E_LFANEW, u64::MAX >> 33)]),
        seed("sections-65535", &[(SECTIONS, 0xffff)]),
        seed("optional-header-size-0", &[(OPTIONAL_SIZE, 0)]),
        seed("pe32", &[(MAGIC, 0x10b)]),
        seed("size-of-headers-past-end", &[(SIZE_OF_HEADERS, end + 1)]),
        seed("directories-17", &[(DIRECTORIES, 17)]),
        seed("section-past-end", &[(entry(1, 20), end)]),
        seed(
            "section-sum-wraps",
            &[(entry(1, 20), 0xffff_fe00), (entry(1, 16), 0xffff_fe00)],
        ),
        seed(
            "sections-overlap",
            &[(entry(1, 20), 1024), (entry(0, 16), 1024)],
        ),
        seed("section-in-headers", &[(entry(0, 20), 0)]),
        seed("certificate-past-end", &[(CERTIFICATE, end | 8 << 32)]),
        Seed::new("pe", "signed", signed),
        Seed::new("pe", "certificate-length-0", endless),
        Seed::new("pe", "two-bpf", pe(&[(".bpf", b"a"), (".bpf", b"b")])),
        Seed::new("pe", "truncated", &sound[..TABLE + 20]),
    ]
}

fn carriers() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for bundled in kpeel_parsers::BUNDLED {
        seeds.push(Seed::new("carrier", bundled.name, bundled.carrier));
        if let Ok(carrier) = kpeel_envelope::carrier::Carrier::parse(bundled.carrier) {
            let slots = (carrier.insns.len() / 8) as u16;
            let parts = [&slots.to_le_bytes()[..], carrier.insns, carrier.data];
            seeds.push(Seed::new("loader", bundled.name, parts.concat()));
        }
    }
    // One command that is not permitted, and a loop: r0 = *(r1); goto -1.
    let endless = [1, 0, 0x05, 0, 0xff, 0xff, 0, 0, 0, 0, 1];
    seeds.push(Seed::new("loader", "endless-loop", endless));
    let Some(zboot) = kpeel_parsers::by_name("zboot").map(|bundled| bundled.carrier) else {
        return seeds;
    };
    let seed =
        |name, changes: &[((usize, usize), u64)]| Seed::new("carrier", name, with(zboot, changes));
    seeds.extend([
        seed("section-table-wraps", &[(E_SHOFF, u64::MAX - 63)]),
        seed("sections-65535", &[(E_SHNUM, 0xffff)]),
        Seed::new("carrier", "truncated", &zboot[..zboot.len() / 2]),
        Seed::new(
            "carrier",
            "another-machines-magic",
            &b"\x7fELF\x01\x02\x01"[..],
        ),
    ]);
    seeds
}

fn whole() -> Result<Vec<Seed>, String> {
    let kernel = tiny_kernel(Machine::Arm64, 4096);
    let pack = |codec: Codec| {
        codec
            .compress(Machine::Arm64, &kernel)
            .map_err(|e| e.to_string())
    };
    let (gzip, zstd) = (
        zboot("gzip", &pack(Codec::Gzip)?),
        zboot("zstd", &pack(Codec::Zstd)?),
    );
    let profiles: [(&str, &[u8]); 6] = [
        (".linux", &kernel),
        (".cmdline", b"base"),
        (".profile", b"ID=a\n"),
        (".profile", b"ID=b\n"),
        (".cmdline", b"other\0"),
        (".initrd", b"rd"),
    ];
    let carrier = kpeel_parsers::by_name("zboot")
        .ok_or("no zboot parser")?
        .carrier;
    let own = kpeel_image::attach(&gzip, carrier, kpeel_image::AttachOptions::default());
    let own = own.map_err(|error| error.to_string())?;
    let seed = |name, bytes: &[u8]| Seed::new("unfold", name, bytes);
    Ok(vec![
        seed(
            "payload-of-another-codec",
            &zboot("lz4", &pack(Codec::Gzip)?),
        ),
        seed(
            "payload-size-past-end",
            &with(&gzip, &[((12, 4), 0x7fff_ffff)]),
        ),
        seed("payload-offset-in-header", &with(&gzip, &[((8, 4), 8)])),
        seed("payload-truncated", &with(&zstd, &[((12, 4), 100)])),
        seed("zboot-gzip", &gzip),
        seed("zboot-zstd", &zstd),
        seed("zboot-own-parser", &own),
        seed("uki-profiles", &pe(&profiles)),
        seed(
            "uki-linux-twice",
            &pe(&[(".linux", &kernel), (".linux", &kernel)]),
        ),
        seed(
            "uki-kernel-empty",
            &pe(&[(".linux", b""), (".cmdline", b"x")]),
        ),
        seed("uki-nested", &pe(&[(".linux", &gzip), (".initrd", b"rd")])),
        seed(
            "bpf-no-carrier",
            &pe(&[(".bpf", b"\x7fELF"), (".linux", &kernel)]),
        ),
        seed("kernel-alone", &kernel),
    ])
}

/// A zboot image: `zboot-header.S` of Linux.
fn zboot(codec: &str, stream: &[u8]) -> Vec<u8> {
    let mut image = pe(&[(".gzdata", stream)]);
    let name = codec.as_bytes();
    image[4..8].copy_from_slice(b"zimg");
    put(&mut image, 8, 4, FILE_ALIGNMENT as u64);
    put(&mut image, 12, 4, stream.len() as u64);
    image[0x18..0x18 + name.len()].copy_from_slice(name);
    put(&mut image, 0x38, 4, 0x8182_23cd);
    image
}

/// An EFI application for arm64 with these sections.
fn pe(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let headers = (TABLE + ENTRY * sections.len()).next_multiple_of(FILE_ALIGNMENT);
    let mut image = vec![0; headers];
    image[..2].copy_from_slice(b"MZ");
    image[0x40..0x44].copy_from_slice(b"PE\0\0");
    let mut address = headers.next_multiple_of(SECTION_ALIGNMENT);
    for (index, (name, data)) in sections.iter().enumerate() {
        let (start, raw) = (image.len(), data.len().next_multiple_of(FILE_ALIGNMENT));
        let at = TABLE + ENTRY * index;
        image[at..at + name.len()].copy_from_slice(name.as_bytes());
        for (field, value) in [(8, data.len()), (12, address), (16, raw), (20, start)] {
            put(&mut image, at + field, 4, value as u64);
        }
        image.extend_from_slice(data);
        image.resize(start + raw, 0);
        address += data.len().max(1).next_multiple_of(SECTION_ALIGNMENT);
    }
    let fields: [((usize, usize), u64); 11] = [
        (E_LFANEW, 0x40),
        ((COFF, 2), 0xaa64),
        (SECTIONS, sections.len() as u64),
        (OPTIONAL_SIZE, 240),
        ((COFF + 18, 2), 0x0206),
        (MAGIC, 0x20b),
        (
            (OPTIONAL + 32, 8),
            (SECTION_ALIGNMENT | FILE_ALIGNMENT << 32) as u64,
        ),
        ((OPTIONAL + 56, 4), address as u64),
        (SIZE_OF_HEADERS, headers as u64),
        ((OPTIONAL + 68, 2), 10),
        (DIRECTORIES, 16),
    ];
    with(&image, &fields)
}
