//! Output for programs.
//!
//! Every document has `schema`; within one number fields are only added.

use kpeel_envelope::error::{Detail, Error, Needed};
use serde::Serialize;

use crate::failure::{Cause, Failure, Result};
use crate::terminal::Terminal;

/// Version of all our documents.
pub(crate) const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'d, T> {
    schema: u32,
    #[serde(flatten)]
    body: &'d T,
}

/// A failure, in parts.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorReport {
    /// The line people get.
    message: String,
    /// The exit code that goes with it.
    exit: u8,
    #[serde(flatten)]
    detail: Option<ErrorDetail>,
}

#[derive(Debug, Serialize)]
struct ErrorDetail {
    class: String,
    depth: u32,
    field: String,
    index: Option<u32>,
    found: Option<u64>,
    needed: Option<String>,
    reason: Option<&'static str>,
}

/// Writes one document.
pub(crate) fn print<T: Serialize>(terminal: &mut Terminal, body: &T) -> Result<()> {
    let document = Document {
        schema: SCHEMA,
        body,
    };
    let bug = |error: serde_json::Error| Failure {
        path: None,
        cause: Cause::Bug(error.to_string()),
    };
    let mut text = serde_json::to_vec_pretty(&document).map_err(bug)?;
    text.push(b'\n');
    terminal.result(&text)
}

/// Writes the failure a command ends with as its document, and hands it back.
pub(crate) fn print_failure(terminal: &mut Terminal, failure: Failure) -> Failure {
    #[derive(Serialize)]
    struct Body {
        error: ErrorReport,
    }
    let body = Body {
        error: ErrorReport::new(&failure),
    };
    // What cannot be written here is said on standard error anyway.
    let _ = print(terminal, &body);
    failure
}

impl ErrorReport {
    /// The line people get.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn new(failure: &Failure) -> Self {
        let detail = match &failure.cause {
            Cause::Envelope(error) => Some(ErrorDetail::new(error)),
            _ => None,
        };
        Self {
            message: failure.to_string(),
            exit: failure.exit().code(),
            detail,
        }
    }
}

impl ErrorDetail {
    fn new(error: &Error) -> Self {
        let (found, needed, reason) = match error.detail {
            Detail::Value { found, needed } => (Some(found), Some(self::needed(needed)), None),
            Detail::Absent => (None, Some("one".to_owned()), None),
            Detail::Reason(reason) => (None, None, Some(reason)),
        };
        Self {
            class: error.class.to_string(),
            depth: error.depth,
            field: error.field.to_string(),
            index: error.index,
            found,
            needed,
            reason,
        }
    }
}

fn needed(needed: Needed) -> String {
    needed.to_string()
}
