//! What the guest's console tells about each case, and whether that is right.

use std::collections::BTreeMap;

use crate::case::{Case, Expect};

/// The verifier must be done with a program before it has processed this many instructions.
pub(crate) const LIMIT: u32 = 250_000;

/// What became of one case, as far as the console tells.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Outcome {
    programs: Vec<Program>,
    loaded: Option<usize>,
    refused: Option<(String, i32)>,
    left: Option<usize>,
    /// Lines that belong to the case but say nothing the verdict needs.
    notes: Vec<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Program {
    name: String,
    processed: u32,
    attach: String,
}

const PREFIX: &str = "carrier ";
/// What the verifier itself printed is indented below the line it belongs to.
const NOTE: &str = "  ";

/// Reads the console: one outcome per carrier named there.
pub(crate) fn read(console: &[String]) -> BTreeMap<String, Outcome> {
    let mut outcomes: BTreeMap<String, Outcome> = BTreeMap::new();
    let mut notes = Vec::new();
    let mut last: Option<String> = None;
    for line in console {
        if let Some((name, told)) = line
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once(": "))
        {
            let outcome = outcomes.entry(name.to_owned()).or_default();
            outcome.notes.append(&mut notes);
            outcome.learn(told);
            last = Some(name.to_owned());
        } else if let Some(note) = line.strip_prefix(NOTE) {
            match last.as_ref().and_then(|name| outcomes.get_mut(name)) {
                Some(outcome) if outcome.left.is_none() => outcome.notes.push(note.to_owned()),
                // Said before the case's first line.
                _ => notes.push(note.to_owned()),
            }
        }
    }
    outcomes
}

/// Prints a case's result; says whether it is the right one.
pub(crate) fn tell(case: &Case, outcome: Option<&Outcome>) -> bool {
    let Some(outcome) = outcome else {
        println!("{}: the guest told nothing", case.name);
        return false;
    };
    let verdict = outcome.judge(case.expect);
    match (&verdict, case.expect) {
        (Ok(()), Expect::Loads) => {
            for line in outcome.counts(&case.name) {
                println!("{line}");
            }
        }
        (Ok(()), Expect::Refused(errno)) => {
            println!("{}: refused with errno {errno}, as it should be", case.name);
        }
        (Err(reason), _) => {
            println!("{}: {reason}", case.name);
            for line in outcome.counts(&case.name).iter().chain(&outcome.notes) {
                println!("    {line}");
            }
        }
    }
    verdict.is_ok()
}

impl Outcome {
    fn learn(&mut self, told: &str) {
        let mut words = told.split_whitespace();
        match words.next() {
            Some("program") => self.programs.extend(Program::parse(told)),
            Some("loaded") => self.loaded = words.next().and_then(|count| count.parse().ok()),
            Some("left") => self.left = words.next().and_then(|count| count.parse().ok()),
            Some("refused") => {
                self.refused = told
                    .strip_prefix("refused ")
                    .and_then(|rest| rest.split_once(" errno "))
                    .and_then(|(step, errno)| Some((step.to_owned(), errno.parse().ok()?)));
            }
            _ => {}
        }
    }

    fn judge(&self, expect: Expect) -> Result<(), String> {
        match expect {
            Expect::Loads => self.judge_load()?,
            Expect::Refused(errno) => match &self.refused {
                Some((step, found)) if step == "loader result" && *found == errno => {}
                found => {
                    return Err(format!(
                        "found {found:?}, needed a loader that reports errno {errno}"
                    ));
                }
            },
        }
        match self.left {
            Some(0) => Ok(()),
            found => Err(format!("descriptors left open: found {found:?}, needed 0")),
        }
    }

    fn judge_load(&self) -> Result<(), String> {
        if let Some((step, errno)) = &self.refused {
            return Err(format!("{step}: refused with errno {errno}"));
        }
        if self.programs.is_empty() || self.loaded != Some(self.programs.len()) {
            let found = self.programs.len();
            return Err(format!(
                "programs: found {found}, the guest counted {:?}, needed at least 1",
                self.loaded
            ));
        }
        for program in &self.programs {
            if !(1..LIMIT).contains(&program.processed) {
                return Err(format!(
                    "{}: processed instructions: found {}, needed fewer than {LIMIT}",
                    program.name, program.processed
                ));
            }
            if program.attach != "attaches" {
                return Err(format!("{}: {}", program.name, program.attach));
            }
        }
        Ok(())
    }

    fn counts(&self, name: &str) -> Vec<String> {
        let single = self.programs.len() == 1;
        let line = |program: &Program| {
            let label = if single {
                name.to_owned()
            } else {
                format!("{name}/{}", program.name)
            };
            format!(
                "{label}: {} processed instructions (limit {LIMIT})",
                program.processed
            )
        };
        self.programs.iter().map(line).collect()
    }
}

impl Program {
    /// `program NAME: N processed instructions, ATTACH`
    fn parse(told: &str) -> Option<Self> {
        let (name, rest) = told.strip_prefix("program ")?.split_once(": ")?;
        let (count, attach) = rest.split_once(" processed instructions, ")?;
        Some(Self {
            name: name.to_owned(),
            processed: count.parse().ok()?,
            attach: attach.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[&str]) -> Outcome {
        let console: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        read(&console).remove("x").unwrap_or_default()
    }

    fn loads(count: &str, attach: &str, loaded: &str, left: &str) -> Result<(), String> {
        outcome(&[
            &format!("carrier x: program parse: {count} processed instructions, {attach}"),
            "  processed 7 insns (limit 1000000) max_states_per_insn 0",
            &format!("carrier x: loaded {loaded} programs"),
            &format!("carrier x: left {left} descriptors open"),
        ])
        .judge(Expect::Loads)
    }

    #[test]
    fn accepts_a_load_below_the_limit_that_leaves_nothing_open() {
        assert_eq!(loads("249999", "attaches", "1", "0"), Ok(()));
    }

    #[test]
    fn rejects_a_program_at_the_limit() {
        let reason = loads("250000", "attaches", "1", "0").expect_err("at the limit");
        assert!(
            reason.contains("found 250000, needed fewer than 250000"),
            "{reason}"
        );
    }

    #[test]
    fn rejects_a_load_that_leaves_a_descriptor() {
        assert!(loads("9", "attaches", "1", "1").is_err());
    }

    #[test]
    fn rejects_a_program_that_does_not_attach() {
        assert!(loads("9", "does not attach: EINVAL", "1", "0").is_err());
    }

    #[test]
    fn rejects_a_load_without_programs() {
        assert!(
            outcome(&[
                "carrier x: loaded 0 programs",
                "carrier x: left 0 descriptors open"
            ])
            .judge(Expect::Loads)
            .is_err()
        );
        assert!(loads("9", "attaches", "2", "0").is_err());
    }

    #[test]
    fn rejects_a_load_that_was_refused() {
        let refused = outcome(&[
            "carrier x: refused loader result errno 13",
            "  log: R1 invalid mem access",
            "carrier x: left 0 descriptors open",
        ]);
        assert!(refused.judge(Expect::Loads).is_err());
        assert_eq!(refused.judge(Expect::Refused(13)), Ok(()));
        assert_eq!(refused.notes, ["log: R1 invalid mem access"]);
    }

    #[test]
    fn rejects_a_refusal_with_another_errno_or_at_another_step() {
        for line in [
            "carrier x: refused loader result errno 22",
            "carrier x: refused loader errno 13",
        ] {
            let refused = outcome(&[line, "carrier x: left 0 descriptors open"]);
            assert!(refused.judge(Expect::Refused(13)).is_err(), "{line}");
        }
    }

    #[test]
    fn rejects_a_refusal_that_leaves_a_descriptor() {
        let refused = outcome(&[
            "carrier x: refused loader result errno 2",
            "carrier x: left 2 descriptors open",
        ]);
        assert!(refused.judge(Expect::Refused(2)).is_err());
    }
}
