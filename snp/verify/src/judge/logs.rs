//! What logs say: the boot's, the challenger's, IMA's and systemd's lead to the quoted PCRs.

use super::tpm::quoted_pcrs;
use super::{Case, ensure_equal, report};
use crate::evidence::boot_log::{BootEvent, BootLog};
use crate::evidence::event_log::{Event, EventLog, initial_pcrs};
use crate::evidence::folder::{Evidence, Kind};
use crate::evidence::ima::signature::{self, Tally};
use crate::evidence::ima::{self, Entry, Measurements};
use crate::evidence::userspace::UserspaceLog;
use crate::evidence::wire::PCR_COUNT;
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// The boot log is the image's, it and the event log lead to these PCRs, and the latter's events name this report's
/// nonce and this AK.
pub(super) fn event_log(case: &Case<'_>) -> Result<String> {
    let has_list = !case.evidence.ima.is_empty();
    ensure!(has_list || case.expectations.rules.ima_keys.is_empty(), "--ima-key: there is no list of IMA");
    ensure!(!case.evidence.quote.is_empty(), "there is no quote that a log could lead to");
    let boot = BootLog::parse(&case.evidence.boot_events)?;
    boot.check_data()?;
    if let Some(expected) = report::expected_events(case)? {
        boot.check_expected(expected)?;
    }
    if case.evidence.kind != Kind::Quoin {
        return boot_alone(case, &boot);
    }
    let log = EventLog::parse(&case.evidence.events)?;
    let mut pcrs = initial_pcrs();
    boot.replay(&mut pcrs)?;
    let mut files = ima(case, &mut pcrs)?;
    let records = UserspaceLog::parse(&case.evidence.userspace)?;
    records.replay(&mut pcrs)?;
    if !records.records.is_empty() {
        files.push_str(&format!(" and {} records of systemd", records.records.len()));
    }
    let pcrs = log.replay_after(pcrs)?;
    for (index, (replayed, quoted)) in pcrs.iter().zip(case.evidence.pcrs.chunks(32)).enumerate() {
        ensure_equal(&format!("PCR {index} by the event log"), replayed, quoted)?;
    }
    let expected = [Event::of_report(&case.evidence.nonce), Event::of_key(&case.evidence.ak_name)];
    ensure!(log.events == expected, "the events are not those of this evidence");
    let events = boot.events.len() + log.events.len();
    let command_line = boot.command_line().map(|text| format!("; command line `{text}`")).unwrap_or_default();
    Ok(format!("{events} events{files} lead to the quoted PCRs{command_line}"))
}

/// The log of a boot, and IMA's list, lead to those quoted PCRs that they have events for; others may have been
/// extended later, and so may the list.
fn boot_alone(case: &Case<'_>, boot: &BootLog) -> Result<String> {
    let quoted = quoted_pcrs(case.evidence)?;
    let mut pcrs = initial_pcrs();
    boot.replay(&mut pcrs)?;
    let mut measured: BTreeSet<u32> = boot.events.iter().map(|event| event.pcr).collect();
    let mut files = String::new();
    if !case.evidence.ima.is_empty() {
        let (mut list, count) = proven_measurements(case.evidence)?;
        let later = list.entries.len() - count;
        list.entries.truncate(count);
        list.replay(&mut pcrs)?;
        measured.extend(list.entries.iter().map(|entry| entry.pcr));
        files = format!(" and {count} measurements of IMA{}", signatures(case, &list.entries)?);
        if later > 0 {
            files.push_str(&format!(" ({later} more are later than the quote, and not proven)"));
        }
    }
    if !case.evidence.userspace.is_empty() {
        let all = UserspaceLog::parse(&case.evidence.userspace)?;
        let records = proven_records(case.evidence)?;
        records.replay(&mut pcrs)?;
        measured.extend(all.touched());
        files.push_str(&format!(" and {} records of systemd", records.records.len()));
        let later = all.records.len() - records.records.len();
        if later > 0 {
            files.push_str(&format!(" ({later} more are later than the quote, and not proven)"));
        }
    }
    for pcr in &measured {
        let value = quoted.get(pcr).with_context(|| format!("PCR {pcr} has events, and is not in the quote"))?;
        let replayed = pcrs.get(*pcr as usize).context("no such PCR")?;
        ensure_equal(&format!("PCR {pcr} by the event log"), replayed, value)?;
    }
    let command_line = boot.command_line().map(|text| format!("; command line `{text}`")).unwrap_or_default();
    Ok(format!("{} events{files} lead to {} quoted PCRs{command_line}", boot.events.len(), measured.len()))
}

/// IMA's list, and how many of its entries lead to the quote. In a folder of ours all do, or it is refused.
pub(crate) fn proven_measurements(evidence: &Evidence) -> Result<(Measurements, usize)> {
    let list = Measurements::parse(&evidence.ima)?;
    if evidence.kind == Kind::Quoin {
        let count = list.entries.len();
        return Ok((list, count));
    }
    let quoted = quoted_pcrs(evidence)?;
    let boot = BootLog::parse(&evidence.boot_events)?;
    let mut pcrs = initial_pcrs();
    boot.replay(&mut pcrs)?;
    if boot.events.is_empty() {
        for (pcr, value) in &quoted {
            pcrs.get_mut(*pcr as usize).into_iter().filter(|_| *pcr < ima::PCR).for_each(|pcr| *pcr = *value);
        }
    }
    list.check_boot(&pcrs)?;
    let count = list.replay_to(&mut pcrs, |pcr| quoted.get(&pcr).copied())?;
    Ok((list, count))
}

/// The records of systemd's log that lead to the quote, behind the boot's. In a folder of ours all do, or it is
/// refused.
pub(crate) fn proven_records(evidence: &Evidence) -> Result<UserspaceLog> {
    let mut log = UserspaceLog::parse(&evidence.userspace)?;
    if evidence.kind == Kind::Quoin || log.records.is_empty() {
        return Ok(log);
    }
    let quoted = quoted_pcrs(evidence)?;
    let mut pcrs = initial_pcrs();
    BootLog::parse(&evidence.boot_events)?.replay(&mut pcrs)?;
    let count = log.replay_to(&mut pcrs, |pcr| quoted.get(&pcr).copied())?;
    log.records.truncate(count);
    Ok(log)
}

/// The events of all logs, which [`event_log`] has judged.
pub(super) fn replayed_log(case: &Case<'_>) -> Result<Vec<BootEvent>> {
    let evidence = case.evidence;
    let logs = [&evidence.boot_events, &evidence.events, &evidence.userspace];
    ensure!(!evidence.quote.is_empty() && logs.iter().any(|log| !log.is_empty()), "no log");
    let mut events = BootLog::parse(&evidence.boot_events)?.events;
    let records = proven_records(evidence)?.records;
    events.extend(records.into_iter().filter(|record| record.pcr.is_some()).map(|record| record.event));
    if evidence.kind == Kind::Quoin {
        let log = EventLog::parse(&evidence.events)?;
        events.extend(log.events.into_iter().map(BootEvent::of_challenger));
    }
    Ok(events)
}

/// The logs lead to the quoted value of that PCR: what they have no events of, was not measured.
pub(super) fn explained(case: &Case<'_>, pcr: u32) -> Result<()> {
    let quoted = quoted_pcrs(case.evidence)?;
    let mut pcrs = initial_pcrs();
    BootLog::parse(&case.evidence.boot_events)?.replay(&mut pcrs)?;
    if !case.evidence.ima.is_empty() {
        let (mut list, count) = proven_measurements(case.evidence)?;
        list.entries.truncate(count);
        list.replay(&mut pcrs)?;
    }
    proven_records(case.evidence)?.replay(&mut pcrs)?;
    if case.evidence.kind == Kind::Quoin {
        pcrs = EventLog::parse(&case.evidence.events)?.replay_after(pcrs)?;
    }
    let (value, found) = (quoted.get(&pcr), pcrs.get(pcr as usize));
    ensure!(value.is_some(), "PCR {pcr} is not in the quote");
    ensure!(value == found, "PCR {pcr} was extended by what is in no log");
    Ok(())
}

/// What Linux has measured, if it says so: it begins with the PCRs of the boot, and leads to PCR 10.
fn ima(case: &Case<'_>, pcrs: &mut [[u8; 32]; PCR_COUNT]) -> Result<String> {
    if case.evidence.ima.is_empty() {
        return Ok(String::new());
    }
    let measurements = Measurements::parse(&case.evidence.ima)?;
    measurements.check_boot(pcrs)?;
    measurements.replay(pcrs)?;
    Ok(format!(" and {} measurements of IMA{}", measurements.entries.len(), signatures(case, &measurements.entries)?))
}

/// The signatures of measured files, by the keys that the verifier has brought.
fn signatures(case: &Case<'_>, entries: &[Entry]) -> Result<String> {
    let count = signature::count(entries);
    let keys = &case.expectations.rules.ima_keys;
    if keys.is_empty() {
        return Ok(if count == 0 {
            String::new()
        } else {
            format!(" (its {count} signatures are not judged: --ima-key)")
        });
    }
    let keys = keys.iter().map(|der| signature::Key::of_certificate(der)).collect::<Result<Vec<_>>>()?;
    let Tally { right, unknown, other } = signature::judge(entries, &keys)?;
    Ok(format!(" ({right} signatures are right, {unknown} by other keys, {other} of another digest)"))
}
