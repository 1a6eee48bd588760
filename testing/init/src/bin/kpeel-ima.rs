//! What a machine's owner does to have IMA vouch for a file.
//!
//! `kpeel-ima key CERTIFICATE`: puts a certificate (DER) into the keyring `.ima`.
//!
//! `kpeel-ima sign FILE SIGNATURE`: gives FILE the signature in the file SIGNATURE, as `security.ima`
//! (`struct signature_v2_hdr`, `security/integrity/integrity.h`).
#![expect(
    unsafe_code,
    reason = "add_key(2) and setxattr(2) have no other interface"
)]

use std::ffi::CString;
use std::fs;
use std::io;
use std::process::ExitCode;

/// All keys root may see, one a line: the serial number first, type and description from the eighth field on
/// (`Documentation/security/keys/core.rst`).
const KEYS: &str = "/proc/keys";
const KEYRING: &str = ".ima:";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["key", certificate] => key(certificate),
        ["sign", file, signature] => sign(file, signature),
        _ => Err("usage: kpeel-ima key CERTIFICATE | sign FILE SIGNATURE".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kpeel-ima: {error}");
            ExitCode::FAILURE
        }
    }
}

fn key(certificate: &str) -> Result<(), String> {
    let bytes = read(certificate)?;
    let keys = fs::read_to_string(KEYS).map_err(|error| format!("{KEYS}: {error}"))?;
    let mut fields = keys.lines().map(|line| line.split_whitespace());
    let serial = fields.find_map(|mut fields| {
        let serial = fields.next()?;
        fields.any(|field| field == KEYRING).then_some(serial)
    });
    let serial = serial.ok_or_else(|| format!("{KEYS} has no {KEYRING}"))?;
    let keyring = i32::from_str_radix(serial, 16).map_err(|_| format!("{serial:?}: no serial"))?;
    // SAFETY: The strings are NUL-terminated; the payload is as long as is said.
    let result = unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"asymmetric".as_ptr(),
            std::ptr::null::<libc::c_char>(),
            bytes.as_ptr(),
            bytes.len(),
            keyring,
        )
    };
    succeeded(result, &format!("adding {certificate} to {KEYRING}"))
}

fn sign(file: &str, signature: &str) -> Result<(), String> {
    let bytes = read(signature)?;
    let path = CString::new(file).map_err(|error| error.to_string())?;
    // SAFETY: The strings are NUL-terminated; the value is as long as is said.
    let result = unsafe {
        libc::setxattr(
            path.as_ptr(),
            c"security.ima".as_ptr(),
            bytes.as_ptr().cast(),
            bytes.len(),
            0,
        )
    };
    succeeded(result.into(), &format!("security.ima of {file}"))
}

fn succeeded(result: libc::c_long, what: &str) -> Result<(), String> {
    if result >= 0 {
        return Ok(());
    }
    Err(format!("{what}: {}", io::Error::last_os_error()))
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{path}: {error}"))
}
