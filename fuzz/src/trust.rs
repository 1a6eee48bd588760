//! Signatures of images, and whose of them count.

use std::sync::LazyLock;

use kpeel_envelope::pe::{DIRECTORY_CERTIFICATE, Pe};
use kpeel_trust::{Hash, Passing, Policy, Report, Store, verify, verify_outline};

/// The image that signatures in the corpus are over; their keys are nowhere.
const UNSIGNED: &[u8] = include_bytes!("../corpus/signature/unsigned");
/// The root of their chains.
const ROOT: &[u8] = include_bytes!("../corpus/keys/certificate-der");

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let mut store = Store::new();
    store.trust(ROOT, "root").expect("a certificate");
    store
});

/// A signed image, or a certificate table to go behind one. It is trusted only if it is the image
/// that the keys signed, and the verdict is the same if it is not kept in memory.
pub fn signature(bytes: &[u8]) {
    let image = if bytes.starts_with(b"MZ") {
        bytes.to_vec()
    } else {
        bearing(bytes)
    };
    let Ok(report) = verify(&image, &STORE, &Policy::default()) else {
        return;
    };
    for uncovered in &report.uncovered {
        assert!(uncovered.start <= uncovered.end && uncovered.end <= image.len());
    }
    if report.is_trusted() {
        assert_eq!(digest(&image), digest(UNSIGNED), "another image is trusted");
    }
    assert!(
        report
            .refused()
            .is_none_or(|reason| !reason.to_string().is_empty())
    );
    passes(&image, &report);
}

/// The same image, gone by in two parts.
fn passes(image: &[u8], report: &Report) {
    let mut passing = Passing::to_verify(&[Hash::Sha256]);
    let head = image.len().min(1024);
    passing.update(&image[..head]);
    passing.update(&image[head..]);
    let Some(outline) = passing.finish() else {
        return;
    };
    let passed = verify_outline(&outline, &STORE, &Policy::default()).expect("headers as before");
    if let Some(passed) = passed {
        assert_eq!(passed.verdict, report.verdict);
        assert_eq!(passed.uncovered, report.uncovered);
    }
}

/// Certificates or signature lists: an image without a signature is trusted only if its digest is in
/// them.
pub fn keys(bytes: &[u8]) {
    let mut store = Store::new();
    let trusted = store.trust(bytes, "fuzz");
    let report = verify(UNSIGNED, &store, &Policy::default()).expect("an image");
    if report.is_trusted() {
        assert!(trusted.is_ok(), "trusted by keys that cannot be read");
        let pe = Pe::parse(UNSIGNED).expect("an image");
        let listed = |hash: &Hash| {
            let digest = hash.of_image(&pe);
            bytes.windows(digest.len()).any(|part| part == digest)
        };
        assert!(Hash::ALL.iter().any(listed), "trusted without reason");
    }
    for skipped in store.skipped() {
        assert!(!skipped.what.is_empty());
    }
    if store.revoke(bytes, "fuzz").is_ok() && report.is_trusted() {
        let revoked = verify(UNSIGNED, &store, &Policy::default()).expect("an image");
        assert!(!revoked.is_trusted(), "what is revoked is trusted");
    }
}

/// The image with this certificate table.
fn bearing(table: &[u8]) -> Vec<u8> {
    let mut image = UNSIGNED.to_vec();
    let pe = Pe::parse(UNSIGNED).expect("an image");
    let entry = pe.headers().directory_offset(DIRECTORY_CERTIFICATE);
    let entry = entry.expect("a directory");
    let size = table.len().next_multiple_of(8);
    image[entry..entry + 4].copy_from_slice(&(UNSIGNED.len() as u32).to_le_bytes());
    image[entry + 4..entry + 8].copy_from_slice(&(size as u32).to_le_bytes());
    image.extend_from_slice(table);
    image.resize(UNSIGNED.len() + size, 0);
    image
}

fn digest(image: &[u8]) -> Vec<u8> {
    Hash::Sha256.of_image(&Pe::parse(image).expect("headers as before"))
}
