//! What the carriers may hold.

mod support;

use kpeel_abi::{ANCHOR, KFUNCS};
use kpeel_envelope::carrier::Carrier;
use kpeel_parsers::by_name;
use kpeel_sandbox::describe;
use support::carriers;

#[test]
fn each_is_small_and_calls_only_kfuncs_of_the_abi() {
    for (name, carrier) in carriers() {
        assert!(carrier.len() < 8 * 1024, "{name}: {} bytes", carrier.len());
        let info = describe(&Carrier::parse(&carrier).unwrap()).unwrap();
        let [program] = &info.programs[..] else {
            panic!("{name}: {} programs", info.programs.len());
        };
        assert_eq!(program.anchor, ANCHOR);
        assert_eq!(program.helpers, [""; 0], "{name}");
        for kfunc in &program.kfuncs {
            assert!(KFUNCS.iter().any(|known| known.name == *kfunc), "{kfunc}");
        }
        // Nothing but constants: no data, no ring buffer.
        assert!(info.maps.len() <= 1, "{name}: {:?}", info.maps);
        assert!(info.maps.iter().all(|map| map.kind == "array"), "{name}");
    }
}

#[test]
fn names_find_carriers() {
    assert!(by_name("uki").is_some() && by_name("zboot").is_some());
    assert!(by_name("UKI").is_none());
}

#[test]
fn no_path_of_a_build_machine_is_inside() {
    for (name, carrier) in carriers() {
        let text = String::from_utf8_lossy(&carrier);
        for path in ["/home", "/root", "/usr", "/tmp", ".rs", "crates"] {
            assert!(!text.contains(path), "{name} holds {path}");
        }
    }
}
