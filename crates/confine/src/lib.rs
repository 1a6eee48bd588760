//! Confines the process that unfolds an untrusted image.
//!
//! Unfolding needs memory and descriptors that are already open, nothing else. [`confine`] gives
//! everything else up for good: no new privileges, and a list of system calls of which any other
//! one ends the process with SIGSYS. No memory can become executable.
//!
//! Source: `seccomp(2)`, `Documentation/userspace-api/seccomp_filter.rst`.

mod files;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

pub use files::inherit_no_files;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Confinement could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The list of system calls could not be made or installed.
    #[error("seccomp: {0}")]
    Filter(#[from] seccompiler::Error),
    /// The list could not be turned into a filter for this machine.
    #[error("seccomp: {0}")]
    Machine(#[from] seccompiler::BackendError),
}

/// How a confined process ended, where it did not end by itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Killed {
    /// It made a system call outside its list.
    ForbiddenCall,
    /// Another signal ended it.
    Signal(i32),
}

/// Calls allowed with any arguments: memory, open descriptors, and how a process ends.
const CALLS: &[libc::c_long] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_fstat,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

/// Calls whose third argument is the protection of memory.
const PROTECTING_CALLS: &[libc::c_long] = &[libc::SYS_mmap, libc::SYS_mprotect];
const PROTECTION_ARGUMENT: u8 = 2;

/// Confines this thread and every one it starts, for good. Call it before the first untrusted byte
/// is read, with every descriptor open that is needed later, and from the only thread.
///
/// # Errors
/// [`Error`]; the process must not go on then.
pub fn confine() -> Result<(), Error> {
    let filter: BpfProgram = SeccompFilter::new(
        rules()?,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()?;
    // Sets no_new_privs first.
    Ok(seccompiler::apply_filter(&filter)?)
}

/// What ended a confined process; `None` when it ended by itself.
#[must_use]
pub fn killed(status: ExitStatus) -> Option<Killed> {
    status.signal().map(|signal| match signal {
        libc::SIGSYS => Killed::ForbiddenCall,
        other => Killed::Signal(other),
    })
}

impl std::fmt::Display for Killed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ForbiddenCall => f.write_str(
                "the process that unfolds the image made a system call outside its list and was \
                 killed: the image may be an attack",
            ),
            Self::Signal(signal) => {
                write!(
                    f,
                    "the process that unfolds the image was killed by signal {signal}"
                )
            }
        }
    }
}

fn rules() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, Error> {
    let mut rules: BTreeMap<_, _> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let mut allow_if = |call, argument, comparison, value: u64| -> Result<(), Error> {
        let length = SeccompCmpArgLen::Dword;
        let condition = SeccompCondition::new(argument, length, comparison, value)?;
        rules.insert(call, vec![SeccompRule::new(vec![condition])?]);
        Ok(())
    };
    for call in PROTECTING_CALLS {
        let executable = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
        allow_if(*call, PROTECTION_ARGUMENT, executable, 0)?;
    }
    // The library asks whether a descriptor is open; F_SETOWN would send signals to others.
    allow_if(libc::SYS_fcntl, 1, SeccompCmpOp::Eq, libc::F_GETFD as u64)?;
    // An abort is a signal to oneself.
    allow_if(
        libc::SYS_tgkill,
        0,
        SeccompCmpOp::Eq,
        std::process::id().into(),
    )?;
    Ok(rules)
}
