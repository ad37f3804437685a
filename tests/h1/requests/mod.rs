//! What clients send: one file a family.

pub mod chunks;
pub mod codings;
pub mod early;
pub mod ends;
pub mod expect;
pub mod fields;
pub mod hops;
pub mod hosts;
pub mod lengths;
pub mod lines;
pub mod pipelines;
pub mod targets;
