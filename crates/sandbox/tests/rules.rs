//! The rules of the kfuncs and helpers, each broken once by a parser that prints what it got.

mod common;

use std::sync::LazyLock;

use common::{Load, Outcome, c_carrier, printed, told, zboot_image};
use kpeel_abi::VerdictCode;
use kpeel_envelope::error::{Class, Error, Field, Needed, Refusal};
use kpeel_envelope::limits::Limits;
use kpeel_images::make::{Codec, Machine, tiny_kernel};
use kpeel_sandbox::Event;

static CARRIER: LazyLock<Vec<u8>> = LazyLock::new(|| c_carrier("rules"));
static IMAGE: LazyLock<Vec<u8>> =
    LazyLock::new(|| zboot_image(Codec::Gzip, &tiny_kernel(Machine::Arm64, 64 << 10)));

const EPERM: i64 = -1;
const E2BIG: i64 = -7;
const EFAULT: i64 = -14;
const EINVAL: i64 = -22;

fn broken(rule: &str, limits: Limits) -> (Result<Outcome, Error>, Vec<Event>) {
    let load = Load {
        initrd: Some(b"initrd"),
        cmdline: Some(rule.as_bytes()),
        limits,
        ..Load::new(&IMAGE, &CARRIER)
    };
    let mut events = Vec::new();
    let result = load.traced(&mut events);
    (result, events)
}

fn check(rule: &str, expected: &[(&str, i64)]) -> Vec<Event> {
    let (_, events) = broken(rule, Limits::default());
    let expected: Vec<String> = expected
        .iter()
        .map(|(what, value)| format!("{what} {value}"))
        .collect();
    let found: Vec<String> = printed(&events)
        .into_iter()
        .filter(|line| !line.starts_with("post "))
        .collect();
    assert_eq!(found, expected, "{}", told(&events));
    events
}

#[test]
fn buffers_lie_wholly_inside_image_inputs_results_or_own_maps() {
    check(
        "buffers",
        &[
            ("whole image", 0),
            ("one byte", 0),
            ("zero", EINVAL),
            ("negative", EINVAL),
            ("one too many", EFAULT),
            ("before", EFAULT),
            ("behind", EFAULT),
            ("null", EFAULT),
            ("context", EFAULT),
            ("stack", EFAULT),
            ("data", 0),
            ("past data", EFAULT),
            ("initrd", 0),
            ("initrd as kernel", EPERM),
            ("cmdline as kernel", EPERM),
            ("initrd as cmdline", 0),
        ],
    );
}

#[test]
fn names_are_read_bounded_from_wherever_they_lie() {
    check(
        "names",
        &[
            ("unknown", EINVAL),
            ("too long", EINVAL),
            ("null", EFAULT),
            ("stack", 0),
            ("in the image", EINVAL),
            ("kernel", 0),
        ],
    );
}

#[test]
fn results_are_bounded_in_number_and_gone_once_put() {
    check(
        "decompress",
        &[
            ("no stream", 0),
            ("negative", 0),
            ("outside", 0),
            ("cut", 0),
            ("sizes agree", 1),
            ("publish result", 0),
            ("past result", EFAULT),
            ("put inside", EINVAL),
            ("put buf", EINVAL),
            ("put", 0),
            ("put again", EINVAL),
            ("put null", EINVAL),
            ("after put", EFAULT),
            ("held", 16),
        ],
    );
}

#[test]
fn a_published_result_outlives_its_release() {
    let (result, events) = broken("decompress", Limits::default());
    let outcome = result.unwrap_or_else(|error| panic!("{error}\n{}", told(&events)));
    assert!(outcome.kernel == tiny_kernel(Machine::Arm64, 64 << 10));
    assert_eq!(outcome.leaked, 0);
}

#[test]
fn decompressions_are_bounded_in_number_however_little_they_give() {
    // Hardly any memory is left, so a stream that fails writes next to nothing.
    let limits = Limits {
        memory: IMAGE.len() as u64 + (1 << 20),
        ..Limits::default()
    };
    for rule in ["whole", "cut"] {
        let (result, events) = broken(rule, limits);
        let error = result.unwrap_err();
        assert!(
            matches!(error.field, Field::Named("work in calls (64-byte units)")),
            "{rule}: {error}"
        );
        let calls = events.iter().filter(|event| match event {
            Event::Call { name, .. } => *name == "bpf_decompress",
            _ => false,
        });
        // What 3 GiB of work pay for.
        let calls = calls.count();
        assert!((16..768).contains(&calls), "{rule}: {calls} calls");
    }
}

#[test]
fn failed_reads_leave_zeroes() {
    check(
        "reads",
        &[
            ("read", 0),
            ("value", 1),
            ("outside", EFAULT),
            ("zeroed", 0),
            ("context", EFAULT),
            ("nothing", 0),
            ("probe context", 0),
            ("value", 1),
            ("probe", EFAULT),
            ("zeroed", 0),
            ("string", 4),
            ("ended", 0),
            ("string fault", EFAULT),
            ("user", EFAULT),
            ("zeroed", 0),
        ],
    );
}

#[test]
fn ring_buffers_behave_as_without_a_consumer() {
    check(
        "o",
        &[
            ("too large", 0),
            ("flags", 0),
            ("full", 0),
            ("size", 8192),
            ("produced", 4096 + 8 + 64 + 8),
            ("publish record", 0),
            ("anywhere in the data", 0),
            ("past the data", EFAULT),
            ("submitted", 4096),
            ("discarded", 1 << 30 | 64),
            ("image", 1),
        ],
    );
}

#[test]
fn the_first_verdict_counts_and_warnings_do_not_end_the_stage() {
    let events = check(
        "verdicts",
        &[
            ("unknown code", EINVAL),
            ("zero code", EINVAL),
            ("bad field", EFAULT),
            ("warn", 0),
            ("publish", 0),
            ("not mine, late", EINVAL),
            ("unsupported", 0),
            ("malformed", 0),
        ],
    );
    let warned = events.iter().find_map(|event| match event {
        Event::Verdict {
            code: VerdictCode::Warn,
            field,
            depth: 1,
            ..
        } => Some(*field),
        _ => None,
    });
    assert_eq!(warned.unwrap().as_str(), "kexec:kernel-012345678901234567");
}

#[test]
fn a_parser_that_calls_in_vain_ends_with_the_hosts_reason_or_its_own() {
    let (result, _) = broken("reads", Limits::default());
    // Nothing was published; the first refused call says why.
    let error = result.unwrap_err();
    assert!(
        matches!(error.field, Field::Named("size of a parser's buffer")),
        "{error}"
    );
    let (result, _) = broken("x", Limits::default());
    assert!(matches!(result.unwrap_err().class, Class::Unsupported));
}

#[test]
fn a_published_part_of_the_image_costs_no_memory() {
    let kernel = tiny_kernel(Machine::Arm64, 1 << 20);
    let image = [&IMAGE[..], &kernel].concat();
    let load = Load {
        cmdline: Some(b"s"),
        ..Load::new(&image, &CARRIER)
    };
    let outcome = load.run().unwrap();
    assert!(outcome.kernel == kernel);
    let extra = outcome.peak - image.len() as u64;
    assert!(extra < 1 << 20, "{extra} bytes beside the image");
}

#[test]
fn the_post_parser_may_only_warn() {
    let (_, events) = broken("p", Limits::default());
    assert_eq!(
        printed(&events),
        [
            format!("post publish {EPERM}"),
            format!("post verdict {EPERM}"),
            "post warn 0".into()
        ]
    );
}

#[test]
fn resources_are_bounded_by_name() {
    let rule = |rule: &str, limits| {
        let (_, events) = broken(rule, limits);
        printed(&events)
            .into_iter()
            .find(|line| line.starts_with("whole image"))
            .unwrap()
    };
    let size = IMAGE.len() as u64;
    let default = Limits::default();
    assert_eq!(
        rule(
            "b",
            Limits {
                kernel: size,
                ..default
            }
        ),
        "whole image 0"
    );
    let small = Limits {
        kernel: size - 1,
        ..default
    };
    assert_eq!(rule("b", small), format!("whole image {E2BIG}"));
}

#[test]
fn programs_that_misbehave_are_stopped_and_named() {
    let error = |rule: &str| broken(rule, Limits::default()).0.unwrap_err();
    let fault = error("f");
    assert_eq!((fault.class, fault.depth), (Class::Malformed, 1));
    assert!(
        matches!(fault.field, Field::Named("parser program")),
        "{fault}"
    );
    assert!(fault.index.is_some());

    let expected = Error::malformed("parser program's result", 1, Needed::Exactly(0)).at_depth(1);
    assert_eq!(error("e"), expected);

    let endless = error("l");
    assert_eq!(endless.class, Class::Refused(Refusal::Bound), "{endless}");
    assert!(matches!(endless.field, Field::Named("instructions")));
}

#[test]
fn equal_runs_give_equal_traces() {
    for rule in ["b", "n", "d", "r", "o", "v", "p", "x", "f"] {
        let (first, second) = (
            broken(rule, Limits::default()),
            broken(rule, Limits::default()),
        );
        assert!(first.1 == second.1, "{rule}");
    }
}
