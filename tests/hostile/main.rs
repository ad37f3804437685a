//! Hostile workers: what one can reach (`attacks`), and what its lies do (`lies`).
//!
//! The workers of masterd are built in, so a bad one is made through the library: this binary is the
//! test, and, called as `hostile master ROLE … -c CONFIG`, it is a masterd whose workers are enemies.
//! It has a `main` of its own because a process with a test runner's threads may not fork workers.

#[path = "../masterd/harness/mod.rs"]
mod harness;

mod attacks;
mod lies;
mod roles;

use std::panic::catch_unwind;

/// A test and its name.
type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("a_worker_of_another_user_reaches_its_own_slot_only", attacks::of_another_user),
    ("a_worker_of_the_masters_user_reaches_its_own_slot_only", attacks::of_the_same_user),
    ("lies_of_workers_of_another_user_hurt_nobody", lies::of_another_user),
    ("lies_of_workers_of_the_masters_user_hurt_nobody", lies::of_the_same_user),
    ("a_worker_that_never_listens_is_not_waited_for", lies::deaf_and_mute),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|word| word == "master") {
        std::process::exit(roles::master(&args[2], &args[args.len() - 1]));
    }
    std::process::exit(run(&args[1..]));
}

/// As much of the usual test runner as is needed: a filter, `--exact`, `--skip`, `--list`.
fn run(args: &[String]) -> i32 {
    let exact = args.iter().any(|a| a == "--exact");
    let matches = |name: &str, word: &str| if exact { name == word } else { name.contains(word) };
    let mut words: Vec<&String> = Vec::new();
    let mut skipped: Vec<&String> = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--skip" => skipped.extend(rest.next()),
            "--format" | "--test-threads" | "--color" | "-Z" => drop(rest.next()),
            option if option.starts_with('-') => {}
            _ => words.push(arg),
        }
    }
    let chosen = |name: &str| {
        (words.is_empty() || words.iter().any(|w| matches(name, w)))
            && !skipped.iter().any(|w| matches(name, w))
    };
    let ignored = args.iter().any(|a| a == "--ignored");
    let cases = CASES.iter().filter(|(name, _)| chosen(name) && !ignored);
    if args.iter().any(|a| a == "--list") {
        cases.for_each(|(name, _)| println!("{name}: test"));
        return 0;
    }
    let mut failed = 0;
    for (name, case) in cases {
        let passed = catch_unwind(case).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    println!("\ntest result: {}. {failed} failed", if failed == 0 { "ok" } else { "FAILED" });
    if failed == 0 { 0 } else { 101 }
}

/// Says why a test does nothing; with CI set that is a failure.
fn skip(needs: &str) {
    assert!(std::env::var_os("CI").is_none(), "skipped: needs {needs}");
    eprintln!("skipped: needs {needs}");
}

use harness::{Launch, Master, Place, is_root};
use std::process::Command;

/// A master whose workers play `role`, as this user (root gives them to nobody) or, with `same`, as
/// a user that is master and workers in one. None if this machine can't do that.
fn enemy(
    place: &Place,
    role: &str,
    same: bool,
    config: &str,
    touch: &dyn Fn(&mut Command),
) -> Option<Master> {
    let me = std::env::current_exe().expect("a binary");
    let me = me.to_str().expect("a path in UTF-8");
    let stranger = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", "--"];
    if !same && !is_root() {
        skip("root");
        return None;
    }
    let mut wrapper = vec![me, "master", role];
    if same && is_root() {
        let tried = Command::new(stranger[0]).args(&stranger[1..]).args([me, "--list"]).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            skip("setpriv, and a build folder that others may enter");
            return None;
        }
        std::os::unix::fs::chown(place.dir(), Some(12_345), Some(12_345)).expect("give a folder away");
        wrapper.splice(0..0, stranger);
    }
    place.config(config);
    Some(Launch::through(place, &wrapper).with(|command| touch(command)).start())
}
