//! What every program of a load shares: the meter, the trace, and the work they may cause.

use std::sync::Arc;

use kpeel_bpf::{Memory, Trap};
use kpeel_envelope::error::{Class, Error, Refusal};
use kpeel_envelope::limits::Meter;

use crate::answer::{Answer, Stop, Work};
use crate::event::{Caller, Event, Trace};

/// Lent to whoever runs a program.
pub(crate) struct Env<'e, 't> {
    pub(crate) meter: &'e Arc<Meter>,
    pub(crate) trace: &'e mut Trace<'t>,
    pub(crate) work: &'e mut Work,
}

impl Env<'_, '_> {
    /// Pays for host work over this many bytes.
    pub(crate) fn spend(&mut self, bytes: u64) -> Answer<()> {
        self.work.spend(bytes).map_err(Stop::Abort)
    }

    /// Tells of a call, with its arguments in words.
    pub(crate) fn called(
        &mut self,
        caller: Caller,
        name: &'static str,
        arguments: impl FnOnce() -> String,
        result: u64,
    ) {
        self.trace.tell(|depth| Event::Call {
            depth,
            caller,
            name,
            arguments: arguments(),
            result,
        });
    }

    /// Why a program was stopped, as an error; the details go to the trace.
    pub(crate) fn trapped(&mut self, caller: Caller, trap: &Trap<Error>, used: u64) -> Error {
        let field = match caller {
            Caller::Loader => "loader program",
            Caller::Parser => "parser program",
            Caller::Post => "post parser program",
        };
        let reason = trap.to_string();
        self.trace.trap = Some(format!("{field}: {reason}"));
        self.trace.tell(|depth| Event::End {
            depth,
            caller,
            instructions: used,
            result: Err(reason),
        });
        let malformed = |at: &usize, reason| {
            Error::reason(Class::Malformed, field, reason).of_entry(*at as u32)
        };
        match trap {
            Trap::Fault { at, .. } => malformed(at, "accesses memory it has no right to"),
            Trap::Budget { .. } => {
                let allowed = self.meter.limits().instructions;
                Error::bound("instructions", allowed.saturating_add(1), allowed)
            }
            Trap::Depth { allowed, .. } => {
                let asked = (*allowed as u64).saturating_add(1);
                Error::bound("call depth", asked, *allowed as u64)
            }
            Trap::Unresolved { at, .. } => {
                let class = Class::Refused(Refusal::Permission);
                Error::reason(class, field, "calls a function it may not call").of_entry(*at as u32)
            }
            Trap::Call { error, .. } => *error,
            Trap::Arguments { .. } | Trap::Lost { .. } => {
                Error::reason(Class::Bug, field, "left its own instructions")
            }
            _ => Error::reason(Class::Malformed, field, "was stopped"),
        }
    }
}

/// Memory that a program handed to a call is not its own: Linux's verifier would not have let the
/// program pass, so there is no errno for it.
pub(crate) fn stray(field: &'static str) -> Error {
    Error::reason(
        Class::Malformed,
        field,
        "points outside of the program's memory",
    )
}

/// A writable place of a program, for a call to fill.
pub(crate) fn place<'m>(
    memory: &'m mut Memory,
    address: u64,
    size: u64,
    field: &'static str,
) -> Result<&'m mut [u8], Stop> {
    memory
        .bytes_mut(address, size)
        .map_err(|_| Stop::Abort(stray(field)))
}
