use super::*;

/// `(TPM_ALG_ID, bytes)` of the logs below.
const ALGORITHMS: [(u16, u16); 3] = [(0x0004, 20), (0x000b, 32), (0x0012, 32)];

struct Builder(Vec<u8>);

impl Builder {
    fn new(algorithms: &[(u16, u16)]) -> Self {
        let mut heading = SIGNATURE.to_vec();
        heading.extend([0, 0, 0, 0, 0, 2, 0, 2]);
        heading.extend((algorithms.len() as u32).to_le_bytes());
        for (id, size) in algorithms {
            heading.extend(id.to_le_bytes());
            heading.extend(size.to_le_bytes());
        }
        heading.extend([3, b'k', b'p', b'l']);
        let mut log = [0, EV_NO_ACTION].map(u32::to_le_bytes).concat();
        log.extend([0; 20]);
        log.extend((heading.len() as u32).to_le_bytes());
        log.extend(heading);
        Self(log)
    }

    fn event(mut self, pcr: u32, kind: u32, digests: &[(u16, &[u8])], data: &[u8]) -> Self {
        for word in [pcr, kind, digests.len() as u32] {
            self.0.extend(word.to_le_bytes());
        }
        for (id, digest) in digests {
            self.0.extend(id.to_le_bytes());
            self.0.extend(*digest);
        }
        self.0.extend((data.len() as u32).to_le_bytes());
        self.0.extend(data);
        self
    }
}

fn sample() -> Vec<u8> {
    let name: Vec<u8> = ".linux\0junk"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let digests: [(u16, &[u8]); 3] = [(0x0012, &[9; 32]), (0x0004, &[1; 20]), (0x000b, &[2; 32])];
    Builder::new(&ALGORITHMS)
        .event(0, 8, &digests, b"firmware")
        .event(11, 13, &digests, &name)
        .event(11, EV_NO_ACTION, &[], b"")
        .event(11, 13, &digests[..2], &[0xff])
        .0
}

fn refusal(bytes: &[u8]) -> Error {
    EventLog::parse(bytes).map(|_| ()).unwrap_err()
}

#[test]
fn reads_events_digests_and_texts() {
    let bytes = sample();
    let log = EventLog::parse(&bytes).unwrap();
    assert_eq!(log.banks(), [Bank::Sha1, Bank::Sha256]);
    let events: Vec<_> = log.of_pcr(11).collect();
    assert_eq!(events.len(), 2, "what only tells extends nothing");
    assert_eq!((events[0].number, events[0].kind), (1, 13));
    assert_eq!(events[0].description(), ".linux");
    assert_eq!(events[0].digest(Bank::Sha256).unwrap().as_bytes(), [2; 32]);
    assert_eq!(events[0].digest(Bank::Sha512), None);
    assert_eq!(events[1].description(), "");
    assert_eq!(log.of_pcr(7).count(), 0);
}

#[test]
fn replays_a_register() {
    let bytes = sample();
    let log = EventLog::parse(&bytes).unwrap();
    let mut pcr = Pcr::new(Bank::Sha1);
    for _ in 0..2 {
        pcr.extend(&Digest::from_bytes(&[1; 20]).unwrap());
    }
    assert_eq!(log.replay(11, Bank::Sha1), Some(pcr.value()));
    assert_eq!(log.replay(11, Bank::Sha256), None, "the second has none");
    assert_eq!(
        log.replay(5, Bank::Sha256),
        Some(Pcr::new(Bank::Sha256).value())
    );
}

#[test]
fn every_cut_is_an_error_or_a_shorter_log() {
    let bytes = sample();
    let whole = EventLog::parse(&bytes).unwrap().events.len();
    let mut lengths = std::collections::BTreeSet::new();
    for len in 0..bytes.len() {
        match EventLog::parse(&bytes[..len]) {
            Ok(log) => assert!(lengths.insert(log.events.len()), "{len}"),
            Err(error) => assert_eq!(error.class, Class::Malformed, "{len}: {error}"),
        }
    }
    // One cut behind the heading and behind each event.
    assert_eq!(lengths, (0..whole).collect());
}

#[test]
fn every_byte_may_hold_anything() {
    let bytes = sample();
    for at in 0..bytes.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Ok(log) = EventLog::parse(&damaged) {
                let _ = log.replay(PCR_MAX, Bank::Sha1);
                log.of_pcr(11).for_each(|event| drop(event.description()));
            }
        }
    }
}

const PCR_MAX: u32 = 23;

#[test]
fn says_which_event_is_broken_and_how() {
    let digest: &[u8] = &[0; 20];
    let unknown =
        Builder::new(&ALGORITHMS)
            .event(0, 1, &[], b"")
            .event(0, 1, &[(0x000c, digest)], b"");
    let told = refusal(&unknown.0).to_string();
    assert_eq!(
        told,
        "malformed: hashAlg of entry 1: found 12 (0xc), needed one that the heading names, and \
         no event twice"
    );
    let twice = Builder::new(&ALGORITHMS).event(0, 1, &[(4, digest), (4, digest)], b"");
    assert!(
        refusal(&twice.0)
            .to_string()
            .contains("hashAlg of entry 0: found 4")
    );
    let more = Builder::new(&ALGORITHMS).event(0, 1, &[(4, digest); 4], b"");
    let told = refusal(&more.0).to_string();
    assert!(
        told.contains("digests.count of entry 0: found 4 (0x4), needed at most 3"),
        "{told}"
    );
}

#[test]
fn a_count_that_no_log_can_hold_is_refused_before_it_is_used() {
    let mut log = Builder::new(&ALGORITHMS).0;
    log.extend([0, 1, u32::MAX].map(u32::to_le_bytes).concat());
    assert!(refusal(&log).to_string().contains("digests.count"));
    let mut log = Builder::new(&ALGORITHMS).0;
    log.extend([0, 1, 0, u32::MAX].map(u32::to_le_bytes).concat());
    let told = refusal(&log).to_string();
    assert!(told.contains("event of entry 0: found 0"), "{told}");
}

#[test]
fn the_heading_must_be_sound() {
    let none = refusal(&Builder::new(&[]).0).to_string();
    assert!(none.contains("numberOfAlgorithms: found 0"), "{none}");
    let many = refusal(&Builder::new(&[(0x99, 1); 33]).0).to_string();
    assert!(many.contains("numberOfAlgorithms: found 33"), "{many}");
    EventLog::parse(&Builder::new(&[(0x99, 1); 32]).0).unwrap();
    let size = refusal(&Builder::new(&[(0x000b, 20)]).0).to_string();
    assert!(
        size.contains("digestSize: found 20 (0x14), needed 32"),
        "{size}"
    );
    let size = refusal(&Builder::new(&[(0x99, 65)]).0).to_string();
    assert!(
        size.contains("digestSize: found 65 (0x41), needed at most 64"),
        "{size}"
    );
    EventLog::parse(&Builder::new(&[(0x99, 64)]).0).unwrap();
}

#[test]
fn a_log_of_another_kind_is_told_as_such() {
    let mut old = sample();
    let at = 32 + SIGNATURE.len() - 2;
    old[at] = b'0';
    let error = refusal(&old);
    assert_eq!(error.class, Class::Unsupported);
    assert!(error.to_string().contains("TPM 1.2"), "{error}");
    assert_eq!(refusal(b"").class, Class::Malformed);
    assert_eq!(refusal(&[0; 64]).class, Class::Malformed);
}
