//! Facts without I/O: who exists, in which phase, since when.
//!
//! Layer 1. Plain values that every other room may name. Nothing here reads a clock, touches a
//! descriptor or decides anything; `policy` is the only room that changes a `Fleet`.

pub mod class;
pub mod fleet;
pub mod ids;
pub mod moment;
pub mod phase;
pub mod plan;
pub mod tickets;

pub use class::Class;
pub use ids::{ClientId, Generation, PlanId, Seat, ServiceName, WorkerId};
pub use moment::Moment;
pub use phase::{GAVE_UP, Phase};
pub use tickets::TicketSecret;
