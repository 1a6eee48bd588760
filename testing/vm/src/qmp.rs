//! QEMU's monitor: lets the guest start, and learns why it stopped.
//!
//! QEMU starts paused and goes on only once this listens, so that no event is missed. Source:
//! QEMU's "QMP Reference Manual", events `SHUTDOWN`.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

/// Starts the guest and reads events until QEMU closes the connection. Returns the reason of the
/// last shutdown.
pub(crate) fn follow(stream: UnixStream) -> io::Result<Option<String>> {
    stream.set_nonblocking(false)?;
    let mut writer = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    // The greeting.
    let _ = lines.next().transpose()?;
    for command in ["qmp_capabilities", "cont"] {
        writeln!(writer, r#"{{"execute":"{command}"}}"#)?;
    }
    let mut reason = None;
    for line in lines {
        // A killed QEMU resets the connection; what was read before counts.
        let Ok(line) = line else { break };
        reason = shutdown_reason(&line).or(reason);
    }
    Ok(reason)
}

fn shutdown_reason(message: &str) -> Option<String> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message.get("event")?.as_str()? != "SHUTDOWN" {
        return None;
    }
    Some(message.get("data")?.get("reason")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::shutdown_reason;

    #[test]
    fn reads_the_reason_of_a_shutdown_only() {
        let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN",
            "data": {"guest": true, "reason": "guest-shutdown"}}"#;
        assert_eq!(shutdown_reason(event).as_deref(), Some("guest-shutdown"));
        for other in [
            r#"{"return": {}}"#,
            r#"{"event": "RESET", "data": {"reason": "x"}}"#,
            "",
        ] {
            assert_eq!(shutdown_reason(other), None);
        }
    }
}
