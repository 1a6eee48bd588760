//! Faults of the Linux series of which no other test speaks, and the table of them all
//! (`docs/series-faults.md`).

use std::fs;
use std::io::Write;
use std::path::Path;

use kpeel_counting::{Counting, peak_of};
use kpeel_envelope::error::{Class, Error, Refusal};
use kpeel_envelope::limits::{ABI_SIZE_MAX, Limits};
use kpeel_envelope::pipeline::{Parser, Request, Unfolded, unfold};
use kpeel_images::make::{Codec, Machine, Scratch, noise, tiny_kernel, zboot};
use kpeel_sandbox::{Buffer, Event, Sandbox};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TABLE: &str = include_str!("../../../docs/series-faults.md");
/// What the sandbox keeps besides image and result: programs, maps, types, a chunk for reading.
const SMALL: u64 = 2 << 20;

#[test]
fn every_test_of_the_table_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cells = |line: &str| -> Vec<String> {
        let cells = line.split('|').map(|cell| cell.trim().to_owned());
        cells.filter(|cell| !cell.is_empty()).collect()
    };
    let rows: Vec<_> = TABLE
        .lines()
        .filter(|line| line.contains(".rs` `"))
        .map(cells)
        .collect();
    assert!(rows.len() > 45, "{} rows", rows.len());
    for row in &rows {
        let [fault, _, test] = row.as_slice() else {
            panic!("{row:?}")
        };
        let mut words = test.split('`').filter(|word| !word.trim().is_empty());
        let (file, name) = (words.next().unwrap(), words.next().unwrap());
        let source = fs::read_to_string(root.join(file));
        let source = source.unwrap_or_else(|error| panic!("{fault}: {file}: {error}"));
        let tests: Vec<&str> = source.split("#[test]\n").skip(1).collect();
        let found = tests.iter().filter(|test| {
            let name = format!("fn {name}() ");
            test.lines()
                .next()
                .is_some_and(|line| line.trim_start().starts_with(&name))
        });
        assert_eq!(found.count(), 1, "{fault}: {file} has no one test {name}");
    }
    let mut faults: Vec<&String> = rows.iter().map(|row| &row[0]).collect();
    faults.sort();
    faults.dedup();
    assert_eq!(faults.len(), rows.len(), "a fault stands twice");
}

fn zboot_image(kernel: &[u8]) -> Vec<u8> {
    let scratch = Scratch::new().unwrap();
    let path = scratch.join("zboot.efi");
    zboot(Machine::Arm64, Codec::Gzip, kernel, &path).unwrap();
    fs::read(path).unwrap()
}

/// A kernel that hardly compresses.
fn kernel(len: usize) -> Vec<u8> {
    let mut kernel = tiny_kernel(Machine::Arm64, 4096);
    kernel.extend(noise(len - 4096, 7));
    kernel
}

/// An image file as it is opened: by its kernel, or the error; with the peak of the meter.
fn open(image: &[u8]) -> (Result<Unfolded<Buffer>, Error>, u64) {
    let mut sandbox = Sandbox::new(Limits::default());
    let meter = sandbox.charge_to().clone();
    let image = Buffer::from_file(image, &meter).unwrap();
    let result = unfold_buffer(&mut sandbox, image);
    (result, meter.peak())
}

fn unfold_buffer(sandbox: &mut Sandbox<'_>, image: Buffer) -> Result<Unfolded<Buffer>, Error> {
    let request = Request {
        image,
        initrd: None,
        cmdline: None,
        crash: false,
        enforced: false,
        embedded: true,
        parsers: &bundled(),
    };
    unfold(sandbox, request)
}

fn bundled() -> Vec<Parser<'static>> {
    let parsers = kpeel_parsers::BUNDLED.iter();
    parsers
        .map(|bundled| Parser {
            name: bundled.name,
            carrier: bundled.carrier,
        })
        .collect()
}

#[test]
fn an_image_of_a_kernel_alone_is_complete() {
    let kernel = kernel(64 << 10);
    let unfolded = open(&zboot_image(&kernel)).0.unwrap();
    assert!(unfolded.kernel.as_ref() == kernel);
    assert!(unfolded.initrd.is_none() && unfolded.cmdline.is_none());
}

#[test]
fn an_intermediate_kernel_is_freed_at_once() {
    const SIZE: usize = 4 << 20;
    let inner = kernel(SIZE);
    let image = (0..3).fold(inner.clone(), |image, _| zboot_image(&image));
    let (unfolded, peak) = open(&image);
    assert!(unfolded.unwrap().kernel.as_ref() == inner);
    // The image, and two of the three that come out of it: the one that is opened and its result.
    let two = (image.len() + 2 * SIZE) as u64 + SMALL;
    assert!(peak <= two, "{peak} bytes, {two} allowed");
}

#[test]
fn unfolding_holds_the_image_and_its_result_and_no_more() {
    const SIZE: usize = 16 << 20;
    let kernel = kernel(SIZE);
    let image = zboot_image(&kernel);
    let ((unfolded, charged), held) = peak_of(|| open(&image));
    assert!(unfolded.unwrap().kernel.as_ref() == kernel);
    let both = (image.len() + SIZE) as u64 + SMALL;
    assert!(charged <= both, "{charged} bytes charged, {both} allowed");
    assert!(held <= both, "{held} bytes held, {both} allowed");
}

#[test]
fn one_parser_opens_images_of_any_size() {
    for len in [4 << 10, 64 << 10, (1 << 20) + 1, 24 << 20] {
        let kernel = kernel(len.max(8192));
        assert!(
            open(&zboot_image(&kernel)).0.unwrap().kernel.as_ref() == kernel,
            "{len}"
        );
    }
}

#[test]
fn loads_at_the_same_time_share_nothing() {
    let kernels: Vec<Vec<u8>> = (1..9).map(|n| kernel(n * (32 << 10))).collect();
    let images: Vec<Vec<u8>> = kernels.iter().map(|kernel| zboot_image(kernel)).collect();
    std::thread::scope(|scope| {
        for (image, kernel) in images.iter().zip(&kernels) {
            scope.spawn(move || {
                for _ in 0..8 {
                    assert!(open(image).0.unwrap().kernel.as_ref() == *kernel);
                }
            });
        }
    });
}

#[test]
fn a_load_leaves_the_processs_descriptors_alone() {
    let image = zboot_image(&kernel(64 << 10));
    let mine = || {
        let links = fs::read_dir("/proc/self/fd").unwrap();
        let targets = links.map(|link| fs::read_link(link.unwrap().path()));
        targets.flatten().filter(|target| {
            let name = target.to_string_lossy();
            name.contains("bpf") || name.contains("anon_inode")
        })
    };
    let before = mine().count();
    let mut during = 0;
    let mut sandbox = Sandbox::new(Limits::default()).on_event(|event| {
        if matches!(event, Event::Command { .. }) {
            during = during.max(mine().count());
        }
    });
    let meter = sandbox.charge_to().clone();
    let image = Buffer::from_file(&*image, &meter).unwrap();
    unfold_buffer(&mut sandbox, image).unwrap();
    drop(sandbox);
    assert!(during <= before && mine().count() <= before);
}

#[test]
fn a_file_that_changes_after_it_was_read_changes_nothing() {
    let kernel = kernel(64 << 10);
    let scratch = Scratch::new().unwrap();
    let path = scratch.write("image", &zboot_image(&kernel)).unwrap();
    let mut sandbox = Sandbox::new(Limits::default());
    let meter = sandbox.charge_to().clone();
    let image = Buffer::from_file(fs::File::open(&path).unwrap(), &meter).unwrap();
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    file.write_all(&vec![0xff; 100_000]).unwrap();
    file.sync_all().unwrap();
    let unfolded = unfold_buffer(&mut sandbox, image).unwrap();
    assert!(unfolded.kernel.as_ref() == kernel);
}

#[test]
fn a_size_over_int_is_refused_before_arming() {
    // Endless input, as a pipe gives it: stopped at the bound, not at the end of memory.
    let limits = Limits {
        image: 1 << 20,
        ..Limits::default()
    };
    let sandbox = Sandbox::new(limits);
    let error = Buffer::from_file(std::io::repeat(0x5a), sandbox.charge_to()).unwrap_err();
    assert_eq!(error.class, Class::Refused(Refusal::Bound), "{error}");
    // Zeros that nobody touches take no memory.
    let mut begun = false;
    let limits = Limits {
        initrd: 2 * ABI_SIZE_MAX,
        memory: 4 * ABI_SIZE_MAX,
        ..Limits::default()
    };
    let mut sandbox = Sandbox::new(limits).on_event(|_| begun = true);
    let meter = sandbox.charge_to().clone();
    let size = ABI_SIZE_MAX as usize + 1;
    let request = Request {
        image: Buffer::from_file(&*zboot_image(&kernel(8192)), &meter).unwrap(),
        initrd: Some(Buffer::from_vec(vec![0; size], &meter).unwrap()),
        cmdline: None,
        crash: false,
        enforced: false,
        embedded: true,
        parsers: &bundled(),
    };
    let error = unfold(&mut sandbox, request).map(|_| ()).unwrap_err();
    assert_eq!(error.class, Class::Refused(Refusal::Bound), "{error}");
    assert!(
        error.to_string().contains(&ABI_SIZE_MAX.to_string()),
        "{error}"
    );
    drop(sandbox);
    assert!(!begun, "a loader ran");
}

#[test]
fn a_parser_with_a_single_map_loads() {
    let bundled = kpeel_parsers::by_name("zboot").unwrap();
    let carrier = kpeel_envelope::carrier::Carrier::parse(bundled.carrier).unwrap();
    let info = kpeel_sandbox::describe(&carrier).unwrap();
    assert_eq!((info.programs.len(), info.maps.len()), (1, 1), "{info:?}");
    let kernel = kernel(64 << 10);
    let unfolded = open(&zboot_image(&kernel)).0.unwrap();
    assert!(unfolded.kernel.as_ref() == kernel);
}
