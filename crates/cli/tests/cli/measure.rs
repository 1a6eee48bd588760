//! `kpeel measure`, against systemd-measure.

use std::path::{Path, PathBuf};
use std::process::Command;

use kpeel_images::oracle::expected_pcr11;
use kpeel_images::{Item, fetch};
use serde_json::Value;

use crate::support::{Bench, document, fails, kernel, kpeel, stderr, succeeds};

const BANKS: [&str; 4] = ["sha1", "sha256", "sha384", "sha512"];

/// One of every kind, in an order that is none of measuring; what systemd's tools know and what
/// they do not.
fn every_kind() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        (".efifw", text("firmware of the machine")),
        (".hwids", vec![7; 100]),
        (".pcrpkey", text("-----BEGIN PUBLIC KEY-----\n")),
        (".bpf", text("no section of systemd's")),
        (".pcrsig", text("{}\0")),
        (".dtbauto", vec![0xd0; 300]),
        (".uname", text("6.12.0-test")),
        (".dtb", vec![0xdd; 200]),
        (".splash", text("BM")),
        (".ucode", vec![1; 1021]),
        (".initrd", vec![2; 70_000]),
        (".cmdline", text("console=ttyS0 quiet\n\0")),
        (".osrel", text("ID=test\n")),
        (".linux", kernel()),
    ]
}

fn uki(bench: &Bench, name: &str, sections: &[(&str, Vec<u8>)]) -> PathBuf {
    let borrowed: Vec<_> = sections
        .iter()
        .map(|(name, content)| (*name, &content[..]))
        .collect();
    bench.uki(name, &borrowed)
}

/// The stub's `.sbat`, which it is measured with.
fn sbat() -> Vec<u8> {
    kpeel_images::oracle::expected_section(&fetch(Item::StubAmd64V257).unwrap(), ".sbat").unwrap()
}

/// These sections as systemd-measure is given them.
#[track_caller]
fn assert_as_systemd(told: &Value, sections: &[(&str, &[u8])], banks: &[&str]) {
    let phases = told["phases"].as_array().unwrap();
    assert!(!phases.is_empty());
    for phase in phases {
        let path = phase["phase"].as_str().unwrap();
        assert_eq!(phase["pcr"].as_object().unwrap().len(), banks.len());
        for bank in banks {
            let expected = expected_pcr11(sections, bank, path).unwrap();
            assert_eq!(phase["pcr"][bank], expected, "{bank} {path}");
        }
    }
}

fn measure(image: &Path, options: &[&str]) -> Value {
    document(&succeeds(
        kpeel(["measure", "--json"]).arg(image).args(options),
    ))
}

#[test]
fn every_kind_in_every_bank_and_phase_is_as_systemd_measure_says() {
    let bench = Bench::new();
    let mut sections = every_kind();
    let image = uki(&bench, "image", &sections);
    let told = measure(
        &image,
        &[
            "--bank",
            "sha1,sha256,sha384,sha512",
            "--dtbauto=0",
            "--efifw=0",
        ],
    );
    assert_eq!(told["pcr"], 11);
    assert_eq!(told["phases"].as_array().unwrap().len(), 5);
    sections.push((".sbat", sbat()));
    sections.retain(|(name, _)| *name != ".bpf");
    let given: Vec<_> = sections.iter().map(|(name, it)| (*name, &it[..])).collect();
    assert_as_systemd(&told, &given, &BANKS);
    // Two events for each but the signature.
    let events = told["events"].as_array().unwrap();
    assert_eq!(events.len(), 2 * (given.len() - 1));
    let last = &events.last().unwrap();
    assert_eq!(
        (&last["section"], &last["pcr"]),
        (&".efifw".into(), &told["phases"][0]["pcr"])
    );
}

#[test]
fn profiles_and_hardware_s_picks_are_as_systemd_measure_says() {
    let bench = Bench::new();
    let sections = [
        (".linux", kernel()),
        (".cmdline", b"base".to_vec()),
        (".dtbauto", b"first".to_vec()),
        (".dtbauto", b"second".to_vec()),
        (".profile", b"ID=main\n".to_vec()),
        (".profile", b"ID=other\n".to_vec()),
        (".cmdline", b"other".to_vec()),
        (".initrd", vec![3; 5000]),
    ];
    let (kernel, sbat) = (kernel(), sbat());
    let image = uki(&bench, "image", &sections);
    let base: [(&str, &[u8]); 2] = [(".linux", &kernel), (".sbat", &sbat)];
    let main: [(&str, &[u8]); 2] = [(".cmdline", b"base"), (".profile", b"ID=main\n")];
    let other: [(&str, &[u8]); 3] = [
        (".cmdline", b"other"),
        (".profile", b"ID=other\n"),
        (".initrd", &[3; 5000]),
    ];
    let picked: [(&str, &[u8]); 1] = [(".dtbauto", b"second")];
    let told = measure(&image, &[]);
    assert_as_systemd(&told, &[&base[..], &main].concat(), &["sha256"]);
    assert_eq!(told["unpicked"][0]["candidates"], 2);
    let told = measure(&image, &["--profile=1", "--phases=:,a:b", "--bank=sha384"]);
    assert_eq!(told["phases"].as_array().unwrap().len(), 2);
    assert_as_systemd(&told, &[&base[..], &other].concat(), &["sha384"]);
    let told = measure(&image, &["--profile=1", "--dtbauto=1"]);
    assert_as_systemd(&told, &[&base[..], &other, &picked].concat(), &["sha256"]);
}

#[test]
fn a_real_kernel_is_as_systemd_measure_says() {
    let bench = Bench::new();
    let kernel = std::fs::read(fetch(Item::LinuxAmd64).unwrap()).unwrap();
    let image = bench.uki("image", &[(".linux", &kernel), (".cmdline", b"")]);
    let sbat = sbat();
    let given: [(&str, &[u8]); 2] = [(".linux", &kernel), (".sbat", &sbat)];
    assert_as_systemd(&measure(&image, &["--phases=:"]), &given, &["sha256"]);
}

#[test]
fn memory_behind_the_file_s_bytes_is_measured_as_zeros() {
    let bench = Bench::new();
    let image = bench.uki("image", &[(".linux", &kernel()), (".uname", b"6.12")]);
    // VirtualSize stands eight bytes into the section's header.
    let mut bytes = std::fs::read(image).unwrap();
    let header = bytes
        .windows(8)
        .position(|name| name == b".uname\0\0")
        .unwrap();
    bytes[header + 8..header + 12].copy_from_slice(&3000_u32.to_le_bytes());
    let image = bench.write("larger", &bytes);
    let (kernel, sbat, mut uname) = (kernel(), sbat(), b"6.12".to_vec());
    uname.resize(3000, 0);
    let given: [(&str, &[u8]); 3] = [(".linux", &kernel), (".sbat", &sbat), (".uname", &uname)];
    assert_as_systemd(&measure(&image, &[]), &given, &["sha256"]);
    // More memory than any image may take.
    bytes[header + 8..header + 12].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    let told = fails(kpeel(["measure"]).arg(bench.write("huge", &bytes)), 4);
    assert!(
        told.contains("VirtualSize of all sections: found"),
        "{told}"
    );
}

#[test]
fn the_tree_names_events_phases_and_what_is_left_to_the_machine() {
    let bench = Bench::new();
    let image = uki(&bench, "image", &every_kind());
    let told = succeeds(kpeel(["measure"]).arg(&image));
    for expected in [
        "profile 0 extends PCR 11 with 22 events",
        ".linux name: 7 bytes, sha256 ",
        ".cmdline contents: 21 bytes, sha256 ",
        ".dtbauto: not counted; of 1, a machine measures the one it picks, if any (--dtbauto)",
        "enter-initrd:leave-initrd sha256 ",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(
        !told.contains(".pcrsig") && !told.contains(".bpf"),
        "{told}"
    );
}

#[test]
fn what_there_is_not_is_refused_by_name() {
    let bench = Bench::new();
    let image = uki(&bench, "image", &every_kind());
    for (options, code, expected) in [
        (
            vec!["--profile=1"],
            2,
            "profile: found 1 (0x1), needed at most 0",
        ),
        (
            vec!["--dtbauto=1"],
            2,
            ".dtbauto: found 1 (0x1), needed at most 0",
        ),
        (vec!["--phases=a::b"], 2, "phase: found an empty word"),
        (vec!["--bank=md5"], 2, "md5"),
    ] {
        let told = fails(kpeel(["measure"]).arg(&image).args(&options), code);
        assert!(told.contains(expected), "{options:?}: {told}");
    }
    let stub = fetch(Item::StubAmd64V257).unwrap();
    let told = fails(kpeel(["measure"]).arg(stub), 1);
    assert!(
        told.contains("unsupported: .linux: found nothing"),
        "{told}"
    );
    let twice = [
        (".linux", kernel()),
        (".uname", b"1".to_vec()),
        (".uname", b"2".to_vec()),
    ];
    let told = fails(kpeel(["measure"]).arg(uki(&bench, "twice", &twice)), 1);
    assert!(told.contains("malformed: .uname: found 2"), "{told}");
}

/// A log as a firmware writes it when systemd's stub measures these.
fn log(events: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = [0_u32, 3].map(u32::to_le_bytes).concat();
    bytes.extend([0; 20]);
    let heading = [
        &b"Spec ID Event03\0"[..],
        &[0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0xb, 0, 32, 0, 0],
    ];
    let heading = heading.concat();
    bytes.extend((heading.len() as u32).to_le_bytes());
    bytes.extend(heading);
    // An event of another register, as any boot has.
    let all = [(0, "firmware", &b"firmware"[..])];
    let mine = events.iter().flat_map(|(name, content)| {
        let named: &[u8] = name.as_bytes();
        [
            (11, *name, [named, b"\0"].concat()),
            (11, *name, content.to_vec()),
        ]
    });
    let all = all.map(|(pcr, name, content)| (pcr, name, content.to_vec()));
    for (pcr, name, content) in all.into_iter().chain(mine) {
        let data: Vec<u8> = name
            .encode_utf16()
            .chain([0])
            .flat_map(u16::to_le_bytes)
            .collect();
        bytes.extend([pcr, 13, 1_u32].map(u32::to_le_bytes).concat());
        bytes.extend([0xb, 0]);
        bytes.extend(sha256(&content));
        bytes.extend((data.len() as u32).to_le_bytes());
        bytes.extend(data);
    }
    bytes
}

/// By coreutils.
fn sha256(content: &[u8]) -> Vec<u8> {
    let scratch = kpeel_images::make::Scratch::new().unwrap();
    let file = scratch.write("content", content).unwrap();
    let told = Command::new("sha256sum").arg(file).output().unwrap().stdout;
    let hex = std::str::from_utf8(&told[..64]).unwrap();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..64).step_by(2).map(byte).collect()
}

/// A UKI of two profiles, and what a boot of each measures.
fn two_profiles(bench: &Bench) -> (PathBuf, Vec<u8>, Vec<u8>) {
    let sections = [
        (".linux", kernel()),
        (".cmdline", b"base".to_vec()),
        (".dtbauto", b"tree".to_vec()),
        (".profile", b"ID=main\n".to_vec()),
        (".profile", b"ID=other\n".to_vec()),
        (".cmdline", b"other".to_vec()),
    ];
    let image = uki(bench, "image", &sections);
    let (kernel, sbat) = (kernel(), sbat());
    let of = |cmdline: &str, profile: &str, tree: &[u8]| {
        let mut events: Vec<(&str, &[u8])> = vec![
            (".linux", &kernel),
            (".cmdline", cmdline.as_bytes()),
            (".sbat", &sbat),
            (".profile", profile.as_bytes()),
        ];
        if !tree.is_empty() {
            events.push((".dtbauto", tree));
        }
        log(&events)
    };
    (
        image,
        of("base", "ID=main\n", b""),
        of("other", "ID=other\n", b"tree"),
    )
}

#[test]
fn a_boot_of_the_image_compares_equal_and_profile_and_picks_are_found() {
    let bench = Bench::new();
    let (image, main, other) = two_profiles(&bench);
    for (log, profile, picked) in [(main, 0, Value::Null), (other, 1, 0.into())] {
        let log = bench.write("log", &log);
        let told = document(&succeeds(
            kpeel(["measure", "--json"])
                .arg(&image)
                .arg("--compare")
                .arg(log),
        ));
        assert_eq!(
            (&told["profile"], &told["differences"]),
            (&profile.into(), &0.into())
        );
        assert_eq!(told["picked"]["dtbauto"], picked);
        assert_eq!(told["expected"], told["logged"]);
        assert!(!told["logged"]["sha256"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_boot_of_something_else_is_told_event_by_event() {
    let bench = Bench::new();
    let (image, _, other) = two_profiles(&bench);
    let log = bench.write("log", &other);
    let mut command = kpeel(["measure", "--profile=0"]);
    let output = command
        .arg(&image)
        .arg("--compare")
        .arg(&log)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stdout.clone()).unwrap();
    for expected in [
        ".linux contents: same",
        ".cmdline name: same",
        ".cmdline contents: differs",
        "of the image, in profile 1",
        ".profile contents: differs",
        ".dtbauto contents: same",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert!(
        stderr(&output).contains("2 of 10 events are not those of profile 0"),
        "{output:?}"
    );
}

#[test]
fn events_of_one_side_only_are_named() {
    let bench = Bench::new();
    let (image, ..) = two_profiles(&bench);
    let (kernel, sbat) = (kernel(), sbat());
    let boot: [(&str, &[u8]); 4] = [
        (".linux", &kernel),
        (".osrel", b"ID=\x1b[31mx\n"),
        (".sbat", &sbat),
        (".profile", b"ID=main\n"),
    ];
    let log = bench.write("log", &log(&boot));
    let output = kpeel(["measure", "--json"])
        .arg(&image)
        .arg("--compare")
        .arg(log)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = document(std::str::from_utf8(&output.stdout).unwrap());
    let events = told["events"].as_array().unwrap();
    let states = |name: &str| -> Vec<_> {
        let named = events.iter().filter(|event| event["section"] == name);
        named
            .map(|event| event["state"].as_str().unwrap())
            .collect()
    };
    assert_eq!(states(".cmdline"), ["missing"; 2]);
    assert_eq!(states(".osrel"), ["unexpected"; 2]);
    assert_eq!(states(".sbat"), ["same"; 2]);
    assert_eq!(told["differences"], 4);
}

#[test]
fn logs_that_say_nothing_of_the_image_are_refused() {
    let bench = Bench::new();
    let (image, main, _) = two_profiles(&bench);
    let compare = |log: &[u8], options: &[&str], code| {
        let log = bench.write("log", log);
        let mut command = kpeel(["measure"]);
        fails(
            command.arg(&image).args(options).arg("--compare").arg(log),
            code,
        )
    };
    let told = compare(&log(&[]), &[], 1);
    assert!(told.contains("no event of PCR 11"), "{told}");
    let told = compare(&main, &["--bank=sha1"], 1);
    assert!(told.contains("no bank in the log"), "{told}");
    let told = compare(&main[..main.len() - 1], &[], 1);
    assert!(told.contains("malformed: event of entry"), "{told}");
    let told = compare(&main, &["--phases=:"], 2);
    assert!(told.contains("--phases"), "{told}");
    let mut bytes = log(&[(".x", b"x")]);
    let event = bytes[bytes.len() - 56..].to_vec();
    for _ in 0..4096 {
        bytes.extend(&event);
    }
    let told = compare(&bytes, &[], 4);
    assert!(told.contains("events of PCR 11: found 4098"), "{told}");
}
