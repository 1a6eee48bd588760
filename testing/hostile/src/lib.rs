//! Hostile images: sound ones with mutations of a known class, run through the whole pipeline.
//!
//! Each run must end in an error of a class that its mutation may cause, or in exactly what an
//! [extractor](extract) made of other libraries finds in the same bytes. No run may panic, take
//! longer than a watchdog allows, or hold more memory than the budget; memory is counted by
//! [`kpeel_counting`], not assumed.
//!
//! A mutation is a pure function of image, class and number, so that each can be made again.

pub mod campaign;
pub mod class;
pub mod extract;
pub mod judge;
pub mod random;
pub mod record;
pub mod seeds;
pub mod spans;
pub mod subject;
mod write;
