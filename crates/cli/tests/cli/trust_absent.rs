//! A kpeel without signatures says so, and trusts nothing.

use crate::support::{Bench, fails, kernel, kpeel, succeeds};

#[test]
fn signatures_are_asked_for_in_vain() {
    let bench = Bench::new();
    let (image, out) = (bench.write("image", &kernel()), bench.path("out"));
    let key = bench.write("key.pem", b"");
    let verify: [&std::ffi::OsStr; 2] = ["verify".as_ref(), image.as_os_str()];
    let mut unfold = kpeel(["unfold", "-o"]);
    unfold.arg(&out).arg(&image).arg("--trust").arg(&key);
    let mut sign = kpeel(["sign", "-o"]);
    sign.arg(&out).arg(&image);
    sign.arg("--key").arg(&key).arg("--cert").arg(&key);
    for mut command in [kpeel(verify), unfold, sign] {
        let said = fails(&mut command, 4);
        assert!(said.contains("built without signatures"), "{said}");
        assert!(!out.exists());
    }
    let mut unfold = kpeel(["unfold", "--trust", "none", "-o"]);
    succeeds(unfold.arg(&out).arg(&image));
}
