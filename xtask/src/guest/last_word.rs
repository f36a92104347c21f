//! How a guest's kernel says on its console that it ends. It is the guest's word: the machine sees no more than that it does not run on.

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
    /// That it cannot go on: the line that says why.
    Panic(String),
}

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
        if self.has_panicked() {
            return;
        }
        if line.contains("Kernel panic - not syncing") {
            self.last_word = LastWord::Panic(line.to_owned());
        } else if line.contains("reboot: Restarting system") {
            self.last_word = LastWord::Restart;
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
}
