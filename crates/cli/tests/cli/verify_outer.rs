//! `verify --outer`: the outermost layer, judged as it passes by.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{document, fails, kernel, succeeds};
use crate::trust::Keys;

#[test]
fn outer_judges_the_outermost_layer_and_opens_nothing() {
    let keys = Keys::new(&["mine", "other"]);
    let inner = keys.bench.zboot("inner.efi", &kernel());
    keys.uki("plain.efi", &fs::read(inner).unwrap());
    let layers = |command: &mut Command| {
        let told = document(&succeeds(command.arg("--json")));
        let layers = told["layers"].as_array().unwrap().clone();
        (layers.len(), layers[0].clone())
    };
    for hash in ["sha256", "sha512"] {
        let mut sign = keys.sign("plain.efi", "mine", "signed.efi");
        succeeds(sign.args(["--digest", hash]));
        let (all, first) = layers(&mut keys.verify("signed.efi", "mine"));
        let (one, same) = layers(keys.verify("signed.efi", "mine").arg("--outer"));
        assert_eq!((all, one), (2, 1));
        assert_eq!(first, same, "{hash}");
        let said = fails(keys.verify("signed.efi", "other").arg("--outer"), 4);
        assert!(said.contains("CN=mine is not trusted"), "{said}");
    }
    keys.bench.write("no.efi", &[0; 5000]);
    let said = fails(keys.verify("no.efi", "mine").arg("--outer"), 1);
    assert!(said.contains("malformed"), "{said}");
}

#[test]
fn outer_keeps_no_image_whatever_its_signer_hashed_with() {
    const LEN: usize = 64 << 20;
    let keys = Keys::new(&["mine"]);
    keys.uki("plain.efi", &vec![0; LEN]);
    for hash in ["sha256", "sha384", "sha512"] {
        let mut sign = keys.sign("plain.efi", "mine", "signed.efi");
        succeeds(sign.args(["--digest", hash]));
        let held = most_held(keys.verify("signed.efi", "mine").arg("--outer"));
        assert!(held < LEN / 2, "{hash}: {held} bytes");
    }
    let held = most_held(&mut keys.verify("signed.efi", "mine"));
    assert!(held > LEN, "{held} bytes");
}

#[test]
fn outer_judges_an_image_with_a_huge_certificate_table_all_the_same() {
    /// Where headers of 64-bit images have the certificate table's size, from `PE\0\0` on.
    const TABLE_SIZE: usize = 24 + 112 + 4 * 8 + 4;
    let keys = Keys::new(&["mine"]);
    keys.uki("plain.efi", &kernel());
    succeeds(&mut keys.sign("plain.efi", "mine", "signed.efi"));
    let mut image = keys.bench.read("signed.efi");
    let number = |image: &[u8], at: usize| u32::from_le_bytes(*image[at..].first_chunk().unwrap());
    let at = number(&image, 0x3c) as usize + TABLE_SIZE;
    // An entry of 3 MiB that is of no known kind.
    let size = number(&image, at) + (3 << 20);
    image[at..at + 4].copy_from_slice(&size.to_le_bytes());
    let entry = [&(3_u32 << 20).to_le_bytes()[..], &[0, 2, 0, 0]].concat();
    let end = image.len() + (3 << 20);
    image.extend_from_slice(&entry);
    image.resize(end, 0);
    keys.bench.write("huge.efi", &image);
    let whole = succeeds(&mut keys.verify("huge.efi", "mine"));
    let outer = succeeds(keys.verify("huge.efi", "mine").arg("--outer"));
    assert_eq!(outer, whole);
    assert!(outer.contains("good signature (1)"), "{outer}");
}

/// Runs it; success is demanded, and the most memory given back that it was seen to have, in bytes.
#[track_caller]
fn most_held(command: &mut Command) -> usize {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        // `VmHWM:    1234 kB` (proc_pid_status(5)); gone once it has ended.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
        most = most.max(kib.map_or(0, |kib| kib.parse::<usize>().unwrap() << 10));
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{command:?}: {ended}");
            return most;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
