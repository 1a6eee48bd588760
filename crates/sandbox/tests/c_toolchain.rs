//! Carriers of the C toolchain: clang, then `bpftool gen skeleton -L`.

mod common;

use std::path::Path;
use std::process::Command;

use common::{Load, bundled, zboot_image};
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::error::Class;
use kpeel_images::make::{Codec, Machine, Scratch, tiny_kernel};
use kpeel_sandbox::{Caller, Event, describe};

/// Debian's package clang-22.
const CLANG: &str = "clang-22";

/// Compiles the fixture and makes a carrier of it as the series' Makefile does.
fn carrier() -> Vec<u8> {
    let scratch = Scratch::new().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/series_zboot.bpf.c");
    let object = scratch.join("series_zboot.bpf.o");
    let flags = [
        "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Werror", "-c", "-o",
    ];
    run(Command::new(CLANG).args(flags).arg(&object).arg(source));
    let skeleton = ["gen", "skeleton", "-L"];
    let header = run(Command::new("bpftool")
        .args(skeleton)
        .arg(&object)
        .args(["name", "series_zboot"]));
    let header = String::from_utf8(header).unwrap();
    // bpftool 7.1 leaves its two strings without names.
    let text = format!(
        "const char opts_data[] = {};\nconst char opts_insn[] = {};\n",
        literal(&header, "opts.data = (void *)"),
        literal(&header, "opts.insns = (void *)"),
    );
    let names = scratch.write("carrier.c", text.as_bytes()).unwrap();
    let carrier = scratch.join("carrier.o");
    run(Command::new(CLANG)
        .args(["-c", "-o"])
        .arg(&carrier)
        .arg(names));
    std::fs::read(carrier).unwrap()
}

/// The string literal behind `start`.
fn literal<'h>(header: &'h str, start: &str) -> &'h str {
    let (_, rest) = header
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start} in the header"));
    rest.split_once(';').unwrap().0
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn the_c_carrier_and_the_rust_one_give_the_same_bytes() {
    let carrier = carrier();
    let kernel = tiny_kernel(Machine::Arm64, 256 << 10);
    for codec in [Codec::Zstd, Codec::Gzip] {
        let image = zboot_image(codec, &kernel);
        let mut events = Vec::new();
        let result = Load::new(&image, &carrier).traced(&mut events);
        let by_c = result.unwrap_or_else(|error| panic!("{error}\n{}", told(&events)));
        let by_rust = Load::new(&image, bundled("zboot")).run().unwrap();
        assert!(by_c.kernel == by_rust.kernel && by_c.kernel == kernel);
        assert_eq!(by_c.leaked, 0);
        let printed: Vec<String> = events
            .iter()
            .filter_map(|event| match event {
                Event::Print { text, .. } => Some(text.clone()),
                _ => None,
            })
            .collect();
        let image_line = format!("image of {} bytes, kdump 0", image.len());
        assert_eq!(printed, [image_line, "opened 1".to_owned()]);
    }
}

#[test]
fn describes_the_c_carrier() {
    let bytes = carrier();
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
        ("ringbuf_1", 16 << 20)
    );
    assert!(
        info.maps.iter().any(|map| map.name.ends_with("rodata")),
        "{:?}",
        info.maps
    );
}

#[test]
fn an_image_it_does_not_know_gives_no_kernel() {
    let carrier = carrier();
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

fn told(events: &[Event]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}
