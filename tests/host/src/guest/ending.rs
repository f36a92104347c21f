//! How a guest has ended, judged by what the machine has seen and by what the guest's kernel has said (docs/guest.md,
//! "How a guest ends").

use super::last_word::LastWord;
use crate::qemu::End;
use crate::status;
use std::process::ExitCode;

/// A verdict. What comes with it is the reason, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It has switched its power off.
    PowerOff,
    /// It wants to be started anew.
    Restart,
    /// Its processor waits for nothing.
    Halt,
    /// Its kernel has met what it cannot go on from, and says so.
    Panic(String),
    /// It has ended without having meant to.
    Crash(String),
    /// It has ended, or has done nothing in its time, without a sign of a running system.
    NotStarted(String),
    /// It has been ended by us, after its time.
    Running(String),
    /// Not the guest has ended: the firmware, the machine or QEMU has.
    NoGuest(String),
}

impl Ending {
    /// Of the verb.
    pub const fn status(&self) -> u8 {
        match self {
            Self::PowerOff => 0,
            Self::NoGuest(_) => 1,
            Self::NotStarted(_) => status::GUEST_NOT_STARTED,
            Self::Restart => status::GUEST_RESTART,
            Self::Halt => status::GUEST_HALT,
            Self::Panic(_) => status::GUEST_PANIC,
            Self::Crash(_) => status::GUEST_CRASH,
            Self::Running(_) => status::GUEST_RUNNING,
        }
    }

    /// As the verb's result.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status())
    }
}

impl core::fmt::Display for Ending {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::PowerOff => write!(f, "the guest has powered off"),
            Self::Restart => write!(f, "the guest has asked for a restart, which ends this machine"),
            Self::Halt => write!(f, "the guest has halted: its processor waits, and nothing can wake it"),
            Self::Panic(line) => write!(f, "the guest's kernel has panicked: {line}"),
            Self::Crash(why) => write!(f, "the guest has crashed: {why}"),
            Self::NotStarted(why) => write!(f, "the guest has not started: {why}"),
            Self::Running(why) => write!(f, "the guest is still running {why}"),
            Self::NoGuest(why) => write!(f, "{why}"),
        }
    }
}

/// What is known of an end.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The VMPL at which the guest runs.
    pub vmpl: u8,
    /// How the machine has ended; nothing if we have ended it.
    pub end: Option<End>,
    /// The machine's last word: what follows `machine: ` in its last line that begins with `STOP`, `TERMINATED` or
    /// `END`.
    pub machine: &'a str,
    /// The kernel's last word.
    pub word: &'a LastWord,
    /// Octets that the guest has written to its console.
    pub said: usize,
    /// The guest's time in seconds.
    pub limit: u64,
}

impl Seen<'_> {
    /// The verdict.
    pub fn judge(&self) -> Ending {
        if let LastWord::Panic(line) = self.word {
            return panic(line);
        }
        match self.end {
            None => self.still_running(),
            Some(End::Orderly) if self.machine.starts_with("END the guest resets") => Ending::Restart,
            Some(End::Orderly) => Ending::PowerOff,
            Some(End::RuleBroken) if self.is_of_the_guest() => self.stopped(),
            Some(End::RuleBroken) => Ending::NoGuest(format!("a rule of SEV-SNP was broken: {}", self.machine)),
            Some(End::Terminated) if self.is_of_the_guest() => self.broken_off(termination(self.machine)),
            Some(End::Terminated) => Ending::NoGuest(format!("the firmware asked for termination: {}", self.machine)),
            Some(End::BadLaunch) => Ending::NoGuest(String::from("the machine cannot launch this image")),
            Some(End::MachineFault) => Ending::NoGuest(String::from("the machine has met an error of its own")),
            Some(End::Qemu(status)) => Ending::NoGuest(format!("QEMU ended with status {status:?}")),
        }
    }

    fn is_of_the_guest(&self) -> bool {
        field(self.machine, "vmpl") == Some(u64::from(self.vmpl))
    }

    fn still_running(&self) -> Ending {
        let after = format!("after {} seconds", self.limit);
        match self.word {
            LastWord::LockUp(line) => Ending::Running(format!("{after}, and its kernel says: {line}")),
            LastWord::NewKernel => Ending::Running(format!("{after}; a new kernel was to start, and none has said so")),
            _ if self.said == 0 => Ending::NotStarted(format!("no word on its console {after}")),
            _ => Ending::Running(after),
        }
    }

    /// The machine has stopped it by one of its rules.
    fn stopped(&self) -> Ending {
        let rest = self.machine.strip_prefix("STOP rule=").unwrap_or(self.machine);
        let (rule, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (place, why) = rest.split_once(": ").unwrap_or(("", rest));
        let at = place.rsplit_once("rip=").map_or("an unknown place", |(_, rip)| rip);
        match rule {
            // Linux' way of last resort, or that of `reboot=t`: on a PC, a processor that shuts down resets the board.
            "triple-fault" if *self.word == LastWord::Restart => Ending::Restart,
            "halted" if self.said > 0 => Ending::Halt,
            "halted" => Ending::NotStarted(format!("it halts for good at {at}, without a word on its console")),
            "triple-fault" => self.broken_off(format!("triple fault at {at}: {why}")),
            _ => self.broken_off(format!("stopped at {at} by the rule {rule}: {why}")),
        }
    }

    fn broken_off(&self, why: String) -> Ending {
        match self.word {
            LastWord::NewKernel => Ending::Crash(format!("the new kernel does not come up (kexec): {why}")),
            _ if self.said == 0 => Ending::NotStarted(format!("{why}, without a word on its console")),
            _ => Ending::Crash(why),
        }
    }
}

/// A kernel that finds nothing to start is no running system.
fn panic(line: &str) -> Ending {
    const NOTHING_TO_START: [&str; 3] = ["Unable to mount root fs", "No working init found", "Requested init"];
    match NOTHING_TO_START.iter().any(|text| line.contains(text)) {
        true => Ending::NotStarted(format!("its kernel finds no first process: {line}")),
        false => Ending::Panic(line.to_owned()),
    }
}

/// The number behind `name=` in a line of the machine's.
fn field(line: &str, name: &str) -> Option<u64> {
    let word = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    word.trim_end_matches(':').parse().ok()
}

/// What a guest means that asks for termination (GHCB specification, 2.3.1: set 0; Linux,
/// arch/x86/include/asm/sev-common.h: set 1).
fn termination(line: &str) -> String {
    let (set, code) = (field(line, "set"), field(line, "code"));
    let meaning = match (set, code) {
        (Some(0), Some(1)) => "it does not know the host's protocol",
        (Some(0), Some(2)) => "it misses a feature of SEV-SNP",
        (Some(1), Some(0)) => "its GHCB was not registered",
        (Some(1), Some(1)) => "a page did not change its state",
        (Some(1), Some(2)) => "PVALIDATE failed",
        (Some(1), Some(3)) => "it does not run at VMPL0, and knows no SVSM",
        (Some(1), Some(4 | 5)) => "CPUID does not say what it needs",
        (Some(1), Some(6)) => "it finds no secrets page",
        (Some(1), Some(7)) => "it finds no SVSM",
        (Some(1), Some(8..=11)) => "it does not get on with the SVSM",
        _ => "it does not say why",
    };
    let number = |number: Option<u64>| number.map_or_else(|| String::from("?"), |number| number.to_string());
    format!("it asked for termination, set {} code {}: {meaning}", number(set), number(code))
}

#[cfg(test)]
mod tests {
    use super::{Ending, LastWord, Seen};
    use crate::qemu::End;

    const HALTED: &str = "STOP rule=halted gpa=0x0 vmpl=2 rip=0xffff: a vCPU does not halt; HLT with RFLAGS.IF=0";
    const TRIPLE: &str = "STOP rule=triple-fault gpa=0x0 vmpl=2 rip=0x1000200: an exception finds a usable IDT; #VC";
    const NOWHERE: &str = "STOP rule=unvalidated-access gpa=0x5 vmpl=2 rip=0x5: a private page; no memory is there";

    fn judged(end: Option<End>, machine: &str, word: LastWord, said: usize) -> Ending {
        Seen { vmpl: 2, end, machine, word: &word, said, limit: 60 }.judge()
    }

    fn line(ending: &Ending) -> (u8, String) {
        (ending.status(), ending.to_string())
    }

    #[test]
    fn the_machine_tells_power_off_from_restart_whatever_the_kernel_says() {
        let orderly = |machine, word| judged(Some(End::Orderly), machine, word, 100);
        assert_eq!(orderly("END the guest powers off (port 0x604)", LastWord::None), Ending::PowerOff);
        assert_eq!(orderly("END the guest powers off (port 0x604)", LastWord::Restart), Ending::PowerOff);
        assert_eq!(orderly("END the guest resets (port 0xcf9)", LastWord::None), Ending::Restart);
        assert_eq!(judged(Some(End::Orderly), "END the guest powers off (port 0x604)", LastWord::None, 0).status(), 0);
    }

    #[test]
    fn a_halt_is_no_crash_and_one_without_a_word_is_no_start() {
        assert_eq!(judged(Some(End::RuleBroken), HALTED, LastWord::None, 100), Ending::Halt);
        let (status, said) = line(&judged(Some(End::RuleBroken), HALTED, LastWord::None, 0));
        assert!(status == 40 && said.contains("halts for good at 0xffff"), "{status} {said}");
    }

    #[test]
    fn a_shutdown_is_a_crash_unless_the_kernel_restarts_by_it() {
        let stopped = |word, said| judged(Some(End::RuleBroken), TRIPLE, word, said);
        assert_eq!(stopped(LastWord::Restart, 100), Ending::Restart);
        let (status, said) = line(&stopped(LastWord::None, 100));
        assert!(status == 44 && said.contains("crashed: triple fault at 0x1000200"), "{status} {said}");
        assert_eq!(stopped(LastWord::None, 0).status(), 40);
        assert!(stopped(LastWord::NewKernel, 100).to_string().contains("kexec"));
        let (status, said) = line(&judged(Some(End::RuleBroken), NOWHERE, LastWord::None, 100));
        assert!(status == 44 && said.contains("rule unvalidated-access"), "{status} {said}");
    }

    #[test]
    fn a_panic_is_told_by_its_line_however_the_machine_ends_afterwards() {
        for end in [None, Some(End::Orderly), Some(End::RuleBroken)] {
            let panicked = |text: &str| line(&judged(end, HALTED, LastWord::Panic(text.to_owned()), 100));
            assert_eq!(panicked("Kernel panic - not syncing: sysrq").0, 43);
            let (status, said) = panicked("Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block");
            assert!(status == 40 && said.contains("no first process"), "{status} {said}");
        }
    }

    #[test]
    fn a_termination_is_the_guests_or_the_firmwares() {
        let terminated = |machine, said| line(&judged(Some(End::Terminated), machine, LastWord::None, said));
        let (status, said) = terminated("TERMINATED set=1 code=3 vmpl=2", 0);
        assert!(status == 40 && said.contains("knows no SVSM"), "{status} {said}");
        assert_eq!(terminated("TERMINATED set=1 code=2 vmpl=2", 100).0, 44);
        let (status, said) = terminated("TERMINATED set=10 code=12 vmpl=0", 100);
        assert!(status == 1 && said.contains("firmware"), "{status} {said}");
        assert_eq!(
            judged(Some(End::RuleBroken), "STOP rule=c-bit gpa=0x0 vmpl=0 rip=0x0: x", LastWord::None, 9).status(),
            1
        );
    }

    #[test]
    fn after_its_time_a_guest_runs_or_has_never_started() {
        assert_eq!(judged(None, "", LastWord::None, 0).status(), 40);
        assert_eq!(
            line(&judged(None, "", LastWord::None, 9)),
            (45, "the guest is still running after 60 seconds".into())
        );
        let stuck = judged(None, "", LastWord::LockUp("BUG: soft lockup".into()), 9).to_string();
        assert!(stuck.ends_with("its kernel says: BUG: soft lockup"), "{stuck}");
    }

    #[test]
    fn what_is_not_the_guests_end_is_a_failure() {
        for end in [End::BadLaunch, End::MachineFault, End::Qemu(Some(1)), End::Qemu(None)] {
            assert_eq!(judged(Some(end), "", LastWord::None, 100).status(), 1);
        }
    }
}
