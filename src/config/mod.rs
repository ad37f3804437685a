//! The config: text in, a checked `Config` or every error at once out.
//!
//! Text, raw and checked are three things: `load` reads files and parses TOML, `check` resolves it
//! against the key `table`, and only `types` leaves the room. `diff` tells what a reload would do.
//! Everything here may block (dead mounts, NSS), so the master calls it only in a forked child with
//! a deadline. Never: binds, opens a log, changes anything.

mod check;
mod diff;
mod docs;
mod flat;
mod include;
mod key;
mod load;
mod notes;
pub mod pem;
mod place;
mod problem;
mod program;
mod read;
mod resolve;
mod show;
mod source;
mod suggest;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
pub mod types;
mod values;
mod words;

#[cfg(test)]
mod tests;

pub use diff::{Change, Effect, diff, keep_frozen};
pub use docs::{man_page, reference};
pub use load::{Loaded, load};
pub use place::{control_socket, default_control_socket};
pub use problem::Problem;
pub use show::show;
pub use tokens::{Tokens, names_sockets, replace};
pub use types::*;

use crate::model::plan::{Plan, ServicePlan};

/// What decisions need of a config, and nothing else of it.
pub fn plan_of(config: &Config) -> Plan {
    let master = &config.master;
    Plan {
        ready_timeout: master.ready_timeout,
        max_draining: master.max_draining_generations,
        rollout: master.rollout,
        watchdog: master.watchdog,
        sigterm_fast: master.sigterm == Sigterm::Fast,
        services: config.services.iter().map(service_plan).collect(),
    }
}

fn service_plan(service: &Service) -> ServicePlan {
    let grace = service.drain.grace;
    ServicePlan {
        name: service.name.as_str().into(),
        pool: service.workers,
        per_worker: service.listen.iter().any(|listen| listen.accept == Accept::PerWorker),
        grace,
        // Nothing tells what of a program's connections is meant to last.
        long_lived: if service.kind.exec().is_some() { grace } else { service.drain.long_lived_grace },
        idle: service.drain.idle,
        delay: service.drain.delay,
        backoff_min: service.restart.backoff_min,
        backoff_max: service.restart.backoff_max,
        give_up: service.restart.give_up,
        program: service.kind.exec().is_some(),
        max_requests: service.restart.max_requests,
        max_memory: service.restart.max_memory,
        max_age: service.restart.max_age,
    }
}
