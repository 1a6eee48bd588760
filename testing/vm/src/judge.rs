//! The one rule by which a run passes.

use std::process::ExitStatus;

/// How a run ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct End {
    /// Whether QEMU was killed because the deadline passed.
    pub(crate) timed_out: bool,
    /// QEMU's reason for stopping (`ShutdownCause` of its QMP schema), if it told one.
    pub(crate) reason: Option<String>,
    /// QEMU's exit code, if it exited by itself.
    pub(crate) code: Option<i32>,
}

/// Why a run did not pass; the first reason that applies, in this order.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The guest's init said so itself.
    #[error("the guest reported: {line}")]
    Guest {
        /// Its line.
        line: String,
    },
    /// The deadline passed.
    #[error("the guest did not end in time; line {expected:?} seen {seen} times")]
    TimedOut {
        /// The line waited for.
        expected: String,
        /// How often it was seen.
        seen: usize,
    },
    /// The line is missing, or was printed again.
    #[error("line {expected:?}: found {found} times, needed 1")]
    Line {
        /// The line waited for.
        expected: String,
        /// How often it was seen.
        found: usize,
    },
    /// The guest ended otherwise than by powering itself off.
    #[error("the guest ended by {found:?}, needed {POWER_OFF:?}")]
    Reason {
        /// QEMU's reason, if it told one.
        found: Option<String>,
    },
    /// QEMU failed.
    #[error("QEMU's exit code: found {found:?}, needed 0")]
    Code {
        /// Its exit code, if it exited by itself.
        found: Option<i32>,
    },
}

/// QEMU's word for a guest that powered itself off.
const POWER_OFF: &str = "guest-shutdown";

/// Decides whether a run with these console lines and this end passed.
///
/// # Errors
/// The first rule that was broken.
pub(crate) fn judge(lines: &[String], expected: &str, end: &End) -> Result<(), Failure> {
    let found = lines.iter().filter(|line| *line == expected).count();
    if let Some(line) = lines
        .iter()
        .find(|line| line.starts_with(crate::init::FAILED_PREFIX))
    {
        return Err(Failure::Guest { line: line.clone() });
    }
    if end.timed_out {
        return Err(Failure::TimedOut {
            expected: expected.to_owned(),
            seen: found,
        });
    }
    if found != 1 {
        return Err(Failure::Line {
            expected: expected.to_owned(),
            found,
        });
    }
    if end.reason.as_deref() != Some(POWER_OFF) {
        return Err(Failure::Reason {
            found: end.reason.clone(),
        });
    }
    if end.code != Some(0) {
        return Err(Failure::Code { found: end.code });
    }
    Ok(())
}

impl End {
    pub(crate) fn new(timed_out: bool, reason: Option<String>, status: ExitStatus) -> Self {
        Self {
            timed_out,
            reason,
            code: status.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "kpeel-init: passed test";

    fn clean() -> End {
        End {
            timed_out: false,
            reason: Some(POWER_OFF.to_owned()),
            code: Some(0),
        }
    }

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|&line| line.to_owned()).collect()
    }

    #[test]
    fn accepts_the_line_once_and_a_clean_power_off() {
        assert_eq!(judge(&lines(&["boot", LINE]), LINE, &clean()), Ok(()));
    }

    #[test]
    fn rejects_silence() {
        assert_eq!(
            judge(&lines(&["boot"]), LINE, &clean()),
            Err(Failure::Line {
                expected: LINE.to_owned(),
                found: 0
            })
        );
    }

    #[test]
    fn rejects_the_line_with_anything_around_it() {
        for near in [
            format!("[ 1.0] {LINE}"),
            format!("{LINE} "),
            LINE.to_uppercase(),
        ] {
            assert!(judge(&[near], LINE, &clean()).is_err());
        }
    }

    #[test]
    fn rejects_the_line_twice() {
        assert_eq!(
            judge(&lines(&[LINE, LINE]), LINE, &clean()),
            Err(Failure::Line {
                expected: LINE.to_owned(),
                found: 2
            })
        );
    }

    #[test]
    fn rejects_a_reset_after_the_line() {
        let end = End {
            reason: Some("guest-reset".to_owned()),
            ..clean()
        };
        assert_eq!(
            judge(&lines(&[LINE]), LINE, &end),
            Err(Failure::Reason { found: end.reason })
        );
    }

    #[test]
    fn rejects_an_end_without_a_reason() {
        let end = End {
            reason: None,
            ..clean()
        };
        assert_eq!(
            judge(&lines(&[LINE]), LINE, &end),
            Err(Failure::Reason { found: None })
        );
    }

    #[test]
    fn rejects_a_failing_qemu() {
        for code in [Some(1), None] {
            let end = End { code, ..clean() };
            assert_eq!(
                judge(&lines(&[LINE]), LINE, &end),
                Err(Failure::Code { found: code })
            );
        }
    }

    #[test]
    fn rejects_a_timeout_even_after_the_line() {
        let end = End {
            timed_out: true,
            ..clean()
        };
        assert_eq!(
            judge(&lines(&[LINE]), LINE, &end),
            Err(Failure::TimedOut {
                expected: LINE.to_owned(),
                seen: 1
            })
        );
    }

    #[test]
    fn tells_the_guests_own_reason_first() {
        let line = "kpeel-init: failed test: no such file";
        assert_eq!(
            judge(&lines(&[line]), LINE, &clean()),
            Err(Failure::Guest {
                line: line.to_owned()
            })
        );
    }
}
