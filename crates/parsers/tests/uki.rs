//! The UKI parser, in the sandbox.

mod support;

use kpeel_codec::{Codec, compress};
use kpeel_envelope::error::{Class, Refusal};
use kpeel_formats::uki::{self, Kind, Section, Uki};
use support::{Outcome, kernel, open, open_enforced, open_with, pe, said, zboot};

/// Opens the image described by `text`: `NAME=DATA` per section, a kernel marked DATA in `.linux`.
fn unfold(text: &str, cmdline: &str) -> Outcome {
    open_with(&image(&sections(text)), cmdline)
}

fn sections(text: &str) -> Vec<(&str, Vec<u8>)> {
    text.split(' ').map(section).collect()
}

fn section(part: &str) -> (&str, Vec<u8>) {
    let (name, data) = part.split_once('=').unwrap_or((part, "x"));
    match (name, data) {
        (_, "") => (name, Vec::new()),
        (".linux", mark) => (name, kernel(mark)),
        (_, data) => (name, data.as_bytes().to_vec()),
    }
}

fn image(sections: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let borrowed: Vec<_> = sections
        .iter()
        .map(|(name, data)| (*name, &data[..]))
        .collect();
    pe(&borrowed)
}

/// Kernel's mark, initrd, command line.
fn parts(outcome: Outcome) -> (String, String, String) {
    let opened = outcome.unwrap_or_else(|error| panic!("{error}"));
    let text = |bytes: Option<Vec<u8>>| {
        bytes.map_or("-".into(), |bytes| String::from_utf8(bytes).unwrap())
    };
    let mark = opened.kernel[64..].to_vec();
    (text(Some(mark)), text(opened.initrd), text(opened.cmdline))
}

fn assert_parts(outcome: Outcome, kernel: &str, initrd: &str, cmdline: &str) {
    let found = parts(outcome);
    assert_eq!(found, (kernel.into(), initrd.into(), cmdline.into()));
}

#[test]
fn hands_over_kernel_initrd_and_command_line() {
    let image = ".text .osrel=ID=x .cmdline=quiet .initrd=rd .linux=K .uname=6.12";
    assert_parts(unfold(image, ""), "K", "rd", "quiet");
    assert_eq!(unfold(image, "").unwrap().warnings, []);
    assert_parts(unfold(".linux=K", ""), "K", "-", "-");
}

#[test]
fn places_microcode_before_the_initrd() {
    assert_parts(
        unfold(".linux=K .initrd=rd .ucode=uc", ""),
        "K",
        "uc\0\0rd",
        "-",
    );
    assert_parts(unfold(".linux=K .ucode=uc", ""), "K", "uc", "-");
}

#[test]
fn skips_empty_sections() {
    let image = ".linux=K .ucode= .initrd=rd .cmdline= .dtb=";
    assert_parts(unfold(image, ""), "K", "rd", "-");
    assert_eq!(unfold(image, "").unwrap().warnings, []);
    assert_parts(unfold(".linux=K .ucode=uc .initrd=", ""), "K", "uc", "-");
}

#[test]
fn overlays_the_base_by_the_selected_profile() {
    let image = ".linux=K .cmdline=base .profile .cmdline=zero .initrd=rd .profile .linux=L";
    assert_parts(unfold(image, ""), "K", "rd", "zero");
    assert_parts(unfold(image, "@0"), "K", "rd", "zero");
    assert_parts(unfold(image, "@1 more"), "L", "-", "base more");
    let refused = said(unfold(image, "@2 more"));
    assert_eq!(refused, (Class::Unsupported, "profile".into(), 2, 2));
}

#[test]
fn has_only_profile_0_without_profiles() {
    assert_parts(unfold(".linux=K", "@0 x"), "K", "-", "x");
    let refused = said(unfold(".linux=K", "@1"));
    assert_eq!(refused, (Class::Unsupported, "profile".into(), 1, 0));
}

#[test]
fn rejects_what_may_not_stand_twice_by_name() {
    for name in [".linux", ".cmdline", ".pcrpkey", ".dtb"] {
        let image = format!(".linux=K .profile {name} .profile {name}=a {name}=b");
        let twice = said(unfold(&image, ""));
        assert_eq!(twice, (Class::Malformed, name.into(), 2, 1));
    }
    assert_parts(
        unfold(".linux=K .dtbauto .dtbauto .text .text", ""),
        "K",
        "-",
        "-",
    );
}

#[test]
fn needs_a_kernel_in_the_effective_set() {
    let refused = said(unfold(".profile .initrd .profile .linux=K", ""));
    assert_eq!(refused, (Class::Malformed, ".linux".into(), 0, 1));
    let refused = said(unfold(".linux= .initrd", ""));
    assert_eq!(refused, (Class::Malformed, ".linux".into(), 0, 1));
}

#[test]
fn leaves_images_without_linux_to_others() {
    let error = unfold(".text .cmdline=a .cmdline=b", "").unwrap_err();
    assert!(!error.to_string().contains(".cmdline"), "{error}");
}

#[test]
fn names_what_kexec_does_not_use() {
    let image = ".linux=K .dtb=abc .dtbauto .dtbauto .efifw .hwids .pcrsig .pcrpkey .splash .sbat";
    let mut warnings = unfold(image, "").unwrap().warnings;
    warnings.sort();
    let named = [
        (".dtb", 3),
        (".dtbauto", 1),
        (".efifw", 1),
        (".pcrpkey", 1),
        (".pcrsig", 1),
    ];
    assert_eq!(warnings, named.map(|(name, size)| (name.to_owned(), size)));
    let profiles = ".linux=K .profile .dtb .profile .pcrsig";
    assert_eq!(
        unfold(profiles, "@1").unwrap().warnings,
        [(".pcrsig".into(), 1)]
    );
}

#[test]
fn ends_the_command_line_as_the_rules_say() {
    let long = "x".repeat(uki::CMDLINE_MAX as usize);
    let over = format!("{long}y");
    let padded = format!("{long}\0{over}");
    let blocks = [63, 64, 65, 127, 128].map(|len| "x".repeat(len));
    let ended = blocks.each_ref().map(|text| format!("{text}\0{over}"));
    let lines = [
        "quiet",
        "a  b\0junk",
        "\0",
        "\0x",
        " a",
        "1234567",
        "12345678",
        "123456789",
        "12345678\0",
        "1234567\08",
        "12345678\09",
        "a\0\0\0\0\0\0\0\0b",
        &long,
        &over,
        &padded,
    ];
    let blocks = blocks.iter().chain(&ended).map(String::as_str);
    for line in lines.into_iter().chain(blocks) {
        let image = image(&[(".linux", kernel("K")), (".cmdline", line.into())]);
        match uki::command_line(line.as_bytes()) {
            // The composition drops a line that is empty.
            Some(rule) => {
                let rule = std::str::from_utf8(rule).unwrap();
                let rule = if rule.is_empty() { "-" } else { rule };
                assert_parts(open(&image), "K", "-", rule);
            }
            None => {
                let len = line.len() as u64;
                let refused = (Class::Unsupported, ".cmdline".into(), len, uki::CMDLINE_MAX);
                assert_eq!(said(open(&image)), refused);
            }
        }
    }
}

/// An image whose `.cmdline` is `line`.
fn with_line(line: &[u8]) -> Vec<u8> {
    image(&[(".linux", kernel("K")), (".cmdline", line.to_vec())])
}

/// As [`with_line`], with bytes in memory and none in the file.
fn with_line_in_memory_only(bytes: u32) -> Vec<u8> {
    let mut image = with_line(b"");
    let name = image.windows(8).position(|at| at == b".cmdline").unwrap();
    image[name + 8..name + 12].copy_from_slice(&bytes.to_le_bytes());
    image
}

#[test]
fn a_line_of_nothing_keeps_the_callers_out_of_a_verified_image_alone() {
    let blank = [
        with_line(b"\0"),
        with_line(b"\0x"),
        with_line(b"  "),
        with_line_in_memory_only(1),
        with_line_in_memory_only(4096),
    ];
    for image in blank {
        let error = open_enforced(&image, "init=/x").unwrap_err();
        assert_eq!(error.class, Class::Refused(Refusal::Signature), "{error}");
        assert!(error.to_string().contains("kexec:cmdline"), "{error}");
        assert_parts(open_with(&image, "init=/x"), "K", "-", "init=/x");
        assert_parts(open_enforced(&image, ""), "K", "-", "-");
    }
    for image in [with_line(b""), image(&sections(".linux=K"))] {
        assert_parts(open_enforced(&image, "init=/x"), "K", "-", "init=/x");
    }
}

#[test]
fn a_section_without_data_in_the_file_is_empty_however_much_memory_it_takes() {
    let mut image = image(&sections(".linux=K .initrd="));
    let name = image.windows(8).position(|at| at == b".initrd\0").unwrap();
    image[name + 8..name + 12].copy_from_slice(&4096_u32.to_le_bytes());
    assert_parts(open(&image), "K", "-", "-");
}

#[test]
fn opens_a_zboot_kernel_inside_a_uki() {
    let stream = compress(Codec::Zstd, 3, &kernel("inner")).unwrap();
    let sections = [
        (".cmdline", b"quiet".to_vec()),
        (".linux", zboot("zstd", &stream, &[0; 4])),
    ];
    let outcome = open(&image(&sections));
    assert_eq!(outcome.as_ref().unwrap().envelopes, 2);
    assert_parts(outcome, "inner", "-", "quiet");
}

#[test]
fn opens_tables_of_96_sections() {
    let mut sections = vec![(".dtbauto", b"x".to_vec()); 94];
    sections.push((".initrd", b"rd".to_vec()));
    sections.push((".linux", kernel("K")));
    assert_parts(open(&image(&sections)), "K", "rd", "-");
}

/// Numbers that are the same in every run (xorshift64*).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound
    }
}

#[test]
fn agrees_with_the_rules_on_random_tables() {
    let mut numbers = Numbers(0x6b70_6565_6c00_0001);
    let mut opened = 0;
    for case in 0..400 {
        let count = numbers.below(1 + case / 16) + 1;
        let mut sections = Vec::new();
        for at in 0..count {
            let name = match numbers.below(24) {
                number @ 0..15 => Kind::ALL[number as usize].name(),
                15..20 => ".profile",
                _ => ".text",
            };
            // Most tables hold a kernel, and few repeat a name in one scope.
            let name = if at == 0 && case % 8 != 0 {
                ".linux"
            } else {
                name
            };
            let scope = sections.rsplit(|(name, _)| *name == ".profile").next();
            let again = scope.is_some_and(|scope| scope.iter().any(|(seen, _)| *seen == name));
            let name = if again && numbers.below(16) != 0 {
                ".text"
            } else {
                name
            };
            let data = match (name, numbers.below(12)) {
                (_, 0) => Vec::new(),
                (".linux", _) => kernel(&at.to_string()),
                _ => format!("{name}{at}").into_bytes(),
            };
            sections.push((name, data));
        }
        let profile = numbers.below(4);
        let (expected, found) = both(&sections, profile);
        assert_eq!(found, expected, "case {case}: @{profile} {sections:?}");
        opened += u64::from(expected.is_ok());
    }
    assert!(
        (40..360).contains(&opened),
        "one-sided: {opened} of 400 open"
    );
}

type Parts = Result<(String, String, String), String>;

/// What the rules say, and what the parser makes of it.
fn both(sections: &[(&str, Vec<u8>)], profile: u64) -> (Parts, Parts) {
    let section = |(at, (name, data)): (usize, &(&str, Vec<u8>))| {
        let mut padded = [0; 8];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        Section {
            name: padded,
            offset: at as u32,
            size: data.len() as u32,
        }
    };
    let table: Vec<_> = sections.iter().enumerate().map(section).collect();
    let data = |section: Option<&Section>| {
        let data = section.map(|section| &sections[section.offset as usize].1[..]);
        data.filter(|data| !data.is_empty()).map(<[u8]>::to_vec)
    };
    let text = |bytes: Option<Vec<u8>>| {
        bytes.map_or("-".into(), |bytes| String::from_utf8(bytes).unwrap())
    };
    let expected = Uki::new(&table)
        .and_then(|uki| uki.select(profile))
        .map(|set| {
            let kernel = data(set.get(Kind::Linux)).unwrap()[64..].to_vec();
            let initrd = match (data(set.get(Kind::Ucode)), data(set.get(Kind::Initrd))) {
                (Some(mut both), Some(initrd)) => {
                    both.resize(both.len().next_multiple_of(4), 0);
                    both.extend(initrd);
                    Some(both)
                }
                (ucode, initrd) => ucode.or(initrd),
            };
            (
                text(Some(kernel)),
                text(initrd),
                text(data(set.get(Kind::Cmdline))),
            )
        })
        .map_err(|error| class(&error).into());
    let outcome = open_with(&image(sections), &format!("@{profile}"));
    let found = match outcome {
        Ok(opened) => Ok(parts(Ok(opened))),
        Err(error) if error.to_string().contains("profile") => Err("profile".into()),
        Err(error) if error.class == Class::Malformed => Err("malformed".into()),
        Err(_) => Err("not mine".into()),
    };
    (expected, found)
}

fn class(error: &uki::Error) -> &'static str {
    match error {
        uki::Error::NotUki => "not mine",
        uki::Error::NoProfile { .. } => "profile",
        _ => "malformed",
    }
}
