//! `masterd completions SHELL`: the script that lets a shell complete masterd's words.
//!
//! Made from the same definitions that parse the command line, so the two can't differ.

use super::args::{Shell, command};
use super::console::{Console, Failure};
use clap_complete::{generate, shells};

/// Prints the script for `shell` on stdout.
pub fn print(shell: Shell, console: &mut Console) -> Result<(), Failure> {
    Ok(console.out.write_all(&script(shell))?)
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    let mut command = command();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, "masterd", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, "masterd", &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, "masterd", &mut script),
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_learns_every_verb_and_flag() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            for verb in command().get_subcommands() {
                assert!(script.contains(verb.get_name()), "{shell:?}: {}", verb.get_name());
                for flag in verb.get_arguments().filter_map(|a| a.get_long()) {
                    assert!(script.contains(flag), "{shell:?}: {} --{flag}", verb.get_name());
                }
            }
        }
    }
}
