//! Reloads: a new generation comes in whole or not at all, and nobody outside notices.

mod asked;
mod busy;
mod listeners;
mod names;
mod refused;
mod room;
mod steps;
mod verdicts;
