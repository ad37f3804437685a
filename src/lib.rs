//! masterd: a master/worker process manager for Linux that never drops a connection.
//!
//! The promises are in README.md, the map of the rooms in ARCHITECTURE.md. Facts flow up, decisions
//! flow down, one turn at a time:
//!
//! ```text
//! kernel ─► sys ─► master/inbox ──Event──► policy::decide ──[Action]──► master/outbox ─► sys ─► kernel
//!                       ▲                                                    │
//!                       └────────── what came of it is an Event again ◄──────┘
//! ```
//!
//! | layer | room | may import |
//! |---|---|---|
//! | 0 | `sys` | nothing |
//! | 1 | `image`, `model` | nothing |
//! | 2 | `config`, `wire`, `scoreboard` | `sys`, `model` |
//! | 3 | `policy` | `model`, `config` |
//! | between | `inherit`, `log` | `model`, `config`, `sys` |
//! | 4 | `master` | 0–3 |
//! | 4 | `worker` | 0–2 |
//! | 5 | `cli` | 0–2 |

#![deny(unsafe_code)]

pub mod cli;
pub mod config;
pub mod image;
pub mod inherit;
pub mod log;
pub mod master;
pub mod model;
pub mod policy;
pub mod scoreboard;
#[allow(unsafe_code)]
pub mod sys;
pub mod wire;
pub mod worker;
