//! What origins answer: one file a family.

pub mod bodies;
pub mod chunks;
pub mod framings;
pub mod heads;
pub mod hops;
pub mod order;
