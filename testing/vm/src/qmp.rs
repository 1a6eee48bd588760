//! QEMU's monitor: lets the guest start, and learns why it stopped.
//!
//! QEMU starts paused and goes on only once this listens, so that no event is missed. A guest that
//! QEMU stops for good, for instance because KVM cannot execute its next instruction, would stay
//! until the deadline; it is ended at once. Source: QEMU's "QMP Reference Manual", events
//! `SHUTDOWN` and `STOP`.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;

/// Starts the guest and reads events until QEMU closes the connection. Returns the reason of the
/// first shutdown.
pub(crate) fn follow(stream: UnixStream) -> io::Result<Option<String>> {
    stream.set_nonblocking(false)?;
    let mut writer = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    // The greeting.
    let _ = lines.next().transpose()?;
    let mut send = |command| writeln!(writer, r#"{{"execute":"{command}"}}"#);
    send("qmp_capabilities")?;
    send("cont")?;
    let mut reason = None;
    for line in lines {
        // A killed QEMU resets the connection; what was read before counts.
        let Ok(line) = line else { break };
        match Event::parse(&line) {
            Some(Event::Shutdown(new)) => reason = reason.or(Some(new)),
            // QEMU may be gone already.
            Some(Event::Stop) => drop(send("quit")),
            None => {}
        }
    }
    Ok(reason)
}

#[derive(Debug, Eq, PartialEq)]
enum Event {
    /// The guest is at its end, for this reason.
    Shutdown(String),
    /// QEMU has stopped executing the guest.
    Stop,
}

impl Event {
    fn parse(message: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(message).ok()?;
        match message.get("event")?.as_str()? {
            "SHUTDOWN" => {
                let reason = message.get("data")?.get("reason")?.as_str()?;
                Some(Self::Shutdown(reason.to_owned()))
            }
            "STOP" => Some(Self::Stop),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Event;

    #[test]
    fn reads_shutdowns_and_stops_only() {
        let event = r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "SHUTDOWN",
            "data": {"guest": true, "reason": "guest-shutdown"}}"#;
        assert_eq!(
            Event::parse(event),
            Some(Event::Shutdown("guest-shutdown".to_owned()))
        );
        assert_eq!(Event::parse(r#"{"event": "STOP"}"#), Some(Event::Stop));
        for other in [
            r#"{"return": {}}"#,
            r#"{"event": "RESET", "data": {"reason": "x"}}"#,
            "",
        ] {
            assert_eq!(Event::parse(other), None);
        }
    }
}
