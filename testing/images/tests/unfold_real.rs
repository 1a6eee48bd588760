//! `kpeel unfold` on real images: what it leaves is, byte for byte, what independent tools find.

mod kpeel;

use std::fs;
use std::path::Path;

use kpeel::{Unfolded, attach, unfold};
use kpeel_images::make::{Codec, Machine, Scratch, noise, samples, tiny_kernel, uki, ukify, zboot};
use kpeel_images::oracle::{expected_section, expected_zboot_payload};
use kpeel_images::{Item, fetch};

#[test]
fn opens_the_real_zboot_image() {
    let image = fetch(Item::LinuxLoong64).unwrap();
    let unfolded = unfold(&image, &[]).unwrap();
    assert_same(
        &unfolded.kernel,
        Some(&expected_zboot_payload(&image).unwrap()),
        "kernel",
    );
    assert_eq!((unfolded.initrd, unfolded.cmdline), (None, None));
}

#[test]
fn opens_the_real_zboot_image_by_its_own_parser() {
    let scratch = Scratch::new().unwrap();
    let image = fetch(Item::LinuxLoong64).unwrap();
    let attached = scratch.join("attached");
    attach(&image, "zboot", &attached);
    // The payload moved, the header with it: an independent reader still finds it.
    let kernel = expected_zboot_payload(&attached).unwrap();
    assert!(kernel == expected_zboot_payload(&image).unwrap());
    let unfolded = unfold(&attached, &[]).unwrap();
    assert_same(&unfolded.kernel, Some(&kernel), "kernel");
}

#[test]
fn opens_ukis_with_real_amd64_kernels() {
    let scratch = Scratch::new().unwrap();
    for kernel in [
        Item::LinuxAmd64,
        Item::LinuxAmd64Unsigned,
        Item::LinuxAmd64V61,
    ] {
        let image = scratch.join(kernel.name());
        make_uki(Item::StubAmd64V257, &fetch(kernel).unwrap(), &image);
        check_uki(&image, &[]);
    }
}

#[test]
fn opens_ukis_on_every_stub_with_and_without_their_own_parser() {
    let scratch = Scratch::new().unwrap();
    let cases = [
        (Item::StubAmd64V252, Item::LinuxAmd64Unsigned),
        (Item::StubAmd64V257, Item::LinuxAmd64Unsigned),
        (Item::StubArm64, Item::LinuxArm64),
    ];
    for (stub, kernel) in cases {
        let (image, attached) = (scratch.join(stub.name()), scratch.join("attached"));
        make_uki(stub, &fetch(kernel).unwrap(), &image);
        check_uki(&image, &[]);
        attach(&image, "uki", &attached);
        for section in [".linux", ".initrd", ".cmdline"] {
            let kept = expected_section(&attached, section).unwrap()
                == expected_section(&image, section).unwrap();
            assert!(kept, "{} {section}", stub.name());
        }
        check_uki(&attached, &[]);
    }
}

#[test]
fn opens_a_zboot_image_in_a_uki_by_bundled_parsers() {
    let scratch = Scratch::new().unwrap();
    let zboot = fetch(Item::LinuxLoong64).unwrap();
    let image = scratch.join("nested");
    make_uki(Item::StubLoong64, &zboot, &image);
    check_nested(&image, &zboot);
}

#[test]
fn opens_a_zboot_image_in_a_uki_by_the_parsers_of_both_layers() {
    let scratch = Scratch::new().unwrap();
    let (zboot, uki, image) = (
        scratch.join("zboot"),
        scratch.join("uki"),
        scratch.join("nested"),
    );
    attach(&fetch(Item::LinuxLoong64).unwrap(), "zboot", &zboot);
    make_uki(Item::StubLoong64, &zboot, &uki);
    attach(&uki, "uki", &image);
    check_nested(&image, &zboot);
}

#[test]
fn opens_a_signed_real_kernel_in_a_zboot_image() {
    let scratch = Scratch::new().unwrap();
    let kernel = fs::read(fetch(Item::LinuxArm64).unwrap()).unwrap();
    let image = scratch.join("zboot");
    zboot(Machine::Arm64, Codec::Gzip, &kernel, &image).unwrap();
    let unfolded = unfold(&image, &[]).unwrap();
    assert_same(
        &unfolded.kernel,
        Some(&expected_zboot_payload(&image).unwrap()),
        "kernel",
    );
}

#[test]
fn opens_each_profile_of_ukis_by_both_producers() {
    let scratch = Scratch::new().unwrap();
    let kernel = fs::read(fetch(Item::LinuxAmd64Unsigned).unwrap()).unwrap();
    let initrd = noise(1 << 20, 5);
    let sections: [(&str, &[u8]); 6] = [
        (".linux", &kernel),
        (".initrd", &initrd),
        (".cmdline", b"root=/dev/vda ro"),
        (".profile", b"ID=main\nTITLE=Main\n"),
        (".profile", b"ID=rescue\nTITLE=Rescue\n"),
        (".cmdline", b"root=/dev/vda ro rescue"),
    ];
    for producer in ["objcopy", "ukify"] {
        let image = scratch.join(producer);
        let make = if producer == "ukify" { ukify } else { uki };
        make(&fetch(Item::StubAmd64V257).unwrap(), &sections, &image).unwrap();
        for (caller, cmdline) in [
            ("", "root=/dev/vda ro"),
            ("@0 debug", "root=/dev/vda ro debug"),
            ("@1 debug", "root=/dev/vda ro rescue debug"),
        ] {
            let unfolded = unfold(&image, &["--cmdline", caller]).unwrap();
            assert_same(&unfolded.kernel, Some(&kernel), producer);
            assert_same(&unfolded.initrd, Some(&initrd), producer);
            assert_same(&unfolded.cmdline, Some(cmdline.as_bytes()), producer);
        }
        let refused = unfold(&image, &["--cmdline", "@2 debug"]).unwrap_err();
        assert_eq!(refused.code, Some(1), "{}", refused.message);
        assert!(refused.message.contains("profile"), "{}", refused.message);
    }
}

#[test]
fn opens_every_small_sample() {
    let scratch = Scratch::new().unwrap();
    for sample in samples(scratch.path()).unwrap() {
        let selector = sample.profile.map(|profile| format!("@{profile} x"));
        let arguments: Vec<&str> = selector
            .iter()
            .flat_map(|selector| ["--cmdline", selector])
            .collect();
        let unfolded = unfold(&sample.image, &arguments)
            .unwrap_or_else(|refused| panic!("{}: {}", sample.name, refused.message));
        let mut cmdline = sample.cmdline;
        if let (Some(line), true) = (&mut cmdline, selector.is_some()) {
            line.extend(b" x");
        }
        assert_same(&unfolded.kernel, Some(&sample.kernel), &sample.name);
        assert_same(&unfolded.initrd, sample.initrd.as_deref(), &sample.name);
        assert_same(&unfolded.cmdline, cmdline.as_deref(), &sample.name);
    }
}

#[test]
fn opens_a_real_kernels_bytes_by_every_codec() {
    let scratch = Scratch::new().unwrap();
    let whole = expected_zboot_payload(&fetch(Item::LinuxLoong64).unwrap()).unwrap();
    for codec in Codec::ALL {
        // More than one block of every format: bzip2's are 900 kB, legacy LZ4's 8 MiB. The slow compressors get less.
        let len = match codec {
            Codec::Xz | Codec::Lzma | Codec::Bzip2 => 2 << 20,
            _ => 9 << 20,
        };
        // A part is no sound PE image: its head is replaced by one that claims to be none.
        let mut kernel = tiny_kernel(Machine::Arm64, 4096);
        kernel.extend(&whole[4096..len]);
        let image = scratch.join(codec.name());
        zboot(Machine::Arm64, codec, &kernel, &image).unwrap();
        let unfolded = unfold(&image, &[]).unwrap();
        assert_same(
            &unfolded.kernel,
            Some(&expected_zboot_payload(&image).unwrap()),
            codec.name(),
        );
        assert_same(&unfolded.kernel, Some(&kernel), codec.name());
    }
}

/// A UKI with a command line that ends as ukify ends it, microcode, and an initrd of odd length.
fn make_uki(stub: Item, kernel: &Path, image: &Path) {
    let kernel = fs::read(kernel).unwrap();
    let (microcode, initrd) = (noise(4096 + 1, 1), noise((2 << 20) + 3, 2));
    let sections: [(&str, &[u8]); 5] = [
        (".osrel", b"ID=debian\n"),
        (".cmdline", b"root=/dev/vda ro console=ttyS0"),
        (".ucode", &microcode),
        (".initrd", &initrd),
        (".linux", &kernel),
    ];
    let make = if stub == Item::StubLoong64 {
        ukify
    } else {
        uki
    };
    make(&fetch(stub).unwrap(), &sections, image).unwrap();
}

fn check_uki(image: &Path, arguments: &[&str]) {
    let kernel = expected_section(image, ".linux").unwrap();
    check(image, arguments, &kernel);
}

fn check_nested(image: &Path, zboot: &Path) {
    check(image, &[], &expected_zboot_payload(zboot).unwrap());
}

fn check(image: &Path, arguments: &[&str], kernel: &[u8]) {
    let name = image.display().to_string();
    let unfolded =
        unfold(image, arguments).unwrap_or_else(|refused| panic!("{name}: {}", refused.message));
    let Unfolded {
        kernel: found,
        initrd,
        cmdline,
    } = unfolded;
    assert_same(&found, Some(kernel), &name);
    let mut expected = expected_section(image, ".ucode").unwrap();
    expected.resize(expected.len().next_multiple_of(4), 0);
    expected.extend(expected_section(image, ".initrd").unwrap());
    assert_same(&initrd, Some(&expected), &name);
    assert_same(
        &cmdline,
        Some(&expected_section(image, ".cmdline").unwrap()),
        &name,
    );
}

/// Equality without printing megabytes.
fn assert_same(found: &Option<Vec<u8>>, expected: Option<&[u8]>, name: &str) {
    let (found, len) = (found.as_deref(), |bytes: Option<&[u8]>| {
        bytes.map(<[u8]>::len)
    });
    assert_eq!(len(found), len(expected), "{name}: length");
    let differs = found
        .zip(expected)
        .and_then(|(a, b)| a.iter().zip(b).position(|(a, b)| a != b));
    assert_eq!(differs, None, "{name}: first byte that differs");
}
