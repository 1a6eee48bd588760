//! What a guest is made of.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::accel::Accel;
use crate::arch::Arch;

/// Memory of a guest unless said otherwise, in MiB.
const MEMORY_MIB: u32 = 1024;
/// Processors of a guest unless said otherwise.
const CPUS: u32 = 1;
/// Time a guest has unless said otherwise.
const DEADLINE: Duration = Duration::from_secs(120);

/// A guest, ready to run; see [`Machine::run`].
///
/// It has a serial port, memory and processors, and nothing else unless asked for.
#[derive(Clone, Debug)]
pub struct Machine {
    pub(crate) arch: Arch,
    pub(crate) kernel: Option<PathBuf>,
    pub(crate) initrd: Option<PathBuf>,
    append: Vec<String>,
    memory_mib: u32,
    cpus: u32,
    pub(crate) firmware: Option<Firmware>,
    pub(crate) accel: Option<Accel>,
    pub(crate) deadline: Duration,
    reset: Reset,
    arguments: Vec<OsString>,
}

/// UEFI firmware in two flash devices.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// The code, mapped read-only.
    pub code: PathBuf,
    /// The variable store; each run gets a copy of its own.
    pub variables: PathBuf,
}

/// What a reset by the guest does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reset {
    /// The machine starts again, as firmware needs it.
    Continues,
    /// The run is over, and has failed. kexec is no reset.
    Ends,
}

impl Machine {
    /// A guest of this architecture that has nothing to boot yet.
    #[must_use]
    pub fn new(arch: Arch) -> Self {
        Self {
            arch,
            kernel: None,
            initrd: None,
            append: vec![format!("console={}", arch.console()), "panic=-1".to_owned()],
            memory_mib: MEMORY_MIB,
            cpus: CPUS,
            firmware: None,
            accel: None,
            deadline: DEADLINE,
            reset: Reset::Ends,
            arguments: Vec::new(),
        }
    }

    /// Boots this kernel directly.
    #[must_use]
    pub fn kernel(mut self, path: impl Into<PathBuf>) -> Self {
        self.kernel = Some(path.into());
        self
    }

    /// Gives the kernel this initrd.
    #[must_use]
    pub fn initrd(mut self, path: impl Into<PathBuf>) -> Self {
        self.initrd = Some(path.into());
        self
    }

    /// Adds words to the kernel's command line, which has `console=` and `panic=-1` already.
    #[must_use]
    pub fn append(mut self, words: &str) -> Self {
        self.append.push(words.to_owned());
        self
    }

    /// Sets the memory, in MiB.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory_mib = mib;
        self
    }

    /// Sets the number of processors.
    #[must_use]
    pub fn cpus(mut self, count: u32) -> Self {
        self.cpus = count;
        self
    }

    /// Boots through UEFI; with a kernel, the firmware starts it.
    #[must_use]
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = Some(firmware);
        self
    }

    /// Sets what a reset does; [`Reset::Ends`] unless said.
    #[must_use]
    pub fn reset(mut self, reset: Reset) -> Self {
        self.reset = reset;
        self
    }

    /// Chooses the accelerator instead of probing for one.
    #[must_use]
    pub fn accel(mut self, accel: Accel) -> Self {
        self.accel = Some(accel);
        self
    }

    /// Sets the time after which QEMU is killed and the run has failed.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Adds one argument of QEMU, for devices that nothing above covers.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// QEMU's arguments, but for those that connect it with the runner. `variables` is this run's
    /// copy of the firmware's variable store.
    pub(crate) fn to_arguments(&self, accel: Accel, variables: &Path) -> Vec<OsString> {
        let mut list = Arguments::default();
        list.pair("-machine", self.arch.board());
        list.pair("-accel", accel.argument());
        list.pair("-cpu", accel.cpu(self.arch));
        list.pair("-m", self.memory_mib.to_string());
        list.pair("-smp", self.cpus.to_string());
        list.words(&["-nodefaults", "-no-user-config", "-display", "none"]);
        if self.reset == Reset::Ends {
            list.words(&["-no-reboot"]);
        }
        if let Some(firmware) = &self.firmware {
            list.pair("-drive", flash(&firmware.code, true));
            list.pair("-drive", flash(variables, false));
        }
        if let Some(kernel) = &self.kernel {
            list.pair("-kernel", kernel);
            list.pair("-append", self.append.join(" "));
        }
        if let Some(initrd) = &self.initrd {
            list.pair("-initrd", initrd);
        }
        list.0.extend(self.arguments.iter().cloned());
        list.0
    }
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn pair(&mut self, option: &str, value: impl Into<OsString>) {
        self.0.push(option.into());
        self.0.push(value.into());
    }

    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(OsString::from));
    }
}

/// A flash device, by QEMU's option syntax, in which a comma in a value is doubled.
fn flash(path: &Path, read_only: bool) -> String {
    let path = path.display().to_string().replace(',', ",,");
    let access = if read_only { "on" } else { "off" };
    format!("if=pflash,format=raw,readonly={access},file={path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(machine: &Machine) -> Vec<String> {
        machine
            .to_arguments(Accel::Tcg, Path::new("/run/vars,1.fd"))
            .into_iter()
            .map(|argument| argument.into_string().expect("ASCII"))
            .collect()
    }

    fn value<'a>(arguments: &'a [String], option: &str) -> Option<&'a str> {
        let at = arguments.iter().position(|argument| argument == option)?;
        arguments.get(at + 1).map(String::as_str)
    }

    #[test]
    fn command_line_has_the_console_of_the_architecture() {
        let machine = |arch| Machine::new(arch).kernel("/k").append("kpeel.job=/j");
        assert_eq!(
            value(&arguments(&machine(Arch::X86_64)), "-append"),
            Some("console=ttyS0 panic=-1 kpeel.job=/j")
        );
        assert_eq!(
            value(&arguments(&machine(Arch::Aarch64)), "-append"),
            Some("console=ttyAMA0 panic=-1 kpeel.job=/j")
        );
    }

    #[test]
    fn reset_ends_the_run_unless_firmware_needs_it() {
        let machine = Machine::new(Arch::X86_64);
        assert!(arguments(&machine).contains(&"-no-reboot".to_owned()));
        let machine = machine.reset(Reset::Continues);
        assert!(!arguments(&machine).contains(&"-no-reboot".to_owned()));
    }

    #[test]
    fn firmware_writes_only_to_the_copy_of_its_variables() {
        let machine = Machine::new(Arch::Aarch64).firmware(Firmware {
            code: "/fw/code.fd".into(),
            variables: "/fw/vars.fd".into(),
        });
        let flashes: Vec<String> = arguments(&machine)
            .into_iter()
            .filter(|argument| argument.starts_with("if=pflash"))
            .collect();
        assert_eq!(
            flashes,
            [
                "if=pflash,format=raw,readonly=on,file=/fw/code.fd",
                "if=pflash,format=raw,readonly=off,file=/run/vars,,1.fd",
            ]
        );
    }
}
