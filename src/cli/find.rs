//! Where the running master is to be found.
//!
//! In this order: `--socket`, `MASTERD_SOCKET`, the config named by `-c`, the default. A config that
//! has errors still tells where its master is as long as that can be read without guessing: a broken
//! file is when an operator needs `status` most, and it is the master that judges a reload.
//! Never connects. Errors are `Failure`s: 2 for a config that can't tell, 4 for a folder that is not ours.

use super::console::{Exit, Failure};
use crate::{config, sys};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// What the command line says about the master's whereabouts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    pub socket: Option<PathBuf>,
    pub config: Option<PathBuf>,
}

/// The master's doors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub socket: PathBuf,
    /// Only from a config.
    pub pid_file: Option<PathBuf>,
}

/// Finds the master's doors; `named` is the value of `MASTERD_SOCKET`.
pub fn find(at: &Whereabouts, named: Option<PathBuf>) -> Result<Place, Failure> {
    if let Some(socket) = at.socket.clone().or(named.filter(|p| !p.as_os_str().is_empty())) {
        return Ok(Place { socket, pid_file: None });
    }
    let place = match &at.config {
        Some(path) => of_config(path)?,
        None => Place { socket: config::default_control_socket(), pid_file: None },
    };
    if place.socket == config::default_control_socket() && place.socket.starts_with("/tmp") {
        ours(&place.socket, sys::process::euid())?;
    }
    Ok(place)
}

fn of_config(path: &Path) -> Result<Place, Failure> {
    match config::load(path) {
        Ok(loaded) => {
            let pid_file = loaded.config.master.pid_file.clone();
            Ok(Place { socket: config::control_socket(&loaded.config), pid_file })
        }
        Err(problems) => {
            let text = text_of(path).unwrap_or_default();
            recovered(&text, path).ok_or_else(|| {
                let sentence = format!("{} does not tell where its master is:", path.display());
                let lines = problems.iter().map(ToString::to_string).collect();
                Failure { exit: Exit::Usage, text: sentence, lines }
            })
        }
    }
}

/// The most that is read of a config, as everywhere.
const LIMIT: u64 = 1 << 20;

/// The text of a config; `None` for what is none: no plain file, too large, not UTF-8.
fn text_of(path: &Path) -> Option<String> {
    // Asked before it is opened: a FIFO would wait for somebody to write.
    let plain = std::fs::metadata(path).ok().filter(|about| about.is_file() && about.len() <= LIMIT);
    let mut text = String::new();
    plain.and_then(|_| std::fs::File::open(path).ok())?.take(LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What a config with errors still says for certain. A missing `control_socket` means the default
/// only if every line could be read: otherwise a slip of the pen would lead to another master.
fn recovered(text: &str, path: &Path) -> Option<Place> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    let master = match table.get("master").map(|v| v.get_ref()) {
        Some(DeValue::Table(master)) => Some(master),
        Some(_) => return None,
        None => None,
    };
    let folder = std::path::absolute(path).ok()?.parent()?.to_path_buf();
    let named = |key: &str| match master.and_then(|m| m.get(key)).map(|v| v.get_ref()) {
        Some(DeValue::String(path)) if !path.is_empty() => Some(folder.join(path.as_ref())),
        _ => None,
    };
    let whole = !text.is_empty() && errors.is_empty() && !table.contains_key("include");
    let silent = !master.is_some_and(|m| m.contains_key("control_socket"));
    let socket = match named("control_socket") {
        Some(socket) => socket,
        None if whole && silent => config::default_control_socket(),
        None => return None,
    };
    Some(Place { socket, pid_file: named("pid_file") })
}

/// Refuses a socket in a folder that somebody else could have made in a directory open to all.
fn ours(socket: &Path, uid: u32) -> Result<(), Failure> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let shown = folder.display();
    let refuse = |why: String| {
        let sentence =
            format!("not permitted: {shown} {why}; remove it, or name the master's socket with --socket");
        Err(Failure::new(Exit::NotPermitted, sentence))
    };
    match std::fs::symlink_metadata(folder) {
        Ok(found) if !found.is_dir() => {
            refuse("is not a folder, and so not one that masterd made".to_owned())
        }
        Ok(found) if found.uid() != uid => {
            refuse(format!("belongs to uid {}, not to you (uid {uid})", found.uid()))
        }
        Ok(found) if found.mode() & 0o7777 != 0o700 => {
            refuse(format!("has mode {:04o} where only 0700 keeps others out", found.mode() & 0o7777))
        }
        Ok(_) => Ok(()),
        // Connecting will say what there is to say about a folder that is not there.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => refuse(format!("can't be looked at: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_order_is_socket_then_environment() {
        let at = Whereabouts { socket: Some("/a".into()), config: Some("/nowhere.toml".into()) };
        assert_eq!(find(&at, Some("/b".into())).unwrap().socket, Path::new("/a"));
        let at = Whereabouts { socket: None, ..at };
        assert_eq!(find(&at, Some("/b".into())).unwrap().socket, Path::new("/b"));
        assert_eq!(find(&at, Some("".into())).unwrap_err().exit, Exit::Usage, "an empty variable is none");
    }

    #[test]
    fn the_config_names_the_socket_and_the_pid_file() {
        let folder = Folder::new();
        let path = folder.path().join("m.toml");
        let text = "[master]\ncontrol_socket = \"c.sock\"\npid_file = \"run/m.pid\"\n\
                    [[service]]\nname = \"web\"\nlisten = [\"127.0.0.1:0\"]\nhttp = { route = [{ path = \"/\", respond = {} }] }\n";
        std::fs::write(&path, text).unwrap();
        let at = Whereabouts { socket: None, config: Some(path) };
        let place = find(&at, None).unwrap();
        assert_eq!(place.socket, folder.path().join("c.sock"));
        assert_eq!(place.pid_file, Some(folder.path().join("run/m.pid")));
    }

    #[test]
    fn a_config_with_errors_tells_what_is_certain() {
        let path = Path::new("/etc/m.toml");
        let socket = |text| recovered(text, path).map(|p| p.socket);
        let default = config::default_control_socket();
        assert_eq!(socket("[master]\ncontrol_socket = \"a\"\nnonsense = 1"), Some("/etc/a".into()));
        assert_eq!(socket("[master]\ncontrol_socket = \"/a\"\nx = = 3\n"), Some("/a".into()));
        assert_eq!(socket("[master]\nnonsense = 1"), Some(default.clone()));
        assert_eq!(socket("nonsense = 1"), Some(default));
        for guess in
            ["", "x = = 3\n[master]\n", "include = [\"a\"]\n", "[master]\ncontrol_socket = 3", "master = 3"]
        {
            assert_eq!(socket(guess), None, "{guess:?}");
        }
    }

    #[test]
    fn only_what_can_be_a_config_is_read() {
        let folder = Folder::new();
        let path = folder.path().join("m.toml");
        std::fs::write(&path, "x = = 1").unwrap();
        assert_eq!(text_of(&path).as_deref(), Some("x = = 1"));
        let big = std::fs::File::create(&path).unwrap();
        big.set_len(LIMIT + 1).unwrap();
        for path in [path.as_path(), folder.path(), Path::new("/dev/zero")] {
            assert_eq!(text_of(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_config_that_tells_nothing_is_wrong_usage() {
        let at = Whereabouts { socket: None, config: Some("/nowhere/m.toml".into()) };
        let failure = find(&at, None).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert_eq!(failure.text, "/nowhere/m.toml does not tell where its master is:");
        assert!(!failure.lines.is_empty());
    }

    #[test]
    fn a_folder_in_strange_hands_is_refused() {
        let folder = Folder::new();
        let mine = folder.path().join("masterd-1");
        let socket = mine.join("control.sock");
        let uid = sys::process::euid();
        let said = |uid| ours(&socket, uid).map_err(|f| (f.exit, f.text)).err();
        assert_eq!(said(uid), None, "absence is for the connection to report");

        std::fs::create_dir(&mine).unwrap();
        mode(&mine, 0o700);
        assert_eq!(said(uid), None);
        let (exit, text) = said(uid + 1).unwrap();
        assert_eq!(exit, Exit::NotPermitted);
        assert!(text.contains(&format!("belongs to uid {uid}, not to you (uid {})", uid + 1)), "{text}");

        mode(&mine, 0o750);
        assert!(said(uid).unwrap().1.contains("has mode 0750"));

        std::fs::remove_dir(&mine).unwrap();
        symlink("/tmp", &mine).unwrap();
        assert!(said(uid).unwrap().1.contains("is not a folder"));
    }
}
