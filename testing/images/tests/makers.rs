//! The makers of test images against the tools that take images apart.

use kpeel_images::make::{
    Codec, Machine, Scratch, noise, samples, text, tiny_kernel, uki, ukify, zboot,
};
use kpeel_images::oracle::{expected_section, expected_sections, expected_zboot_payload};
use kpeel_images::{Item, fetch};

const PROFILES: &[(&str, &[u8])] = &[
    (
        ".linux",
        b"not a kernel, but long enough to be told from the others",
    ),
    (".cmdline", b"console=ttyS0 base"),
    (".profile", b"ID=one\nTITLE=One\n"),
    (".profile", b"ID=two\nTITLE=Two\n"),
    (".cmdline", b"console=ttyS0 two"),
];

#[test]
fn objcopy_adds_sections_in_order_to_each_stub() {
    let scratch = Scratch::new().unwrap();
    let initrd = noise(70_001, 1);
    let sections: [(&str, &[u8]); 4] = [
        (".osrel", b"ID=test\n"),
        (".cmdline", b"quiet"),
        (".initrd", &initrd),
        (".linux", &text(5000)),
    ];
    for stub in [Item::StubAmd64V252, Item::StubAmd64V257, Item::StubArm64] {
        let out = scratch.join(stub.name());
        uki(&fetch(stub).unwrap(), &sections, &out).unwrap();
        for (name, content) in sections {
            assert_eq!(
                expected_section(&out, name).unwrap(),
                content,
                "{} {name}",
                stub.name()
            );
        }
    }
}

#[test]
fn objcopy_and_ukify_both_make_profiles() {
    let scratch = Scratch::new().unwrap();
    let stub = fetch(Item::StubAmd64V257).unwrap();
    for name in ["objcopy", "ukify"] {
        let out = scratch.join(name);
        let make = if name == "ukify" { ukify } else { uki };
        make(&stub, PROFILES, &out).unwrap();
        assert_eq!(
            expected_sections(&out, ".cmdline").unwrap(),
            [b"console=ttyS0 base".as_slice(), b"console=ttyS0 two"],
            "{name}"
        );
        assert_eq!(
            expected_sections(&out, ".profile").unwrap().len(),
            2,
            "{name}"
        );
        assert_eq!(
            expected_section(&out, ".linux").unwrap(),
            PROFILES[0].1,
            "{name}"
        );
    }
}

#[test]
fn objcopy_refuses_a_machine_it_does_not_know_and_ukify_takes_it() {
    let scratch = Scratch::new().unwrap();
    let stub = fetch(Item::StubLoong64).unwrap();
    let sections: [(&str, &[u8]); 2] = [(".cmdline", b"quiet"), (".linux", &text(5000))];
    let refused = uki(&stub, &sections, &scratch.join("objcopy")).unwrap_err();
    assert!(refused.to_string().contains("Loong64"), "{refused}");
    let out = scratch.join("ukify");
    ukify(&stub, &sections, &out).unwrap();
    assert_eq!(expected_section(&out, ".linux").unwrap(), text(5000));
    assert_eq!(expected_section(&out, ".cmdline").unwrap(), b"quiet");
}

#[test]
fn every_codecs_zboot_unpacks_with_the_codecs_own_tool() {
    let scratch = Scratch::new().unwrap();
    for machine in [Machine::Amd64, Machine::Arm64, Machine::Loong64] {
        let kernel = tiny_kernel(machine, 65_536);
        for codec in Codec::ALL {
            let out = scratch.join(codec.name());
            zboot(machine, codec, &kernel, &out).unwrap();
            assert_eq!(
                expected_zboot_payload(&out).unwrap(),
                kernel,
                "{codec:?} {machine:?}"
            );
            assert_eq!(Machine::of_image(&out).unwrap(), machine);
            assert_eq!(expected_section(&out, ".data").unwrap(), [0xdd; 0x200]);
        }
    }
}

#[test]
fn the_real_zboot_image_unpacks_to_a_kernel() {
    let kernel = expected_zboot_payload(&fetch(Item::LinuxLoong64).unwrap()).unwrap();
    assert_eq!(kernel[..2], *b"MZ");
    assert_eq!(kernel[0x38..0x3c], 0x8182_23cd_u32.to_le_bytes());
    assert!(kernel.len() > 20 << 20, "{} bytes", kernel.len());
}

#[test]
fn every_sample_holds_what_went_into_it() {
    let scratch = Scratch::new().unwrap();
    let samples = samples(scratch.path()).unwrap();
    assert_eq!(samples.len(), 2 * Codec::ALL.len() + 3 + 4 + 1);
    for sample in &samples {
        assert_eq!(sample.kernel.len(), 64 << 10, "{}", sample.name);
    }
    let by_name = |name: &str| samples.iter().find(|sample| sample.name == name).unwrap();
    let uki = by_name("uki-amd64-252");
    assert_eq!(uki.cmdline.as_deref().unwrap(), b"console=ttyS0 quiet");
    assert_eq!(uki.initrd.as_ref().unwrap().len(), 1024 + (64 << 10) - 1);
    assert_eq!(
        by_name("uki-profiles-default").cmdline,
        by_name("uki-profiles-0").cmdline
    );
    assert_eq!(
        by_name("uki-profiles-1").cmdline.as_deref().unwrap(),
        b"other"
    );
    assert_eq!(
        by_name("uki-profiles-2").initrd.as_ref().unwrap().len(),
        32 << 10
    );
}
