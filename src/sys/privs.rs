//! Giving up root, for good, in one visible sequence.
//!
//! Called in a worker before it touches anything a client sends. `become_user` either leaves the
//! process with exactly the ids asked for, checked, or says at which step it failed; after an error
//! the process may stand between two identities and must leave.
//! `lookup_*` go through NSS and may block or load foreign code: only in the config child.

use super::failure::{Tried, check, check_size};
use nix::unistd::{self, Gid, Group, Uid, User};
use std::io;
use std::path::PathBuf;

/// Groups → gid → uid → verify (all three ids, and that root cannot be had back), one error per step.
///
/// setgroups(2), setresgid(2), setresuid(2). `initgroups` for the named user would call NSS, so the
/// supplementary groups are set to just `gid`.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(gid));
    unistd::setgroups(&[group]).tried(|| format!("set the supplementary groups to {gid}"))?;
    unistd::setresgid(group, group, group).tried(|| format!("take on group {gid}"))?;
    unistd::setresuid(user, user, user).tried(|| format!("take on user {uid}"))?;
    verify(user, group)
}

fn verify(user: Uid, group: Gid) -> io::Result<()> {
    let uids = unistd::getresuid().tried(|| "read back the user ids".into())?;
    let gids = unistd::getresgid().tried(|| "read back the group ids".into())?;
    let groups = unistd::getgroups().tried(|| "read back the supplementary groups".into())?;
    if [uids.real, uids.effective, uids.saved] != [user; 3] {
        return Err(io::Error::other(format!("user ids are {uids:?} after taking on user {user}")));
    }
    if [gids.real, gids.effective, gids.saved] != [group; 3] || groups != [group] {
        return Err(io::Error::other(format!(
            "group ids are {gids:?} and {groups:?} after taking on group {group}"
        )));
    }
    if !user.is_root() && unistd::setuid(Uid::from_raw(0)).is_ok() {
        return Err(io::Error::other(format!(
            "user {user} can become root again (does it hold CAP_SETUID?)"
        )));
    }
    Ok(())
}

/// The header of capget(2) and capset(2).
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    /// 0 is the calling thread.
    pid: libc::c_int,
}

/// _LINUX_CAPABILITY_VERSION_3: two words of each set. Linux 2.6.26.
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Effective, permitted and inheritable, the lower 32 of each and then the upper ones.
type Capabilities = [u32; 6];

/// Gives up every capability of the calling thread, ambient ones as well, and checks that none is left.
///
/// prctl(2) PR_CAP_AMBIENT_CLEAR_ALL (Linux 4.3), capset(2). A user of its own is not enough: a master
/// that is not root may have been given capabilities, and setresuid(2) leaves the inheritable ones.
pub fn drop_capabilities() -> io::Result<()> {
    // SAFETY: plain numbers; the unused ones must be 0.
    check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) })
        .tried(|| "clear the ambient capabilities".into())?;
    let mut header = CapabilityHeader { version: CAPABILITY_VERSION, pid: 0 };
    let mut sets: Capabilities = [0; 6];
    // SAFETY: both are laid out as capset(2) wants them for this version and only read (the version
    // is written back, to a place that is ours).
    let done = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) };
    check_size(done as isize).tried(|| "give up all capabilities".into())?;
    sets = [u32::MAX; 6];
    // SAFETY: as above; capget(2) writes two records of three words, which is the length of `sets`.
    let done = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    check_size(done as isize).tried(|| "read back the capabilities".into())?;
    if sets != [0; 6] {
        return Err(io::Error::other(format!("capabilities {sets:x?} are left after all were given up")));
    }
    Ok(())
}

/// prctl(PR_SET_NO_NEW_PRIVS): no set-user-id program started from here on gains anything. Linux 3.5.
pub fn no_new_privs() -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs().tried(|| "set no_new_privs".into())
}

/// Name and home of a user; `None` if there is none. getpwuid_r(3) through NSS: may block; never in the master.
pub fn home(uid: u32) -> io::Result<Option<(String, PathBuf)>> {
    let user = User::from_uid(Uid::from_raw(uid)).tried(|| format!("look up user {uid}"))?;
    Ok(user.map(|u| (u.name, u.dir)))
}

/// uid and primary gid of a user. getpwnam_r(3) through NSS: may block; only in the config child.
pub fn lookup_user(name: &str) -> io::Result<Option<(u32, u32)>> {
    let user = User::from_name(name).tried(|| format!("look up user `{name}`"))?;
    Ok(user.map(|u| (u.uid.as_raw(), u.gid.as_raw())))
}

/// gid of a group. getgrnam_r(3) through NSS: may block; only in the config child.
pub fn lookup_group(name: &str) -> io::Result<Option<u32>> {
    let group = Group::from_name(name).tried(|| format!("look up group `{name}`"))?;
    Ok(group.map(|g| g.gid.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::alone;
    use super::*;

    #[test]
    fn root_becomes_somebody_else_for_good() {
        alone(|| {
            if super::super::process::euid() != 0 {
                let error = become_user(65534, 65534).unwrap_err();
                assert!(error.to_string().starts_with("set the supplementary groups"), "{error}");
                return;
            }
            become_user(12345, 23456).unwrap();
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = |name: &str| {
                let rest = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                rest.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(line("Uid:"), ["12345"; 4]);
            assert_eq!(line("Gid:"), ["23456"; 4]);
            assert_eq!(line("Groups:"), ["23456"]);
            assert!(become_user(0, 0).is_err());
        });
    }

    #[test]
    fn no_capability_is_left() {
        alone(|| {
            drop_capabilities().unwrap();
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
                let bits = status.lines().find_map(|line| line.strip_prefix(set)).unwrap().trim();
                assert_eq!(bits, "0000000000000000", "{set}");
            }
            assert!(become_user(12345, 12345).is_err());
        });
    }

    #[test]
    fn no_new_privs_is_set() {
        alone(|| {
            no_new_privs().unwrap();
            assert!(nix::sys::prctl::get_no_new_privs().unwrap());
        });
    }

    #[test]
    fn names_are_found_or_not() {
        assert_eq!(lookup_user("root").unwrap(), Some((0, 0)));
        assert_eq!(lookup_group("root").unwrap(), Some(0));
        assert_eq!(lookup_user("no-such-user-here").unwrap(), None);
        assert_eq!(lookup_group("no-such-group-here").unwrap(), None);
    }
}
