//! What may vouch for an image: its own signature, or IMA's appraisal of the file. Without one no parser runs.

use std::process::Command;

use kpeel_images::make::Scratch;

use super::refusals::{KEY_REJECTED, signature};
use super::{RAW, REFUSED, guest, parts};
use crate::Outcome;
use crate::guest::Guest;
use crate::row::Row;
use crate::secure_boot::{self, run};
use crate::shop::{Shop, Which};

/// EACCES, and nothing in the log: IMA has refused the file before anybody looked at it.
const DENIED: &str = "kexec_file_load: Permission denied (os error 13)";
/// EPERM, by lockdown, of a kernel without a parser.
const LOCKED: &str = "kexec_file_load: Operation not permitted (os error 1)";
const ENODATA: u32 = 61;
const ENOKEY: u32 = 126;
const EKEYREJECTED: u32 = 129;

/// What the kernel calls whenever a program or a map of BPF is made, and when it runs a parser.
const BPF: &str = "bpf_prog_alloc_no_stats,bpf_map_init_from_attr,kern_sys_bpf,kexec_pe_run_prog";

/// IMA's rule for kernels.
const RULE: &str = "appraise func=KEXEC_KERNEL_CHECK appraise_type=imasig";
const POLICY: &str = "/sys/kernel/security/ima/policy";

/// Without a good signature no object of BPF comes to be, whether signatures are enforced or not.
pub(super) fn never_runs(shop: &Shop, row: &Row, lockdown: &str) -> Outcome<Guest> {
    let good = parts(shop, row, "")?;
    let signed = good.signed(shop, row.arch)?;
    let unsigned = shop.attach(&good.uki(shop, row.arch)?, "uki")?;
    let mut changed = signed.clone();
    let middle = changed.len() / 2;
    if let Some(byte) = changed.get_mut(middle) {
        *byte ^= 1;
    }
    let stranger = secure_boot::sign(shop, &unsigned)?;
    let mut guest = guest(shop, row, lockdown)?
        .with(|archive| Ok(archive.program("bin/under", &shop.programs(row.arch)?.under)?))?
        .file("good", &signed);
    for (name, image, found) in [
        ("unsigned", unsigned, ENODATA),
        ("changed", changed, EKEYREJECTED),
        ("stranger", stranger, ENOKEY),
    ] {
        guest = guest
            .file(name, &image)
            .refused(
                REFUSED,
                &signature(found),
                &format!("/bin/under calls none {BPF} {RAW} /{name}"),
            )
            .step("text /sys/kernel/kexec_loaded 0")
            // The twin: these are the functions a load calls.
            .step(format!("run /bin/under calls all {BPF} {RAW} /good"))
            .step("text /sys/kernel/kexec_loaded 1")
            .kpeel("unload");
    }
    Ok(guest.stays())
}

/// The guest with IMA's keyring filled, an image that only IMA vouches for, one that nothing does, one whose signature
/// is another file's, and one that is signed as PE images are.
fn appraised(shop: &Shop, row: &Row, guest: Guest) -> Outcome<Guest> {
    let good = parts(shop, row, "")?;
    let unsigned = shop.attach(&good.uki(shop, row.arch)?, "uki")?;
    let signed = good.signed(shop, row.arch)?;
    let owner = Owner::new(shop, row)?;
    Ok(guest
        .memory(2048)
        .with(|archive| Ok(archive.program("bin/ima", &shop.programs(row.arch)?.ima)?))?
        .file("ima.der", &owner.certificate)
        .file("signature", &owner.sign(&unsigned)?)
        .file("wrong", &owner.sign(b"another file")?)
        .file("by-ima", &unsigned)
        .file("by-nobody", &unsigned)
        .file("by-another", &unsigned)
        .file("signed", &signed)
        .file("signed-signature", &owner.sign(&signed)?)
        .step("run /bin/ima key /ima.der")
        .step("run /bin/ima sign /by-ima /signature")
        .step("run /bin/ima sign /by-another /wrong"))
}

/// IMA's appraisal counts as a signature, under lockdown too, if it was this file's.
pub(super) fn ima(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let load = |name: &str| format!("{RAW} /{name}");
    let guest = guest(shop, row, "lockdown=integrity")?;
    Ok(appraised(shop, row, guest)?
        // A rule for other files vouches for nothing.
        .step(format!("write {POLICY} {RULE} fowner=4711"))
        .refused(REFUSED, &signature(ENODATA), &load("by-ima"))
        .step(format!("run {RAW} /signed"))
        .step("text /sys/kernel/kexec_loaded 1")
        .kpeel("unload")
        .step(format!("write {POLICY} {RULE}"))
        .refused(REFUSED, DENIED, &load("by-nobody"))
        .refused(REFUSED, DENIED, &load("by-another"))
        // IMA demands its own signature, whatever others there are.
        .refused(REFUSED, DENIED, &load("signed"))
        .step("text /sys/kernel/kexec_loaded 0")
        .step(format!("run {RAW} /by-ima"))
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}

/// What IMA only logs vouches for nothing.
pub(super) fn ima_log(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let guest = guest(shop, row, "ima_appraise=log")?;
    Ok(appraised(shop, row, guest)?
        .step(format!("write {POLICY} {RULE}"))
        .refused(REFUSED, &signature(ENODATA), &format!("{RAW} /by-nobody"))
        .refused(REFUSED, &signature(ENODATA), &format!("{RAW} /by-another"))
        .step("text /sys/kernel/kexec_loaded 0")
        .step(format!("run {RAW} /signed"))
        .exec())
}

/// Under Secure Boot the kernel enforces signatures (`CONFIG_IMA_ARCH_POLICY`), and none of IMA's counts.
pub(super) fn forced(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Patched)?;
    let plain = shop.kernel(row.arch, Which::Unsigned)?.bytes()?;
    let guest = guest(shop, row, "")?.secure_boot(secure_boot::sign(shop, &kernel.bytes()?)?);
    let both = format!(
        "{KEY_REJECTED}\nkexec_pe: refused (signature): kexec:cmdline: the signed image carries its own, which the \
         caller's would change"
    );
    Ok(appraised(shop, row, guest)?
        .file("plain", &plain)
        .refused(REFUSED, &signature(ENODATA), &format!("{RAW} /by-nobody"))
        .refused(
            REFUSED,
            "kexec_file_load: No data available (os error 61)",
            &format!("{RAW} /plain"),
        )
        .refused(REFUSED, &both, &format!("{RAW} --append quiet /signed"))
        .step(format!("write {POLICY} {RULE}"))
        .refused(REFUSED, &signature(ENODATA), &format!("{RAW} /by-ima"))
        .step("text /sys/kernel/kexec_loaded 0")
        .step("run /bin/ima sign /signed /signed-signature")
        .step(format!("run {RAW} /signed"))
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}

/// A kernel without a parser is loaded as ever: refused under lockdown without a trusted signature, else started.
pub(super) fn plain(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Unsigned)?;
    let line = row.line();
    let initrd = crate::guest::second(shop, row, &kernel, Some(&line), &[])?;
    let bytes = kernel.bytes()?;
    let load = |name: &str| format!("{RAW} --initrd /initrd --append \"{line}\" /{name}");
    Ok(guest(shop, row, "lockdown=integrity")?
        .file("initrd", &initrd)
        .file("unsigned", &bytes)
        .file("signed", &shop.sign(row.arch, &bytes)?)
        .refused(REFUSED, LOCKED, &load("unsigned"))
        .step("text /sys/kernel/kexec_loaded 0")
        .step(format!("run {}", load("signed")))
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}

/// Whoever signs files for IMA: a certificate issued by the key that the kernel has built in.
struct Owner {
    scratch: Scratch,
    certificate: Vec<u8>,
}

impl Owner {
    /// Last four bytes of the certificate's subject key identifier.
    const KEY_ID: [u8; 4] = [1, 2, 3, 4];
    /// What Linux asks of a certificate for `.ima` (`restrict_link_by_digsig_builtin`).
    const EXTENSIONS: &str = "basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\n\
        subjectKeyIdentifier=0000000000000000000000000000000001020304\nauthorityKeyIdentifier=keyid\n";

    fn new(shop: &Shop, row: &Row) -> Outcome<Self> {
        let scratch = Scratch::new()?;
        let keys = shop.keys(row.arch)?;
        let (key, request) = (scratch.join("key.pem"), scratch.join("request.pem"));
        let extensions = scratch.write("extensions", Self::EXTENSIONS.as_bytes())?;
        let certificate = scratch.join("certificate.der");
        run(Command::new("openssl")
            .args(["req", "-new", "-newkey", "rsa:2048", "-nodes"])
            .args(["-subj", "/CN=kpeel test: files", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&request))?;
        run(Command::new("openssl")
            .args(["x509", "-req", "-set_serial", "2", "-days", "3650", "-in"])
            .arg(&request)
            .arg("-CA")
            .arg(keys.join("kpeel.crt"))
            .arg("-CAkey")
            .arg(keys.join("kpeel.key"))
            .arg("-extfile")
            .arg(extensions)
            .args(["-outform", "DER", "-out"])
            .arg(&certificate))?;
        let certificate = std::fs::read(certificate)?;
        Ok(Self {
            scratch,
            certificate,
        })
    }

    /// The value of `security.ima` for a file with these bytes.
    fn sign(&self, bytes: &[u8]) -> Outcome<Vec<u8>> {
        /// `EVM_IMA_XATTR_DIGSIG`, version 2, `HASH_ALGO_SHA256`.
        const BEGINNING: [u8; 3] = [3, 2, 4];
        let file = self.scratch.write("file", bytes)?;
        let out = self.scratch.join("signature");
        run(Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(self.scratch.join("key.pem"))
            .arg("-out")
            .arg(&out)
            .arg(file))?;
        let signature = std::fs::read(out)?;
        let len = u16::try_from(signature.len())?.to_be_bytes();
        Ok([&BEGINNING[..], &Self::KEY_ID, &len, &signature].concat())
    }
}
