//! Says what takes long: a status line that is redrawn on a terminal, and a plain line now and then elsewhere.

use core::time::Duration;
use std::io::{IsTerminal, Write, stderr};
use std::time::Instant;

/// How often a line is printed where nothing can be redrawn.
const PLAIN_INTERVAL: Duration = Duration::from_secs(20);
/// How often a line is redrawn.
const REDRAW_INTERVAL: Duration = Duration::from_millis(200);

/// One thing that takes long.
#[derive(Debug)]
pub struct Progress {
    label: String,
    started: Instant,
    printed: Instant,
    terminal: bool,
}

impl Progress {
    /// Announces `label`.
    pub fn start(label: &str) -> Self {
        let terminal = stderr().is_terminal();
        let now = Instant::now();
        let progress = Self { label: label.to_owned(), started: now, printed: now, terminal };
        progress.print("…", terminal);
        progress
    }

    /// Shows `state`; call it as often as you like.
    pub fn update(&mut self, state: &str) {
        let interval = if self.terminal { REDRAW_INTERVAL } else { PLAIN_INTERVAL };
        if self.printed.elapsed() >= interval {
            self.printed = Instant::now();
            self.print(&format!("{state} ({:.0} s)", self.seconds()), self.terminal);
        }
    }

    /// The closing line, with the time that it took.
    pub fn done(self, result: &str) {
        self.print(&format!("{result} ({:.1} s)", self.seconds()), false);
    }

    fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    fn print(&self, text: &str, redrawn: bool) {
        let erase = if self.terminal { "\r\x1b[K" } else { "" };
        let end = if redrawn { "" } else { "\n" };
        let mut out = stderr().lock();
        // Losing a status line is no reason to stop.
        let _ = write!(out, "{erase}{:<9} {text}{end}", self.label).and_then(|()| out.flush());
    }
}
