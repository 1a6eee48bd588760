//! Which descriptors this process has open.

use std::collections::BTreeSet;
use std::fs;

/// Far more than a carrier's loader may open: 64 maps, their programs and module BTFs.
const HIGHEST: i32 = 1023;

/// The open descriptors. Asked one by one, because listing the directory would open another.
pub(crate) fn open() -> BTreeSet<i32> {
    (0..=HIGHEST)
        .filter(|fd| fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn sees_a_descriptor_while_it_is_open() {
        let file = fs::File::open("/dev/null").expect("there is one");
        let fd = file.as_raw_fd();
        assert!(open().contains(&fd));
        drop(file);
        // Other tests may take the number again, so only the first half is certain.
    }
}
