//! What a guest's kernel says on its console of its end. It is the guest's word: [`super::ending`] puts it beside what
//! the machine has seen.

/// Longer lines are no kernel's.
const MAX_LINE: usize = 1024;

/// What was said of the end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LastWord {
    /// Nothing, or that the power goes off.
    #[default]
    None,
    /// That it starts anew.
    Restart,
    /// That another kernel follows, without the machine's doing (kexec).
    NewKernel,
    /// That a processor no longer does its work: the line that says so. The kernel goes on.
    LockUp(String),
    /// That it cannot go on: the line that says why.
    Panic(String),
}

/// What a line means.
type Meaning = fn(&str) -> LastWord;

/// What kernels write, and what it means.
const WORDS: [(&str, Meaning); 5] = [
    ("Kernel panic - not syncing", |line| LastWord::Panic(line.to_owned())),
    ("reboot: Restarting system", |_| LastWord::Restart),
    ("kexec_core: Starting new kernel", |_| LastWord::NewKernel),
    ("watchdog: BUG: soft lockup", |line| LastWord::LockUp(line.to_owned())),
    ("self-detected stall on CPU", |line| LastWord::LockUp(line.to_owned())),
];

/// Listens to a console.
#[derive(Debug, Default)]
pub struct Ear {
    line: Vec<u8>,
    /// What was heard.
    pub last_word: LastWord,
}

impl Ear {
    /// Takes what was written to the console.
    pub fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = core::mem::take(&mut self.line);
                self.heard(String::from_utf8_lossy(&line).trim());
            } else if self.line.len() < MAX_LINE {
                self.line.push(*byte);
            }
        }
    }

    fn heard(&mut self, line: &str) {
        // The first panic is the cause; what is said after it (that the system restarts, another panic) follows from
        // it.
        if self.has_panicked() {
            return;
        }
        if let Some((_, meaning)) = WORDS.iter().find(|(words, _)| line.contains(words)) {
            self.last_word = meaning(line);
        }
    }

    /// Whether the kernel has panicked.
    pub fn has_panicked(&self) -> bool {
        matches!(self.last_word, LastWord::Panic(_))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ear, LastWord};

    fn heard(parts: &[&str]) -> LastWord {
        let mut ear = Ear::default();
        parts.iter().for_each(|part| ear.hear(part.as_bytes()));
        ear.last_word
    }

    #[test]
    fn power_off_restart_and_panic_are_told_apart() {
        assert_eq!(heard(&["[ 1.0] reboot: Power down\r\n"]), LastWord::None);
        assert_eq!(heard(&["[ 1.0] reboot: Restarting", " system\r\n"]), LastWord::Restart);
        let line = "[ 2.0] Kernel panic - not syncing: no root";
        assert_eq!(heard(&[line, "\r\n[ 2.1] reboot: Restarting system\r\n"]), LastWord::Panic(line.into()));
        assert_eq!(heard(&[&"x".repeat(5000), "Kernel panic - not syncing\n"]), LastWord::None);
    }

    #[test]
    fn a_lock_up_is_kept_until_something_worse_is_said() {
        let line = "[ 44.0] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [sh:1]";
        assert_eq!(heard(&[line, "\n[ 45.0] more\n"]), LastWord::LockUp(line.into()));
        let panic = "[ 45.0] Kernel panic - not syncing: softlockup: hung tasks";
        assert_eq!(heard(&[line, "\n", panic, "\n"]), LastWord::Panic(panic.into()));
        assert_eq!(heard(&["[ 3.0] kexec_core: Starting new kernel\n"]), LastWord::NewKernel);
    }
}
