//! The certificate table: signatures put in, taken out.
//!
//! Source: Microsoft PE Format, "The Attribute Certificate Table (Image Only)".

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::certificate::{CERT_TYPE_PKCS_SIGNED_DATA, CERTIFICATE_ALIGNMENT};
use kpeel_envelope::certificate::{CERTIFICATE_HEADER_SIZE, Certificate};
use kpeel_envelope::error::{Class, Error, Needed, Result};
use kpeel_envelope::headers::DIRECTORY_SIZE;
use kpeel_envelope::pe::{DIRECTORY_CERTIFICATE, Pe};

use crate::checksum::check_sum;
use crate::number::{align_up, put, put_u32, to_u32};

/// `WIN_CERT_REVISION_2_0`.
pub const CERT_REVISION_2_0: u16 = 0x0200;

/// The image without certificate table, as a signature's digest covers it: padded with zeros to the
/// place where a table may begin, the directory entry zero.
///
/// # Errors
/// Those of [`Pe::parse`]; `Refused` (signature) for bytes that no signature could cover;
/// `Unsupported` for an image without the directory entry.
pub fn without_signatures(image: &[u8]) -> Result<Vec<u8>> {
    let pe = Pe::parse(image)?;
    check_coverage(&pe)?;
    let end = pe.covered().len;
    let padded = align_up("image size", end, CERTIFICATE_ALIGNMENT)?;
    let mut bare = Vec::with_capacity(padded);
    bare.extend_from_slice(image.get(..end).unwrap_or(image));
    bare.resize(padded, 0);
    put(&mut bare, directory_entry(&pe)?, &[0; DIRECTORY_SIZE])?;
    renew_check_sum(&pe, &mut bare)?;
    Ok(bare)
}

/// The image with these entries as its certificate table; one it has is dropped. `CheckSum` is
/// renewed unless it is zero.
///
/// # Errors
/// Those of [`without_signatures`]; `Unsupported` when the table ends past 4 GiB.
pub fn with_signatures(image: &[u8], entries: &[Certificate<'_>]) -> Result<Vec<u8>> {
    let mut signed = without_signatures(image)?;
    if entries.is_empty() {
        return Ok(signed);
    }
    let start = signed.len();
    for entry in entries {
        push_entry(&mut signed, entry)?;
    }
    let pe = Pe::parse(image)?;
    let at = directory_entry(&pe)?;
    let size = signed.len().saturating_sub(start);
    to_u32("certificate table end", signed.len())?;
    put_u32(&mut signed, at, to_u32("certificate table offset", start)?)?;
    put_u32(
        &mut signed,
        at.saturating_add(4),
        to_u32("certificate table Size", size)?,
    )?;
    renew_check_sum(&pe, &mut signed)?;
    check_coverage(&Pe::parse(&signed)?)?;
    Ok(signed)
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
fn push_entry(table: &mut Vec<u8>, entry: &Certificate<'_>) -> Result<()> {
    let length = entry.data.len().saturating_add(CERTIFICATE_HEADER_SIZE);
    table.extend_from_slice(&to_u32("dwLength", length)?.to_le_bytes());
    table.extend_from_slice(&entry.revision.to_le_bytes());
    table.extend_from_slice(&entry.kind.to_le_bytes());
    table.extend_from_slice(entry.data);
    let padded = align_up("dwLength", table.len(), CERTIFICATE_ALIGNMENT)?;
    table.resize(padded, 0);
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

fn renew_check_sum(pe: &Pe<'_>, image: &mut [u8]) -> Result<()> {
    if pe.headers().check_sum == 0 {
        return Ok(());
    }
    let field = pe.headers().check_sum_offset();
    let sum = check_sum(image, field);
    put_u32(image, field, sum)
}
