//! What a load holds beside what it is charged for.

mod common;

use common::{c_carrier, zboot_image};
use kpeel_counting::{Counting, peak_of};
use kpeel_envelope::limits::Limits;
use kpeel_envelope::pipeline::{Parser, Request, unfold};
use kpeel_images::make::{Codec, Machine, tiny_kernel};
use kpeel_sandbox::{Buffer, Sandbox};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn publishing_an_image_from_its_first_byte_on_holds_one_copy_which_is_charged() {
    let carrier = c_carrier("rules");
    let mut image = zboot_image(Codec::Gzip, &tiny_kernel(Machine::Arm64, 64 << 10));
    image.resize(8 << 20, 0);
    let mut sandbox = Sandbox::new(Limits::default());
    let meter = sandbox.charge_to().clone();
    let buffer = |bytes: &[u8]| Buffer::from_vec(bytes.to_vec(), &meter).unwrap();
    let request = Request {
        image: buffer(&image),
        initrd: None,
        // The first that this rule calls.
        cmdline: Some(buffer(b"buffers")),
        crash: false,
        enforced: false,
        embedded: true,
        parsers: &[Parser {
            name: "test",
            carrier: &carrier,
        }],
    };
    let before = meter.held();
    let (_, held) = peak_of(|| unfold(&mut sandbox, request));
    let charged = meter.peak() - before;
    let size = image.len() as u64;
    assert!(charged >= size, "{charged} bytes charged");
    assert!(
        held <= charged + (2 << 20),
        "{held} bytes, {charged} charged"
    );
}
