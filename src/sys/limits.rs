//! What a process may use: descriptors, core size, priority, CPUs.
//!
//! Called in a child before it serves, while it still has the rights to raise a hard limit.
//! A soft limit is set as asked; the hard one is raised if it is lower and never lowered, so that
//! a program started later may still choose. Errors name the limit, the value asked and the cause.

use super::failure::{Tried, check};
use nix::sched::CpuSet;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use std::io;

/// Sets the soft RLIMIT_NOFILE to `n`. setrlimit(2). Above the hard limit it takes CAP_SYS_RESOURCE.
pub fn set_nofile(n: u64) -> io::Result<()> {
    set(Resource::RLIMIT_NOFILE, "nofile", n)
}

/// Soft and hard RLIMIT_NOFILE. getrlimit(2).
pub fn nofile() -> io::Result<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE).tried(|| "read the nofile limit".into())
}

/// Sets the soft RLIMIT_CORE in bytes; None is unlimited. setrlimit(2), core(5).
pub fn set_core(bytes: Option<u64>) -> io::Result<()> {
    set(Resource::RLIMIT_CORE, "core", bytes.unwrap_or(libc::RLIM_INFINITY))
}

/// Lets the process leave core dumps again: prctl(PR_SET_DUMPABLE, 1).
///
/// A change of identity, and `process::make_undumpable` before the fork, forbid them whatever the
/// limit says. From then on processes of the same user may ptrace this one. core(5).
pub fn allow_core() -> io::Result<()> {
    nix::sys::prctl::set_dumpable(true).tried(|| "allow core dumps".into())
}

fn set(resource: Resource, name: &str, soft: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource).tried(|| format!("read the {name} limit"))?;
    setrlimit(resource, soft, hard.max(soft))
        .tried(|| format!("set the {name} limit to {} (the hard limit is {})", number(soft), number(hard)))
}

fn number(limit: u64) -> String {
    if limit == libc::RLIM_INFINITY { "unlimited".into() } else { limit.to_string() }
}

/// Sets the nice value itself (−20 to 19), not a step. setpriority(2).
pub fn set_nice(n: i32) -> io::Result<()> {
    // SAFETY: plain numbers; 0 is the caller's own process.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, n) })
        .tried(|| format!("set nice to {n}"))
        .map(drop)
}

/// Binds the calling thread, and threads it starts later, to these CPUs. sched_setaffinity(2).
pub fn set_affinity(cpus: &[usize]) -> io::Result<()> {
    let act = || format!("run on CPUs {cpus:?} only");
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu).tried(act)?;
    }
    nix::sched::sched_setaffinity(Pid::from_raw(0), &set).tried(act)
}

/// CPUs this process may run on, ascending. sched_getaffinity(2); up to 1024 CPUs.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    let set = nix::sched::sched_getaffinity(Pid::from_raw(0)).tried(|| "ask for the allowed CPUs".into())?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::alone;
    use super::*;

    #[test]
    fn the_soft_limit_moves_and_the_hard_one_stays() {
        alone(|| {
            let (_, hard) = nofile().unwrap();
            set_nofile(64).unwrap();
            assert_eq!(nofile().unwrap(), (64, hard));
            set_nofile(hard).unwrap();
            assert_eq!(nofile().unwrap(), (hard, hard));
        });
    }

    #[test]
    fn a_hard_limit_in_the_way_is_named() {
        alone(|| {
            setrlimit(Resource::RLIMIT_CORE, 0, 4096).unwrap();
            set_core(Some(4096)).unwrap();
            assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (4096, 4096));
            if super::super::process::euid() == 0 {
                super::super::privs::become_user(65534, 65534).unwrap();
            }
            let error = set_core(None).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert!(
                error.to_string().contains("core limit to unlimited (the hard limit is 4096)"),
                "{error}"
            );
        });
    }

    #[test]
    fn nice_is_a_value_not_a_step() {
        alone(|| {
            for _ in 0..2 {
                set_nice(7).unwrap();
                // SAFETY: asks for a number; 7 can't be taken for the error −1.
                assert_eq!(unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }, 7);
            }
        });
    }

    #[test]
    fn affinity_narrows_what_is_allowed() {
        alone(|| {
            let last = *allowed_cpus().unwrap().last().unwrap();
            set_affinity(&[last]).unwrap();
            assert_eq!(allowed_cpus().unwrap(), [last]);
            assert!(set_affinity(&[]).is_err() && set_affinity(&[100_000]).is_err());
        });
    }
}
