//! Rows in which Linux itself opens the image: the kernel side of kpeel, `linux/`.
//!
//! The client knows nothing (`kpeel-raw`): file, command line and flags go to the kernel as they are.

mod c_made;
mod parsers;
mod policy;
mod races;
pub(super) mod refusals;

use kpeel_vm::Arch;
use kpeel_vm::Arch::X86_64;

use super::crash::{RESERVATION, VMCORE};
use crate::Outcome;
use crate::fixtures::HOSTILE;
use crate::guest::{Guest, second};
use crate::row::Row;
use crate::shop::{Shop, Which};
use refusals::TOO_LONG;

/// The system call and nothing else.
pub(super) const RAW: &str = "/bin/raw";
/// Exit status of a refused call.
pub(super) const REFUSED: i32 = 1;
/// A mebibyte.
const MIB: usize = 1 << 20;
/// What the caller adds.
pub(super) const CALLER: &str = "kpeel.caller=1";

/// The rows, slow ones first.
pub(super) fn rows() -> Vec<Row> {
    let row = |name, claim, guest| Row::new(name, X86_64, claim, guest);
    vec![
        row(
            "x86_64-linux-refusals",
            "Linux opens images: policy, signatures and hostile parsers, each refused by name, a good load after each",
            refusals::refusals,
        )
        .within(900),
        row(
            "x86_64-linux-attacks",
            "Linux opens images while root looks for the parser: by id, descriptor, pidfd, on the anchors",
            attacks,
        )
        .within(600),
        row(
            "x86_64-linux-parsers",
            "Linux opens images: endless parsers, loaders that want more, layouts no signature covers, each refused",
            parsers::refused,
        )
        .within(900),
        row(
            "x86_64-linux-c-toolchain",
            "a parser made by clang and bpftool opens a zboot image under lockdown (integrity); hostile ones are refused",
            c_made::integrity,
        )
        .within(900),
        row(
            "x86_64-linux-c-toolchain-confidentiality",
            "under lockdown (confidentiality) it is refused by its helper's name, and ours loads",
            c_made::confidentiality,
        )
        .within(600),
        row(
            "x86_64-linux-races",
            "a caller attacks its own load: closes descriptors, rewrites the file, loads twice, signals the thread",
            races::races,
        )
        .within(600),
        row(
            "x86_64-linux-memory",
            "a load's memory is charged to the caller's cgroup, whose limit ends it in ENOMEM or a kill",
            races::memory,
        )
        .within(600),
        row(
            "x86_64-linux-unsigned",
            "nothing enforces signatures: of an unsigned or badly signed image no BPF object comes to be",
            |shop, row| policy::never_runs(shop, row, ""),
        )
        .within(600),
        row(
            "x86_64-linux-unsigned-locked",
            "the same under lockdown (integrity)",
            |shop, row| policy::never_runs(shop, row, "lockdown=integrity"),
        )
        .within(600),
        row(
            "x86_64-linux-ima",
            "IMA's appraisal of the very file counts as a signature; without one, or with another file's, it is refused",
            policy::ima,
        )
        .within(600),
        row(
            "x86_64-linux-ima-log",
            "IMA's appraisal that is only logged vouches for no parser",
            policy::ima_log,
        )
        .within(600),
        row(
            "x86_64-linux-secure-boot",
            "Secure Boot enforces signatures: a signed image loads, an unsigned one is refused whatever IMA says",
            policy::forced,
        )
        .within(600),
        row(
            "x86_64-linux-plain",
            "a bzImage without a parser, under lockdown: refused unsigned, started signed",
            policy::plain,
        )
        .within(600),
        row(
            "x86_64-linux-post",
            "the post parser runs, may warn, and changes nothing; two of a kind are refused",
            parsers::post,
        )
        .within(600),
        row(
            "x86_64-linux-killed",
            "SIGKILL during a load: the caller is gone within a second, the next load works; a bomb is refused",
            killed,
        )
        .within(600),
        row(
            "x86_64-linux-too-much",
            "a parser that publishes 1500 MiB of initrd is refused for that",
            too_much,
        )
        .within(600),
        row(
            "x86_64-linux-uki",
            "Linux opens a signed UKI by the parser in it, under lockdown (integrity)",
            |shop, row| uki(shop, row, "lockdown=integrity", ""),
        ),
        row(
            "x86_64-linux-confidentiality",
            "the same under lockdown (confidentiality)",
            |shop, row| uki(shop, row, "lockdown=confidentiality", ""),
        ),
        row(
            "x86_64-linux-caller",
            "the same without lockdown: the caller's command line is added",
            |shop, row| uki(shop, row, "", CALLER),
        ),
        row(
            "x86_64-linux-measured",
            "IMA measures one command line: image's and caller's together, as the second kernel gets them",
            measured,
        ),
        row(
            "x86_64-linux-nested",
            "Linux opens a UKI in a UKI, each with its parser",
            nested,
        ),
        row(
            "x86_64-linux-crash",
            "a refused crash load keeps the old crash kernel, which a panic then starts out of a UKI",
            crash,
        ),
    ]
}

/// What a signed UKI with a parser is made of.
pub(super) struct Parts {
    pub(super) linux: Vec<u8>,
    pub(super) initrd: Vec<u8>,
    pub(super) line: String,
}

impl Parts {
    pub(super) fn uki(&self, shop: &Shop, arch: Arch) -> Outcome<Vec<u8>> {
        let sections: [(&str, &[u8]); 3] = [
            (".linux", &self.linux),
            (".initrd", &self.initrd),
            (".cmdline", self.line.as_bytes()),
        ];
        shop.uki(arch, &sections)
    }

    pub(super) fn signed(&self, shop: &Shop, arch: Arch) -> Outcome<Vec<u8>> {
        shop.sign(arch, &shop.attach(&self.uki(shop, arch)?, "uki")?)
    }
}

/// Debian's older kernel, whose init demands this row's marker and command line.
pub(super) fn parts(shop: &Shop, row: &Row, caller: &str) -> Outcome<Parts> {
    let kernel = shop.kernel(row.arch, Which::Older)?;
    let line = row.line();
    let whole = format!("{line} {caller}");
    Ok(Parts {
        linux: kernel.bytes()?,
        initrd: second(shop, row, &kernel, Some(whole.trim()), &[])?,
        line,
    })
}

/// A guest of the patched kernel, with the client.
pub(super) fn guest(shop: &Shop, row: &Row, append: &str) -> Outcome<Guest> {
    guest_of(shop, row, Which::Patched, append)
}

/// The same of another kernel that opens images.
pub(super) fn guest_of(shop: &Shop, row: &Row, which: Which, append: &str) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, which)?;
    Ok(Guest::new(shop, row.arch, &kernel)?
        .append(append)
        .with(|archive| Ok(archive.program("bin/raw", &shop.programs(row.arch)?.raw)?))?
        .step("text /sys/kernel/kexec_pe/abi_version 1")
        .step("text /sys/kernel/kexec_pe/depth 4"))
}

pub(super) fn uki(shop: &Shop, row: &Row, append: &str, caller: &str) -> Outcome<Guest> {
    let image = parts(shop, row, caller)?.signed(shop, row.arch)?;
    let caller = match caller {
        "" => String::new(),
        text => format!("--append {text} "),
    };
    Ok(guest(shop, row, append)?
        .file("image", &image)
        .step(format!("run {RAW} {caller}/image"))
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}

pub(super) fn measured(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let image = parts(shop, row, CALLER)?.signed(shop, row.arch)?;
    let whole = format!("{} {CALLER}", row.line());
    Ok(guest(shop, row, "")?
        .file("image", &image)
        .step("write /sys/kernel/security/ima/policy measure func=KEXEC_CMDLINE")
        .step(format!(
            "run {RAW} --measured \"{whole}\" --append {CALLER} /image"
        ))
        .exec())
}

/// The inner UKI's initrd counts, and the outer one's command line is replaced.
pub(super) fn nested(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let inner = parts(shop, row, "")?;
    let outer = Parts {
        linux: shop.attach(&inner.uki(shop, row.arch)?, "uki")?,
        initrd: b"no initrd at all".to_vec(),
        line: "kpeel.row=outer".to_owned(),
    };
    Ok(guest(shop, row, "lockdown=integrity")?
        .file("image", &outer.signed(shop, row.arch)?)
        .step(format!("run {RAW} /image"))
        .exec())
}

pub(super) fn crash(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let kernel = shop.kernel(row.arch, Which::Older)?;
    let word = format!("cmdline kpeel.row={}", row.name);
    let good = Parts {
        linux: kernel.bytes()?,
        initrd: second(shop, row, &kernel, None, &[&word, VMCORE])?,
        line: row.line(),
    };
    let bad = Parts {
        linux: b"no kernel at all".to_vec(),
        ..Parts::clone_of(&good)
    };
    Ok(guest(shop, row, &format!("lockdown=integrity {RESERVATION}"))?
        .file("good", &good.signed(shop, row.arch)?)
        .file("bad", &bad.signed(shop, row.arch)?)
        .step(format!("run {RAW} --crash /good"))
        .step("text /sys/kernel/kexec_crash_loaded 1")
        .refused(
            REFUSED,
            "kexec_file_load: Operation not supported (os error 95)\n\
             kexec_pe: unsupported: envelope 1: kernel: no parser opens it, and no loader of this machine takes it",
            &format!("{RAW} --crash /bad"),
        )
        .panic())
}

/// The attacker runs the loads itself.
pub(super) fn attacks(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let image = parts(shop, row, "")?.signed(shop, row.arch)?;
    Ok(guest(shop, row, "lockdown=integrity")?
        .with(|archive| Ok(archive.program("bin/attack", &shop.programs(row.arch)?.attack)?))?
        .file("image", &image)
        .step(format!("run /bin/attack 3 {RAW} /image"))
        .step("text /sys/kernel/kexec_loaded 1")
        .exec())
}

/// A parser that decompresses what takes it long, and then more than it may.
pub(super) fn killed(shop: &Shop, row: &Row) -> Outcome<Guest> {
    let good = parts(shop, row, "")?;
    let slow = hostile(shop, row, "DECOMPRESSES_THE_INITRD")?;
    let zeros = |mib: usize| shop.gzip(row.arch, &vec![0; mib * MIB]);
    let allowed = 512 * MIB;
    let said = format!(
        "{TOO_LONG}\nkexec_pe: refused (bound): envelope 1: decompressed size: found {0} ({0:#x}), needed at most \
         {allowed} ({allowed:#x})",
        allowed + 1
    );
    Ok(guest(shop, row, "")?
        .memory(2048)
        .file("good", &good.signed(shop, row.arch)?)
        .file("slow", &slow)
        .file("zeros", &zeros(500)?)
        .file("bomb", &zeros(600)?)
        .step(format!("run {RAW} --kill 2000 --initrd /zeros /slow"))
        .step("text /sys/kernel/kexec_loaded 0")
        .refused(REFUSED, &said, &format!("{RAW} --initrd /bomb /slow"))
        .step(format!("run {RAW} /good"))
        .exec())
}

/// A parser whose publications are each allowed, but not together.
pub(super) fn too_much(shop: &Shop, row: &Row) -> Outcome<Guest> {
    const PART: usize = 500 * MIB;
    const ALLOWED: usize = 1024 * MIB;
    let found = 3 * PART;
    let said = format!(
        "{TOO_LONG}\nkexec_pe: refused (bound): envelope 1: kexec:initrd: found {found} ({found:#x}), needed at most \
         {ALLOWED} ({ALLOWED:#x})"
    );
    let image = hostile(shop, row, "PUBLISHES_THRICE_THE_INITRD")?;
    Ok(guest(shop, row, "")?
        .memory(2048)
        .file("good", &parts(shop, row, "")?.signed(shop, row.arch)?)
        .file("image", &image)
        .file("zeros", &shop.gzip(row.arch, &vec![0; PART])?)
        .refused(REFUSED, &said, &format!("{RAW} --initrd /zeros /image"))
        .step(format!("run {RAW} /good"))
        .exec())
}

/// A signed image with a parser of `HOSTILE` and nothing for it to open.
fn hostile(shop: &Shop, row: &Row, name: &str) -> Outcome<Vec<u8>> {
    let sections: [(&str, &[u8]); 1] = [(".linux", b"a kernel")];
    let uki = shop.uki(row.arch, &sections)?;
    let image = shop.attach_carrier(&uki, &shop.parser(HOSTILE, &[name])?)?;
    shop.sign(row.arch, &image)
}

impl Parts {
    fn clone_of(other: &Self) -> Self {
        Self {
            linux: other.linux.clone(),
            initrd: other.initrd.clone(),
            line: other.line.clone(),
        }
    }
}
