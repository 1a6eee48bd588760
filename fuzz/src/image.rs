//! Whole images, PE headers, carriers.

use std::sync::LazyLock;

use kpeel_envelope::authenticode::{DigestRanges, check_coverage};
use kpeel_envelope::carrier::Carrier;
use kpeel_envelope::pe::{Pe, looks_like_pe};
use kpeel_hostile::class::Class;
use kpeel_hostile::extract::Extractor;
use kpeel_hostile::judge::{Caller, SMALL, judge};
use kpeel_sandbox::Machine;

/// Reads all of a PE image that is read before its parser runs.
pub fn pe(bytes: &[u8]) {
    let _ = looks_like_pe(bytes);
    let _ = Machine::of_kernel(bytes);
    let Ok(pe) = Pe::parse(bytes) else { return };
    for section in pe.sections() {
        assert!(section.data().len() <= section.raw().len());
    }
    let _ = pe.find(".bpf").count();
    for certificate in pe.certificates() {
        let _ = certificate;
    }
    let covered = pe.covered();
    assert!(covered.len <= bytes.len());
    if check_coverage(&pe).is_ok() {
        let _ = DigestRanges::new(&pe);
    }
}

/// Finds loader and data; both lie in the carrier.
pub fn carrier(bytes: &[u8]) {
    let Ok(carrier) = Carrier::parse(bytes) else {
        return;
    };
    let inside = |part: &[u8]| bytes.as_ptr_range().contains(&part.as_ptr());
    assert!(inside(carrier.insns) && inside(carrier.data));
    assert!(!carrier.data.is_empty() && carrier.insns.len() % 8 == 0);
}

/// Unfolds: an error of a class that a file may cause, or what the extractor finds; no more memory
/// than the budget. The last byte of the image says what the caller gives.
pub fn unfold(bytes: &[u8]) {
    static EXTRACTOR: LazyLock<Extractor> = LazyLock::new(Extractor::default);
    // An image's own parser may publish what it likes.
    let own = bytes.windows(8).any(|name| name == b".bpf\0\0\0\0");
    let class = own.then_some(Class::Parser);
    let wish = bytes.last().map_or(0, |byte| *byte as usize);
    let profile = wish % 4;
    let line = format!("@{profile} of the caller");
    let caller = Caller {
        cmdline: (profile != 0).then_some(&line),
        profile,
        initrd: (wish & 4 != 0).then_some(b"initrd".as_slice()),
        crash: wish & 8 != 0,
    };
    if let Err(fault) = judge(&EXTRACTOR, bytes, class, own, &caller, SMALL) {
        panic!("{fault}");
    }
}
