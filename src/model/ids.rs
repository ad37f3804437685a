//! Names for things: newtypes that keep a seat from being taken for a generation.
//!
//! Use these wherever a number or a string crosses a room. They never allocate ids themselves:
//! `Fleet` counts generations and workers, the control socket counts clients.

use serde::{Deserialize, Serialize};
use std::fmt;

/// All workers started from one config and one binary; numbered from 1, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// A place `0..N-1` in the pool of a service. It owns its listening sockets and is kept across
/// generations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seat(pub u32);

/// One spawned worker, and so one scoreboard slot: a serial number of spawns, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub u64);

/// One checked config in the hands of the master; a plan lives as long as a worker of it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanId(pub u64);

/// One connection to the control socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u64);

/// The name of a service, as in the config: letters, digits, `-`, `_` and `.`, at most 63 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceName(pub String);

impl From<&str> for ServiceName {
    fn from(name: &str) -> Self {
        ServiceName(name.to_owned())
    }
}

macro_rules! shown_as_its_value {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
shown_as_its_value!(Generation, Seat, WorkerId, PlanId, ClientId, ServiceName);
