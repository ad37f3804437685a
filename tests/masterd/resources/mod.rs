//! What runs out, and what must not grow: descriptors, processes, memory, disk, readers, CPU.
//!
//! `limits`: descriptors, connections, forks. `upkeep`: a thousand reloads, idleness, what workers
//! hold. `logs`: a full disk, a reader that stalls or dies, rotation; `access_log`: the same of that one.

mod access_log;
mod limits;
mod logs;
mod upkeep;
