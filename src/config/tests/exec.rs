//! `service.exec`: what is read, which file a command means, and what a reload makes of it. The rules are in `faults_exec`.

use super::basics::FULL;
use super::faults::check;
use super::*;
use crate::config::types::*;
use crate::config::{diff, names_sockets, show};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

/// A service that runs this command, in line 4 from column 16 on, with more lines after it.
pub fn service(command: &str, more: &str) -> String {
    format!(
        "[[service]]\nname = 'app'\nlisten = ['127.0.0.1:8080', {{ address = 'unix:a.sock', name = 'side' }}]\nexec.command = {command}\n{more}\n"
    )
}

impl Folder {
    /// A program of its own, empty.
    pub fn program(&self, name: &str) -> PathBuf {
        let path = self.write(name, "");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path.canonicalize().unwrap()
    }

    /// The program of the service in `m.toml` that runs this command.
    fn exec(&self, command: &str, more: &str) -> Exec {
        self.write("m.toml", service(command, more));
        let loaded = self.load("m.toml").unwrap_or_else(|problems| panic!("{:?}", shown(&problems)));
        assert_eq!(loaded.warnings, []);
        loaded.config.services[0].kind.exec().unwrap().clone()
    }

    fn real(&self) -> PathBuf {
        self.0.canonicalize().unwrap()
    }
}

#[test]
fn the_defaults() {
    let folder = Folder::new();
    let exec = folder.exec("['sh', '-c', 'true']", "");
    let real = Path::new("/bin/sh").canonicalize().unwrap();
    let bin = Path::new("/bin").canonicalize().unwrap();
    assert_eq!((&exec.program.path, &exec.program.called), (&real, &bin.join("sh")));
    assert_eq!((exec.command[0].as_str(), exec.command.len()), ("sh", 3), "no path, so as written");
    assert_eq!((&exec.directory, exec.env.len()), (&folder.real(), 0));
    assert_eq!((exec.ready, exec.output, exec.stop_signal), (Readiness::Accepting, Output::Log, 15));
    assert_eq!((exec.nonblocking, exec.umask, exec.watchdog), (false, None, Duration::ZERO));
    assert_eq!(exec.user, None);
}

#[test]
fn every_key_is_read() {
    let config = load_text(FULL, true).unwrap().config;
    let [five, six] = [4, 5].map(|index| &config.services[index]);
    let exec = five.kind.exec().unwrap();
    assert_eq!(exec.command, ["/bin/sh", "-c", "exec server --fd {fd:wide} \"$0\"", ""]);
    assert_eq!(exec.directory, Path::new("/srv/www"));
    let env: Vec<(&str, &str)> =
        exec.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(env, [("A b", "é\"\n"), ("B", "{ready_fd}")]);
    assert_eq!((exec.ready, exec.output, exec.stop_signal), (Readiness::Fd, Output::Inherit, 3));
    assert_eq!((exec.nonblocking, exec.umask, exec.watchdog.as_secs()), (true, Some(0o077), 2));
    let user = Identity { user: "www".into(), uid: 33, group: "web".into(), gid: 80 };
    assert_eq!(exec.user.as_ref(), Some(&user));
    assert!(names_sockets(exec) && !names_sockets(six.kind.exec().unwrap()));
    assert_eq!(six.kind.exec().unwrap().ready, Readiness::Delay(Duration::from_millis(1500)));
    assert_eq!((five.limits.nofile, six.limits.nofile), (Some(512), None));
    assert!(five.listen.iter().all(|listen| listen.accept == Accept::Shared));
    assert_eq!(five.listen[1].address, Address::Udp(([127, 0, 0, 1], 8083).into()));
    assert!(!five.listen[2].ipv6_only);
    assert_eq!((&five.access_log, &six.access_log), (&None, &None), "the master's is not theirs");
    let restart = config.services[0].restart;
    assert_eq!((restart.max_requests, restart.max_memory, restart.max_age.as_secs()), (4, 1 << 30, 86_400));
    assert_eq!((six.restart.max_requests, six.restart.max_memory), (0, 0));
}

#[test]
fn a_current_link_is_followed_and_a_link_of_the_name_is_not_forgotten() {
    let folder = Folder::new();
    let [one, two] = ["releases/1/app", "releases/2/app"].map(|name| folder.program(name));
    symlink("releases/1", folder.0.join("current")).unwrap();
    let exec = folder.exec("['current/app', '-v']", "");
    assert_eq!((&exec.program.path, &exec.program.called), (&one, &one));
    assert_eq!(exec.command, [folder.0.join("current/app").to_str().unwrap(), "-v"]);
    std::fs::remove_file(folder.0.join("current")).unwrap();
    symlink("releases/2", folder.0.join("current")).unwrap();
    assert_eq!(folder.exec("['./current/app']", "").program.path, two);
    // A venv's python finds its venv by the name that it was called by.
    std::fs::create_dir_all(folder.0.join("venv/bin")).unwrap();
    symlink(&one, folder.0.join("venv/bin/python")).unwrap();
    let venv = folder.exec("['venv/bin/python']", "").program;
    assert_eq!((venv.path, venv.called), (one, folder.real().join("venv/bin/python")));
}

#[test]
fn a_bare_name_is_looked_for_in_the_path_that_the_program_gets() {
    let folder = Folder::new();
    let mine = folder.program("tools/sh");
    folder.write("first/sh", "not executable");
    folder.write("second/sh/x", "");
    let path = |folders: &[&str]| {
        let all: Vec<String> = folders.iter().map(|name| folder.0.join(name).display().to_string()).collect();
        format!("exec.env.PATH = '{}'", all.join(":"))
    };
    let found = |more: &str| folder.exec("['sh']", more).program.path;
    assert_eq!(found(&path(&["none", "first", "second", "first/sh", "tools"])), mine);
    // What is relative would depend on where masterd was started.
    let text = service("['sh']", "exec.env.PATH = 'tools::.'");
    check(
        &text,
        "m.toml:4:17: service.exec.command: there is no program \"sh\" in service.exec.env.PATH, \"tools::.\"; write its full path, or set PATH in service.exec.env",
    );
    let unfit = service("['sh']", &path(&["first", "second"]));
    let first = folder.0.join("first/sh");
    check(
        &unfit,
        &format!(
            "m.toml:4:17: service.exec.command: \"{0}\" is not executable; chmod +x \"{0}\"",
            first.display()
        ),
    );
}

#[test]
fn the_file_is_known_by_its_inode_and_time() {
    let folder = Folder::new();
    let path = folder.program("app");
    let program = folder.exec("['./app']", "").program;
    assert_eq!(folder.exec("['./app']", "").program, program);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789)).unwrap();
    let touched = folder.exec("['./app']", "").program;
    assert_eq!((touched.inode, touched.modified), (program.inode, 1_234_567_890_123_456_789));
}

#[test]
fn a_reload_tells_of_another_file() {
    let folder = Folder::new();
    let [one, two] = ["releases/1/app", "releases/2/app"].map(|name| folder.program(name));
    let current = folder.0.join("current");
    let load = |text: String| {
        folder.write("m.toml", text);
        folder.load("m.toml").unwrap().config
    };
    let run = |command: &str| load(service(command, ""));
    symlink("releases/1", &current).unwrap();
    let old = run("['current/app']");
    let said = |new: &Config| diff(&old, new).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(said(&run("['current/app']")), Vec::<String>::new());
    std::fs::remove_file(&current).unwrap();
    symlink("releases/2", &current).unwrap();
    let [one, two] = [one, two].map(|path| path.display().to_string());
    let moved = format!("service \"app\": program changes from \"{one}\" to \"{two}\": new workers have it");
    assert_eq!(said(&run("['current/app']")).len(), 1);
    assert_eq!(diff(&old, &run("['current/app']"))[0].what, "service \"app\": program");
    let short = |text: &str| text.chars().take(80).collect::<String>();
    assert_eq!(short(&said(&run("['current/app']"))[0]), short(&moved));
    std::fs::remove_file(&current).unwrap();
    symlink("releases/1", &current).unwrap();
    std::fs::remove_file(&one).unwrap();
    folder.program("elsewhere");
    std::fs::rename(folder.0.join("elsewhere"), &one).unwrap();
    let renewed = format!("service \"app\": program {one} is another file: new workers have it");
    assert_eq!(said(&run("['current/app']")), [renewed]);
    assert_eq!(said(&run("['sh']")).len(), 1, "another command is another program");
}

/// What `-T` prints, beside the test of the config in which every key is set.
#[test]
fn what_is_inherited_is_shown_as_a_comment() {
    let folder = Folder::new();
    let path = folder.program("bin/app");
    folder.write("m.toml", service("['bin/app', '{fd:side}']", "workers = 2"));
    let first = folder.load("m.toml").unwrap().config;
    let printed = show(&first);
    folder.write("printed.toml", &printed);
    let second = folder.load("printed.toml").unwrap();
    assert_eq!((&second.config.services, second.warnings), (&first.services, vec![]), "{printed}");
    assert!(
        printed.contains(&format!("\n[service.exec]\n# the program is {}\n", path.display())),
        "{printed}"
    );
    assert!(printed.contains("\n# limits.nofile is what masterd was started with\n"), "{printed}");
    for key in ["nofile =", "connections", "idle =", "access_log", "umask", "user"] {
        assert!(!printed.contains(key), "{key}\n{printed}");
    }
}
