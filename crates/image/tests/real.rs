//! `attach` and `detach` on real images, judged by binutils and LLVM.

use std::fs;
use std::path::Path;
use std::process::Command;

use kpeel_envelope::authenticode::check_coverage;
use kpeel_envelope::error::{Class, Field, Refusal};
use kpeel_envelope::pe::Pe;
use kpeel_image::{AttachOptions, DetachOptions, attach, detach};
use kpeel_images::make::{Codec, Machine, Scratch, noise, tiny_kernel, uki, zboot};
use kpeel_images::oracle::{expected_sections, expected_zboot_payload};
use kpeel_images::{Item, fetch};

mod support;
use support::{assert_same, carrier};

const PLAIN: AttachOptions = AttachOptions {
    drop_signature: false,
    replace: false,
};

/// Section names and contents as the oracle tells them, in the table's order.
fn contents(path: &Path, pe: &Pe<'_>) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut names: Vec<Vec<u8>> = pe
        .sections()
        .map(|section| section.name().to_vec())
        .collect();
    names.dedup();
    let read = |name: Vec<u8>| {
        let text = String::from_utf8(name.clone()).unwrap();
        let all = expected_sections(path, &text).unwrap();
        (name, all)
    };
    names.into_iter().map(read).collect()
}

/// What `llvm-readobj` says of headers and sections; it fails on what it cannot read.
fn readobj(path: &Path) -> String {
    let tool = Command::new("llvm-readobj-22")
        .args(["--file-headers", "--sections"])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&tool.stdout).into_owned();
    assert!(tool.status.success() && tool.stderr.is_empty(), "{tool:?}");
    text
}

/// Attaches, checks sections, coverage and the way back; returns the image.
#[track_caller]
fn check(image: &[u8], options: AttachOptions) -> Vec<u8> {
    let scratch = Scratch::new().unwrap();
    let output = attach(image, &carrier(), options).unwrap();
    let (before, after) = (
        scratch.write("in", image).unwrap(),
        scratch.write("out", &output).unwrap(),
    );
    let (old, new) = (Pe::parse(image).unwrap(), Pe::parse(&output).unwrap());
    check_coverage(&new).unwrap();
    let mut now = contents(&after, &new);
    assert_eq!(now.pop().unwrap(), (b".bpf".to_vec(), vec![carrier()]));
    assert!(now == contents(&before, &old), "sections differ");
    assert!(readobj(&after).contains("Name: .bpf"));
    if old.certificate_table().is_none() {
        assert_same(&detach(&output, DetachOptions::default()).unwrap(), image);
    }
    output
}

#[test]
fn every_signed_image_is_refused_and_all_others_keep_their_sections() {
    for item in Item::pe_images() {
        let image = fs::read(fetch(item).unwrap()).unwrap();
        let name = item.name();
        let pe = Pe::parse(&image).unwrap();
        let options = AttachOptions {
            drop_signature: pe.certificate_table().is_some(),
            ..PLAIN
        };
        if options.drop_signature {
            let error = attach(&image, &carrier(), PLAIN).unwrap_err();
            assert_eq!(error.class, Class::Refused(Refusal::Signature), "{name}");
        }
        match attach(&image, &carrier(), options) {
            Ok(_) => drop(check(&image, options)),
            // A bzImage keeps its setup header where a section header would stand.
            Err(error) => {
                assert!(name.starts_with("linux-"), "{name}: {error}");
                assert_eq!(error.class, Class::Unsupported, "{name}: {error}");
            }
        }
    }
}

#[test]
fn the_real_zboot_image_keeps_its_payload() {
    let path = fetch(Item::LinuxLoong64).unwrap();
    let output = check(&fs::read(&path).unwrap(), PLAIN);
    let scratch = Scratch::new().unwrap();
    let attached = scratch.write("vmlinuz.efi", &output).unwrap();
    let (now, before) = (
        expected_zboot_payload(&attached),
        expected_zboot_payload(&path),
    );
    assert_same(&now.unwrap(), &before.unwrap());
}

#[test]
fn a_zboot_image_without_header_room_keeps_its_payload() {
    let scratch = Scratch::new().unwrap();
    let path = scratch.join("zboot.efi");
    let kernel = tiny_kernel(Machine::Arm64, 300_000);
    for codec in Codec::ALL {
        zboot(Machine::Arm64, codec, &kernel, &path).unwrap();
        let output = check(&fs::read(&path).unwrap(), PLAIN);
        let attached = scratch.write("attached.efi", &output).unwrap();
        assert_same(&expected_zboot_payload(&attached).unwrap(), &kernel);
    }
}

#[test]
fn a_uki_gets_header_room_when_its_section_table_is_full() {
    let scratch = Scratch::new().unwrap();
    let stub = fetch(Item::StubAmd64V257).unwrap();
    let kernel = tiny_kernel(Machine::Amd64, 100_000);
    let mut sections: Vec<(&str, &[u8])> = vec![(".linux", &kernel)];
    let data = noise(777, 1);
    let mut grown = 0;
    for _ in 0..30 {
        sections.push((".dtbauto", &data));
        let path = scratch.join("uki.efi");
        uki(&stub, &sections, &path).unwrap();
        let image = fs::read(&path).unwrap();
        let output = check(&image, PLAIN);
        let headers = |bytes: &[u8]| Pe::parse(bytes).unwrap().headers().size_of_headers;
        grown += u32::from(headers(&output) > headers(&image));
    }
    assert!(grown > 0);
}

#[test]
fn bare_kernels_without_room_are_refused_by_name() {
    let image = fs::read(fetch(Item::LinuxAmd64Unsigned).unwrap()).unwrap();
    let error = attach(&image, &carrier(), PLAIN).unwrap_err();
    assert_eq!(error.class, Class::Unsupported);
    assert_eq!(error.field, Field::Named("bzImage"));
}
