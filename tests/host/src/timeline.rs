//! What the firmware and the machine say while they boot, as a timeline.

use crate::qemu::{Event, Source};
use core::time::Duration;
use quoin_verify::screen;

/// The words after `quoin: ` (docs/boot.md, "Firmware console") and what a reader is told.
const FIRMWARE: &[(&str, &str)] = &[
    ("vmpl0", "VMPL0 entered"),
    ("ghcb", "GHCB registered"),
    ("entropy", "entropy ready"),
    ("memory", "memory validated"),
    ("tpm", "TPM"),
    ("report", "report"),
    ("ek", "EK in REPORT_DATA"),
    ("anchors", "anchors"),
    ("processors", "processors"),
    ("guest", "guest started at VMPL2"),
    ("fatal", "FATAL"),
];

/// A step of the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Time since QEMU was started.
    pub elapsed: Duration,
    /// What has happened.
    pub title: &'static str,
    /// What was said about it.
    pub detail: String,
}

impl Step {
    /// Prints it.
    pub fn say(&self) {
        say(self.elapsed, self.title, &self.detail);
    }
}

/// Prints a line of the timeline.
pub fn say(elapsed: Duration, title: &str, detail: &str) {
    screen::say(&head(elapsed, title), detail);
}

fn head(elapsed: Duration, title: &str) -> String {
    format!("{:>8.2} s  {title:<24} ", elapsed.as_secs_f64())
}

/// The step that a line is, if it is one.
pub fn step(event: &Event) -> Option<Step> {
    let (title, detail) = match event.source {
        Source::Machine => machine(event.line.strip_prefix("machine: ")?)?,
        Source::Firmware => firmware(event.line.strip_prefix("quoin: ")?)?,
    };
    Some(Step { elapsed: event.elapsed, title, detail: detail.to_owned() })
}

fn machine(line: &str) -> Option<(&'static str, &str)> {
    let titles = [("launch digest ", "image measured"), ("STOP ", "RULE BROKEN"), ("TERMINATED ", "TERMINATED")];
    titles.into_iter().find_map(|(start, title)| Some((title, line.strip_prefix(start)?)))
}

fn firmware(line: &str) -> Option<(&'static str, &str)> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (_, title) = FIRMWARE.iter().find(|(known, _)| *known == word.trim_end_matches(':'))?;
    Some((title, rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::{head, step};
    use crate::qemu::{Event, Source};
    use core::time::Duration;

    fn title(source: Source, line: &str) -> Option<(&'static str, String)> {
        let event = Event { elapsed: Duration::from_millis(1230), source, line: line.to_owned() };
        step(&event).map(|step| (step.title, step.detail))
    }

    #[test]
    fn a_firmware_line_is_known_by_its_word() {
        assert_eq!(title(Source::Firmware, "quoin: vmpl0 C-bit 47"), Some(("VMPL0 entered", String::from("C-bit 47"))));
        assert_eq!(title(Source::Firmware, "quoin: guest"), Some(("guest started at VMPL2", String::new())));
        assert_eq!(title(Source::Firmware, "quoin: unheard-of"), None);
        assert_eq!(title(Source::Firmware, "SeaBIOS"), None);
    }

    #[test]
    fn a_machine_line_is_known_by_its_start() {
        assert_eq!(
            title(Source::Machine, "machine: launch digest 00ff"),
            Some(("image measured", String::from("00ff")))
        );
        assert_eq!(
            title(Source::Machine, "machine: STOP rule=c-bit gpa=0x0"),
            Some(("RULE BROKEN", String::from("rule=c-bit gpa=0x0")))
        );
        assert_eq!(title(Source::Machine, "quoin: vmpl0"), None, "the machine does not speak for the firmware");
    }

    #[test]
    fn a_step_prints_in_columns() {
        assert_eq!(head(Duration::from_millis(1230), "GHCB registered"), "    1.23 s  GHCB registered          ");
    }
}
