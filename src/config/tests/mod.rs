//! Tests of the room as a whole: text in, config or messages out, on an invented machine.

mod access_log;
mod basics;
mod exec;
mod faults;
mod faults_actions;
mod faults_exec;
mod faults_listen;
mod files;
mod published;
mod reload;
mod tls;

use super::load::{Loaded, load_on};
use super::problem::Problem;
use super::resolve::{Resolver, System};
use super::types::Program;
use crate::sys::file::{self, Contents};
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A machine with two CPUs, `nobody`, `www`, the group `web`, and a folder `/srv/www` to which the
/// symlink `/srv/now` points, certificates in every folder `tls`, the program `/srv/api/current/bin/server`; and the
/// real `conf` of this repository, temporary folders and programs. PATH is `/bin` after a relative folder.
pub struct Machine {
    pub root: bool,
}

impl Resolver for Machine {
    fn is_root(&self) -> bool {
        self.root
    }

    fn user(&self, name: &str) -> io::Result<Option<(u32, u32)>> {
        match name {
            "broken" => Err(io::Error::other("the directory server is away")),
            "root" => Ok(Some((0, 0))),
            "nobody" => Ok(Some((65534, 65533))),
            "www" => Ok(Some((33, 34))),
            _ => Ok(None),
        }
    }

    fn group(&self, name: &str) -> io::Result<Option<u32>> {
        Ok((name == "web").then_some(80))
    }

    fn cpus(&self) -> io::Result<Vec<usize>> {
        Ok(vec![0, 2])
    }

    fn folder(&self, path: &Path) -> io::Result<PathBuf> {
        match path.to_str() {
            Some("/srv/www" | "/srv/now") => Ok(PathBuf::from("/srv/www")),
            Some("/srv/file") => Err(io::ErrorKind::NotADirectory.into()),
            Some("/srv/closed") => Err(io::Error::from_raw_os_error(13)),
            Some("/srv/latin1") => Ok(OsString::from_vec(b"/srv/caf\xe9".to_vec()).into()),
            Some("/srv/lines") => Ok(PathBuf::from("/srv/a\nb")),
            _ if path.starts_with(repository().join("conf")) => path.canonicalize(),
            _ if path.starts_with(std::env::temp_dir()) => System.folder(path),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn file(&self, path: &Path) -> io::Result<Contents> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match tls::files().get(name).filter(|_| path.parent().is_some_and(|folder| folder.ends_with("tls"))) {
            Some((text, mode)) => Ok(Contents { bytes: text.clone().into_bytes(), mode: *mode }),
            None => file::read_regular(path, 1 << 20),
        }
    }

    fn search_path(&self) -> Option<OsString> {
        Some("bin:/bin".into())
    }

    fn program(&self, path: &Path) -> io::Result<(Program, Metadata)> {
        let server = Path::new("/srv/api/current/bin/server");
        System.program(if path == server { Path::new("/bin/sh") } else { path })
    }
}

/// A folder of its own, removed at the end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Folder {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("masterd-config-{}-{serial}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Loads a file of this folder as an ordinary user.
    pub fn load(&self, name: &str) -> Result<Loaded, Vec<Problem>> {
        load_on(&self.0.join(name), &Machine { root: false })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Loads a text as an ordinary user, or as root.
pub fn load_text(text: &str, root: bool) -> Result<Loaded, Vec<Problem>> {
    let folder = Folder::new();
    let path = folder.write("m.toml", text);
    load_on(&path, &Machine { root })
}

/// A good config; `load_text` of it with more lines before it tests `[master]`.
pub const SERVICE: &str = "[[service]]\nname = 'web'\nlisten = ['127.0.0.1:8080']\nhttp = { route = [{ path = '/', status = 'json' }] }\n";

/// The messages as people see them, the file's name without its folder.
pub fn shown(problems: &[Problem]) -> Vec<String> {
    let bare = |problem: &Problem| {
        let mut problem = problem.clone();
        problem.file = problem.file.file_name().map(PathBuf::from).unwrap_or_default();
        problem.to_string()
    };
    problems.iter().map(bare).collect()
}

/// The errors of a text, with `DIR` for its folder.
pub fn errors(text: &str, root: bool) -> Vec<String> {
    let folder = Folder::new();
    let path = folder.write("m.toml", text);
    let problems = load_on(&path, &Machine { root }).map(|loaded| loaded.config).unwrap_err();
    shown(&problems).into_iter().map(|line| line.replace(&*folder.0.to_string_lossy(), "DIR")).collect()
}

/// The folder of this repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
