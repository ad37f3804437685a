//! Messages between processes: pure data, no descriptors, no I/O.
//!
//! `order` goes from master to worker, `report` from worker to master (both as one JSON document per
//! SOCK_SEQPACKET message), `control` between CLI and master (one JSON document per line), `status`
//! is the document of `masterd status --json`. Whoever reads one treats it as hostile input.

pub mod control;
pub mod order;
pub mod report;
pub mod status;
