//! Pools that grow and shrink: by a verb, by signals, by load.

mod bounds;
mod scale;
