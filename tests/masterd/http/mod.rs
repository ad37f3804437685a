//! HTTP as clients meet it, through the whole program: limits and timeouts, and what is counted after.
//!
//! `timeouts`: who is too slow. `requests`: what is answered how.

mod requests;
mod timeouts;
