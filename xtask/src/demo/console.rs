//! What of a guest's serial console is shown to a reader: the kernel's lines and the results, not what guest and
//! challenger say to each other.

use quoin_verify::screen;

/// Longer lines are cut: no kernel writes them.
const MAX_LINE: usize = 1024;

/// A line for the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// As the guest has written it.
    Written(String),
    /// Userland has begun, so many seconds after the kernel.
    Userland(String),
    /// Something was done, or failed and said why.
    Result(String, Option<String>),
}

impl Line {
    /// Prints it, within the terminal's width.
    pub fn say(&self) {
        match self {
            Self::Written(text) => screen::say("  | ", text),
            Self::Userland(seconds) => println!("  userland after {seconds} s of the kernel"),
            Self::Result(name, None) => screen::say("  ok      ", name),
            Self::Result(name, Some(why)) => screen::say("  FAILED  ", &format!("{name}: {why}")),
        }
    }
}

/// Reads a console.
#[derive(Debug, Default)]
pub struct Console {
    line: Vec<u8>,
    in_file: bool,
}

impl Console {
    /// Takes what was written; gives the lines that are complete now.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                let line = core::mem::take(&mut self.line);
                lines.extend(self.heard(&plain(&String::from_utf8_lossy(&line))));
            } else if self.line.len() < MAX_LINE {
                self.line.push(*byte);
            }
        }
        lines
    }

    fn heard(&mut self, line: &str) -> Option<Line> {
        if self.in_file {
            self.in_file = line != "@end";
            return None;
        }
        match line.split_once(' ').unwrap_or((line, "")) {
            ("@file", _) => self.in_file = true,
            ("@userland", seconds) => return Some(Line::Userland(seconds.to_owned())),
            ("ok", name) => return Some(Line::Result(name.to_owned(), None)),
            ("FAIL", text) => {
                let (name, why) = text.split_once(": ").unwrap_or((text, ""));
                return Some(Line::Result(name.to_owned(), Some(why.to_owned())));
            }
            _ if line.starts_with('@') || line.is_empty() => {}
            _ => return Some(Line::Written(line.to_owned())),
        }
        None
    }
}

/// Without what a terminal would obey: a guest may write anything.
fn plain(line: &str) -> String {
    line.chars().filter(|letter| !letter.is_control()).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Console, Line};

    #[test]
    fn the_kernel_and_results_are_shown_and_files_are_not() {
        let mut console = Console::default();
        assert!(console.take(b"[    0.000000] Linux ver").is_empty());
        let lines = console.take(
            b"sion 7\x1b[2J\r\n\r\n@userland 3.1\r\nok one\r\n@file a.bin\r\nok aGVs\r\n@end\r\n@nonces\r\nFAIL two: 0x99D\r\n1 passed, 1 failed\r\n",
        );
        let expected = [
            Line::Written("[    0.000000] Linux version 7[2J".into()),
            Line::Userland("3.1".into()),
            Line::Result("one".into(), None),
            Line::Result("two".into(), Some("0x99D".into())),
            Line::Written("1 passed, 1 failed".into()),
        ];
        assert_eq!(lines, expected);
    }
}
