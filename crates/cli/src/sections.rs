//! What stands in one PE layer, without running anything.

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::carrier as envelope;
use kpeel_envelope::certificate::CERT_TYPE_PKCS_SIGNED_DATA;
use kpeel_envelope::error::Error;
use kpeel_envelope::pe::Pe;
use kpeel_formats::{uki, word, zboot};
use kpeel_sandbox::{Describer, Machine};

use crate::hashes::Hashes;
use crate::report::{
    Carrier, Certificate, Extent, Headers, Parser, Profile, Section, Signature, Zboot,
};
use crate::text::escape;

/// Longest section content shown as text.
const TEXT_MAX: usize = 8192;
/// Most entries of a certificate table that are shown; a table of 32 MiB has room for four million.
const ENTRIES_MAX: u64 = 64;
/// Sections that hold text.
const TEXTS: [&str; 7] = [
    ".cmdline", ".uname", ".osrel", ".profile", ".sbat", ".pcrpkey", ".kexec",
];
const PROFILE: &str = ".profile";

/// Names of the machines EFI runs on ("Machine Types").
pub(crate) fn machine_name(machine: u16) -> Option<&'static str> {
    Some(match machine {
        0x014c => "i386",
        0x01c2 | 0x01c4 => "arm",
        0x5032 => "riscv32",
        0x5064 => "riscv64",
        0x6232 => "loongarch32",
        0x6264 => "loongarch64",
        0x8664 => "x86_64",
        0xaa64 => "aarch64",
        _ => return None,
    })
}

pub(crate) fn headers(pe: &Pe<'_>) -> Headers {
    let fields = pe.headers();
    let sum = || kpeel_image::check_sum(pe.bytes(), fields.check_sum_offset());
    Headers {
        machine: fields.machine,
        machine_name: machine_name(fields.machine),
        subsystem: fields.subsystem,
        image_base: fields.image_base,
        entry_point: fields.entry_point,
        section_alignment: fields.section_alignment,
        file_alignment: fields.file_alignment,
        size_of_image: fields.size_of_image,
        size_of_headers: fields.size_of_headers,
        check_sum: fields.check_sum,
        check_sum_matches: (fields.check_sum != 0).then(|| sum() == fields.check_sum),
    }
}

/// All sections, each with the profile it belongs to: those before the first `.profile` are the
/// base.
pub(crate) fn sections(pe: &Pe<'_>, hashes: &mut Hashes) -> Vec<Section> {
    let mut profile = None;
    let mut all = Vec::new();
    for section in pe.sections() {
        if section.is_named(PROFILE) {
            profile = Some(profile.map_or(0, |number: u32| number.saturating_add(1)));
        }
        let data = section.data();
        let text = TEXTS.iter().any(|name| section.is_named(name)) && data.len() <= TEXT_MAX;
        all.push(Section {
            index: section.index,
            name: escape(section.name()),
            virtual_address: section.virtual_address,
            virtual_size: section.virtual_size,
            pointer_to_raw_data: section.pointer_to_raw_data,
            size_of_raw_data: section.size_of_raw_data,
            characteristics: section.characteristics,
            profile,
            size: data.len() as u64,
            sha256: hashes.sha256(data),
            text: text.then(|| text_of(data)),
        });
    }
    all
}

/// The profiles with what their metadata say.
pub(crate) fn profiles(sections: &[Section]) -> Vec<Profile> {
    let metadata = sections.iter().filter(|section| section.name == PROFILE);
    let profile = |(index, section): (u32, &Section)| {
        let text = section.text.as_deref().unwrap_or_default();
        Profile {
            index,
            id: variable(text, "ID"),
            title: variable(text, "TITLE"),
        }
    };
    (0..).zip(metadata).map(profile).collect()
}

pub(crate) fn signature(pe: &Pe<'_>) -> Signature {
    let mut signature = Signature {
        present: pe.certificate_table().is_some(),
        certificates: Vec::new(),
        table: pe.certificate_table().map(|range| Extent {
            offset: range.start as u64,
            size: range.len() as u64,
        }),
        uncovered: check_coverage(pe).err().map(|error| error.to_string()),
        error: None,
    };
    for (number, entry) in (1..).zip(pe.certificates()) {
        if number > ENTRIES_MAX {
            let error = Error::bound("entries of the certificate table", number, ENTRIES_MAX);
            signature.error = Some(error.to_string());
            break;
        }
        match entry {
            Ok(certificate) => signature.certificates.push(Certificate {
                size: certificate.data.len() as u64,
                revision: certificate.revision,
                r#type: certificate.kind,
                type_name: certificate_type(certificate.kind),
            }),
            Err(error) => signature.error = Some(error.to_string()),
        }
    }
    signature
}

/// A carrier and the parser in it.
pub(crate) fn carrier(bytes: &[u8], hashes: &mut Hashes, describer: &mut Describer) -> Carrier {
    let described = envelope::Carrier::parse(bytes).and_then(|it| describer.describe(&it));
    Carrier {
        size: bytes.len() as u64,
        sha256: hashes.sha256(bytes),
        error: described.as_ref().err().map(ToString::to_string),
        parser: described.ok().map(|described| Parser::new(&described)),
    }
}

/// The zboot header, if the image has one.
pub(crate) fn zboot(image: &[u8]) -> Option<Zboot> {
    let field = |at: usize| {
        let bytes = image.get(at..at.checked_add(4)?)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    };
    if field(zboot::ZIMG_AT)? != zboot::ZIMG {
        return None;
    }
    let name = image.get(zboot::CODEC_AT..zboot::CODEC_AT.checked_add(zboot::CODEC_LEN)?)?;
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Some(Zboot {
        codec: escape(name),
        payload_offset: field(zboot::PAYLOAD_OFFSET_AT)?,
        payload_size: field(zboot::PAYLOAD_SIZE_AT)?,
    })
}

/// The format's name, told by its marks alone.
pub(crate) fn format(pe: &Pe<'_>) -> &'static str {
    let linux = uki::Kind::Linux.word();
    if zboot(pe.bytes()).is_some() {
        "zboot"
    } else if Machine::of_kernel(pe.bytes()).is_some() {
        "kernel"
    } else if pe.sections().any(|section| word(section.name()) == linux) {
        "uki"
    } else {
        "pe"
    }
}

fn certificate_type(kind: u16) -> Option<&'static str> {
    Some(match kind {
        0x0001 => "x509",
        CERT_TYPE_PKCS_SIGNED_DATA => "pkcs-signed-data",
        0x0ef0 => "efi-pkcs115",
        0x0ef1 => "efi-guid",
        _ => return None,
    })
}

fn text_of(data: &[u8]) -> String {
    let end = data
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last.saturating_add(1));
    String::from_utf8_lossy(data.get(..end).unwrap_or_default()).into_owned()
}

/// The value of NAME=VALUE, quotes removed, as in os-release.
fn variable(text: &str, name: &str) -> Option<String> {
    let value = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
    let quoted = ['"', '\'']
        .iter()
        .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(quoted.unwrap_or(value).to_owned())
}
