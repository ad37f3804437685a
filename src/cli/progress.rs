//! How far it is: a bar on a terminal, lines elsewhere.
//!
//! `verbs` shows every `Progress` here. Off a terminal a line is printed when the stage changes, and
//! otherwise, if there is news, every five seconds: a log of a deploy holds each step once and the
//! countdown of a long drain now and then.

use super::text::clean;
use crate::wire::control::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::time::{Duration, Instant};

/// How often news of one stage is printed.
const EVERY: Duration = Duration::from_secs(5);

/// What shows the progress of one act.
pub enum Meter {
    Bar(ProgressBar),
    Lines { last: Option<(Progress, Instant)> },
}

impl Meter {
    /// A bar on stderr, or lines.
    pub fn new(bar: bool) -> Meter {
        if !bar {
            return Meter::Lines { last: None };
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        bar.enable_steady_tick(Duration::from_millis(100));
        Meter::Bar(bar)
    }

    /// Shows `progress`; lines go to `err`.
    pub fn show(&mut self, progress: &Progress, err: &mut dyn Write) {
        let text = sentence(progress);
        match self {
            Meter::Bar(bar) => {
                bar.set_style(style(progress.total));
                bar.set_length(progress.total);
                bar.set_position(progress.done.min(progress.total));
                bar.set_message(text);
            }
            Meter::Lines { last } if is_news(last.as_ref(), progress) => {
                // Nobody reads stderr: the verdict and the exit status are still to come.
                let _ = writeln!(err, "{text}");
                *last = Some((progress.clone(), Instant::now()));
            }
            Meter::Lines { .. } => {}
        }
    }

    /// Takes the bar off the screen; lines stay.
    pub fn clear(&mut self) {
        if let Meter::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.clear();
    }
}

fn is_news(last: Option<&(Progress, Instant)>, progress: &Progress) -> bool {
    last.is_none_or(|(shown, at)| {
        shown.stage != progress.stage || (shown != progress && at.elapsed() >= EVERY)
    })
}

fn sentence(progress: &Progress) -> String {
    match (&progress.text, progress.total) {
        (text, _) if !text.is_empty() => clean(text),
        (_, 0) => clean(&progress.stage),
        (_, total) => format!("{}: {} of {total}", clean(&progress.stage), progress.done),
    }
}

fn style(total: u64) -> ProgressStyle {
    let template = if total == 0 { "{spinner} {wide_msg}" } else { "{spinner} [{bar:24}] {wide_msg}" };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(stage: &str, done: u64, total: u64, text: &str) -> Progress {
        Progress { stage: stage.into(), done, total, text: text.into() }
    }

    #[test]
    fn lines_appear_when_the_stage_changes_and_the_countdown_only_now_and_then() {
        let mut err = Vec::new();
        let mut meter = Meter::new(false);
        for step in [
            progress("starting generation 7", 0, 2, ""),
            progress("starting generation 7", 0, 2, ""),
            progress("starting generation 7", 1, 2, ""),
            progress("draining generation 6", 0, 9, "draining gen 6: 9 active\x1b[2J"),
            progress("draining generation 6", 3, 9, "draining gen 6: 9 active\x1b[2J"),
            progress("stopping", 0, 0, ""),
        ] {
            meter.show(&step, &mut err);
        }
        let expected = "starting generation 7: 0 of 2\n\
                        draining gen 6: 9 active\\x1b[2J\nstopping\n";
        assert_eq!(String::from_utf8(err).unwrap(), expected);
    }

    #[test]
    fn both_styles_are_valid_templates() {
        let bar = |t| ProgressStyle::with_template(t).is_ok();
        assert!(bar("{spinner} {wide_msg}") && bar("{spinner} [{bar:24}] {wide_msg}"));
    }
}
