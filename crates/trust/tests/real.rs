//! What Debian and Microsoft signed, against the CAs that Debian's packages bring.

mod support;

use std::fs;

use kpeel_envelope::pe::Pe;
use kpeel_images::{Item, fetch};
use kpeel_trust::{Hash, Policy, Reason, Report, Store, Validity, verify};
use support::{Make, Pki, judge, osslsigncode, sbverify};

fn bytes(item: Item) -> Vec<u8> {
    fs::read(fetch(item).unwrap()).unwrap()
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Debian's CA, which shim embeds in its section `.vendor_cert`: size of what is trusted, size of
/// what is not, and where each begins (shim's `cert.S`).
fn debian_ca() -> Vec<u8> {
    let shim = bytes(Item::ShimAmd64);
    let pe = Pe::parse(&shim).unwrap();
    let section = pe
        .sections()
        .find(|one| long_name(&pe, &one.raw_name) == b".vendor_cert");
    let raw = section.unwrap().raw();
    let (size, offset) = (word(raw, 0), word(raw, 8));
    raw[offset..offset + size].to_vec()
}

/// A name of more than 8 bytes is `/` and its offset in the string table, which follows the symbols
/// of 18 bytes each (Microsoft PE Format, "COFF String Table").
fn long_name<'a>(pe: &Pe<'a>, name: &[u8; 8]) -> &'a [u8] {
    let digits: String = name[1..].iter().map(|byte| char::from(*byte)).collect();
    let Ok(offset) = digits.trim_end_matches('\0').parse::<usize>() else {
        return b"";
    };
    let headers = pe.headers();
    let symbols = headers.number_of_symbols as usize * 18;
    let strings = headers.pointer_to_symbol_table as usize + symbols;
    let text = &pe.bytes()[strings + offset..];
    text.split(|byte| *byte == 0).next().unwrap()
}

fn debian() -> Store {
    let mut store = Store::new();
    store
        .trust(&debian_ca(), "shim's vendor certificate")
        .unwrap();
    store
}

/// A variable of the store that Debian's `ovmf` ships with Microsoft's keys (EDK II,
/// `AUTHENTICATED_VARIABLE_HEADER`).
fn ovmf_variable(name: &str) -> Vec<u8> {
    const HEADER: usize = 60;
    /// Start mark, and the state of a variable that is in force.
    const START: &[u8] = &[0xaa, 0x55, 0x3f];
    let store = fs::read("/usr/share/OVMF/OVMF_VARS_4M.ms.fd").unwrap();
    let name: Vec<u8> = name
        .encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect();
    let found = (0..store.len() - HEADER).find(|at| {
        store[*at..].starts_with(START)
            && store[at + HEADER..].starts_with(&name)
            && word(&store, at + 36) == name.len()
    });
    let at = found.unwrap();
    let data = at + HEADER + name.len();
    store[data..data + word(&store, at + 40)].to_vec()
}

fn microsoft() -> Store {
    let mut store = Store::new();
    store.trust(&ovmf_variable("db"), "db").unwrap();
    store
}

/// A CA that signed nothing of all this.
fn stranger() -> Store {
    let pki = Pki::new();
    pki.make(&Make::ca("stranger", None));
    pki.store("stranger")
}

fn is_unknown(report: &Report) -> bool {
    matches!(report.refused(), Some(Reason::UnknownIssuer { .. }))
}

#[test]
fn what_debian_signed_is_good_under_its_ca_and_no_other() {
    let pki = Pki::new();
    let der = pki.scratch.write("debian.der", &debian_ca()).unwrap();
    let pem = pki.pem("debian");
    let (der, out) = (support::text(&der), support::text(&pem));
    support::openssl(&["x509", "-inform", "DER", "-in", der, "-out", out]);
    let (debian, microsoft, stranger) = (debian(), microsoft(), stranger());
    for item in [
        Item::LinuxAmd64,
        Item::LinuxAmd64V61,
        Item::LinuxArm64,
        Item::LinuxArm64V61,
        Item::GrubAmd64,
        Item::FwupdAmd64,
        Item::SystemdBootAmd64,
    ] {
        let name = item.name();
        let image = bytes(item);
        let report = judge(&image, &debian);
        assert!(report.is_trusted(), "{name}: {report:?}");
        assert_eq!(report.signatures[0].chain.len(), 2, "{name}: leaf and CA");
        assert!(
            report
                .signer()
                .unwrap()
                .contains("Debian Secure Boot Signer"),
            "{name}"
        );
        assert_eq!(report.uncovered, [], "{name}");
        for store in [&microsoft, &stranger] {
            let refused = judge(&image, store);
            assert!(is_unknown(&refused), "{name}: {refused:?}");
        }
        let path = fetch(item).unwrap();
        assert!(sbverify(&path, &pem), "{name}");
        // Version 2.5, Debian 12's, wants padding counted into dwLength, which is not the rule.
        if item != Item::SystemdBootAmd64 {
            assert!(osslsigncode(&path, &pem), "{name}");
        }
        let mut changed = image;
        let middle = changed.len() / 2;
        changed[middle] ^= 0x10;
        assert_eq!(
            judge(&changed, &debian).refused(),
            Some(&Reason::DigestDiffers),
            "{name}"
        );
    }
}

#[test]
fn both_signatures_of_shim_are_microsoft_s_and_one_is_good_under_ovmf_s_db() {
    let shim = bytes(Item::ShimAmd64);
    let report = judge(&shim, &microsoft());
    assert!(report.is_trusted(), "{report:?}");
    assert_eq!(report.signatures.len(), 2);
    for signature in &report.signatures {
        let signer = &signature.chain[0];
        assert!(
            signer.issuer.contains("O=Microsoft Corporation"),
            "{signer:?}"
        );
    }
    assert!(is_unknown(&judge(&shim, &debian())));
    assert!(is_unknown(&judge(&shim, &stranger())));
}

#[test]
fn ovmf_s_dbx_revokes_what_it_lists_and_nothing_of_debian_s() {
    let dbx = ovmf_variable("dbx");
    let mut store = microsoft();
    store.revoke(&dbx, "dbx").unwrap();
    let shim = bytes(Item::ShimAmd64);
    assert!(judge(&shim, &store).is_trusted());
    // Were shim's digest among them, it would not be.
    let digest = judge(&shim, &store).sha256.unwrap();
    store
        .revoke(&support::digest_list(&digest), "my list")
        .unwrap();
    let refused = judge(&shim, &store);
    assert!(
        matches!(refused.refused(), Some(Reason::DigestRevoked { .. })),
        "{refused:?}"
    );
}

#[test]
fn unsigned_images_say_so() {
    for item in [
        Item::LinuxAmd64Unsigned,
        Item::LinuxLoong64,
        Item::StubAmd64V257,
    ] {
        let image = bytes(item);
        let report = judge(&image, &debian());
        assert_eq!(
            report.refused(),
            Some(&Reason::NotSigned),
            "{}",
            item.name()
        );
        // Nothing needed its digest; listed, it makes the image good.
        assert_eq!(report.sha256, None);
        let digest = Hash::Sha256.of_image(&Pe::parse(&image).unwrap());
        let mut store = Store::new();
        store
            .trust(&support::list(&support::SHA_256, &digest), "my list")
            .unwrap();
        assert!(judge(&image, &store).is_trusted(), "{}", item.name());
    }
}

#[test]
fn time_counts_only_where_the_policy_says_so() {
    // Debian's CA is valid from 2016 to 2046.
    let image = bytes(Item::LinuxAmd64);
    let at = |time: &str| Policy {
        validity: Validity::parse(time).unwrap(),
        ..Policy::default()
    };
    let judged = |time| verify(&image, &debian(), &at(time)).unwrap();
    let early = judged("2015-01-01T00:00:00Z");
    assert!(
        matches!(early.refused(), Some(Reason::NotYetValid { .. })),
        "{early:?}"
    );
    let late = judged("2099-01-01T00:00:00Z");
    assert!(
        matches!(late.refused(), Some(Reason::Expired { .. })),
        "{late:?}"
    );
    let signer = &judge(&image, &debian()).signatures[0].chain[0];
    assert!(judged(&signer.not_before).is_trusted(), "{signer:?}");
}
