//! The certificate table bent after signing, and its entries' bytes changed.

use super::{Maker, Reason, Verdict};
use crate::base::Base;
use crate::der;
use crate::pe::{Image, certificate, entry, section};
use crate::pkcs7::{INDIRECT_DATA, MESSAGE_DIGEST};

const TABLE: Verdict = Verdict::Refused(Reason::Table);
const SIGNATURE: Verdict = Verdict::Refused(Reason::Signature);
const UNSIGNED: Verdict = Verdict::Refused(Reason::Unsigned);
const UNCOVERED: Verdict = Verdict::Refused(Reason::Uncovered);

pub(super) fn add(maker: &mut Maker<'_>, bases: &[Base]) {
    places(maker);
    lengths(maker);
    several(maker, bases);
    signature_bytes(maker);
}

/// Where the table is and how large.
fn places(maker: &mut Maker<'_>) {
    let image = maker.signed();
    let Some((start, len)) = image.table() else {
        return;
    };
    let end = image.bytes.len();
    let absent = image.without_table().bytes;
    maker.add("table-cut-off", UNSIGNED, "there is no signature", absent);
    let mut put = |name: &str, expected, why, start, len| {
        maker.change(name, expected, why, |image| image.put_table(start, len));
    };
    put("table-entry-zero", UNSIGNED, "there is no signature", 0, 0);
    let half = "a table has both offset and size, or neither";
    put("table-size-zero", TABLE, half, start, 0);
    let outside = "the table must lie inside the file and behind the sections";
    put("table-offset-zero", TABLE, outside, 0, len);
    put("table-past-end", TABLE, outside, start, len + 8);
    put("table-offset-past-end", TABLE, outside, end + 8, len);
    put("table-size-wraps", TABLE, outside, start, 0xffff_fff8);
    let shorter = "the rest of the signature lies behind the table, covered by nothing";
    put("table-shorter", UNCOVERED, shorter, start, len - 8);
    let aligned = "the table must start at a multiple of 8";
    put("table-unaligned", TABLE, aligned, start + 4, len - 4);
    let moved = "the table must be made of entries";
    put("table-starts-earlier", TABLE, moved, start - 8, len + 8);
    put("table-in-headers", TABLE, outside, 0x80, end - 0x80);
    maker.change("file-cut", TABLE, outside, |image| {
        image.bytes.truncate(end - 8);
    });
    let behind = "bytes behind the certificate table are covered by no signature";
    for (name, byte) in [("zeros", 0), ("bytes", 0xbb)] {
        maker.change(&format!("{name}-behind-file"), UNCOVERED, behind, |image| {
            image.bytes.resize(end + 8, byte)
        });
    }
    let sections = "section data may not lie in the certificate table";
    maker.change(
        "section-in-table",
        Verdict::Refused(Reason::Headers),
        sections,
        |image| {
            let entry = image.section(image.sections() - 1);
            image.put_u32(entry + section::SIZE_OF_RAW_DATA, 8);
            image.put_u32(entry + section::POINTER_TO_RAW_DATA, start);
        },
    );
}

/// What an entry says of itself.
fn lengths(maker: &mut Maker<'_>) {
    let image = maker.signed();
    let Some((start, len)) = image.table() else {
        return;
    };
    let stated = image.u32(start + certificate::LENGTH) as usize;
    let lengths = "an entry's length must hold its header and end inside the table";
    let mut length = |name: &str, expected, why, value: usize| {
        maker.change(name, expected, why, |image| {
            image.put_u32(start + certificate::LENGTH, value);
        });
    };
    length("length-zero", TABLE, lengths, 0);
    length("length-less-than-header", TABLE, lengths, 7);
    length("length-past-table", TABLE, lengths, len + 8);
    length("length-largest", TABLE, lengths, 0xffff_ffff);
    let rest = "what follows an entry must be an entry";
    length("length-header-only", TABLE, rest, 8);
    length("length-cuts-signature", TABLE, rest, stated - 64);
    let kind = "only PKCS#7 of revision 2.0 is a signature";
    let mut put = |name: &str, at: usize, value: u16| {
        maker.change(name, TABLE, kind, |image| {
            image.put(start + at, &value.to_le_bytes());
        });
    };
    put("revision-1", certificate::REVISION, 0x0100);
    put("revision-0", certificate::REVISION, 0);
    put("type-x509", certificate::TYPE, 1);
    put("type-reserved", certificate::TYPE, 3);
    put("type-guid", certificate::TYPE, 0x0ef1);
    for (name, byte) in [("zeros", 0), ("bytes", 0xbb)] {
        maker.change(
            &format!("{name}-at-table-end"),
            TABLE,
            "the lengths of the entries must add up to the table's",
            |image| {
                image.bytes.resize(start + len + 8, byte);
                image.put_table(start, len + 8);
            },
        );
    }
}

/// The base's image without, and its signature.
fn apart(base: &Base) -> (Image, Vec<u8>) {
    let image = Image::new(base.signed.clone());
    let (start, len) = image.table().unwrap_or_default();
    let table = &image.bytes[start..start + len];
    let (blob, _, _) = der::split(&table[certificate::SIZE..]);
    let blob = blob.to_vec();
    (image.without_table(), blob)
}

/// Other entries than the right one alone.
fn several(maker: &mut Maker<'_>, bases: &[Base]) {
    let (image, blob) = apart(maker.base);
    let good = entry(&blob);
    let mut broken = blob.clone();
    *broken.last_mut().expect("a signature is not empty") ^= 1;
    let broken = entry(&broken);
    let mut tables = |name: &str, expected, why, entries: &[&[u8]]| {
        let image = image.clone().with_table(entries);
        maker.add(name, expected, why, image.bytes);
    };
    let one = "one good signature of several is enough";
    tables(
        "written-anew",
        Verdict::Accepted,
        "the same entry",
        &[&good],
    );
    tables("good-twice", Verdict::Accepted, one, &[&good, &good]);
    tables(
        "good-then-broken",
        Verdict::Accepted,
        one,
        &[&good, &broken],
    );
    tables(
        "broken-then-good",
        Verdict::Accepted,
        one,
        &[&broken, &good],
    );
    let none = "no signature is good";
    tables("broken-twice", SIGNATURE, none, &[&broken, &broken]);
    let mut padded = blob.clone();
    padded.extend_from_slice(&[0; 3]);
    tables(
        "zeros-in-entry",
        Verdict::Accepted,
        "tools pad inside an entry's length as well",
        &[&entry(&padded)],
    );
    padded.extend_from_slice(b".bpf");
    tables(
        "bytes-in-entry",
        TABLE,
        "bytes behind the PKCS#7 are covered by no signature",
        &[&entry(&padded)],
    );
    let stranger = bases.iter().find(|base| base.name != maker.base.name);
    if let Some(stranger) = stranger {
        let (_, other) = apart(stranger);
        let other = image.clone().with_table(&[&entry(&other)]).bytes;
        maker.add(
            "others-signature",
            Verdict::Refused(Reason::Digest),
            "the signature is another image's",
            other,
        );
    }
}

/// One byte of the PKCS#7 that sbsign made.
fn signature_bytes(maker: &mut Maker<'_>) {
    let (image, blob) = apart(maker.base);
    let find = |what: &[u8]| {
        let found = blob.windows(what.len()).rposition(|window| window == what);
        found.expect("every signature has it") + what.len()
    };
    // Behind the type: [0], SEQUENCE, SEQUENCE, OID; the digest ends the content.
    let content = blob
        .windows(INDIRECT_DATA.len())
        .position(|window| window == INDIRECT_DATA)
        .expect("every signature has it");
    let certificates = content
        + blob[content..]
            .windows(4)
            .position(|window| window[..2] == [0xa0, 0x82])
            .expect("certificates follow the content");
    let mut put = |name: &str, expected, why, at: usize| {
        let mut blob = blob.clone();
        blob[at] ^= 1;
        let image = image.clone().with_table(&[&entry(&blob)]);
        maker.add(name, expected, why, image.bytes);
    };
    let digest = "the digest in the content is not the image's";
    let changed = Verdict::Refused(Reason::Digest);
    put("digest-changed", changed, digest, certificates - 1);
    let mut flip = |name, why, at| put(name, SIGNATURE, why, at);
    let hashed = "the attributes' messageDigest is not the content's";
    // OID, then SET and OCTET STRING with their lengths.
    flip("message-digest-changed", hashed, find(MESSAGE_DIGEST) + 4);
    let value = "the signature is not the attributes'";
    flip("signature-first-byte", value, blob.len() - 256);
    flip("signature-last-byte", value, blob.len() - 1);
    let version = "SignedData must be the version that Authenticode states";
    // ContentInfo (4), its type (11), [0] (4), SEQUENCE (4), INTEGER.
    flip("version-changed", version, 4 + 11 + 4 + 4 + 2);
}
