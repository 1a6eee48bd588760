//! Guests that firmware boots from a disk, with a TPM or without.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kpeel_images::make::Scratch;
use kpeel_vm::{Arch, Firmware, Machine, Reset};

use crate::Outcome;

/// Where firmware looks for a program on a disk (UEFI, "Removable Media Boot Behavior").
const BOOT: &str = "EFI/BOOT";
/// Time a TPM has to come up.
const TPM_STARTS: Duration = Duration::from_secs(20);

/// The firmware of Debian's packages ovmf and qemu-efi-aarch64, without Secure Boot.
pub(crate) fn firmware(arch: Arch) -> Outcome<Firmware> {
    let (code, variables, package) = match arch {
        Arch::X86_64 => (
            "/usr/share/OVMF/OVMF_CODE_4M.fd",
            "/usr/share/OVMF/OVMF_VARS_4M.fd",
            "ovmf",
        ),
        Arch::Aarch64 => (
            "/usr/share/AAVMF/AAVMF_CODE.fd",
            "/usr/share/AAVMF/AAVMF_VARS.fd",
            "qemu-efi-aarch64",
        ),
    };
    if !Path::new(code).is_file() {
        return Err(format!("{code} is not there (Debian package {package})").into());
    }
    Ok(Firmware {
        code: code.into(),
        variables: variables.into(),
    })
}

/// A machine whose firmware finds this image, and nothing else, on its first disk.
pub(crate) struct Disk(Scratch);

impl Disk {
    pub(crate) fn new(arch: Arch, image: &[u8]) -> Outcome<Self> {
        let disk = Scratch::new()?;
        fs::create_dir_all(disk.join(BOOT))?;
        let program = match arch {
            Arch::Aarch64 => "BOOTAA64.EFI",
            Arch::X86_64 => "BOOTX64.EFI",
        };
        fs::write(disk.join(BOOT).join(program), image)?;
        Ok(Self(disk))
    }

    /// Puts another file on it.
    pub(crate) fn add(&self, path: &str, content: &[u8]) -> Outcome<()> {
        let file = self.0.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(file, content)?)
    }

    /// The machine with firmware and this disk; the disk lives as long as this value.
    pub(crate) fn boots(&self, arch: Arch) -> Outcome<Machine> {
        Ok(self.given_to(Machine::new(arch).firmware(firmware(arch)?)))
    }

    /// The machine, which has firmware, with this disk.
    pub(crate) fn given_to(&self, machine: Machine) -> Machine {
        let path = option_value(self.0.path());
        machine
            .reset(Reset::Continues)
            .argument("-drive")
            .argument(format!("if=virtio,format=raw,readonly=on,file=fat:{path}"))
    }
}

/// A software TPM 2.0 (Debian package swtpm), gone with the value.
pub(crate) struct Tpm {
    child: Child,
    place: Scratch,
}

impl Tpm {
    pub(crate) fn start() -> Outcome<Self> {
        let place = Scratch::new()?;
        fs::create_dir(place.join("state"))?;
        // A runner that is killed takes its TPM with it.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "swtpm", "socket", "--tpm2"])
            .arg("--tpmstate")
            .arg(format!("dir={}", place.join("state").display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket(&place)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("setpriv: {error} (Debian package util-linux)"))?;
        let mut tpm = Self { child, place };
        tpm.wait()?;
        Ok(tpm)
    }

    /// The machine with this TPM.
    pub(crate) fn given_to(&self, machine: Machine) -> Machine {
        let path = option_value(Path::new(&socket(&self.place)));
        machine
            .argument("-chardev")
            .argument(format!("socket,id=tpm,path={path}"))
            .argument("-tpmdev")
            .argument("emulator,id=tpm0,chardev=tpm")
            .argument("-device")
            .argument("tpm-crb,tpmdev=tpm0")
    }

    fn wait(&mut self) -> Outcome<()> {
        let deadline = Instant::now() + TPM_STARTS;
        while !Path::new(&socket(&self.place)).exists() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("swtpm: {status} (Debian package swtpm)").into());
            }
            if Instant::now() > deadline {
                return Err("swtpm does not come up".into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        // One that ended by itself, with its guest, is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(place: &Scratch) -> String {
    place.join("tpm").display().to_string()
}

/// A path in an option of QEMU, where a comma is doubled.
fn option_value(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}
