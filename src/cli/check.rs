//! `masterd -t` and `-T`: the config is checked, and shown as it was understood.
//!
//! Reads the files in this process, which may block; binds nothing, opens no log. Problems and the
//! good news go to stderr, the resolved config to stdout. Exit status 2 for a bad config.

use super::console::{Console, Exit, Failure};
use crate::config;
use std::path::Path;

/// Checks the config at `path`.
pub fn check(path: &Path, show: bool, console: &mut Console) -> Result<(), Failure> {
    let loaded = config::load(path).map_err(|problems| {
        let errors = if problems.len() == 1 { "1 error" } else { &format!("{} errors", problems.len()) };
        let lines = problems.iter().map(ToString::to_string).collect();
        Failure { exit: Exit::Usage, text: format!("{} has {errors}:", path.display()), lines }
    })?;
    for warning in &loaded.warnings {
        writeln!(console.err, "masterd: warning: {warning}")?;
    }
    if show {
        write!(console.out, "{}", config::show(&loaded.config))?;
    }
    Ok(writeln!(console.err, "masterd: {} is good", path.display())?)
}

#[cfg(test)]
mod tests {
    use super::super::console::report;
    use super::super::tests::Folder;
    use super::*;

    const GOOD: &str = "[[service]]\nname = \"web\"\nlisten = [\"127.0.0.1:8080\"]\n\
                        http = { route = [{ path = \"/\", respond = { body = \"hello\" } }] }\n";

    fn checked(text: &str, show: bool) -> (Exit, String, String) {
        let folder = Folder::new();
        let path = folder.path().join("m.toml");
        std::fs::write(&path, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut console = Console { out: &mut out, err: &mut err, live: false, bar: false, colour: false };
        let ended = check(&path, show, &mut console);
        let exit = report(ended, &mut console);
        let text = |bytes| String::from_utf8(bytes).unwrap().replace(path.to_str().unwrap(), "m.toml");
        (exit, text(out), text(err))
    }

    #[test]
    fn a_good_config_is_called_good_and_shown_on_demand() {
        assert_eq!(checked(GOOD, false), (Exit::Done, String::new(), "masterd: m.toml is good\n".to_owned()));
        let (exit, out, err) = checked(GOOD, true);
        assert_eq!((exit, err.as_str()), (Exit::Done, "masterd: m.toml is good\n"));
        assert!(out.contains("\"web\"") && out.contains("127.0.0.1:8080") && out.ends_with('\n'), "{out}");
    }

    #[test]
    fn every_problem_of_a_bad_one_is_printed_with_its_place() {
        let (exit, out, err) = checked(&format!("nonsense = 1\n{GOOD}\nworkers = \"many\"\n"), true);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!(lines[0], "masterd: m.toml has 2 errors:");
        assert!(
            lines.len() == 3 && lines[1].starts_with("m.toml:1:1: ") && lines[2].starts_with("m.toml:7:"),
            "{err}"
        );

        let (exit, _, err) = checked("nonsense = 1\n", false);
        assert_eq!(exit, Exit::Usage);
        assert!(err.contains("m.toml:1:1: "), "{err}");
    }
}
