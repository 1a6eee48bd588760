//! Programs of BPF that look: iterators over the kernel's objects, and one on an anchor that counts how often it runs.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::bpf;
use crate::btf::Types;

/// What can be iterated over, by the function that an iterator's program names.
const OBJECTS: [&str; 3] = ["bpf_iter_bpf_map", "bpf_iter_bpf_prog", "bpf_iter_bpf_link"];
/// Every file of every task: there an iterator's program holds on to it while it looks.
const FILES: &str = "bpf_iter_task_file";

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Iterators, attached.
pub(crate) struct Iterators {
    objects: Vec<(&'static str, OwnedFd)>,
    files: OwnedFd,
}

/// What they showed.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// Times everything was iterated over.
    pub(crate) looks: u64,
    /// Objects beyond those that were there before.
    pub(crate) new: u64,
    /// Most files at once.
    pub(crate) files: u64,
}

impl Iterators {
    pub(crate) fn new(types: &Types) -> Result<Self, String> {
        let attach = |name| {
            let failed = |errno| format!("{name}: errno {errno}");
            let program = bpf::iterator(types.function(name)?).map_err(failed)?;
            bpf::link(&program, bpf::ITER).map_err(failed)
        };
        let objects = OBJECTS.into_iter().map(|name| Ok((name, attach(name)?)));
        Ok(Self {
            objects: objects.collect::<Result<_, String>>()?,
            files: attach(FILES)?,
        })
    }

    /// They work: a map of our own is one more.
    pub(crate) fn find_our_own(&self) -> Result<(), String> {
        let before = self.counts()?;
        let map = bpf::map().map_err(|errno| format!("a map of our own: errno {errno}"))?;
        let after = self.counts()?;
        drop(map);
        if after.first() > before.first() {
            return Ok(());
        }
        Err(format!("a map of our own: {before:?}, then {after:?}"))
    }

    /// Looks until told to stop.
    pub(crate) fn watch(&self, stop: &AtomicBool) -> Result<Shown, String> {
        let before = self.counts()?;
        let mut shown = Shown::default();
        while !stop.load(Ordering::Relaxed) {
            for (now, before) in self.counts()?.into_iter().zip(&before) {
                shown.new += now.saturating_sub(*before);
            }
            shown.files = shown.files.max(count(&self.files)?);
            shown.looks += 1;
            // The load is to get ahead.
            std::thread::sleep(PAUSE);
        }
        Ok(shown)
    }

    fn counts(&self) -> Result<Vec<u64>, String> {
        self.objects.iter().map(|(_, link)| count(link)).collect()
    }
}

/// The bytes an iterator writes: one for each object.
fn count(link: &OwnedFd) -> Result<u64, String> {
    let iterator = bpf::iterate(link).map_err(|errno| format!("an iterator: errno {errno}"))?;
    let mut bytes = Vec::new();
    let read = File::from(iterator).read_to_end(&mut bytes);
    read.map(|len| len as u64)
        .map_err(|error| format!("reading an iterator: {error}"))
}

/// Programs that may only look, on the entries of functions.
pub(crate) struct Lookers {
    _statistics: OwnedFd,
    anchors: Vec<Looker>,
    /// On what every load calls.
    twin: Looker,
}

/// A program and its link.
struct Looker(
    OwnedFd,
    #[expect(dead_code, reason = "attached while it lives")] OwnedFd,
);

impl Lookers {
    pub(crate) fn new(types: &Types) -> Result<Self, String> {
        let look = |name: &str| {
            let failed = |errno| format!("a program on {name}: errno {errno}");
            let target = types.function(name)?;
            let program = bpf::load(
                bpf::TRACING,
                bpf::FENTRY,
                false,
                target,
                &bpf::returning_zero(),
            );
            let program = program.map_err(failed)?;
            let link = bpf::attach(&program).map_err(failed)?;
            Ok::<_, String>(Looker(program, link))
        };
        let statistics = bpf::statistics().map_err(|errno| format!("statistics: errno {errno}"))?;
        Ok(Self {
            _statistics: statistics,
            anchors: vec![look("bpf_handle_pefile")?, look("bpf_post_handle_pefile")?],
            twin: look("kexec_pe_claims")?,
        })
    }

    /// On the anchors they never ran; elsewhere, once for each load.
    pub(crate) fn judge(&self, loads: u64) -> Result<(), String> {
        let runs = |looker: &Looker| {
            bpf::runs(&looker.0).map_err(|errno| format!("a program's statistics: errno {errno}"))
        };
        let twin = runs(&self.twin)?;
        if twin < loads {
            return Err(format!(
                "a program on kexec_pe_claims ran {twin} times in {loads} loads"
            ));
        }
        for anchor in &self.anchors {
            let found = runs(anchor)?;
            if found != 0 {
                return Err(format!("a foreign program on an anchor ran {found} times"));
            }
        }
        println!("kpeel-attack: a program on kexec_pe_claims ran {twin} times, none on an anchor");
        Ok(())
    }
}
