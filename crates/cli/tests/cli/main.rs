//! What the command promises: exit codes, files, messages, documents.
#![forbid(unsafe_code)]

mod attach;
mod exit_codes;
mod inspect;
mod parser;
mod support;
mod third_party;
mod unfold;
