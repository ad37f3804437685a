//! The rules, one test each, in a simulated world (`sim`) with an invented clock.
//!
//! `watch` holds what must be true of every decision; `matrix`, `properties` and `explore` look for
//! events in an order that nobody thought of.

mod asking;
mod backing_off;
mod deaths;
mod draining;
mod explore;
mod holding;
mod matrix;
mod properties;
mod recycling;
mod reloading;
mod rescuing;
mod scaling;
mod sim;
mod starting;
mod stepping;
mod stopping;
mod upgrading;
mod waiting;
mod watch;
