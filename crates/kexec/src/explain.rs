//! What an errno of the kernel means here, and what to do about it.
//!
//! Formats are never guessed from an errno: the loader has recognised the kernel before.
//!
//! Source: `kernel/kexec.c`, `kernel/kexec_file.c`, `security/lockdown/lockdown.c`,
//! `crypto/asymmetric_keys`.

use std::io;

use crate::error::Error;
use crate::status::{Lockdown, Status};
use crate::syscall::Call;

/// What is known about a load that failed.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The state of the system.
    pub status: &'a Status,
    /// Whether the caller may load at all (`CAP_SYS_BOOT`).
    pub capable: bool,
    /// Whether the kernel is signed, if somebody looked.
    pub signed: Option<bool>,
    /// Who signed it, if somebody looked: the subject of the certificate.
    pub signer: Option<&'a str>,
    /// Whether it was unpacked, so that an envelope's signature is lost on it.
    pub unpacked: bool,
    /// Whether this was a crash load.
    pub crash: bool,
}

/// Why, and what to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// Whether a policy refused (else the system failed).
    pub refused: bool,
    /// One or two sentences.
    pub text: String,
}

/// Explains the failure of a call; `None` where the errno says it all.
#[must_use]
pub fn explain(error: &Error, about: &Circumstances<'_>) -> Option<Explanation> {
    let Error::Call { call, source } = error else {
        return None;
    };
    let refused = |text: &str| {
        Some(Explanation {
            refused: true,
            text: text.into(),
        })
    };
    let failed = |text: &str| {
        Some(Explanation {
            refused: false,
            text: text.into(),
        })
    };
    match source.raw_os_error()? {
        libc::EPERM => Some(not_permitted(*call, about)),
        libc::EKEYREJECTED | libc::ENOKEY => Some(key_refused(source, about)),
        libc::ENODATA => refused(
            "the kernel image carries no signature, but one is needed: sign it, or build an image \
             whose inner kernel is signed",
        ),
        libc::ELIBBAD | libc::EBADMSG => {
            refused("the signature does not belong to the bytes of the kernel image")
        }
        libc::EBUSY => failed("another kexec operation is under way: try again when it has ended"),
        libc::EADDRNOTAVAIL if about.crash => failed(&format!(
            "the crash kernel does not fit its reservation of {} bytes: boot with a larger \
             crashkernel=SIZE",
            about.status.crash_size.unwrap_or(0)
        )),
        libc::EADDRNOTAVAIL => failed("the kernel found no free memory for the new one"),
        libc::ENOSYS => failed(match call {
            Call::File => "this kernel is built without kexec_file_load (CONFIG_KEXEC_FILE)",
            Call::Segments => "this kernel is built without kexec_load (CONFIG_KEXEC)",
        }),
        _ => None,
    }
}

fn not_permitted(call: Call, about: &Circumstances<'_>) -> Explanation {
    let status = about.status;
    let locked = matches!(
        status.lockdown,
        Lockdown::Integrity | Lockdown::Confidentiality
    );
    let text = if !about.capable {
        "loading a kernel needs CAP_SYS_BOOT: run as root"
    } else if status.load_disabled == Some(true) {
        "kexec_load_disabled is set: no kernel can be loaded until the next boot"
    } else if locked && call == Call::Segments {
        "kernel lockdown forbids kexec_load, which checks no signatures: a kernel with \
         kexec_file_load and a signed image are needed"
    } else if locked && about.unpacked {
        "kernel lockdown needs a signed kernel, and the signature of the image around it does not \
         count for what was unpacked: use an image whose inner kernel is signed"
    } else if locked {
        "kernel lockdown needs a kernel signed with a key the running kernel trusts"
    } else {
        "a security policy of this system (a kexec_load_limit or a security module) forbids it"
    };
    Explanation {
        refused: true,
        text: text.into(),
    }
}

fn key_refused(source: &io::Error, about: &Circumstances<'_>) -> Explanation {
    let what = match (source.raw_os_error(), about.signed) {
        (_, Some(false)) => "the kernel image is not signed",
        (Some(libc::ENOKEY), _) => "no key the running kernel trusts signed the kernel image",
        _ => "the running kernel rejects the key that signed the kernel image",
    };
    let text = format!(
        "{what}. It asks the keyrings .builtin_trusted_keys, .secondary_trusted_keys and then \
         .platform (Secure Boot's db; with shim also the machine owner's keys): enrol the signer's \
         certificate there, or sign with an enrolled key{}",
        signer(about)
    );
    Explanation {
        refused: true,
        text,
    }
}

/// Who signed the image, where that is known.
fn signer(about: &Circumstances<'_>) -> String {
    let signer = about.signer.filter(|_| about.signed != Some(false));
    signer.map_or_else(String::new, |signer| format!(" (it is signed by {signer})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(
        call: Call,
        errno: i32,
        change: impl FnOnce(&mut Status, &mut Circumstances<'_>),
    ) -> String {
        let mut status = Status::default();
        let copy = status;
        let mut about = Circumstances {
            status: &copy,
            capable: true,
            signed: None,
            signer: None,
            unpacked: false,
            crash: false,
        };
        change(&mut status, &mut about);
        let about = Circumstances {
            status: &status,
            ..about
        };
        let error = Error::Call {
            call,
            source: io::Error::from_raw_os_error(errno),
        };
        explain(&error, &about)
            .map(|explanation| explanation.text)
            .unwrap_or_default()
    }

    #[test]
    fn eperm_names_capability_then_switch_then_lockdown() {
        let eperm =
            |change: fn(&mut Status, &mut Circumstances<'_>)| says(Call::File, libc::EPERM, change);
        assert!(eperm(|_, about| about.capable = false).contains("CAP_SYS_BOOT"));
        assert!(
            eperm(|status, _| status.load_disabled = Some(true)).contains("kexec_load_disabled")
        );
        let unpacked = eperm(|status, about| {
            status.lockdown = Lockdown::Integrity;
            about.unpacked = true;
        });
        assert!(unpacked.contains("inner kernel is signed"));
        assert!(eperm(|_, _| {}).contains("security policy"));
    }

    #[test]
    fn a_rejected_key_names_the_keyrings() {
        for errno in [libc::EKEYREJECTED, libc::ENOKEY] {
            assert!(says(Call::File, errno, |_, _| {}).contains(".secondary_trusted_keys"));
        }
        let unsigned = says(Call::File, libc::EKEYREJECTED, |_, about| {
            about.signed = Some(false)
        });
        assert!(unsigned.contains("not signed"));
        let signed = says(Call::File, libc::ENOKEY, |_, about| {
            about.signer = Some("CN=somebody");
        });
        assert!(signed.ends_with("enrolled key (it is signed by CN=somebody)"));
    }

    #[test]
    fn a_crash_kernel_too_large_names_the_reservation() {
        let text = says(Call::File, libc::EADDRNOTAVAIL, |status, about| {
            status.crash_size = Some(4096);
            about.crash = true;
        });
        assert!(text.contains("4096 bytes"));
    }

    #[test]
    fn enoexec_is_not_guessed_at() {
        assert_eq!(says(Call::File, libc::ENOEXEC, |_, _| {}), "");
    }
}
