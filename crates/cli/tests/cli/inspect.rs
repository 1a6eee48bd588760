//! `kpeel inspect`.

use std::fs;

use kpeel_images::{Item, fetch};

use crate::support::{Bench, document, fails, kernel, kpeel, stderr, succeeds};

/// A UKI with two profiles around a zboot image with a parser of its own.
fn nested(bench: &Bench) -> std::path::PathBuf {
    let inner = bench.zboot("zboot", &kernel());
    let attached = bench.path("attached");
    succeeds(
        kpeel(["attach", "--parser", "zboot", "-o"])
            .arg(&attached)
            .arg(&inner),
    );
    bench.uki(
        "uki",
        &[
            (".linux", &fs::read(attached).unwrap()),
            (".cmdline", b"quiet"),
            (".profile", b"ID=main\nTITLE=Main\n"),
            (".profile", b"ID=rescue\nTITLE='To \x1b[31mrescue'\n"),
            (".cmdline", b"single"),
        ],
    )
}

#[test]
fn draws_every_layer() {
    let bench = Bench::new();
    let told = succeeds(kpeel(["inspect"]).arg(nested(&bench)));
    for expected in [
        "envelope 1: uki, x86_64, unsigned",
        "opened by uki",
        "profile 1 rescue: To \\u{1b}[31mrescue",
        "\"quiet\"",
        "envelope 2: zboot",
        "payload: gzip",
        ".bpf: ",
        "kfuncs: ",
        "opened by .bpf",
        "kernel: for x86_64, 19.5 KiB",
        "cmdline: \"quiet\"",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(!told.contains('\x1b'), "{told}");
}

/// An image with that many entries in its certificate table, none with anything in it.
fn with_entries(bench: &Bench, count: usize) -> std::path::PathBuf {
    /// Of the certificate table, behind "PE\0\0", the file header and the fields of PE32+.
    const DIRECTORY: usize = 24 + 112 + 4 * 8;
    let mut bytes = fs::read(bench.uki("uki", &[(".linux", &kernel())])).unwrap();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let pe = u32::from_le_bytes(bytes[0x3c..0x40].try_into().unwrap()) as usize;
    let (at, size) = (bytes.len() as u32, count as u32 * 8);
    bytes[pe + DIRECTORY..][..4].copy_from_slice(&at.to_le_bytes());
    bytes[pe + DIRECTORY + 4..][..4].copy_from_slice(&size.to_le_bytes());
    // dwLength, wRevision, wCertificateType.
    bytes.extend([8, 0, 0, 0, 0, 2, 2, 0].repeat(count));
    bench.write("signed", &bytes)
}

#[test]
fn entries_of_a_certificate_table_are_shown_up_to_a_bound() {
    let bench = Bench::new();
    let signature = |count| {
        let image = with_entries(&bench, count);
        let told = document(&succeeds(kpeel(["inspect", "--json"]).arg(image)));
        let signature = &told["layers"][0]["signature"];
        let shown = signature["certificates"].as_array().unwrap().len();
        (shown, signature["error"].as_str().map(str::to_owned))
    };
    assert_eq!(signature(64), (64, None));
    let (shown, error) = signature(65);
    assert_eq!(shown, 64);
    assert_eq!(
        error.unwrap(),
        "refused (bound): entries of the certificate table: found 65 (0x41), needed at most 64 (0x40)"
    );
}

#[test]
fn json_lists_sections_with_their_profiles() {
    let bench = Bench::new();
    let told = document(&succeeds(kpeel(["inspect", "--json"]).arg(nested(&bench))));
    let layer = &told["layers"][0];
    let profiles: Vec<_> = layer["sections"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|section| section["name"] == ".cmdline" || section["name"] == ".profile")
        .map(|section| {
            (
                section["name"].as_str().unwrap(),
                section["profile"].as_u64(),
            )
        })
        .collect();
    let expected = [
        (".cmdline", None),
        (".profile", Some(0)),
        (".profile", Some(1)),
        (".cmdline", Some(1)),
    ];
    assert_eq!(profiles, expected);
    assert_eq!(layer["profiles"][1]["id"], "rescue");
    assert_eq!(told["layers"][1]["zboot"]["codec"], "gzip");
    let program = &told["layers"][1]["carrier"]["parser"]["programs"][0];
    assert_eq!(program["anchor"], "bpf_handle_pefile");
    assert!(program["instructions"].as_u64().unwrap() > 0);
    assert_eq!(
        (&told["result"]["kernel"]["size"], &told["error"]),
        (&20_000.into(), &().into())
    );
}

#[test]
fn sections_have_the_hashes_of_what_objcopy_dumps() {
    let bench = Bench::new();
    let image = nested(&bench);
    let told = document(&succeeds(kpeel(["inspect", "--json"]).arg(&image)));
    let linux = kpeel_images::oracle::expected_section(&image, ".linux").unwrap();
    let sections = told["layers"][0]["sections"].as_array().unwrap();
    let section = sections
        .iter()
        .find(|section| section["name"] == ".linux")
        .unwrap();
    assert_eq!(section["sha256"], sha256sum(&bench.write("linux", &linux)));
    // The same bytes under their other names, and other bytes: no hash is taken for another's.
    let published = |layer: usize| &told["layers"][layer]["opened_by"]["published"][0];
    assert_eq!(published(0)["sha256"], section["sha256"]);
    assert_eq!(told["layers"][1]["sha256"], section["sha256"]);
    let plain = sha256sum(&bench.write("kernel", &kernel()));
    assert_eq!(published(1)["sha256"], plain.as_str());
    assert_eq!(told["result"]["kernel"]["sha256"], plain.as_str());
    let whole = sha256sum(&image);
    assert_eq!(told["sha256"], whole.as_str());
    assert_eq!(told["layers"][0]["sha256"], whole.as_str());
}

fn sha256sum(file: &std::path::Path) -> String {
    let tool = std::process::Command::new("sha256sum").arg(file).output();
    let told = String::from_utf8(tool.unwrap().stdout).unwrap();
    told.split(' ').next().unwrap().to_owned()
}

#[test]
fn signatures_are_listed() {
    let told = succeeds(kpeel(["inspect"]).arg(fetch(Item::ShimAmd64).unwrap()));
    assert!(told.contains("signed, "), "{told}");
    assert_eq!(
        told.matches("signature: pkcs-signed-data").count(),
        2,
        "{told}"
    );
    let told = document(&succeeds(
        kpeel(["inspect", "--json"]).arg(fetch(Item::ShimAmd64).unwrap()),
    ));
    assert_eq!(told["layers"][0]["signature"]["present"], true);
    assert_eq!(told["layers"][0]["pe"]["check_sum_matches"], true);
}

#[test]
fn what_is_found_before_a_failure_is_shown() {
    let bench = Bench::new();
    let mut inner = fs::read(bench.zboot("zboot", &kernel())).unwrap();
    inner[0x18..0x1c].copy_from_slice(b"nope");
    let image = bench.uki("uki", &[(".linux", &inner)]);
    let output = kpeel(["inspect"]).arg(&image).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        told.contains("envelope 1: uki") && told.contains("payload: nope"),
        "{told}"
    );
    assert!(
        stderr(&output).contains("envelope 2: comp_type"),
        "{}",
        stderr(&output)
    );
    let json = kpeel(["inspect", "--json"]).arg(&image).output().unwrap();
    let told = document(std::str::from_utf8(&json.stdout).unwrap());
    assert_eq!(told["layers"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&told["error"]["depth"], &told["error"]["field"]),
        (&2.into(), &"comp_type".into())
    );
}

#[test]
fn a_pe_image_that_holds_no_kernel_is_no_failure() {
    let told = succeeds(kpeel(["inspect"]).arg(fetch(Item::StubAmd64V252).unwrap()));
    assert!(
        told.contains("envelope 1: pe") && told.contains(".sdmagic"),
        "{told}"
    );
    let bench = Bench::new();
    fails(kpeel(["inspect"]).arg(bench.write("empty", b"")), 1);
}
