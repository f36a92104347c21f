//! The events of all logs, each by its name: what was measured into which PCR, and what of its words is proven.

use crate::digest::hex;
use crate::evidence::boot_log::event::type_name;
use crate::evidence::boot_log::{BootEvent, BootLog};
use crate::evidence::event_log::EventLog;
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::ima::Measurements;
use crate::evidence::userspace::{Record, UserspaceLog};
use crate::judge::{proven_measurements, proven_records};
use serde::Serialize;

/// Events that are named; a long list of IMA has some ten thousand.
const MOST: usize = 20_000;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The PCR.
    pub pcr: u32,
    /// The name of its type, or IMA's template.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is.
    pub says: String,
    /// What the PCR of the SHA-256 bank was extended by; empty for what has extended nothing.
    pub sha256: String,
    /// What the log's words are worth.
    pub standing: Standing,
}

/// What the words of a log are worth, once the log leads to the quoted PCRs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// They were measured: the digest is of them.
    Measured,
    /// They are the log's own; the digest is of something else, and proven.
    LogsWord,
    /// Nothing was measured.
    NotMeasured,
}

impl Standing {
    /// In words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::LogsWord => "the log's word",
            Self::NotMeasured => "not measured",
        }
    }
}

/// The events of all logs in the evidence that can be read: of the boot, of systemd and of IMA up to the quote, and the
/// challenger's.
pub fn of(evidence: &Evidence) -> Vec<Named> {
    let mut events = BootLog::parse(&evidence.boot_events).map(|log| of_log(&log)).unwrap_or_default();
    let records = proven_records(evidence).or_else(|_| UserspaceLog::parse(&evidence.userspace));
    events.extend(records.map(|log| of_userspace(&log)).unwrap_or_default());
    let list = proven_measurements(evidence).map(|(mut list, count)| {
        list.entries.truncate(count);
        list
    });
    events.extend(list.or_else(|_| Measurements::parse(&evidence.ima)).map(|list| of_list(&list)).unwrap_or_default());
    // In other evidence than a folder of ours nothing judges it.
    let own = EventLog::parse(&evidence.events).ok().filter(|_| evidence.kind == Kind::Quoin);
    let own = own.map(|log| log.events).unwrap_or_default();
    events.extend(own.into_iter().map(|event| named(&BootEvent::of_challenger(event), true)));
    events.truncate(MOST);
    events
}

/// The events of a boot's log.
pub fn of_log(log: &BootLog) -> Vec<Named> {
    log.in_order().into_iter().map(|(extends, event)| named(event, extends)).collect()
}

fn named(event: &BootEvent, extends: bool) -> Named {
    let standing = match (extends, event.measured()) {
        (false, _) => Standing::NotMeasured,
        (true, Some(_)) => Standing::Measured,
        (true, None) => Standing::LogsWord,
    };
    let sha256 = event.sha256().ok().filter(|_| extends).map(hex).unwrap_or_default();
    Named { pcr: event.pcr, kind: type_name(event.kind), says: event.to_string(), sha256, standing }
}

/// The records of systemd's log.
pub fn of_userspace(log: &UserspaceLog) -> Vec<Named> {
    let of = |record: &Record| Named {
        kind: format!("systemd {}", record.kind),
        ..named(&record.event, record.pcr.is_some())
    };
    log.records.iter().map(of).collect()
}

/// The entries of a list of IMA.
pub fn of_list(list: &Measurements) -> Vec<Named> {
    let named = list.entries.iter().map(|entry| Named {
        pcr: entry.pcr,
        kind: entry.template.clone(),
        says: entry.to_string(),
        sha256: hex(&entry.measured()),
        standing: if entry.is_violation { Standing::LogsWord } else { Standing::Measured },
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::{Standing, of, of_log};
    use crate::evidence::boot_log::{BootLog, tests};
    use crate::evidence::event_log::initial_pcrs;
    use crate::evidence::folder::{Evidence, Kind};
    use crate::evidence::ima::tests::list;
    use crate::judge::tests::twin::Twin;

    #[test]
    fn every_event_of_a_boot_through_ovmf_is_named() {
        let named = of_log(&BootLog::parse(&tests::of_ovmf()).unwrap());
        let said: Vec<String> = named
            .iter()
            .map(|event| format!("{} {} {}: {}", event.pcr, event.kind, event.says, event.standing.name()))
            .collect();
        let place = "PciRoot(0x0)/Pci(0x1f,0x2)/Sata(0x1,0xffff,0x0)/\
                     HD(1,GPT,12345678-9abc-def0-0102-030405060708,0x800,0x10000)";
        assert_eq!(
            said,
            [
                "0 EV_NO_ACTION TPM2_Startup at locality 3: not measured".to_owned(),
                "0 EV_S_CRTM_VERSION the firmware's version `Q 1`: measured".into(),
                "0 EV_EFI_PLATFORM_FIRMWARE_BLOB2 firmware at 0x1000, 0x20 bytes, `PEI`: the log's word".into(),
                "7 EV_EFI_VARIABLE_DRIVER_CONFIG SecureBoot (EFI_GLOBAL_VARIABLE): on: measured".into(),
                "1 EV_EFI_VARIABLE_BOOT BootOrder (EFI_GLOBAL_VARIABLE): 0001: measured".into(),
                "4 EV_EFI_ACTION `Calling EFI Application from Boot Option`: measured".into(),
                "7 EV_SEPARATOR separator: measured".into(),
                format!("4 EV_EFI_BOOT_SERVICES_APPLICATION {place}/\\EFI\\A.EFI: the log's word"),
                "8 EV_IPL `grub_cmd: boot`: measured".into(),
                "9 EV_IPL `/vmlinuz`: the log's word".into(),
                "9 EV_IPL `/a file: its name`: the log's word".into(),
                "11 EV_IPL `.linux`: measured".into(),
                "12 EV_IPL `quiet`: measured".into(),
                "9 EV_EVENT_TAG `Linux initrd`, tag 0x8f3b22ec: the log's word".into(),
                "5 EV_NO_ACTION `SP800-155 Event`: not measured".into(),
            ]
        );
    }

    #[test]
    fn all_logs_of_evidence_are_named_in_order() {
        let twin = Twin { boot_events: tests::log("quiet"), ..Twin::new() };
        let mut pcrs = initial_pcrs();
        BootLog::parse(&twin.boot_events).unwrap().replay(&mut pcrs).unwrap();
        let evidence = Twin { ima: list(&pcrs), ..twin }.evidence();
        let named = of(&evidence);
        let kinds: Vec<&str> = named.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["EV_S_CRTM_VERSION", "EV_IPL", "EV_SEPARATOR", "ima-ng", "ima-ng", "EV_IPL", "EV_ACTION"]);
        assert!(named.iter().all(|event| event.standing == Standing::Measured && event.sha256.len() == 64));
        let asked = Evidence { kind: Kind::Tpm, ima: Vec::new(), boot_events: Vec::new(), ..evidence };
        assert!(of(&asked).is_empty(), "nothing judges a challenger's log beside a TPM that was asked");
    }
}
