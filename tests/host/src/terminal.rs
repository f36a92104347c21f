//! A terminal whose keys go to a guest one by one: its own echo is off, since the guest's shell has one. Signals stay:
//! Ctrl-C ends us.

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{IsTerminal, stdin};
use std::sync::{Mutex, PoisonError};

/// How the terminal was.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// As long as this is there, keys are neither echoed nor kept until the line is complete.
#[derive(Debug)]
pub struct Keys(());

impl Keys {
    /// Nothing where no terminal is.
    pub fn one_by_one() -> Option<Self> {
        let input = stdin();
        if !input.is_terminal() {
            return None;
        }
        let before = tcgetattr(&input).ok()?;
        let mut modes = before.clone();
        modes.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
        tcsetattr(&input, OptionalActions::Now, &modes).ok()?;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        Some(Self(()))
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        restore();
    }
}

/// Makes the terminal what it was, if it was changed: for a program that ends without unwinding.
pub(crate) fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
    }
}
