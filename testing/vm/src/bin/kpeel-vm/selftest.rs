//! Guests that must not pass, each for another reason, and their twin that must.

use std::time::Duration;

use kpeel_vm::{Accel, Arch, Error, Failure, init};

use super::Outcome;
use super::boot::{Guest, archive, initramfs, kernel};

const NAME: &str = "selftest";
/// Many times what an emulated boot needs.
const DEADLINE: Duration = Duration::from_secs(180);
/// A guest that is to run into its deadline gets this many times what a boot has just needed.
const PATIENCE: u32 = 4;

/// Steps that print the awaited line too early.
const EARLY: &str = "write /dev/console kpeel-init: passed selftest\n";
/// A step that never ends: nobody types.
const HANG: &str = "text /dev/console typed\n";

/// A guest and what must come of it.
struct Case {
    claim: &'static str,
    /// Steps after the job's name; none: the guest has no init.
    steps: Option<String>,
    deadline: Duration,
    right: fn(&Failure) -> bool,
}

pub(crate) fn run() -> Outcome<()> {
    let guest = guest(Some(String::new()))?;
    let report = guest
        .machine
        .clone()
        .deadline(DEADLINE)
        .run(&init::passed(NAME), &guest.log)?;
    println!("passes: a job without steps ({:?})", report.accel);
    kexec()?;
    for case in cases(report.elapsed * PATIENCE) {
        case.check()?;
    }
    Ok(())
}

/// kexec is no reset: the second kernel's init has the last word.
fn kexec() -> Outcome<()> {
    const ARCH: Arch = Arch::X86_64;
    let second = archive(
        ARCH,
        Some(&format!("name {NAME}\ncmdline kpeel.second=1\n")),
    )?;
    let steps = format!(
        "kexec /vmlinuz /initrd console={} panic=-1 kpeel.second=1\n",
        ARCH.console()
    );
    let mut first = initramfs(ARCH, &format!("name first\n{steps}"))?;
    first.file("initrd", &second);
    first.file("vmlinuz", &std::fs::read(kernel(ARCH)?)?);
    let guest = Guest::new(ARCH, NAME, &first.finish())?;
    guest
        .machine
        .clone()
        .deadline(DEADLINE)
        .run(&init::passed(NAME), &guest.log)?;
    println!("passes: the job of a kernel started by kexec");
    Ok(())
}

fn cases(short: Duration) -> Vec<Case> {
    let case = |claim, steps: Option<String>, right| Case {
        claim,
        steps,
        deadline: DEADLINE,
        right,
    };
    vec![
        case(
            "a step that fails",
            Some("fail on purpose\n".into()),
            |failure| matches!(failure, Failure::Guest { line } if line.contains("on purpose")),
        ),
        case(
            "a job that cannot be read",
            Some("nonsense\n".into()),
            |failure| matches!(failure, Failure::Guest { line } if line.contains("nonsense")),
        ),
        case("a guest without init", None, |failure| {
            matches!(failure, Failure::Line { found: 0, .. })
        }),
        case("the line twice", Some(EARLY.into()), |failure| {
            matches!(failure, Failure::Line { found: 2, .. })
        }),
        case(
            "a reset after the line",
            Some(format!("{EARLY}write /proc/sysrq-trigger b\n")),
            is_reset,
        ),
        case(
            "a panic after the line",
            Some(format!("{EARLY}write /proc/sysrq-trigger c\n")),
            is_reset,
        ),
        Case {
            deadline: short,
            ..case(
                "a hang after the line",
                Some(format!("{EARLY}{HANG}")),
                |failure| matches!(failure, Failure::TimedOut { seen: 1, .. }),
            )
        },
    ]
}

fn is_reset(failure: &Failure) -> bool {
    matches!(failure, Failure::Reason { found: Some(reason) } if reason == "guest-reset")
}

impl Case {
    fn check(&self) -> Outcome<()> {
        let guest = guest(self.steps.clone())?;
        let machine = guest.machine.clone().deadline(self.deadline);
        let claim = self.claim;
        match machine
            .accel(Accel::Tcg)
            .run(&init::passed(NAME), &guest.log)
        {
            Err(Error::Failed { failure, .. }) if (self.right)(&failure) => {
                println!("fails: {claim}: {failure}");
                Ok(())
            }
            Err(error) => Err(format!("{claim}: failed for another reason: {error}").into()),
            Ok(_) => Err(format!("{claim}: passed").into()),
        }
    }
}

fn guest(steps: Option<String>) -> Outcome<Guest> {
    let job = steps.map(|steps| format!("name {NAME}\n{steps}"));
    Guest::new(Arch::X86_64, NAME, &archive(Arch::X86_64, job.as_deref())?)
}
