//! Which file a command means: found once, when the config is read, so that a generation executes one file.
//!
//! A name with a slash is a path beneath the main file's folder; one without is looked for in PATH, as execvp(3)
//! does, but only in folders that are absolute: the others would depend on where masterd was started. `check` calls
//! `find`; `look` is the answer of the machine we run on. Never: executes anything, or opens it.

use super::problem::quoted;
use super::resolve::Resolver;
use super::types::Program;
use super::values::{self, Wrong};
use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where names are looked for when there is no PATH at all (execvp(3)).
const NO_PATH: &str = "/bin:/usr/bin";

/// The program that a command names.
///
/// `path` is the PATH that the config gives the program, if it does; else masterd's own counts. `folder` is what
/// relative paths are relative to. May block on dead mounts: the caller is a child with a deadline.
pub(super) fn find(
    name: &str,
    path: Option<&str>,
    folder: &Path,
    machine: &dyn Resolver,
) -> Result<Program, Wrong> {
    if name.contains('/') {
        return at(name, &values::absolute(name, folder)?, machine);
    }
    let (whose, path) = match path {
        Some(path) => ("service.exec.env.PATH", OsString::from(path)),
        None => ("masterd's PATH", machine.search_path().unwrap_or_else(|| NO_PATH.into())),
    };
    let mut unfit = None;
    for candidate in std::env::split_paths(&path).filter(|f| f.is_absolute()).map(|f| f.join(name)) {
        match machine.program(&candidate) {
            Ok(found) => match judged(&candidate, found) {
                Ok(program) => return Ok(program),
                Err(wrong) => _ = unfit.get_or_insert(wrong),
            },
            Err(error) if is_missing(&error) => {}
            Err(error) => _ = unfit.get_or_insert(unseen(&candidate, &error)),
        }
    }
    Err(unfit.unwrap_or_else(|| {
        let path = path.to_string_lossy().chars().take(1000).flat_map(char::escape_debug).collect::<String>();
        let wrong = Wrong::new(format!("there is no program {} in {whose}, \"{path}\"", quoted(name)));
        wrong.with(meant(name, folder, machine))
    }))
}

/// A command line as the array that it probably is meant to be; nothing if quotes make that doubtful.
pub(super) fn as_array(line: &str) -> Option<String> {
    let plain = !line.contains(['"', '\'', '\\', '$']) && !line.trim().is_empty();
    let words = || line.split_whitespace().map(quoted).collect::<Vec<_>>().join(", ");
    plain.then(|| format!("[{}]", words()))
}

/// What a machine says about the file at a path: where it really is, and its inode.
///
/// Errors: the kernel's, NotFound for a missing file or a link that leads nowhere.
pub(super) fn look(path: &Path) -> io::Result<(Program, Metadata)> {
    // The folder first, and the file from there: a `current` link that is switched meanwhile gives one of the two.
    let called = match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => folder.canonicalize()?.join(name),
        _ => path.canonicalize()?,
    };
    let real = called.canonicalize()?;
    let about = real.metadata()?;
    let modified = about.mtime().saturating_mul(1_000_000_000).saturating_add(about.mtime_nsec());
    let program = Program { path: real, called, device: about.dev(), inode: about.ino(), modified };
    Ok((program, about))
}

/// The program at a path that was written as `name`.
fn at(name: &str, path: &Path, machine: &dyn Resolver) -> Result<Program, Wrong> {
    match machine.program(path) {
        Ok(found) => judged(path, found),
        Err(error) if is_missing(&error) => {
            let wrong = Wrong::new(format!("there is no file {}", shown(path)));
            Err(match (arguments(name), name.starts_with('/')) {
                (Some(hint), _) => wrong.with(hint),
                (None, false) => wrong.with("a relative path begins at the folder of the main config file"),
                (None, true) => wrong,
            })
        }
        Err(error) => Err(unseen(path, &error)),
    }
}

/// Whether what is there can be executed, and its paths shown and passed on.
fn judged(path: &Path, (program, about): (Program, Metadata)) -> Result<Program, Wrong> {
    let shown = shown(path);
    if about.is_dir() {
        return Err(Wrong::new(format!("{shown} is a folder")).with("name the program in it"));
    }
    if !about.is_file() {
        return Err(Wrong::new(format!("{shown} is no regular file")));
    }
    // Not access(2): root may execute whatever anybody may, and the program runs as somebody else.
    if about.mode() & 0o111 == 0 {
        return Err(Wrong::new(format!("{shown} is not executable")).with(format!("chmod +x {shown}")));
    }
    let fit = |path: PathBuf| match path.to_str() {
        Some(text) => values::absolute(text, Path::new("/")),
        None => Err(Wrong::new(format!("the real path of {shown} is not valid UTF-8")).with("rename it")),
    };
    Ok(Program { path: fit(program.path)?, called: fit(program.called)?, ..program })
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn unseen(path: &Path, error: &io::Error) -> Wrong {
    Wrong::new(format!("the file {} can't be looked at: {error}", shown(path)))
}

fn shown(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// What to write instead of a name that PATH does not know.
fn meant(name: &str, folder: &Path, machine: &dyn Resolver) -> String {
    let beside = format!("./{name}");
    match arguments(name) {
        Some(hint) => hint,
        None if machine.program(&folder.join(name)).is_ok() => format!("did you mean {}?", quoted(&beside)),
        None => "write its full path, or set PATH in service.exec.env".to_owned(),
    }
}

/// For a whole command line in place of a program.
fn arguments(name: &str) -> Option<String> {
    let meant = as_array(name).filter(|_| name.trim().contains(char::is_whitespace))?;
    Some(format!("each argument is a text of its own: {meant}"))
}
