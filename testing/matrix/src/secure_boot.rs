//! Secure Boot with the key that Debian's `ovmf` package publishes for tests.
//!
//! Debian's own key is in no stock kernel: under Secure Boot the kernel takes it from the firmware.
//! The package's "snakeoil" variable store trusts one key, whose private half lies beside it; what
//! a row wants trusted is signed with that.

use std::path::{Path, PathBuf};
use std::process::Command;

use kpeel_images::make::Scratch;
use kpeel_vm::{Arch, Firmware, Machine};

use crate::Outcome;
use crate::shop::Shop;

const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const OVMF_VARIABLES: &str = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd";
const AAVMF_CODE: &str = "/usr/share/AAVMF/AAVMF_CODE.snakeoil.fd";
const AAVMF_VARIABLES: &str = "/usr/share/AAVMF/AAVMF_VARS.snakeoil.fd";
const KEY: &str = "/usr/share/ovmf/PkKek-1-snakeoil.key";
const CERTIFICATE: &str = "/usr/share/ovmf/PkKek-1-snakeoil.pem";
/// The key's pass phrase, as the package's README.Debian tells it.
const PASS_PHRASE: &str = "pass:snakeoil";

/// The machine with firmware that starts only what the key signed.
pub(crate) fn on(arch: Arch, machine: Machine) -> Machine {
    let firmware = |code: &str, variables: &str| Firmware {
        code: code.into(),
        variables: variables.into(),
    };
    match arch {
        // This firmware keeps its variables where the kernel could write them, too.
        Arch::Aarch64 => machine.firmware(firmware(AAVMF_CODE, AAVMF_VARIABLES)),
        Arch::X86_64 => machine
            .firmware(firmware(OVMF_CODE, OVMF_VARIABLES))
            // The firmware alone may write its variables.
            .argument("-global")
            .argument("driver=cfi.pflash01,property=secure,value=on"),
    }
}

/// The image with a signature by the key, made by `kpeel sign`.
pub(crate) fn sign(shop: &Shop, image: &[u8]) -> Outcome<Vec<u8>> {
    let scratch = Scratch::new()?;
    let key = key(&scratch)?;
    sign_with(shop, image, &key, Path::new(CERTIFICATE))
}

/// The image with a signature by another key.
pub(crate) fn sign_with(shop: &Shop, image: &[u8], key: &Path, cert: &Path) -> Outcome<Vec<u8>> {
    let scratch = Scratch::new()?;
    let signed = scratch.join("signed.efi");
    let unsigned = scratch.write("unsigned.efi", image)?;
    let mut kpeel = shop.host();
    kpeel.arg("sign").arg(&unsigned).arg("--key").arg(key);
    kpeel.arg("--cert").arg(cert);
    shop.kpeel(kpeel.arg("--output").arg(&signed))?;
    Ok(std::fs::read(&signed)?)
}

/// The key without its pass phrase.
fn key(scratch: &Scratch) -> Outcome<PathBuf> {
    if !Path::new(KEY).is_file() {
        return Err(format!("{KEY} is not there (Debian package ovmf)").into());
    }
    let key = scratch.join("key.pem");
    run(Command::new("openssl")
        .args(["pkey", "-in", KEY, "-passin", PASS_PHRASE, "-out"])
        .arg(&key))?;
    Ok(key)
}

/// What efivarfs takes to set an authenticated variable (UEFI specification, "Variable Services",
/// `EFI_VARIABLE_AUTHENTICATION_2`): attributes, then the update, signed by the key, which may sign
/// updates of `db` and `dbx`. `guid` is the variable's, as it stands in memory.
pub(crate) fn update(name: &str, guid: [u8; 16], content: &[u8]) -> Outcome<Vec<u8>> {
    /// Non-volatile, at boot, at run time, authenticated by time.
    const ATTRIBUTES: [u8; 4] = 0x27_u32.to_le_bytes();
    /// 2026-01-01 00:00:00, as `EFI_TIME`.
    const TIME: [u8; 16] = [0xea, 7, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// `WIN_CERT_TYPE_EFI_GUID`, revision 2.0.
    const KIND: [u8; 4] = [0, 2, 0xf1, 0x0e];
    /// `EFI_CERT_TYPE_PKCS7_GUID`.
    const PKCS7: [u8; 16] = [
        0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65,
        0xa7,
    ];
    /// Before the SignedData stands a ContentInfo, which the specification does not want: two
    /// headers of four bytes and an identifier of eleven.
    const CONTENT_INFO: usize = 19;
    let scratch = Scratch::new()?;
    let name = name.encode_utf16().flat_map(u16::to_le_bytes);
    let signed = [
        &name.collect::<Vec<_>>()[..],
        &guid,
        &ATTRIBUTES,
        &TIME,
        content,
    ]
    .concat();
    let signature = scratch.join("signature");
    run(Command::new("openssl")
        .args([
            "cms", "-sign", "-binary", "-noattr", "-md", "sha256", "-outform", "DER",
        ])
        .args(["-signer", CERTIFICATE, "-inkey"])
        .arg(key(&scratch)?)
        .arg("-in")
        .arg(scratch.write("signed", &signed)?)
        .arg("-out")
        .arg(&signature))?;
    let signature = std::fs::read(&signature)?;
    let signature = signature.get(CONTENT_INFO..).ok_or("a short signature")?;
    let size = u32::try_from(signature.len() + 24)?.to_le_bytes();
    Ok([
        &ATTRIBUTES[..],
        &TIME,
        &size,
        &KIND,
        &PKCS7,
        signature,
        content,
    ]
    .concat())
}

/// `EFI_SIGNATURE_LIST` of one entry, without an owner.
pub(crate) fn list(kind: [u8; 16], entry: &[u8]) -> Outcome<Vec<u8>> {
    let entry_size = u32::try_from(entry.len() + 16)?;
    let sizes = [entry_size + 28, 0, entry_size].map(u32::to_le_bytes);
    Ok([&kind[..], &sizes.concat(), &[0; 16], entry].concat())
}

/// Whether `kpeel verify` trusts the image today if it trusts the certificate (DER).
pub(crate) fn trusts(shop: &Shop, image: &[u8], certificate: &[u8]) -> Outcome<bool> {
    /// Exit codes of kpeel.
    const MALFORMED: i32 = 1;
    const REFUSED: i32 = 4;
    let scratch = Scratch::new()?;
    let image = scratch.write("image.efi", image)?;
    let certificate = scratch.write("root.der", certificate)?;
    let mut kpeel = shop.host();
    kpeel
        .arg("verify")
        .arg(&image)
        .arg("--trust")
        .arg(certificate);
    let output = kpeel.args(["--valid-at", "now"]).output()?;
    match output.status.code() {
        Some(0) => Ok(true),
        Some(MALFORMED | REFUSED) => Ok(false),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("kpeel verify: {}: {}", output.status, said.trim()).into())
        }
    }
}

/// Subject of the certificate that signed the image, by sbverify, which writes `/CN=name`.
pub(crate) fn signer(image: &Path) -> Outcome<String> {
    const SUBJECT: &str = "- subject: /";
    let listed = run(Command::new("sbverify").arg("--list").arg(image))?;
    let subject = listed
        .lines()
        .find_map(|line| line.trim().strip_prefix(SUBJECT))
        .filter(|subject| !subject.contains('/'));
    let subject = subject.ok_or("sbverify lists no signer of one attribute")?;
    Ok(subject.to_owned())
}

pub(crate) fn run(command: &mut Command) -> Outcome<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| format!("{program}: {error} (Debian packages openssl, sbsigntool)"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}: {}", output.status, said.trim()).into())
}
