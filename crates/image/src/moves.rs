//! Where runs of the input stand in the output.

/// One run of bytes copied as it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Run {
    from: usize,
    len: usize,
    to: usize,
}

/// The runs of input that the output is made of, in any order; they do not overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moves {
    runs: Vec<Run>,
}

impl Moves {
    /// Notes that `len` bytes at `from` in the input stand at `to` in the output.
    pub(crate) fn push(&mut self, from: usize, len: usize, to: usize) {
        self.runs.push(Run { from, len, to });
    }

    /// Where the byte at `offset` went; `None` for one that is not in the output.
    pub(crate) fn offset(&self, offset: usize) -> Option<usize> {
        self.range(offset, 1)
    }

    /// Where `len` bytes at `offset` went, if they still stand together.
    pub(crate) fn range(&self, offset: usize, len: usize) -> Option<usize> {
        let mut place = None;
        let mut at = offset;
        let end = offset.checked_add(len)?;
        while at < end || place.is_none() {
            let run = self.runs.iter().find(|run| run.distance(at).is_some())?;
            let to = run.to.checked_add(run.distance(at)?)?;
            let start = *place.get_or_insert(to);
            if to.checked_sub(start) != at.checked_sub(offset) {
                return None;
            }
            at = run.from.checked_add(run.len)?;
        }
        place
    }

    /// Whether any byte stands elsewhere than before.
    pub(crate) fn any(&self) -> bool {
        self.runs
            .iter()
            .any(|run| run.len != 0 && run.from != run.to)
    }
}

impl Run {
    /// How far into the run `offset` lies, if it does.
    fn distance(&self, offset: usize) -> Option<usize> {
        offset
            .checked_sub(self.from)
            .filter(|distance| *distance < self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves() -> Moves {
        let mut moves = Moves::default();
        moves.push(0, 10, 0);
        moves.push(10, 10, 100);
        moves.push(20, 10, 110);
        moves
    }

    #[test]
    fn follows_bytes_across_runs_that_stay_together() {
        assert_eq!(moves().range(15, 10), Some(105));
        assert_eq!(moves().offset(29), Some(119));
        assert_eq!(moves().range(12, 0), Some(102));
    }

    #[test]
    fn loses_bytes_that_were_torn_apart_or_dropped() {
        assert_eq!(moves().range(5, 10), None);
        assert_eq!(moves().offset(30), None);
        assert_eq!(moves().range(25, 6), None);
        assert_eq!(moves().range(usize::MAX, 2), None);
    }

    #[test]
    fn an_identity_moves_nothing() {
        assert!(moves().any());
        let mut still = Moves::default();
        still.push(5, 5, 5);
        assert!(!still.any());
    }
}
