//! What `status` tells, and that it stays right: after deaths, during reloads, asked for in every way.
//!
//! `counts`: figures through kill -9. `views`: documents, schema, connections, speed.
//! Hostile workers have a binary of their own: tests/hostile.

mod counts;
mod views;
