//! The C decoders as fast paths: whether they are taken, and how liblzma runs.

use liblzma::stream::{Action, Status, Stream};

use crate::output::Output;

#[cfg(test)]
thread_local! {
    /// Off while a test asks the Rust decoders alone.
    static ENABLED: core::cell::Cell<bool> = const { core::cell::Cell::new(true) };
}

/// Whether to try the C decoders.
#[cfg(not(test))]
pub(crate) fn enabled() -> bool {
    true
}

/// Whether to try the C decoders.
#[cfg(test)]
pub(crate) fn enabled() -> bool {
    ENABLED.get()
}

/// Runs `test` with the Rust decoders alone.
#[cfg(test)]
pub(crate) fn disabled<T>(test: impl FnOnce() -> T) -> T {
    ENABLED.set(false);
    let value = test();
    ENABLED.set(true);
    value
}

/// Runs `stream` over `input` into `output`; gives the bytes consumed, or `None` if liblzma did not reach its end.
///
/// A failed run leaves partial output behind.
pub(crate) fn run(stream: &mut Stream, input: &[u8], output: &mut Output) -> Option<usize> {
    loop {
        let at = usize::try_from(stream.total_in()).ok()?;
        let rest = input.get(at..)?;
        let filled = output.fill(|room| {
            let before = stream.total_out();
            // Fails without progress, so this loop ends.
            let status = stream.process(rest, room, Action::Run);
            let written = stream.total_out().saturating_sub(before);
            Ok((usize::try_from(written).unwrap_or(usize::MAX), status))
        });
        match filled.ok()?.1.ok()? {
            Status::StreamEnd => return usize::try_from(stream.total_in()).ok(),
            Status::Ok | Status::GetCheck => {}
            Status::MemNeeded => return None,
        }
    }
}
