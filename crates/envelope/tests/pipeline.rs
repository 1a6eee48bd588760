//! The pipeline's order, limits and composition, over scripted parsers.

#[path = "support/host.rs"]
mod host;
mod support;

use host::{bad_signature, buffer, Buffer, Script};
use kpeel_envelope::error::{Class, Error, Field, Name, Needed, Refusal};
use kpeel_envelope::host::Trust;
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pipeline::{unfold, Parser, Parts, Request, Unfolded};
use support::{carrier, image, put16, put32, section_field, signed, OPTIONAL};

const KERNEL: &[u8] = b"KERNEL bytes";

/// An envelope around `inner` whose parser is `script`.
fn envelope(script: &str, inner: &[u8]) -> Vec<u8> {
    image(&[
        (".linux", inner),
        (".bpf", &carrier(&[7; 8], script.as_bytes())),
    ])
}

fn bare_envelope(inner: &[u8]) -> Vec<u8> {
    image(&[(".linux", inner)])
}

fn request(image: &[u8]) -> Request<'static, Buffer> {
    Request {
        image: buffer(image),
        initrd: None,
        cmdline: None,
        crash: false,
        enforced: false,
        embedded: true,
        parsers: &[],
    }
}

fn run(request: Request<'_, Buffer>) -> Result<Unfolded<Buffer>, Error> {
    unfold(&mut Script::new(Limits::default()), request)
}

#[test]
fn a_plain_kernel_is_left_untouched() {
    let unfolded = run(request(KERNEL)).unwrap();
    assert_eq!(*unfolded.kernel, *KERNEL);
    assert_eq!(unfolded.provenance.opened, 0);
    assert!(unfolded.initrd.is_none() && unfolded.cmdline.is_none());
}

#[test]
fn a_kernel_that_is_a_pe_image_is_left_untouched() {
    let kernel = image(&[(".kernel", b"k")]);
    let offered = carrier(&[7; 8], b"notmine");
    let parsers = [Parser {
        name: "offered",
        carrier: &offered,
    }];
    for parsers in [&[][..], &parsers] {
        let unfolded = run(Request {
            parsers,
            ..request(&kernel)
        });
        let unfolded = unfolded.unwrap();
        assert_eq!(*unfolded.kernel, *kernel);
        assert_eq!(unfolded.provenance.opened, 0);
    }
}

#[test]
fn every_parser_is_told_of_a_crash_load() {
    let inner = envelope("kernel .linux", KERNEL);
    let outer = envelope("kernel .linux", &inner);
    for (crash, told) in [(true, " for a crash"), (false, "")] {
        let mut host = Script::new(Limits::default());
        let request = Request {
            crash,
            ..request(&outer)
        };
        unfold(&mut host, request).unwrap();
        for arm in [1, 4] {
            assert!(
                host.log[arm].ends_with(&format!("embedded{told}")),
                "{:?}",
                host.log
            );
        }
    }
}

#[test]
fn opens_nested_envelopes_with_their_own_parsers() {
    let inner = envelope("kernel .linux\ninitrd inner", KERNEL);
    let outer = envelope("kernel .linux\ninitrd outer\ncmdline quiet", &inner);
    let mut host = Script::new(Limits::default());
    let unfolded = unfold(&mut host, request(&outer)).unwrap();
    assert_eq!(*unfolded.kernel, *KERNEL);
    assert_eq!(*unfolded.initrd.unwrap(), *b"inner");
    assert_eq!(*unfolded.cmdline.unwrap(), *b"quiet");
    let provenance = unfolded.provenance;
    assert_eq!(provenance.opened, 2);
    assert_eq!(
        provenance.initrd,
        Parts {
            envelope: Some(2),
            caller: false
        }
    );
    assert_eq!(
        provenance.cmdline,
        Parts {
            envelope: Some(1),
            caller: false
        }
    );
    let order = [
        "verdict 1",
        "arm 1 embedded",
        "post 1",
        "verdict 2",
        "arm 2 embedded",
        "post 2",
    ];
    assert_eq!(host.log, order);
}

#[test]
fn composes_the_images_part_before_the_callers() {
    let outer = envelope(
        "kernel .linux\ninitrd one\ninitrd+ two22\ncmdline a\ncmdline+ b~",
        KERNEL,
    );
    let request = Request {
        initrd: Some(buffer(b"caller")),
        cmdline: Some(buffer(b"@3 root=x\n")),
        ..request(&outer)
    };
    let mut host = Script::new(Limits::default());
    let unfolded = unfold(&mut host, request).unwrap();
    assert_eq!(*unfolded.initrd.unwrap(), *b"one\0two22\0\0\0caller");
    assert_eq!(*unfolded.cmdline.unwrap(), *b"a b root=x");
    assert_eq!(unfolded.provenance.profile, Some(3));
    assert!(unfolded.provenance.initrd.caller && unfolded.provenance.cmdline.caller);
    assert_eq!(host.log[1], "arm 1 embedded sees @3 root=x\n");
}

#[test]
fn the_selector_never_reaches_the_kernel() {
    let request = Request {
        cmdline: Some(buffer(b"@1 ")),
        ..request(KERNEL)
    };
    assert!(run(request).unwrap().cmdline.is_none());
}

#[test]
fn rejects_a_broken_selector_before_anything_runs() {
    let outer = envelope("kernel .linux", KERNEL);
    let request = Request {
        cmdline: Some(buffer(b"@one quiet")),
        ..request(&outer)
    };
    let mut host = Script::new(Limits::default());
    assert_eq!(unfold(&mut host, request).unwrap_err().class, Class::Misuse);
    assert!(host.log.is_empty());
}

#[test]
fn rejects_a_nul_inside_a_command_line_by_blame() {
    let outer = envelope("kernel .linux\ncmdline a~b", KERNEL);
    assert_eq!(run(request(&outer)).unwrap_err().class, Class::Malformed);
    let callers = Request {
        cmdline: Some(buffer(b"a\0b")),
        ..request(KERNEL)
    };
    assert_eq!(run(callers).unwrap_err().class, Class::Misuse);
}

#[test]
fn bundled_parsers_are_tried_past_not_mine_only() {
    let [first, second] =
        ["notmine", "kernel .linux"].map(|script| carrier(&[7; 8], script.as_bytes()));
    let parsers = [
        Parser {
            name: "first",
            carrier: &first,
        },
        Parser {
            name: "second",
            carrier: &second,
        },
    ];
    let outer = bare_envelope(KERNEL);
    let unfolded = run(Request {
        parsers: &parsers,
        ..request(&outer)
    })
    .unwrap();
    assert_eq!(unfolded.provenance.opened, 1);

    let broken = carrier(&[7; 8], b"malformed payload");
    let parsers = [
        Parser {
            name: "broken",
            carrier: &broken,
        },
        Parser {
            name: "second",
            carrier: &second,
        },
    ];
    let error = run(Request {
        parsers: &parsers,
        ..request(&outer)
    })
    .unwrap_err();
    let name = Name::from_bytes(b"payload");
    assert_eq!(
        error,
        Error::verdict(Class::Malformed, name, 1, 2).at_depth(1)
    );
}

#[test]
fn an_image_nobody_opens_is_unsupported_unless_it_is_a_kernel() {
    let error = run(request(&bare_envelope(b"?"))).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("format"))
    );
    assert_eq!(run(request(b"?")).unwrap_err().class, Class::Unsupported);
}

#[test]
fn the_own_parser_is_run_unless_the_caller_does_not_want_it() {
    let outer = envelope("malformed own", KERNEL);
    let offered = carrier(&[7; 8], b"kernel .linux");
    let parsers = [Parser {
        name: "offered",
        carrier: &offered,
    }];
    assert!(run(Request {
        parsers: &parsers,
        ..request(&outer)
    })
    .is_err());
    let without = Request {
        parsers: &parsers,
        embedded: false,
        ..request(&outer)
    };
    assert_eq!(run(without).unwrap().provenance.opened, 1);
}

#[test]
fn an_own_parser_may_not_disown_its_image() {
    let error = run(request(&envelope("notmine", KERNEL))).unwrap_err();
    assert_eq!(
        (error.class, error.field, error.depth),
        (Class::Malformed, Field::Named(".bpf"), 1)
    );
}

#[test]
fn rejects_two_bpf_sections() {
    let one = carrier(&[7; 8], b"kernel .linux");
    let two = image(&[(".linux", KERNEL), (".bpf", &one), (".bpf", &one)]);
    let error = run(request(&two)).unwrap_err();
    let needed = Needed::AtMost(1);
    assert_eq!(
        error,
        Error::malformed("number of .bpf sections", 2, needed).at_depth(1)
    );
}

#[test]
fn rejects_other_subsystems_before_running_their_parser() {
    let mut outer = envelope("kernel .linux", KERNEL);
    put16(&mut outer, OPTIONAL + 68, 11);
    let mut host = Script::new(Limits::default());
    let error = unfold(&mut host, request(&outer)).unwrap_err();
    assert_eq!(
        (error.class, error.field),
        (Class::Unsupported, Field::Named("Subsystem"))
    );
    assert_eq!(host.log, ["verdict 1"]);
}

#[test]
fn depth_is_bounded() {
    let nest = |layers| {
        (0..layers).fold(KERNEL.to_vec(), |inner, _| {
            envelope("kernel .linux", &inner)
        })
    };
    assert_eq!(run(request(&nest(4))).unwrap().provenance.opened, 4);
    for layers in [5, 6] {
        let error = run(request(&nest(layers))).unwrap_err();
        assert_eq!(error, Error::bound("depth", 5, 4).at_depth(5));
    }
}

#[test]
fn a_parser_that_publishes_its_own_image_ends_at_the_depth_bound() {
    let error = run(request(&envelope("self", KERNEL))).unwrap_err();
    assert_eq!(error, Error::bound("depth", 5, 4).at_depth(5));
}

#[test]
fn a_parser_without_kernel_is_malformed_or_what_the_host_refused() {
    let nothing = run(request(&envelope("initrd x", KERNEL))).unwrap_err();
    assert_eq!(
        nothing,
        Error::absent(Class::Malformed, "kexec:kernel").at_depth(1)
    );
    let hinted = run(request(&envelope("hint", KERNEL))).unwrap_err();
    assert_eq!(hinted.field, Field::Named("payload"));
}

#[test]
fn resources_are_bounded_by_name() {
    let outer = envelope("kernel .linux\ninitrd 12345678", KERNEL);
    let tight = |limits| unfold(&mut Script::new(limits), request(&outer)).map(|_| ());
    let defaults = Limits::default();
    let kernel = tight(Limits {
        kernel: 5,
        ..defaults
    });
    assert_eq!(kernel, Err(Error::bound("kexec:kernel", 12, 5).at_depth(1)));
    let initrd = tight(Limits {
        initrd: 7,
        ..defaults
    });
    assert_eq!(initrd, Err(Error::bound("kexec:initrd", 8, 7).at_depth(1)));
    assert_eq!(
        tight(Limits {
            kernel: 12,
            initrd: 8,
            ..defaults
        }),
        Ok(())
    );
    let image = tight(Limits {
        image: 99,
        ..defaults
    });
    assert_eq!(image, Err(Error::bound("image", outer.len() as u64, 99)));
}

#[test]
fn enforced_policy_refuses_the_callers_part_beside_the_images() {
    let outer = envelope("kernel .linux\ninitrd x", KERNEL);
    let verified = |request| {
        let mut host = Script::new(Limits::default());
        host.trust = Ok(Trust::Verified);
        unfold(&mut host, request)
    };
    let with = |initrd, cmdline| Request {
        enforced: true,
        initrd,
        cmdline,
        ..request(&outer)
    };
    let error = verified(with(Some(buffer(b"mine")), None)).unwrap_err();
    assert_eq!(error.class, Class::Refused(Refusal::Signature));
    assert_eq!(error.field, Field::Named("kexec:initrd"));
    // The image has no command line of its own.
    assert!(verified(with(None, Some(buffer(b"quiet")))).is_ok());
}

#[test]
fn a_signed_blank_command_line_keeps_the_callers_out() {
    let inner = envelope("kernel .linux\ncmdline \x20", KERNEL);
    let outer = envelope("kernel .linux", &inner);
    for image in [inner, outer] {
        let mut host = Script::new(Limits::default());
        host.trust = Ok(Trust::Verified);
        let request = |enforced| Request {
            enforced,
            cmdline: Some(buffer(b"init=/bin/sh")),
            ..request(&image)
        };
        let error = unfold(&mut host, request(true)).unwrap_err();
        assert_eq!(error.class, Class::Refused(Refusal::Signature));
        assert_eq!(error.field, Field::Named("kexec:cmdline"));
        assert!(unfold(&mut host, request(false)).is_ok());
    }
}

#[test]
fn enforced_policy_refuses_uncovered_layouts_before_the_verdict() {
    let mut outer = envelope("kernel .linux", KERNEL);
    put32(&mut outer, section_field(0, 16), 0);
    let enforced = Request {
        enforced: true,
        ..request(&outer)
    };
    let mut host = Script::new(Limits::default());
    let error = unfold(&mut host, enforced).unwrap_err();
    assert_eq!(error.class, Class::Refused(Refusal::Signature));
    assert!(host.log.is_empty());
    // Without enforcement the parser is asked.
    let mut host = Script::new(Limits::default());
    let _ = unfold(&mut host, request(&outer));
    assert_eq!(host.log[..2], ["verdict 1", "arm 1 embedded"]);
}

#[test]
fn a_verified_envelope_covers_those_inside() {
    let mut inner = envelope("kernel .linux", KERNEL);
    inner.extend_from_slice(&[1; 3]);
    let outer = signed(envelope("kernel .linux", &inner), &[b"signature"]);
    let mut host = Script::new(Limits::default());
    host.trust = Ok(Trust::Verified);
    let enforced = Request {
        enforced: true,
        ..request(&outer)
    };
    assert_eq!(unfold(&mut host, enforced).unwrap().provenance.opened, 2);
}

#[test]
fn a_bad_signature_stops_before_any_parser() {
    let outer = envelope("kernel .linux", KERNEL);
    let mut host = Script::new(Limits::default());
    host.trust = Err(bad_signature());
    assert_eq!(
        unfold(&mut host, request(&outer)).unwrap_err(),
        bad_signature().at_depth(1)
    );
    assert_eq!(host.log, ["verdict 1"]);
}

#[test]
fn every_part_of_a_resource_is_copied_once() {
    let part = "x".repeat(1000);
    let mut script = String::from("kernel .linux\n");
    for _ in 1..32 {
        script += &format!("initrd+ {part}\n");
    }
    let mut host = Script::new(Limits::default());
    let unfolded = unfold(&mut host, request(&envelope(&script, KERNEL))).unwrap();
    assert_eq!(unfolded.initrd.unwrap().len(), 31_000);
    assert_eq!(host.copied, 31_000);
}

#[test]
fn a_single_part_is_not_copied() {
    let script = "kernel .linux\ninitrd+ alone\n";
    let mut host = Script::new(Limits::default());
    let unfolded = unfold(&mut host, request(&envelope(script, KERNEL))).unwrap();
    assert_eq!(unfolded.initrd.as_deref(), Some(&b"alone"[..]));
    assert_eq!(host.copied, 0);
}
