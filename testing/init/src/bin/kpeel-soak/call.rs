//! The system calls.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _};

/// Flags of `kexec_file_load` (`include/uapi/linux/kexec.h`).
const UNLOAD: libc::c_ulong = 1;
const NO_INITRAMFS: libc::c_ulong = 4;

/// Loads an image: 0, or the errno with which the kernel refuses it.
pub(crate) fn load(image: &File, initrd: Option<&File>) -> i32 {
    let flags = if initrd.is_some() { 0 } else { NO_INITRAMFS };
    let initrd = initrd.map_or(-1, |file| file.as_raw_fd());
    // SAFETY: The descriptors are open; there is no command line.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            image.as_raw_fd(),
            initrd,
            0,
            std::ptr::null::<u8>(),
            flags,
        )
    };
    if result == 0 { 0 } else { last_errno() }
}

/// Lets the loaded kernel go.
pub(crate) fn unload() -> Result<(), String> {
    // SAFETY: With this flag the kernel looks at no other argument.
    let result = unsafe { libc::syscall(libc::SYS_kexec_file_load, -1, -1, 0, 0, UNLOAD) };
    if result == 0 {
        return Ok(());
    }
    Err(format!("unloading: {}", io::Error::last_os_error()))
}

/// A file in memory without a name.
pub(crate) fn memory_file() -> Result<File, String> {
    // SAFETY: The name ends with NUL.
    let fd = unsafe { libc::memfd_create(c"stream".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(format!("memfd_create: {}", io::Error::last_os_error()));
    }
    // SAFETY: The kernel just opened it for us.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// How many objects of a kind have ids, by its `BPF_..._GET_NEXT_ID` of `enum bpf_cmd`.
pub(crate) fn bpf_ids(next_id: libc::c_int) -> usize {
    // start_id, next_id and open_flags of union bpf_attr.
    let mut attr = [0_u32; 3];
    let mut count = 0;
    loop {
        let size = size_of_val(&attr);
        // SAFETY: The attributes may be read and written.
        let result = unsafe { libc::syscall(libc::SYS_bpf, next_id, attr.as_mut_ptr(), size) };
        if result != 0 {
            return count;
        }
        count += 1;
        attr = [attr[1], 0, 0];
    }
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(-1)
}
