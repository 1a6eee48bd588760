//! Secure Boot with the key that Debian's `ovmf` package publishes for tests.
//!
//! Debian's own key is in no stock kernel: under Secure Boot the kernel takes it from the firmware.
//! The package's "snakeoil" variable store trusts one key, whose private half lies beside it; what
//! a row wants trusted is signed with that.

use std::path::Path;
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
    if !Path::new(KEY).is_file() {
        return Err(format!("{KEY} is not there (Debian package ovmf)").into());
    }
    let scratch = Scratch::new()?;
    let (key, signed) = (scratch.join("key.pem"), scratch.join("signed.efi"));
    let unsigned = scratch.write("unsigned.efi", image)?;
    // It is encrypted with triple DES, which kpeel does not take.
    run(Command::new("openssl")
        .args(["pkey", "-in", KEY, "-passin", PASS_PHRASE, "-out"])
        .arg(&key))?;
    let mut kpeel = shop.host();
    kpeel.arg("sign").arg(&unsigned).arg("--key").arg(&key);
    kpeel.args(["--cert", CERTIFICATE, "--output"]);
    shop.kpeel(kpeel.arg(&signed))?;
    Ok(std::fs::read(&signed)?)
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
