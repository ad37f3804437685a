//! Programs really started, most of them shells that say what they find.

use super::super::listen::set_nonblocking;
use super::super::testing::{Folder, alone, bit, in_child, signals, wait_until};
use super::*;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

fn strings(words: &[&str]) -> Vec<CString> {
    words.iter().map(|word| CString::new(*word).unwrap()).collect()
}

fn no_env(_: i32) -> Vec<CString> {
    strings(&["PATH=/usr/bin:/bin"])
}

/// What a launch with nothing special to it borrows: `Launch { what: …, ..stage.launch() }`.
struct Stage {
    path: PathBuf,
    argv: Vec<CString>,
    null: File,
    out: PipeReader,
    print: PipeWriter,
}

impl Stage {
    fn new(path: impl AsRef<Path>, args: &[&str]) -> Stage {
        let path = path.as_ref().to_owned();
        let argv = strings(&[&["zero"], args].concat());
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let (out, print) = std::io::pipe().unwrap();
        Stage { path, argv, null, out, print }
    }

    fn script(text: &str) -> Stage {
        Stage::new("/bin/sh", &["-c", text])
    }

    /// Its stdout is the stage's pipe, the other two /dev/null.
    fn launch(&self) -> Launch<'_> {
        Launch {
            path: &self.path,
            argv: &self.argv,
            env: &no_env,
            directory: None,
            fds: &[],
            stdin: self.null.as_fd(),
            stdout: self.print.as_fd(),
            stderr: self.null.as_fd(),
            umask: None,
        }
    }

    /// Starts it and waits for its end; pid, end, and what it has printed (little enough for a pipe).
    fn run(&self, launch: &Launch<'_>) -> (i32, Exit, String) {
        let (pid, pidfd) = start(launch).unwrap();
        let exit = end(&pidfd);
        let mut printed = vec![0; 60_000];
        set_nonblocking(self.out.as_fd(), true).unwrap();
        let length = (&self.out).read(&mut printed).unwrap_or(0);
        (pid, exit, String::from_utf8(printed[..length].to_vec()).unwrap())
    }

    fn refusal(&self, launch: &Launch<'_>) -> io::Error {
        let error = start(launch).unwrap_err();
        assert!(no_child_is_left(), "{error}");
        error
    }
}

fn end(pidfd: &Pidfd) -> Exit {
    let mut exit = None;
    wait_until("the end of the program", || {
        exit = pidfd.try_reap().unwrap();
        exit.is_some()
    });
    exit.unwrap()
}

/// Nothing is left to be reaped.
fn no_child_is_left() -> bool {
    process::reap_strangers(&|_| false).unwrap().is_empty()
        && super::super::procfs::children(process::pid()).unwrap().is_empty()
}

#[test]
fn a_program_runs_and_its_end_is_seen() {
    alone(|| {
        let stage = Stage::new("/bin/true", &[]);
        assert_eq!(stage.run(&stage.launch()).1, Exit::Code(0));
        let stage = Stage::new("/bin/sh", &["-c", "echo $0 $1; exit 7", "a", "b"]);
        let (pid, exit, said) = stage.run(&stage.launch());
        assert!(pid > 0);
        assert_eq!((exit, said.as_str()), (Exit::Code(7), "a b\n"));
    });
}

#[test]
fn what_can_not_be_executed_is_said_with_its_reason() {
    let folder = Folder::new();
    let file = |name: &str, text: &str, mode: u32| {
        std::fs::write(folder.join(name), text).unwrap();
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    file("plain", "#!/bin/sh\n", 0o644);
    file("orphan", "#!/no/such/interpreter\n", 0o755);
    file("text", "hello", 0o755);
    alone(|| {
        let refusal = |path: PathBuf| {
            let stage = Stage::new(path, &[]);
            stage.refusal(&stage.launch())
        };
        let error = refusal(folder.join("absent"));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("/absent: execute it: "), "{error}");
        let error = refusal(folder.join("plain"));
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("/plain: execute it (may this user"), "{error}");
        let error = refusal(folder.join("orphan"));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("first line"), "{error}");
        let error = refusal(folder.join("text"));
        assert_eq!(errno(&error), Some(libc::ENOEXEC));
        assert!(error.to_string().contains("neither a program"), "{error}");
        for path in ["bin/true", "/bin/true\0"] {
            assert_eq!(refusal(PathBuf::from(path)).kind(), io::ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn it_begins_in_its_directory_with_its_umask() {
    let folder = Folder::new();
    alone(|| {
        let stage = Stage::script("pwd; umask");
        let launch = Launch { directory: Some(folder.path()), umask: Some(0o27), ..stage.launch() };
        assert_eq!(stage.run(&launch).2, format!("{}\n0027\n", folder.path().display()));
        umask(Mode::from_bits_truncate(0o13));
        assert!(stage.run(&stage.launch()).2.ends_with("\n0013\n"));

        let absent = folder.join("absent");
        let error = stage.refusal(&Launch { directory: Some(&absent), ..stage.launch() });
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let wanted = format!("start /bin/sh: change to its directory {}: ", absent.display());
        assert!(error.to_string().starts_with(&wanted), "{error}");
    });
}

/// The read end of a pipe with a word in it, at this number, whatever was there.
fn word_at(number: RawFd, word: &str) {
    let (read, mut write) = std::io::pipe().unwrap();
    write.write_all(format!("{word}\n").as_bytes()).unwrap();
    drop(write);
    let read = read.into_raw_fd();
    if read != number {
        // SAFETY: plain numbers, in a child of a test: the one is nobody's, the other ours to close.
        unsafe { assert_eq!((libc::dup2(read, number), libc::close(read)), (number, 0)) };
    }
}

#[test]
fn descriptors_are_in_their_places_wherever_they_were() {
    alone(|| {
        fd::close_all_except(&[]).unwrap();
        // In the way of each other, far above, and so many that the launch's own are in the way as well.
        let places = [4, 3, 40, 41, 42, 43, 44, 45, 46, 47];
        for place in places {
            word_at(place, "");
        }
        // SAFETY: open, since just put there, for the rest of this process.
        let fds = places.map(|place| unsafe { BorrowedFd::borrow_raw(place) });
        let link = |n: RawFd| std::fs::read_link(format!("/proc/self/fd/{n}")).unwrap();
        let wanted: Vec<String> = places.iter().map(|n| link(*n).display().to_string()).collect();
        let stage = Stage::script("for n in 3 4 5 6 7 8 9 10 11 12; do readlink /proc/$$/fd/$n; done");
        let said = stage.run(&Launch { fds: &fds, ..stage.launch() }).2;
        assert_eq!(said.lines().collect::<Vec<_>>(), wanted);

        let stage = Stage::new("/bin/ls", &["/proc/self/fd"]);
        let said = stage.run(&Launch { fds: &fds[..3], ..stage.launch() }).2;
        // The last is the listing's own.
        assert_eq!(said, "0\n1\n2\n3\n4\n5\n6\n", "and nothing else is open");
    });
}

#[test]
fn standard_descriptors_may_come_from_each_others_places() {
    alone(|| {
        word_at(1, "was one");
        // SAFETY: open, since just put there, for the rest of this process.
        let one = unsafe { BorrowedFd::borrow_raw(1) };
        let stage = Stage::script("cat; echo end >&4; cat /proc/self/comm >&2");
        let print = stage.launch().stdout;
        // Stderr and two more are the same pipe.
        let fds = [print, print];
        let said = stage.run(&Launch { stdin: one, stderr: print, fds: &fds, ..stage.launch() }).2;
        assert_eq!(said, "was one\nend\ncat\n");
    });
}

#[test]
fn nothing_of_ours_is_open_in_the_program() {
    alone(|| {
        // Even what is without CLOEXEC, by somebody's mistake.
        let (read, _write) = std::io::pipe().unwrap();
        super::super::exec::inherit(read.as_fd(), true).unwrap();
        let stage = Stage::script("ls /proc/self/fd");
        let listed = stage.run(&stage.launch()).2;
        assert_eq!(listed, "0\n1\n2\n3\n", "the standard ones, and the listing's own");
    });
}

#[test]
fn too_few_descriptors_are_an_error_of_that_step() {
    alone(|| {
        let stage = Stage::new("/bin/true", &[]);
        let most = fd::budget().unwrap().0 as u64 + 10;
        super::super::limits::set_nofile(most).unwrap();
        let many = vec![stage.null.as_fd(); 64];
        let error = stage.refusal(&Launch { fds: &many, ..stage.launch() });
        assert!(error.to_string().contains("give it 64 descriptors"), "{error}");
    });
}

#[test]
fn its_environment_is_its_own_and_knows_its_pid() {
    alone(|| {
        let env = |pid: i32| vec![CString::new(format!("LISTEN_PID={pid}")).unwrap()];
        let stage = Stage::new("/usr/bin/env", &[]);
        let (pid, _, said) = stage.run(&Launch { env: &env, ..stage.launch() });
        assert_eq!(said, format!("LISTEN_PID={pid}\n"));
    });
}

#[test]
fn its_signals_are_as_after_boot_and_it_leads_a_group() {
    alone(|| {
        signal::block_all().unwrap();
        let stage = Stage::script("read -r stat < /proc/self/stat; echo $stat; exec cat /proc/self/status");
        let (pid, _, said) = stage.run(&stage.launch());
        let group = said.lines().next().unwrap().rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(2);
        assert_eq!(group, Some(pid.to_string().as_str()));
        let line = |name: &str| {
            let hex = said.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(hex.trim(), 16).unwrap() & !(bit(32) | bit(33))
        };
        assert_eq!((line("SigBlk:"), line("SigIgn:"), line("SigCgt:")), (0, 0, 0));
        assert_ne!(signals("SigIgn"), 0, "our own are as they were");
    });
}

#[test]
fn it_ends_when_its_parent_does() {
    alone(|| {
        super::super::family::become_subreaper().unwrap();
        let stage = Stage::new("/bin/sleep", &["30"]);
        let (mut read, write) = std::io::pipe().unwrap();
        let Side::Parent { pidfd: parent, .. } = fork::fork().unwrap() else {
            let (pid, _pidfd) = start(&stage.launch()).unwrap();
            (&write).write_all(&pid.to_ne_bytes()).unwrap();
            loop {
                std::thread::park();
            }
        };
        let mut number = [0; 4];
        read.read_exact(&mut number).unwrap();
        let program = Pidfd::open(i32::from_ne_bytes(number)).unwrap();
        parent.send_signal(libc::SIGKILL).unwrap();
        let killed = Exit::Signal { number: libc::SIGKILL, core: false };
        assert_eq!(end(&parent), killed);
        // It is ours by now, as we are the subreaper.
        assert_eq!(end(&program), killed);
    });
}

/// What `start_within` says of a child that meets this while it makes its environment.
fn meeting(patience: Duration, env: &dyn Fn(i32) -> Vec<CString>) -> io::Error {
    let stage = Stage::new("/bin/true", &[]);
    let error = start_within(&Launch { env, ..stage.launch() }, patience).unwrap_err();
    assert!(no_child_is_left(), "{error}");
    error
}

#[test]
fn a_child_that_hangs_before_its_exec_is_killed() {
    alone(|| {
        let error = meeting(Duration::from_millis(30), &|_| {
            std::thread::sleep(Duration::from_secs(100));
            Vec::new()
        });
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().starts_with("start /bin/true: it is not executed after 30ms"), "{error}");
    });
}

#[test]
fn a_child_that_dies_before_its_exec_is_no_program_that_runs() {
    alone(|| {
        let error = meeting(PATIENCE, &|_| fork::exit_now(9));
        assert!(error.to_string().contains("ended before it could execute"), "{error}");
        assert!(error.to_string().ends_with("with status 9"), "{error}");
        let error = meeting(PATIENCE, &|_| {
            Pidfd::open(process::pid()).unwrap().send_signal(libc::SIGKILL).unwrap();
            Vec::new()
        });
        assert!(error.to_string().ends_with("by SIGKILL"), "{error}");
    });
    // The panic of a child says so on stderr, which is none of anybody's business here.
    let exit = in_child(|| {
        fd::null_over(&[2]).unwrap();
        let error = meeting(PATIENCE, &|_| panic!("in the child"));
        assert!(error.to_string().ends_with("with status 70"), "{error}");
    });
    assert_eq!(exit, Exit::Code(0));
}

#[test]
fn a_process_with_threads_starts_nothing() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || held.recv());
    let stage = Stage::new("/bin/true", &[]);
    let refused = start(&stage.launch()).unwrap_err().to_string();
    drop(hold);
    assert!(thread.join().unwrap().is_err());
    assert!(refused.starts_with("start /bin/true: fork: this process has"), "{refused}");
}
