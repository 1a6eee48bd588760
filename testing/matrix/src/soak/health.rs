//! What the lines of a guest say of its kernel's health.

use serde_json::Value;

use crate::Outcome;

/// Demands that the last sample is as the first: descriptors, BPF objects, threads, taint, and
/// memory but for `drift` KiB.
///
/// # Errors
/// What was lost, or that there is no sample.
pub(super) fn check(told: &[Value], drift: u64) -> Outcome<()> {
    let is_sample = |line: &&Value| line.get("sample").is_some();
    let (Some(first), Some(last)) = (
        told.iter().find(is_sample),
        told.iter().rev().find(is_sample),
    ) else {
        return Err("the guest told nothing of its health".into());
    };
    for name in ["descriptors", "bpf_ids", "threads", "tainted"] {
        if first[name] != last[name] {
            let (now, then) = (&last[name], &first[name]);
            return Err(format!("{name}: {now}, before the first load {then}").into());
        }
    }
    let kib = |sample: &Value, name: &str| sample[name].as_u64().unwrap_or(0);
    let available =
        |sample: &Value| kib(sample, "mem_available_kib") + kib(sample, "free_lists_kib");
    let (then, now) = (available(first), available(last));
    if now.saturating_add(drift) < then {
        return Err(format!("MemAvailable: {now} KiB, before the first load {then}").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DRIFT: u64 = 16_000;

    fn sample(kib: u64, descriptors: u64) -> Value {
        json!({
            "sample": 0, "mem_available_kib": kib - 5, "free_lists_kib": 5, "descriptors": descriptors,
            "bpf_ids": [0, 0, 1, 0], "threads": 0, "tainted": 0,
        })
    }

    #[test]
    fn a_lost_descriptor_and_lost_memory_are_told() {
        let told = |last| [sample(900_000, 4), last];
        check(&told(sample(900_000 - DRIFT, 4)), DRIFT).unwrap();
        let error = |last| check(&told(last), DRIFT).unwrap_err().to_string();
        assert!(error(sample(900_000, 5)).starts_with("descriptors: 5"));
        assert!(error(sample(900_000 - DRIFT - 1, 4)).starts_with("MemAvailable"));
        assert!(check(&[], DRIFT).is_err());
    }
}
