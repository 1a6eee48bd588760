//! Where the verifier spent its time, from its log.

use std::collections::BTreeMap;

/// How many instructions are told.
const SPOTS: usize = 16;

/// The instructions processed most often, with how often.
pub(crate) fn spots(log: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<&str, (usize, u32)> = BTreeMap::new();
    for line in log {
        if let Some((text, index)) = instruction(line) {
            counts.entry(text).or_insert((0, index)).0 += 1;
        }
    }
    let mut spots: Vec<(usize, u32, &str)> = counts
        .into_iter()
        .map(|(text, (count, index))| (count, index, text))
        .collect();
    spots.sort_by_key(|&(count, index, _)| (usize::MAX - count, index));
    spots
        .into_iter()
        .take(SPOTS)
        .map(|(count, _, text)| format!("{count} times {text}"))
        .collect()
}

/// `INDEX: (OPCODE) TEXT`, without the state that follows, and the index.
fn instruction(line: &str) -> Option<(&str, u32)> {
    let (index, rest) = line.split_once(": ")?;
    let index = index.parse().ok()?;
    if !rest.starts_with('(') {
        return None;
    }
    let text = line.split_once(';').map_or(line, |(text, _)| text);
    Some((text.trim_end(), index))
}

#[cfg(test)]
mod tests {
    use super::spots;

    #[test]
    fn counts_instructions_and_nothing_else() {
        let log: Vec<String> = [
            "func#0 @0",
            "0: R1=ctx() R10=fp0",
            "0: (b7) r2 = 0                      ; R2_w=0",
            "1: (07) r2 += 1                     ; R2_w=1",
            "1: (07) r2 += 1                     ; R2_w=2",
            "processed 3 insns (limit 1000000)",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(
            spots(&log),
            ["2 times 1: (07) r2 += 1", "1 times 0: (b7) r2 = 0"]
        );
    }
}
