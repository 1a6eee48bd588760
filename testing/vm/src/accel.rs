//! KVM where it works, emulation everywhere else.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use crate::arch::Arch;
use crate::machine::Machine;

/// How QEMU executes a guest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accel {
    /// The host's processor runs it.
    Kvm,
    /// QEMU emulates it.
    Tcg,
}

/// `tcg` or `kvm` here ends the guessing.
const OVERRIDE: &str = "KPEEL_VM_ACCEL";

/// A kernel that needs longer than this until it misses its root file system is not worth having.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);

/// What every Linux says first.
const BANNER: &str = "Linux version ";

/// QEMU's reason for stopping when the probed kernel, without a root file system, panics.
const PANIC_REBOOT: &str = "guest-reset";

impl Accel {
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg,thread=multi",
        }
    }

    pub(crate) fn cpu(self, arch: Arch) -> &'static str {
        match self {
            Self::Kvm => "max",
            Self::Tcg => arch.emulated_cpu(),
        }
    }

    /// The accelerator for this machine: what was asked for, else KVM if a guest's kernel boots
    /// with it. That `/dev/kvm` opens proves little: nested virtualisation may stop at the first
    /// instruction it cannot emulate. Probed once per process, with the first kernel met.
    pub(crate) fn choose(machine: &Machine) -> Self {
        static PROBED: OnceLock<Accel> = OnceLock::new();
        if let Some(accel) = machine.accel.or_else(overridden) {
            return accel;
        }
        match &machine.kernel {
            Some(kernel) if machine.arch.is_host() && Path::new("/dev/kvm").exists() => {
                *PROBED.get_or_init(|| Self::probe(machine.arch, kernel))
            }
            _ => Self::Tcg,
        }
    }

    fn probe(arch: Arch, kernel: &Path) -> Self {
        let machine = Machine::new(arch)
            .kernel(kernel)
            .accel(Self::Kvm)
            .deadline(PROBE_DEADLINE);
        match machine.execute(Self::Kvm, None) {
            Ok(run)
                if run.end.reason.as_deref() == Some(PANIC_REBOOT)
                    && run.lines.iter().any(|line| line.contains(BANNER)) =>
            {
                Self::Kvm
            }
            _ => Self::Tcg,
        }
    }
}

fn overridden() -> Option<Accel> {
    match std::env::var(OVERRIDE).as_deref() {
        Ok("kvm") => Some(Accel::Kvm),
        Ok("tcg") => Some(Accel::Tcg),
        _ => None,
    }
}
