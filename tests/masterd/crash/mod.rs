//! Workers that are killed, that die again and again, that stand still: what it costs, and whom.

mod killed;
mod loops;
mod stopped;
mod totals;
