//! What a confined child made of an image: taken only after it is checked, and sealed.

use std::fs::File;
use std::os::unix::fs::FileExt;

use kpeel_envelope::compose::{INITRD_ALIGNMENT, cmdline_text, split_selector};
use kpeel_envelope::limits::Limits;
use kpeel_kexec::segments::TREE_MAX;
use kpeel_sandbox::Machine;

use super::input::{Input, seal};
use super::isolate::{Task, bug};
use super::wire::{Done, Results, shown};
use crate::failure::{Failure, Result};
use crate::trust::Signer;

/// Bytes of a kernel that tell what it is.
const HEADER: u64 = 64 << 10;

/// The image, open.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The kernel; `None` when the image itself is the kernel, untouched.
    pub(crate) kernel: Option<Memory>,
    /// The initrd; `None` when the caller's, if there is one, is all of it.
    pub(crate) initrd: Option<Memory>,
    /// The command line, whole, without NUL.
    pub(crate) cmdline: Vec<u8>,
    /// The image's device tree.
    pub(crate) dtb: Option<Memory>,
    /// Envelopes opened.
    pub(crate) envelopes: u32,
    /// Whether the file was compressed as a whole.
    pub(crate) unpacked: bool,
    /// Envelope that gave an initrd.
    pub(crate) initrd_envelope: Option<u32>,
    /// Envelope that gave a command line.
    pub(crate) cmdline_envelope: Option<u32>,
    /// The profile selected.
    pub(crate) profile: Option<u32>,
    /// Whether the image seals secrets against measurements that only firmware makes.
    pub(crate) pcrsig: bool,
    /// Whether the kernel has a certificate table.
    pub(crate) signed: bool,
    /// Who signed the kernel by itself, trusted or not.
    pub(crate) kernel_signer: Option<String>,
    /// Whose signatures counted.
    pub(crate) signers: Vec<Signer>,
    /// Machine the kernel is for.
    pub(crate) machine: Machine,
}

/// Bytes nobody can change.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) file: File,
    pub(crate) size: u64,
}

/// Checks an answer, and seals the results it tells of.
pub(super) fn take(task: &Task<'_>, results: Results<File>, done: Done) -> Result<Opened> {
    let limits = Limits::default();
    let Results {
        kernel,
        initrd,
        dtb,
    } = results;
    let kernel = sealed(kernel, done.sizes.kernel, "kernel", limits.kernel)?;
    let initrd = sealed(initrd, done.sizes.initrd, "initrd", limits.initrd)?;
    let dtb = sealed(dtb, done.sizes.dtb, "dtb", TREE_MAX)?;
    let source = kernel
        .as_ref()
        .map_or(&task.image.memory, |kernel| &kernel.file);
    let machine = machine(source)?;
    if let (Some(whole), Some(callers)) = (&initrd, task.initrd) {
        ends_with(whole, callers)?;
    }
    Ok(Opened {
        kernel,
        initrd,
        cmdline: cmdline(task, done.cmdline.unwrap_or_default(), &limits)?,
        dtb,
        envelopes: done.opened,
        unpacked: done.unpacked,
        initrd_envelope: done.initrd_envelope,
        cmdline_envelope: done.cmdline_envelope,
        profile: done.profile,
        pcrsig: done.pcrsig,
        signed: done.signed,
        kernel_signer: done.kernel_signer.as_deref().map(shown),
        signers: done.signers.iter().map(shown_signer).collect(),
        machine,
    })
}

fn shown_signer(signer: &Signer) -> Signer {
    Signer {
        envelope: signer.envelope,
        subject: shown(&signer.subject),
        by: shown(&signer.by),
    }
}

/// A result, sealed; `None` if the child made none.
fn sealed(file: File, size: Option<u64>, name: &str, allowed: u64) -> Result<Option<Memory>> {
    let Some(size) = size else {
        return Ok(None);
    };
    seal(&file)?;
    let found = file
        .metadata()
        .map_err(|error| Failure::system(format!("the {name}'s size: {error}")))?
        .len();
    if found != size || found == 0 || found > allowed {
        return Err(untrue(format!(
            "{name}: found {found} bytes, needed the {size} it tells of and at most {allowed}"
        )));
    }
    Ok(Some(Memory { file, size }))
}

/// What the kernel is for, by its header.
fn machine(kernel: &File) -> Result<Machine> {
    let mut header = vec![0; HEADER as usize];
    let mut filled = 0;
    while let Some(rest) = header.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let count = kernel
            .read_at(rest, filled as u64)
            .map_err(|error| Failure::system(format!("reading the kernel: {error}")))?;
        if count == 0 {
            break;
        }
        filled = filled.saturating_add(count);
    }
    header.truncate(filled);
    let machine = Machine::of_kernel(&header).ok_or_else(|| {
        untrue("kernel: found no header of one, needed one for this machine".to_owned())
    })?;
    if Machine::running().is_some_and(|running| running != machine) {
        return Err(untrue("kernel: is for another machine".to_owned()));
    }
    Ok(machine)
}

/// The whole initrd has to end with the caller's.
fn ends_with(whole: &Memory, callers: &Input) -> Result<()> {
    const CHUNK: u64 = 1 << 20;
    let differs = || untrue("initrd: does not end with the caller's".to_owned());
    let start = whole.size.checked_sub(callers.size).ok_or_else(differs)?;
    if start % INITRD_ALIGNMENT as u64 != 0 {
        return Err(differs());
    }
    let (mut one, mut other) = (vec![0; CHUNK as usize], vec![0; CHUNK as usize]);
    let mut at = 0;
    while at < callers.size {
        let count = callers.size.saturating_sub(at).min(CHUNK) as usize;
        let parts = one.get_mut(..count).zip(other.get_mut(..count));
        let (one, other) = parts.ok_or_else(differs)?;
        whole
            .file
            .read_exact_at(one, start.saturating_add(at))
            .and_then(|()| callers.memory.read_exact_at(other, at))
            .map_err(|error| Failure::system(format!("reading the initrd: {error}")))?;
        if one != other {
            return Err(differs());
        }
        at = at.saturating_add(count as u64);
    }
    Ok(())
}

/// The whole command line has to be text and to end with the caller's.
fn cmdline(task: &Task<'_>, line: Vec<u8>, limits: &Limits) -> Result<Vec<u8>> {
    let text = cmdline_text(&line).map_err(|_| untrue("command line: holds a NUL".to_owned()))?;
    if text.len() != line.len() || line.len() as u64 > limits.cmdline {
        return Err(untrue("command line: ends with blanks".to_owned()));
    }
    let callers = task.cmdline.map_or("", without_selector);
    if !line.ends_with(callers.trim_end().as_bytes()) {
        return Err(untrue(
            "command line: does not end with the caller's".to_owned(),
        ));
    }
    Ok(line)
}

/// A caller's line as a kernel gets it.
pub(crate) fn without_selector(line: &str) -> &str {
    match split_selector(line.as_bytes()) {
        Ok((_, rest)) => line
            .get(line.len().saturating_sub(rest.len())..)
            .unwrap_or_default(),
        Err(_) => line,
    }
}

/// An answer that a child of ours cannot have given by itself.
fn untrue(what: String) -> Failure {
    bug(format!("the confined child's answer is not true: {what}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_caller_s_part_of_the_command_line_has_to_be_there() {
        let image = Input::one(Path::new("/proc/self/cmdline"), "image", 1 << 20).unwrap();
        let task = |line| Task {
            image: &image,
            initrd: None,
            cmdline: Some(line),
            crash: false,
            embedded: true,
            parsers: Vec::new(),
            trace: false,
            keys: None,
        };
        let limits = Limits::default();
        let check = |task: &Task<'_>, line: &[u8]| cmdline(task, line.to_vec(), &limits);
        check(&task("@1 quiet "), b"root=/dev/vda quiet").unwrap();
        check(&task("@1 quiet"), b"root=/dev/vda").unwrap_err();
        check(&task("quiet"), b"a\0quiet").unwrap_err();
        check(&task("quiet"), b"quiet ").unwrap_err();
    }
}
