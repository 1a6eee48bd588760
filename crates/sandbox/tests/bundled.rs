//! The bundled parsers, end to end on small images.

mod common;

use std::sync::Arc;

use common::{Load, bundled, zboot_image};
use kpeel_envelope::error::{Class, Error, Field, Refusal};
use kpeel_envelope::limits::{Limits, Meter};
use kpeel_images::make::{Codec, Machine, tiny_kernel};
use kpeel_sandbox::{Describer, describe};

#[test]
fn unfolds_zboot_with_every_codec() {
    let kernel = tiny_kernel(Machine::Arm64, 64 << 10);
    for codec in Codec::ALL {
        let image = zboot_image(codec, &kernel);
        let outcome = Load::new(&image, bundled("zboot")).run();
        let outcome = outcome.unwrap_or_else(|error| panic!("{codec:?}: {error}"));
        assert!(outcome.kernel == kernel, "{codec:?}");
        assert_eq!((outcome.initrd, outcome.cmdline), (None, None));
        assert_eq!((outcome.warnings.len(), outcome.leaked), (0, 0));
    }
}

#[test]
fn what_the_caller_gives_reaches_the_kernel_unchanged() {
    let kernel = tiny_kernel(Machine::Arm64, 64 << 10);
    let image = zboot_image(Codec::Gzip, &kernel);
    let load = Load {
        initrd: Some(b"initrd"),
        cmdline: Some(b"quiet"),
        ..Load::new(&image, bundled("zboot"))
    };
    let outcome = load.run().unwrap();
    assert_eq!(outcome.initrd.as_deref(), Some(&b"initrd"[..]));
    assert_eq!(outcome.cmdline.as_deref(), Some(&b"quiet"[..]));
}

#[test]
fn a_broken_zboot_header_gives_the_parsers_own_complaint() {
    let mut image = zboot_image(Codec::Gzip, &tiny_kernel(Machine::Arm64, 64 << 10));
    image[0xc..0x10].copy_from_slice(&u32::MAX.to_le_bytes());
    let error = Load::new(&image, bundled("zboot")).run().unwrap_err();
    assert_eq!((error.class, error.depth), (Class::Malformed, 1));
    let Field::Parser(field) = error.field else {
        panic!("{error}")
    };
    assert_eq!(field.as_str(), "payload_size");
}

#[test]
fn a_broken_stream_gives_the_codecs_complaint() {
    let kernel = tiny_kernel(Machine::Arm64, 64 << 10);
    let mut image = zboot_image(Codec::Gzip, &kernel);
    let offset = u32::from_le_bytes(image[8..12].try_into().unwrap()) as usize;
    let size = u32::from_le_bytes(image[12..16].try_into().unwrap()) as usize;
    image[offset + size - 6] ^= 1;
    let error = Load::new(&image, bundled("zboot")).run().unwrap_err();
    assert_eq!((error.class, error.depth), (Class::Malformed, 1), "{error}");
}

#[test]
fn bounds_are_refused_by_name_and_one_more_is_enough() {
    let kernel = tiny_kernel(Machine::Arm64, 64 << 10);
    let image = zboot_image(Codec::Gzip, &kernel);
    let load = |limits| {
        Load {
            limits,
            ..Load::new(&image, bundled("zboot"))
        }
        .run()
    };
    let default = Limits::default();
    let size = kernel.len() as u64;

    let bound = |error: Error, name: &str| {
        assert_eq!(error.class, Class::Refused(Refusal::Bound), "{error}");
        assert!(
            matches!(error.field, Field::Named(field) if field == name),
            "{error}"
        );
    };
    bound(
        load(Limits {
            kernel: size - 1,
            ..default
        })
        .unwrap_err(),
        "decompressed size",
    );
    let outcome = load(Limits {
        kernel: size,
        ..default
    })
    .unwrap();
    let (peak, used) = (outcome.peak, outcome.instructions);
    bound(
        load(Limits {
            instructions: used - 1,
            ..default
        })
        .unwrap_err(),
        "instructions",
    );
    assert!(
        load(Limits {
            instructions: used,
            ..default
        })
        .is_ok()
    );
    assert!(
        load(Limits {
            memory: peak,
            ..default
        })
        .is_ok()
    );
    assert!(
        load(Limits {
            memory: size,
            ..default
        })
        .is_err()
    );
}

/// What looking at a carrier takes counts against the load it belongs to.
#[test]
fn describing_is_bound_by_what_the_load_left() {
    let carrier = kpeel_envelope::carrier::Carrier::parse(bundled("zboot")).unwrap();
    let of = |limits, held| {
        let meter = Arc::new(Meter::new(limits));
        meter.charge(held).unwrap();
        (Describer::new(&meter), meter)
    };
    let default = Limits::default();
    let (mut describer, meter) = of(default, 1000);
    let info = describer.describe(&carrier).unwrap();
    let needed = meter.peak() - 1000;
    assert_eq!(meter.held(), 1000);

    let left = |bytes| of(default, default.memory - bytes).0.describe(&carrier);
    assert_eq!(left(needed).unwrap(), info);
    let error = left(needed - 1).unwrap_err();
    assert_eq!(
        error,
        Error::bound("memory", default.memory + 1, default.memory)
    );

    // Of two carriers, the second has what the first left.
    let instructions = info.loader_executed * 2;
    for (instructions, fits) in [(instructions, true), (instructions - 1, false)] {
        let limits = Limits {
            instructions,
            ..default
        };
        let (mut describer, _) = of(limits, 0);
        assert!(describer.describe(&carrier).is_ok());
        let second = describer.describe(&carrier).map_err(|error| error.class);
        let refused = Err(Class::Refused(Refusal::Bound));
        assert_eq!(second, if fits { Ok(info.clone()) } else { refused });
    }
}

#[test]
fn describes_the_bundled_carriers() {
    for bundled in kpeel_parsers::BUNDLED {
        let carrier = kpeel_envelope::carrier::Carrier::parse(bundled.carrier).unwrap();
        let info = describe(&carrier).unwrap();
        assert_eq!(info.programs.len(), 1, "{}", bundled.name);
        let program = &info.programs[0];
        assert_eq!(program.anchor, "bpf_handle_pefile");
        assert!(program.kfuncs.contains(&"bpf_copy_to_kernel"));
        assert!(program.helpers.is_empty(), "{program:?}");
        assert!(program.instructions > 10 && info.loader_instructions > 10);
    }
}
