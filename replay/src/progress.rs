//! What a person sees during a long run, on standard error: a spinner on a terminal, otherwise a line every few
//! seconds. Nothing in the first second, and nothing at all when the result is meant for a program.

use crate::report::{grouped, per_second};
use indicatif::ProgressBar;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Inputs between two looks at the clock.
const LOOK_INPUTS: u64 = 1_024;
/// Shorter runs show nothing.
const SILENCE: Duration = Duration::from_secs(1);
const SPINNER_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Tells how far a run is.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    display: Display,
    /// When, after the start, something is shown next.
    due: Duration,
}

#[derive(Debug)]
enum Display {
    Quiet,
    Lines,
    Terminal,
    Spinner(ProgressBar),
}

impl Progress {
    /// Shows progress in the way that standard error allows.
    pub(crate) fn start() -> Progress {
        Progress::with(if io::stderr().is_terminal() { Display::Terminal } else { Display::Lines })
    }

    /// Shows nothing.
    pub(crate) fn quiet() -> Progress {
        Progress::with(Display::Quiet)
    }

    fn with(display: Display) -> Progress {
        Progress { started: Instant::now(), display, due: SILENCE }
    }

    /// So many inputs have been applied.
    pub(crate) fn advance(&mut self, inputs: u64) {
        if inputs.is_multiple_of(LOOK_INPUTS) {
            let elapsed = self.started.elapsed();
            if elapsed >= self.due {
                self.show(inputs, elapsed);
            }
        }
    }

    fn show(&mut self, inputs: u64, elapsed: Duration) {
        let text = words(inputs, elapsed);
        if matches!(self.display, Display::Terminal) {
            self.display = Display::Spinner(ProgressBar::new_spinner());
        }
        match &self.display {
            Display::Quiet | Display::Terminal => {}
            Display::Lines => {
                writeln!(io::stderr(), "{text}").ok(); // Progress that nobody can see is no failure.
                self.due = elapsed + LINE_EVERY;
            }
            Display::Spinner(bar) => {
                bar.set_message(text);
                bar.tick();
                self.due = elapsed + SPINNER_EVERY;
            }
        }
    }

    /// Clears the display before the result is printed.
    pub(crate) fn finish(&self) {
        if let Display::Spinner(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

fn words(inputs: u64, elapsed: Duration) -> String {
    let rate = grouped(per_second(inputs, elapsed));
    format!("{} inputs verified in {} s, {rate}/s", grouped(inputs), elapsed.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_much_and_how_fast() {
        assert_eq!(words(2_048_000, Duration::from_millis(2_500)), "2,048,000 inputs verified in 2 s, 819,200/s");
    }

    #[test]
    fn a_run_shorter_than_a_second_shows_nothing_and_a_line_is_followed_by_silence() {
        let mut progress = Progress::with(Display::Lines);
        progress.advance(LOOK_INPUTS);
        assert_eq!(progress.due, SILENCE, "nothing was shown");
        progress.show(LOOK_INPUTS, Duration::from_secs(2));
        assert_eq!(progress.due, Duration::from_secs(7));
    }
}
