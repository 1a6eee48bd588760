//! The keys of the running system: what `--trust system` reads of the firmware's variables.

use std::process::Command;

use kpeel_images::make::Scratch;

use crate::Outcome;
use crate::guest::{Guest, KPEEL, second};
use crate::row::Row;
use crate::secure_boot::{self, list, run, sign, sign_with, update};
use crate::shop::{Shop, Which};

/// What is proven.
pub(super) const CLAIM: &str =
    "Secure Boot: --trust system goes by db, dbx and MokListRT of the running system";

/// Exit code of a refusal.
const POLICY: i32 = 4;
const REVOKED: &str = "the image is revoked by dbx";
const EFIVARS: &str = "/sys/firmware/efi/efivars";
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`, in memory.
const DATABASE: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];
/// `EFI_CERT_SHA256_GUID` and `EFI_CERT_X509_GUID`, in memory.
const SHA_256: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];
const X_509: [u8; 16] = [
    0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
];
/// Non-volatile, at boot, at run time. shim's own variable is volatile, and only shim can make one.
const ATTRIBUTES: [u8; 4] = 7_u32.to_le_bytes();

/// Of four kernels, the one that db's key signed is trusted and starts; a stranger's is not; one
/// is until dbx lists its digest; one is as soon as MokListRT has its key.
pub(super) fn trust(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Unsigned)?;
    let stranger = shop.kernel(row.arch, Which::Older)?;
    let line = row.line();
    let initrd = second(shop, row, &kernel, Some(&line), &[])?;
    let bytes = kernel.bytes()?;
    let signed = sign(shop, &bytes)?;
    // Another image, since its digest is another.
    let revoked = sign(shop, &[&bytes[..], &[0; 8]].concat())?;
    let owner = Owner::new()?;
    let (digest, certificate) = (digest(&revoked)?, owner.certificate()?);
    let verify = |image: &str| format!("{KPEEL} verify --trust system {image}");
    let load = |image: &str| {
        format!("{KPEEL} load --trust system --initrd /initrd --command-line \"{line}\" {image}")
    };
    let refused = |image: &str, why: &str| {
        format!(
            "kpeel: {image}: refused (signature): envelope 1: signature: {why}; --trust system (--trust \
             asks for it) asks for signatures: --trust none leaves the check to the running kernel"
        )
    };
    let debian = secure_boot::signer(&stranger.path)?;
    let unknown = |subject: &str, issuer: &str| {
        format!("{subject} is not trusted, and neither is its issuer, {issuer}")
    };
    let unknown = [
        unknown(&debian, "CN=Debian Secure Boot CA"),
        unknown("CN=owner", "CN=owner"),
    ];
    Ok(Guest::new(shop, row.arch, &kernel)?
        .secure_boot(signed.clone())
        .file(
            "efivarfs.ko",
            &shop.module(&kernel.release, "fs/efivarfs/efivarfs")?,
        )
        .file("initrd", &initrd)
        .file("signed", &signed)
        .file("stranger", &stranger.bytes()?)
        .file("revoked", &revoked)
        .file(
            "owned",
            &sign_with(shop, &bytes, &owner.key(), &owner.pem())?,
        )
        .file("dbx", &update("dbx", DATABASE, &list(SHA_256, &digest)?)?)
        .file(
            "mok",
            &[&ATTRIBUTES[..], &list(X_509, &certificate)?].concat(),
        )
        .step("text /sys/kernel/security/lockdown none [integrity] confidentiality")
        .step("module /efivarfs.ko")
        .step(format!("mount efivarfs {EFIVARS}"))
        .step(format!("run {}", verify("/signed")))
        .step(format!("run {}", verify("/revoked")))
        .refused(
            POLICY,
            &format!("kpeel: /stranger: {}", unknown[0]),
            &verify("/stranger"),
        )
        .refused(
            POLICY,
            &refused("/stranger", &unknown[0]),
            &load("/stranger"),
        )
        .step(format!(
            "copy /dbx {EFIVARS}/dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f"
        ))
        .refused(
            POLICY,
            &format!("kpeel: /revoked: {REVOKED}"),
            &verify("/revoked"),
        )
        .refused(POLICY, &refused("/revoked", REVOKED), &load("/revoked"))
        .refused(
            POLICY,
            &format!("kpeel: /owned: {}", unknown[1]),
            &verify("/owned"),
        )
        .step(format!(
            "copy /mok {EFIVARS}/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"
        ))
        .step(format!("run {}", verify("/owned")))
        .step("text /sys/kernel/kexec_loaded 0")
        .step(format!("run {}", load("/signed")))
        .exec())
}

/// A key of the machine's owner.
struct Owner(Scratch);

impl Owner {
    fn new() -> Outcome<Self> {
        let owner = Self(Scratch::new()?);
        run(Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
            ])
            .args(["-subj", "/CN=owner"])
            .arg("-keyout")
            .arg(owner.key())
            .arg("-out")
            .arg(owner.pem()))?;
        Ok(owner)
    }

    fn key(&self) -> std::path::PathBuf {
        self.0.join("owner.key")
    }

    fn pem(&self) -> std::path::PathBuf {
        self.0.join("owner.pem")
    }

    /// In DER.
    fn certificate(&self) -> Outcome<Vec<u8>> {
        let der = self.0.join("owner.der");
        run(Command::new("openssl")
            .args(["x509", "-outform", "DER", "-in"])
            .arg(self.pem())
            .arg("-out")
            .arg(&der))?;
        Ok(std::fs::read(der)?)
    }
}

/// The image's SHA-256, as osslsigncode has it.
fn digest(image: &[u8]) -> Outcome<Vec<u8>> {
    const FOUND: &str = "Calculated message digest :";
    let scratch = Scratch::new()?;
    let image = scratch.write("image.efi", image)?;
    // Whom it trusts is no matter here.
    let output = Command::new("osslsigncode")
        .arg("verify")
        .arg("-in")
        .arg(image)
        .output();
    let output = output.map_err(|error| format!("osslsigncode: {error} (Debian package)"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let digits = said
        .lines()
        .find_map(|line| line.trim().strip_prefix(FOUND));
    let digits = digits.ok_or("osslsigncode tells no digest")?.trim();
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes
        .filter(|bytes| bytes.len() == 32)
        .ok_or("no SHA-256".into())
}
