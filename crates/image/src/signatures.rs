//! The certificate table: signatures put in, taken out.
//!
//! Source: Microsoft PE Format, "The Attribute Certificate Table (Image Only)".

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::certificate::{CERT_TYPE_PKCS_SIGNED_DATA, CERTIFICATE_ALIGNMENT};
use kpeel_envelope::certificate::{CERTIFICATE_HEADER_SIZE, Certificate};
use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::headers::{DIRECTORY_SIZE, Headers};
use kpeel_envelope::pe::{DIRECTORY_CERTIFICATE, Pe};

use crate::checksum::Sum;
use crate::number::{align_up, put, put_u32, to_u32};
use crate::parts::Parts;

/// Size of `CheckSum` in bytes.
const CHECK_SUM_SIZE: usize = 4;
/// `WIN_CERT_REVISION_2_0`.
pub const CERT_REVISION_2_0: u16 = 0x0200;

/// What a certificate table changes of an image: its two ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ends {
    /// The first bytes, which take the place of those of the image.
    pub head: Vec<u8>,
    /// How many of the image's bytes stay, `head` among them.
    pub len: usize,
    /// What follows them: padding, and the table.
    pub tail: Vec<u8>,
}

/// The image with these entries as its certificate table, none for no table; one it has is dropped.
/// `CheckSum` is renewed unless it is zero.
///
/// What the table stands behind is padded with zeros to the place where one may begin, and a digest
/// counts them.
///
/// # Errors
/// Those of [`Pe::parse`]; `Refused` (signature) for bytes that no signature could cover;
/// `Unsupported` for an image without the directory entry, and when the table ends past 4 GiB.
pub fn with_signatures<'i>(image: &'i [u8], entries: &[Certificate<'_>]) -> Result<Parts<'i>> {
    let pe = Pe::parse(image)?;
    let body = body_start(pe.headers())..pe.covered().len;
    let body = image.get(body).unwrap_or_default();
    let mut sum = Sum::default();
    if pe.headers().check_sum != 0 {
        sum.add(body);
    }
    let Ends { head, tail, .. } = signed_ends(&pe, &sum, entries)?;
    let mut signed = Parts::default();
    signed.push(head);
    signed.push(body);
    signed.push(tail);
    Ok(signed)
}

/// As [`with_signatures`] for an image of which only headers are at hand: `body` is the sum of its
/// bytes from [`body_start`] to the certificate table or its end, and counts only where `CheckSum` is
/// not zero.
///
/// # Errors
/// As [`with_signatures`].
pub fn signed_ends(pe: &Pe<'_>, body: &Sum, entries: &[Certificate<'_>]) -> Result<Ends> {
    check_coverage(pe)?;
    let headers = pe.headers();
    let len = pe.covered().len;
    let head = pe.bytes().get(..body_start(headers).min(len));
    let mut head = head.unwrap_or_default().to_vec();
    let padding = signature_padding(pe)?;
    let mut tail = vec![0; padding];
    for entry in entries {
        push_entry(&mut tail, entry)?;
    }
    let at = directory_entry(pe)?;
    put(&mut head, at, &[0; DIRECTORY_SIZE])?;
    let end = to_u32("certificate table end", len.saturating_add(tail.len()))?;
    if !entries.is_empty() {
        let start = to_u32("certificate table offset", len.saturating_add(padding))?;
        put_u32(&mut head, at, start)?;
        put_u32(&mut head, at.saturating_add(4), end.saturating_sub(start))?;
    }
    if headers.check_sum != 0 {
        let field = headers.check_sum_offset();
        put_u32(&mut head, field, 0)?;
        let mut sum = Sum::default();
        sum.add(&head);
        sum.join(body);
        sum.add(&tail);
        put_u32(&mut head, field, sum.finish())?;
    }
    Ok(Ends { head, len, tail })
}

/// Where those bytes of an image begin that no signature changes; an even number.
#[must_use]
pub fn body_start(headers: &Headers) -> usize {
    let end = |at: usize, size: usize| at.saturating_add(size);
    let check_sum = end(headers.check_sum_offset(), CHECK_SUM_SIZE);
    let entry = headers.directory_offset(DIRECTORY_CERTIFICATE);
    let entry = entry.map_or(0, |at| end(at, DIRECTORY_SIZE));
    let last = check_sum.max(entry);
    last.saturating_add(last & 1)
}

/// Zeros between the covered bytes of an image and the place where a certificate table may begin.
///
/// # Errors
/// `Unsupported` for an image whose end no number reaches.
pub fn signature_padding(pe: &Pe<'_>) -> Result<usize> {
    let end = pe.covered().len;
    let padded = align_up("image size", end, CERTIFICATE_ALIGNMENT)?;
    Ok(padded.saturating_sub(end))
}

/// An entry that holds a PKCS #7 signature.
#[must_use]
pub const fn signature_entry(data: &[u8]) -> Certificate<'_> {
    Certificate {
        revision: CERT_REVISION_2_0,
        kind: CERT_TYPE_PKCS_SIGNED_DATA,
        data,
    }
}

/// Appends one entry and the zeros up to the next. `dwLength` counts the entry without them.
fn push_entry(tail: &mut Vec<u8>, entry: &Certificate<'_>) -> Result<()> {
    let length = entry.data.len().saturating_add(CERTIFICATE_HEADER_SIZE);
    let padded = align_up("dwLength", length, CERTIFICATE_ALIGNMENT)?;
    let end = tail.len().saturating_add(padded);
    tail.extend_from_slice(&to_u32("dwLength", length)?.to_le_bytes());
    tail.extend_from_slice(&entry.revision.to_le_bytes());
    tail.extend_from_slice(&entry.kind.to_le_bytes());
    tail.extend_from_slice(entry.data);
    tail.resize(end, 0);
    Ok(())
}

fn directory_entry(pe: &Pe<'_>) -> Result<usize> {
    let headers = pe.headers();
    headers
        .directory_offset(DIRECTORY_CERTIFICATE)
        .ok_or(Error::value(
            Class::Unsupported,
            "NumberOfRvaAndSizes",
            headers.number_of_directories.into(),
            Needed::AtLeast(u64::from(DIRECTORY_CERTIFICATE).saturating_add(1)),
        ))
}
