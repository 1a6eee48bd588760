//! EFI zboot images, taken apart by the codecs' own tools.

mod support;

use std::fs;
use std::process::{Command, Stdio};

use kpeel_codec::Codec;
use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::{Class, Field, Refusal};
use kpeel_envelope::pe::Pe;
use kpeel_image::zboot::{self, MARK, Payload, from_template, kexec_only};
use kpeel_image::{Certificates, DetachOptions, detach};
use kpeel_images::make::{self, Machine, Scratch, tiny_kernel};
use kpeel_images::oracle::{expected_section, expected_zboot_payload};
use support::{assert_same, carrier, put};

const CODECS: [Codec; 6] = [
    Codec::Gzip,
    Codec::Zstd,
    Codec::Xz,
    Codec::Lzma,
    Codec::Lz4,
    Codec::Lzo,
];
const MACHINES: [Machine; 4] = [
    Machine::Amd64,
    Machine::Arm64,
    Machine::Riscv64,
    Machine::Loong64,
];

fn payload(codec: Codec, kernel: &[u8]) -> Payload {
    let level = if codec == Codec::Zstd { 19 } else { 9 };
    let stream = kpeel_codec::compress(codec, level, kernel).unwrap();
    Payload {
        codec,
        stream,
        unpacked: kernel.len(),
    }
}

/// The same codec as the makers of test images name it.
fn tool(codec: Codec) -> make::Codec {
    make::Codec::by_name(codec.name()).unwrap()
}

/// What the tools say of an image is what went in; what LLVM says of it is nothing bad.
#[track_caller]
fn check(image: &[u8], kernel: &[u8]) {
    let scratch = Scratch::new().unwrap();
    let path = scratch.write("zboot.efi", image).unwrap();
    assert_same(&expected_zboot_payload(&path).unwrap(), kernel);
    check_coverage(&Pe::parse(image).unwrap()).unwrap();
    let readobj = Command::new("llvm-readobj-22")
        .args(["--file-headers", "--sections"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        readobj.status.success() && readobj.stderr.is_empty(),
        "{readobj:?}"
    );
}

#[test]
fn every_codec_and_machine_without_a_template() {
    for machine in MACHINES {
        let kernel = tiny_kernel(machine, 40_001);
        for codec in CODECS {
            let image = kexec_only(machine.pe(), &payload(codec, &kernel), None).unwrap();
            check(&image, &kernel);
            let with =
                kexec_only(machine.pe(), &payload(codec, &kernel), Some(&carrier())).unwrap();
            check(&with, &kernel);
            assert_same(&detach(&with, DetachOptions::default()).unwrap(), &image);
        }
    }
}

#[test]
fn an_image_for_kexec_only_says_so_and_refuses_to_start() {
    let kernel = tiny_kernel(Machine::Arm64, 5000);
    let cases = [
        (
            Machine::Amd64,
            "x86_64",
            "movabsq $-9223372036854775805, %rax|retq",
        ),
        (
            Machine::Arm64,
            "aarch64",
            "mov x0, #3|movk x0, #32768, lsl #48|ret",
        ),
        (
            Machine::Riscv64,
            "riscv64",
            "li a0, 1|slli a0, a0, 63|addi a0, a0, 3|ret",
        ),
        (
            Machine::Loong64,
            "loongarch64",
            "ori $a0, $zero, 3|lu52i.d $a0, $a0, -2048|ret",
        ),
    ];
    for (machine, triple, expected) in cases {
        let image = kexec_only(machine.pe(), &payload(Codec::Gzip, &kernel), None).unwrap();
        let scratch = Scratch::new().unwrap();
        let path = scratch.write("zboot.efi", &image).unwrap();
        assert_eq!(expected_section(&path, ".kexec").unwrap(), MARK.as_bytes());
        let pe = Pe::parse(&image).unwrap();
        let code = pe.find(".text").next().unwrap();
        assert_eq!(pe.headers().entry_point, code.virtual_address);
        assert_eq!(disassembled(triple, code.data()), expected, "{triple}");
    }
    let error = kexec_only(0x014c, &payload(Codec::Gzip, &kernel), None).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("Machine"))
    );
}

/// LLVM's disassembly, instructions apart by `|`.
fn disassembled(triple: &str, code: &[u8]) -> String {
    let text: String = code.iter().map(|byte| format!("0x{byte:02x} ")).collect();
    let mut command = Command::new("llvm-mc-22");
    command
        .args(["--disassemble", &format!("--triple={triple}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // What follows a lone `#` or `//` is LLVM's comment.
    let lines = text
        .lines()
        .map(|line| line.split(" # ").next().unwrap())
        .map(|line| line.split("//").next().unwrap().trim())
        .filter(|line| !line.is_empty() && !line.starts_with('.'));
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    words.collect::<Vec<_>>().join("|")
}

fn template(codec: Codec) -> Vec<u8> {
    let scratch = Scratch::new().unwrap();
    let path = scratch.join("template.efi");
    make::zboot(
        Machine::Arm64,
        tool(codec),
        &tiny_kernel(Machine::Arm64, 60_000),
        &path,
    )
    .unwrap();
    fs::read(path).unwrap()
}

#[test]
fn a_templates_decompressor_stays_and_finds_the_new_payload() {
    let kernel = tiny_kernel(Machine::Arm64, 30_000);
    for codec in CODECS {
        let template = template(codec);
        let image = from_template(
            &template,
            &payload(codec, &kernel),
            None,
            Certificates::Refuse,
        )
        .unwrap();
        check(&image, &kernel);
        assert_eq!(image.len(), template.len());
        let field = |image: &[u8], at: usize| {
            u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize
        };
        let start = field(&template, 8);
        let end = start + field(&template, 12) + if codec == Codec::Gzip { 0 } else { 4 };
        // Nothing but the payload's room and its size in the header changed.
        let blank = |image: &[u8]| {
            let mut image = image.to_vec();
            image[12..16].fill(0);
            image[start..end].fill(0);
            image
        };
        assert_same(&blank(&image), &blank(&template));
        // Linux reads the unpacked size in the last four bytes, and hands zstd all before them.
        assert_eq!(field(&image, end - 4), kernel.len());
        if codec == Codec::Zstd {
            assert_same(
                &tool(codec).decompress(&image[start..end - 4]).unwrap(),
                &kernel,
            );
        }
    }
}

#[test]
fn a_parser_replaces_the_templates() {
    let kernel = tiny_kernel(Machine::Arm64, 30_000);
    let template = template(Codec::Zstd);
    let payload = payload(Codec::Zstd, &kernel);
    let build = |template: &[u8], parser| {
        from_template(template, &payload, parser, Certificates::Refuse).unwrap()
    };
    let carrier = carrier();
    let plain = build(&template, None);
    let with = build(&template, Some(&carrier));
    check(&with, &kernel);
    assert_same(&detach(&with, DetachOptions::default()).unwrap(), &plain);
    let again = build(&with, Some(&carrier));
    let parsers = Pe::parse(&again).unwrap().find(".bpf").count();
    assert_eq!(
        (
            parsers,
            Pe::parse(&build(&with, None)).unwrap().find(".bpf").count()
        ),
        (1, 0)
    );
}

#[test]
fn refuses_what_the_template_cannot_hold_or_unpack() {
    let template = template(Codec::Gzip);
    let refuse = |template: &[u8], payload: &Payload| {
        from_template(template, payload, None, Certificates::Refuse).unwrap_err()
    };
    let small = payload(Codec::Gzip, &tiny_kernel(Machine::Arm64, 30_000));
    let large = payload(Codec::Gzip, &tiny_kernel(Machine::Arm64, 90_000));
    let error = refuse(&template, &large);
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("payload size"))
    );
    let other = payload(Codec::Lzma, &tiny_kernel(Machine::Arm64, 30_000));
    assert_eq!(refuse(&template, &other).class, Class::Misuse);
    let mut foreign = template.clone();
    foreign[4] = b'x';
    assert_eq!(refuse(&foreign, &small).class, Class::Malformed);
    let mut signed = template.clone();
    let entry = 0x40 + 4 + 20 + 112 + 4 * 8;
    let at = signed.len() as u32;
    put(&mut signed, entry, &at.to_le_bytes());
    put(&mut signed, entry + 4, &16_u32.to_le_bytes());
    signed.extend([16, 0, 0, 0, 0, 2, 2, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(
        refuse(&signed, &small).class,
        Class::Refused(Refusal::Signature)
    );
    let dropped = from_template(&signed, &small, None, Certificates::Drop).unwrap();
    let plain = from_template(&template, &small, None, Certificates::Refuse).unwrap();
    assert_same(&dropped, &plain);
}

#[test]
fn refuses_a_template_without_decompressor() {
    let kernel = tiny_kernel(Machine::Arm64, 30_000);
    let payload = payload(Codec::Gzip, &kernel);
    let bare = kexec_only(Machine::Arm64.pe(), &payload, None).unwrap();
    let refused = from_template(&bare, &payload, None, Certificates::Refuse).unwrap_err();
    assert_eq!(
        (refused.class, refused.field),
        (Class::Misuse, Field::Named(".kexec"))
    );
    assert!(from_template(&template(Codec::Gzip), &payload, None, Certificates::Refuse).is_ok());
}

#[test]
fn no_corrupt_byte_of_a_template_makes_it_panic() {
    let template = template(Codec::Gzip);
    let payload = payload(Codec::Gzip, &tiny_kernel(Machine::Arm64, 5000));
    for at in 0..0x200 {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut bad = template.clone();
            bad[at] = value;
            if let Ok(image) = from_template(&bad, &payload, None, Certificates::Drop) {
                check_coverage(&Pe::parse(&image).unwrap()).unwrap();
            }
        }
    }
}

#[test]
fn pads_a_kernel_to_the_size_it_has_in_memory() {
    for machine in [Machine::Arm64, Machine::Riscv64, Machine::Loong64] {
        let plain = tiny_kernel(machine, 5000);
        let mut kernel = plain.clone();
        put(&mut kernel, 16, &7000_u64.to_le_bytes());
        assert_eq!(zboot::pad(&mut kernel).unwrap(), 2000);
        assert_eq!((kernel.len(), &kernel[5000..]), (7000, &[0; 2000][..]));
        assert_eq!(zboot::pad(&mut kernel).unwrap(), 0);
        put(&mut kernel, 16, &u64::MAX.to_le_bytes());
        assert_eq!(
            zboot::pad(&mut kernel).unwrap_err().class,
            Class::Refused(Refusal::Bound)
        );
    }
    let mut kernel = tiny_kernel(Machine::Amd64, 5000);
    assert_eq!(zboot::pad(&mut kernel).unwrap(), 0);
}
