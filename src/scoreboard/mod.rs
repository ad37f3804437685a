//! The shared-memory scoreboard: one sealed memfd per spawned worker, one for the master's totals.
//!
//! `layout` names every word, `slot` is a worker's only pen, `view` is how the master (and nobody
//! else) reads: by value, clamped, never as index, length, pid or pointer. `totals` holds what the
//! dead have left. Plain atomics, one writer per word, no pointers, no locks.

pub mod layout;
#[cfg(test)]
mod manual;
pub mod slot;
pub mod totals;
pub mod view;
