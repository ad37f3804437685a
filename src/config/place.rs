//! Where the control socket is when nobody says.
//!
//! Master and CLI ask here, so that they look in the same place.

use super::types::Config;
use crate::sys;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The control socket of a config.
pub fn control_socket(config: &Config) -> PathBuf {
    config.master.control_socket.clone().unwrap_or_else(default_control_socket)
}

/// `/run/masterd/control.sock` for root, `$XDG_RUNTIME_DIR/masterd/control.sock` where that is set,
/// else `/tmp/masterd-UID/control.sock`.
pub fn default_control_socket() -> PathBuf {
    socket_for(sys::process::euid(), std::env::var_os("XDG_RUNTIME_DIR"))
}

fn socket_for(uid: u32, runtime: Option<OsString>) -> PathBuf {
    // A relative XDG_RUNTIME_DIR is invalid and to be ignored (XDG Base Directory Specification).
    let runtime = runtime.map(PathBuf::from).filter(|folder| folder.is_absolute());
    let folder = match (uid, runtime) {
        (0, _) => PathBuf::from("/run/masterd"),
        (_, Some(runtime)) => runtime.join("masterd"),
        (uid, None) => Path::new("/tmp").join(format!("masterd-{uid}")),
    };
    folder.join("control.sock")
}

#[cfg(test)]
mod tests {
    use super::socket_for;
    use std::path::Path;

    #[test]
    fn root_then_runtime_folder_then_tmp() {
        let some = |text: &str| Some(text.into());
        for (uid, runtime, expected) in [
            (0, some("/run/user/0"), "/run/masterd/control.sock"),
            (7, some("/run/user/7"), "/run/user/7/masterd/control.sock"),
            (7, some("run/user/7"), "/tmp/masterd-7/control.sock"),
            (7, some(""), "/tmp/masterd-7/control.sock"),
            (7, None, "/tmp/masterd-7/control.sock"),
        ] {
            assert_eq!(socket_for(uid, runtime), Path::new(expected));
        }
    }
}
