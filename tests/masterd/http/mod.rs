//! HTTP as clients meet it, through the whole program: limits and timeouts, and what is counted after.
//!
//! `timeouts`: who is too slow. `requests`: what is answered how. `http2`: the other protocol on the same port.

mod http2;
mod requests;
mod timeouts;
