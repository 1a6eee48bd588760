//! Carriers of the C toolchain: clang, then `bpftool gen skeleton -L`.

mod common;

use common::{Load, bundled, c_carrier, printed, told, zboot_image};
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::Class;
use kpeel_image::AttachOptions;
use kpeel_images::make::{Codec, Machine, tiny_kernel};
use kpeel_sandbox::{Caller, Event, describe};

#[test]
fn the_c_carrier_and_the_rust_one_give_the_same_bytes() {
    let carrier = c_carrier("series_zboot");
    let kernel = tiny_kernel(Machine::Arm64, 256 << 10);
    for codec in [Codec::Zstd, Codec::Gzip] {
        let image = zboot_image(codec, &kernel);
        let mut events = Vec::new();
        let result = Load::new(&image, &carrier).traced(&mut events);
        let by_c = result.unwrap_or_else(|error| panic!("{error}\n{}", told(&events)));
        let by_rust = Load::new(&image, bundled("zboot")).run().unwrap();
        assert!(by_c.kernel == by_rust.kernel && by_c.kernel == kernel);
        assert_eq!(by_c.leaked, 0);
        let image_line = format!("image of {} bytes, kdump 0", image.len());
        assert_eq!(printed(&events), [image_line, "opened 1".to_owned()]);
    }
}

#[test]
fn the_c_carrier_opens_the_real_zboot_image() {
    let path = kpeel_images::fetch(kpeel_images::Item::LinuxLoong64).unwrap();
    let expected = kpeel_images::oracle::expected_zboot_payload(&path).unwrap();
    let image = std::fs::read(path).unwrap();
    for carrier in [&*c_carrier("series_zboot"), bundled("zboot")] {
        let image = kpeel_image::attach(&image, carrier, AttachOptions::default()).unwrap();
        let outcome = Load {
            carrier: None,
            ..Load::new(&image, &[])
        }
        .run()
        .unwrap();
        assert!(outcome.kernel == expected);
    }
}

#[test]
fn describes_the_c_carrier() {
    let bytes = c_carrier("series_zboot");
    let info = describe(&Carrier::parse(&bytes).unwrap()).unwrap();
    let anchors: Vec<&str> = info.programs.iter().map(|program| program.anchor).collect();
    assert_eq!(anchors, ["bpf_handle_pefile", "bpf_post_handle_pefile"]);
    let parse = &info.programs[0];
    assert_eq!(parse.name, "parse_pe");
    let kfuncs = [
        "bpf_copy_to_kernel",
        "bpf_decompress",
        "bpf_mem_range_result_put",
    ];
    assert_eq!(parse.kfuncs, kfuncs);
    for helper in [
        "bpf_probe_read_kernel",
        "bpf_ringbuf_reserve",
        "bpf_ringbuf_discard",
    ] {
        assert!(parse.helpers.contains(&helper), "{helper}");
    }
    let ring = info.maps.iter().find(|map| map.kind == "ringbuf").unwrap();
    assert_eq!(
        (ring.name.as_str(), ring.max_entries),
        ("ringbuf_1", 64 << 20)
    );
    assert!(
        info.maps.iter().any(|map| map.name.ends_with("rodata")),
        "{:?}",
        info.maps
    );
}

#[test]
fn an_image_it_does_not_know_gives_no_kernel() {
    let carrier = c_carrier("series_zboot");
    let mut image = zboot_image(Codec::Gzip, &tiny_kernel(Machine::Arm64, 64 << 10));
    image[4] = b'Z';
    let mut events = Vec::new();
    let error = Load::new(&image, &carrier).traced(&mut events).unwrap_err();
    assert_eq!(error.class, Class::Malformed, "{error}");
    let ended = events.iter().any(|event| {
        matches!(
            event,
            Event::End {
                caller: Caller::Parser,
                result: Ok(0),
                ..
            }
        )
    });
    assert!(ended, "{}", told(&events));
}
