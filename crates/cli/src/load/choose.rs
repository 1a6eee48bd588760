//! Which system call and which trust a load uses, and why.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use kpeel_envelope::error::{Class, Error, Refusal};
use kpeel_kexec::{Call, Lockdown, Status};
use kpeel_sandbox::Machine;

use crate::failure::{Cause, Failure, Result};
use crate::terminal::Terminal;
use crate::trust::{KeyFile, Trust, Verifier};

/// The system call of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) call: Call,
    pub(crate) why: &'static str,
}

/// Which calls the running kernel has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Has {
    pub(crate) file: bool,
    pub(crate) segments: bool,
    /// Whether this machine's kernels can be placed by us at all.
    pub(crate) placeable: bool,
}

/// The trust of a load.
#[derive(Clone, Debug)]
pub(crate) struct Trusting {
    pub(crate) trust: Trust,
    pub(crate) why: &'static str,
}

impl Has {
    /// Asks the running kernel.
    pub(crate) fn running() -> Self {
        Self {
            file: kpeel_kexec::supported(Call::File),
            segments: kpeel_kexec::supported(Call::Segments),
            placeable: Machine::running() == Some(Machine::Arm64),
        }
    }

    /// The call to load with: the one asked for, else the one that this kernel has and that can
    /// take what is to be loaded.
    ///
    /// # Errors
    /// Named: what the call cannot do, or which calls the kernel lacks.
    pub(crate) fn choose(self, asked: Option<Call>, dtb: bool) -> Result<Choice> {
        let chosen = |call, why| Ok(Choice { call, why });
        let can_place = self.segments && self.placeable;
        match asked {
            Some(Call::File) if dtb => Err(Failure::usage(DTB_WITH_FILE)),
            Some(Call::File) if !self.file => Err(Failure::system(NO_FILE)),
            Some(Call::File) => chosen(Call::File, "--syscall asks for it"),
            Some(Call::Segments) if !self.placeable => Err(Failure::usage(SEGMENTS_ELSEWHERE)),
            Some(Call::Segments) if !self.segments => Err(Failure::system(NO_SEGMENTS)),
            Some(Call::Segments) => chosen(Call::Segments, "--syscall asks for it"),
            None if dtb && can_place => chosen(Call::Segments, "only it can take --dtb"),
            None if dtb => Err(Failure::usage(DTB_WITH_FILE)),
            None if self.file => chosen(Call::File, "the running kernel has it"),
            None if can_place => {
                chosen(Call::Segments, "the running kernel has no kexec_file_load")
            }
            None if self.placeable => Err(Failure::system(NEITHER)),
            None => Err(Failure::system(NO_FILE_AND_NO_OTHER_WAY)),
        }
    }
}

const DTB_WITH_FILE: &str = "--dtb: kexec_file_load cannot take a device tree: only --syscall \
     segments can, which kpeel has on aarch64";
const NO_FILE: &str =
    "--syscall file: the running kernel is built without kexec_file_load (CONFIG_KEXEC_FILE)";
const NO_SEGMENTS: &str =
    "--syscall segments: the running kernel is built without kexec_load (CONFIG_KEXEC)";
const SEGMENTS_ELSEWHERE: &str =
    "--syscall segments: kpeel places kernels for kexec_load on aarch64 only";
const NEITHER: &str = "the running kernel is built without kexec_file_load (CONFIG_KEXEC_FILE) and \
     without kexec_load (CONFIG_KEXEC)";
const NO_FILE_AND_NO_OTHER_WAY: &str = "the running kernel is built without kexec_file_load \
     (CONFIG_KEXEC_FILE), and kpeel places kernels for kexec_load on aarch64 only";

const NEITHER_ON: &str = "neither Secure Boot nor kernel lockdown is on";
const NO_SECURE_BOOT_TOLD: &str =
    "kernel lockdown is off, and Secure Boot could not be read (is efivarfs mounted?)";
const NO_LOCKDOWN_TOLD: &str = "Secure Boot is off, and kernel lockdown could not be read: securityfs is not mounted, or the \
     kernel has no lockdown";
const NOT_TOLD: &str = "neither Secure Boot nor kernel lockdown could be read: efivarfs and securityfs are not mounted, or \
     the system has neither";

impl Trusting {
    /// What the caller asked for, else what this system's state asks for.
    pub(crate) fn decide(asked: Option<Trust>, status: &Status) -> Self {
        let trusting = |trust, why| Self { trust, why };
        if let Some(trust) = asked {
            return trusting(trust, "--trust asks for it");
        }
        match (status.secure_boot, status.lockdown) {
            (Some(true), _) => trusting(Trust::System, "Secure Boot is on"),
            (_, Lockdown::Integrity) => {
                trusting(Trust::System, "kernel lockdown is on (integrity)")
            }
            (_, Lockdown::Confidentiality) => {
                trusting(Trust::System, "kernel lockdown is on (confidentiality)")
            }
            (Some(false), Lockdown::None) => trusting(Trust::None, NEITHER_ON),
            (None, Lockdown::None) => trusting(Trust::None, NO_SECURE_BOOT_TOLD),
            (Some(false), Lockdown::Unknown) => trusting(Trust::None, NO_LOCKDOWN_TOLD),
            (None, Lockdown::Unknown) => trusting(Trust::None, NOT_TOLD),
        }
    }

    /// Says that signatures do not count where that is only for want of knowledge.
    pub(crate) fn tell_unknown(&self, terminal: &mut Terminal) {
        if [NOT_TOLD, NO_SECURE_BOOT_TOLD, NO_LOCKDOWN_TOLD].contains(&self.why) {
            let why = self.why;
            terminal.note(&format!(
                "kpeel: signatures do not count: {why}; --trust says whether they do"
            ));
        }
    }

    /// Whether signatures count, so that nothing may be loaded but what was judged.
    pub(crate) fn asks(&self) -> bool {
        self.trust != Trust::None
    }

    /// The keys whose signatures count; none where nobody asks. What of them is left out is told.
    ///
    /// # Errors
    /// When they cannot be had.
    pub(crate) fn keys(
        &self,
        revoke: &[PathBuf],
        root: &Path,
        terminal: &mut Terminal,
    ) -> Result<Option<Vec<KeyFile>>> {
        let keys = self.trust.keys(revoke, root);
        let keys = keys.map_err(|failure| self.explain(failure))?;
        // Told here, a broken file is blamed itself; the confined child reads them again.
        if let Some(keys) = &keys {
            let verifier = Verifier::new(keys).map_err(|failure| self.explain(failure))?;
            verifier.tell_skipped(terminal);
        }
        Ok(keys)
    }

    /// A failure of signatures, with the way out.
    pub(crate) fn explain(&self, failure: Failure) -> Failure {
        let signature = |error: &Error| error.class == Class::Refused(Refusal::Signature);
        let by_policy = match &failure.cause {
            Cause::Envelope(error) => signature(error),
            _ => true,
        };
        if !self.asks() || !by_policy {
            return failure;
        }
        let exit = failure.exit();
        let (name, why) = (self.name(), self.why);
        Failure::told(
            exit,
            format!(
                "{failure}; --trust {name} ({why}) asks for signatures: --trust none leaves the \
                 check to the running kernel"
            ),
        )
    }

    /// How it is written on a command line.
    pub(crate) fn name(&self) -> String {
        match &self.trust {
            Trust::None => "none".to_owned(),
            Trust::System => "system".to_owned(),
            Trust::Certificates(files) => {
                let files: Vec<_> = files
                    .iter()
                    .map(|file| file.display().to_string())
                    .collect();
                files.join(" ")
            }
        }
    }
}

/// How `--syscall` names a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallName(pub(crate) Call);

impl FromStr for CallName {
    type Err = &'static str;

    fn from_str(name: &str) -> std::result::Result<Self, Self::Err> {
        match name {
            "file" => Ok(Self(Call::File)),
            "segments" => Ok(Self(Call::Segments)),
            _ => Err("needed file or segments"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    const BOTH: Has = Has {
        file: true,
        segments: true,
        placeable: true,
    };

    fn refusal(has: Has, asked: Option<Call>, dtb: bool) -> (String, Exit) {
        let failure = has.choose(asked, dtb).unwrap_err();
        (failure.to_string(), failure.exit())
    }

    #[test]
    fn the_file_call_is_taken_where_it_is() {
        assert_eq!(BOTH.choose(None, false).unwrap().call, Call::File);
        let only_segments = Has {
            file: false,
            ..BOTH
        };
        let choice = only_segments.choose(None, false).unwrap();
        assert_eq!(choice.call, Call::Segments);
        assert_eq!(choice.why, "the running kernel has no kexec_file_load");
        let neither = Has {
            segments: false,
            ..only_segments
        };
        assert_eq!(
            refusal(neither, None, false),
            (NEITHER.into(), Exit::System)
        );
        let elsewhere = Has {
            placeable: false,
            ..only_segments
        };
        assert_eq!(refusal(elsewhere, None, false).1, Exit::System);
    }

    #[test]
    fn the_caller_may_choose_a_call_that_is_there() {
        for call in [Call::File, Call::Segments] {
            assert_eq!(BOTH.choose(Some(call), false).unwrap().call, call);
        }
        let none = Has {
            file: false,
            segments: false,
            placeable: true,
        };
        assert_eq!(refusal(none, Some(Call::File), false).0, NO_FILE);
        assert_eq!(refusal(none, Some(Call::Segments), false).0, NO_SEGMENTS);
        let elsewhere = Has {
            placeable: false,
            ..BOTH
        };
        assert_eq!(
            refusal(elsewhere, Some(Call::Segments), false),
            (SEGMENTS_ELSEWHERE.into(), Exit::Usage)
        );
    }

    #[test]
    fn a_device_tree_needs_segments() {
        assert_eq!(BOTH.choose(None, true).unwrap().call, Call::Segments);
        assert_eq!(
            BOTH.choose(Some(Call::Segments), true).unwrap().call,
            Call::Segments
        );
        let refused = (DTB_WITH_FILE.to_owned(), Exit::Usage);
        assert_eq!(refusal(BOTH, Some(Call::File), true), refused);
        let elsewhere = Has {
            placeable: false,
            ..BOTH
        };
        assert_eq!(refusal(elsewhere, None, true), refused);
    }

    fn decided(asked: Option<Trust>, status: Status) -> Trusting {
        Trusting::decide(asked, &status)
    }

    #[test]
    fn secure_boot_and_lockdown_ask_for_signatures() {
        let open = Status::default();
        assert_eq!(decided(None, open).trust, Trust::None);
        let secure = Status {
            secure_boot: Some(true),
            ..open
        };
        let locked = Status {
            lockdown: Lockdown::Integrity,
            ..open
        };
        for status in [secure, locked] {
            let trusting = decided(None, status);
            assert_eq!(trusting.trust, Trust::System);
            let refused = trusting.explain(Failure::refused("no key signed it"));
            assert_eq!(refused.exit(), Exit::Refused);
            assert!(refused.to_string().contains(" is on"), "{refused}");
            let keys =
                decided(Some(Trust::None), status).keys(&[], Path::new("/"), &mut Terminal::new());
            assert!(keys.unwrap().is_none());
        }
    }

    #[test]
    fn what_could_not_be_read_is_not_called_off() {
        let cases = [
            (Lockdown::Unknown, None, NOT_TOLD),
            (Lockdown::None, None, NO_SECURE_BOOT_TOLD),
            (Lockdown::Unknown, Some(false), NO_LOCKDOWN_TOLD),
            (Lockdown::None, Some(false), NEITHER_ON),
        ];
        for (lockdown, secure_boot, why) in cases {
            let status = Status {
                lockdown,
                secure_boot,
                ..Status::default()
            };
            let trusting = decided(None, status);
            assert_eq!(trusting.why, why);
            assert_eq!(trusting.trust, Trust::None);
            let off = |what: &str| why == NEITHER_ON || why.contains(&format!("{what} is off"));
            assert_eq!(off("Secure Boot"), secure_boot.is_some(), "{why}");
            assert_eq!(off("kernel lockdown"), lockdown == Lockdown::None, "{why}");
        }
    }

    #[test]
    fn trust_is_none_or_system_or_files() {
        let parse = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            Trust::parse(&words)
        };
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&["none"]).unwrap(), Some(Trust::None));
        assert_eq!(parse(&["system"]).unwrap(), Some(Trust::System));
        let files = Trust::Certificates(vec!["a.pem".into(), "b.pem".into()]);
        assert_eq!(parse(&["a.pem", "b.pem"]).unwrap(), Some(files.clone()));
        assert_eq!(parse(&["none", "a.pem"]).unwrap_err().exit(), Exit::Usage);
        let named = decided(Some(files), Status::default()).name();
        assert_eq!(named, "a.pem b.pem");
    }
}
