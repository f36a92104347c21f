//! Measures what is started into PCRs, and leaves the log in an NV Index (docs/boot.md, "Measured boot").

use alloc::vec::Vec;

use tpm_core::{Clock, Entropy, Event};

use crate::event_log::{EventLog, Full, event_type};
use crate::guest::{Claim, Refused};
use crate::hooks::Platform;
use crate::launch::{Area, EventOf, GivenDigest, Launch, Measure};
use crate::mm::{Owners, PAGE, Pages};

/// The NV Index with the log, in the range of the platform's manufacturer (TCG Registry of Reserved TPM 2.0 Handles,
/// 2.2).
pub const LOG_INDEX: u32 = 0x0140_0100;
/// Contents that may follow the name in an event's data.
pub const MAX_CONTENTS: u64 = 2048;
/// PCRs that a separator ends.
const SEPARATED: core::ops::Range<u32> = 0..8;
/// TPM2_Startup(TPM_SU_CLEAR).
const STARTUP_CLEAR: [u8; 12] = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];

/// Why the guest cannot be measured. Each ends the boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeasureError {
    /// The TPM did not start, or did not take an event.
    Tpm,
    /// A digest that is given has another length than those of its algorithm.
    Digest,
    /// More events than the log holds.
    LogFull,
    /// A region is not the guest's, or too long to stand in the log.
    Region,
}

snp::error_words! { MeasureError {
    Self::Tpm => "the TPM did not start, or did not take an event",
    Self::Digest => "a digest is not as long as those of its algorithm",
    Self::LogFull => "the log is full",
    Self::Region => "a region is not the guest's, or too long",
} }

impl From<Full> for MeasureError {
    fn from(_: Full) -> Self {
        MeasureError::LogFull
    }
}

impl From<Refused> for MeasureError {
    fn from(_: Refused) -> Self {
        MeasureError::Region
    }
}

/// Starts the TPM, measures the firmware's version and every region of `launch` that names a PCR, and stores the log. A
/// region's contents are read for the digests that the launch parameters do not give.
pub fn measure(
    pages: &mut dyn Pages,
    map: &dyn Owners,
    tpm: &mut Platform<impl Entropy, impl Clock>,
    launch: &Launch,
) -> Result<(), MeasureError> {
    start(tpm)?;
    let version: Vec<u8> =
        concat!("Quoin ", env!("CARGO_PKG_VERSION"), "\0").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (digests, mut log) = first_event(tpm, &version)?;
    log.push(0, event_type::S_CRTM_VERSION, &digests, &[&version])?;
    for (area, event, given) in launch.measured() {
        let mut making = tpm.with(|tpm, _| tpm.event());
        give(&mut making, given)?;
        let contents = contents(pages, map, area, &event, &mut making)?;
        let digests = tpm.with(|tpm, _| tpm.measure(event.pcr, making)).map_err(|_| MeasureError::Tpm)?;
        log.push(event.pcr, event.event_type, &digests, &[event.name(), &contents, b"\0"])?;
    }
    if launch.measure == Measure::OperatingSystem {
        for pcr in SEPARATED {
            let digests = extend(tpm, pcr, &[0; 4])?;
            log.push(pcr, event_type::SEPARATOR, &digests, &[&[0; 4]])?;
        }
    }
    // An index that the guest has defined there at an earlier boot, of which the state was kept, stays the guest's.
    let _ = tpm.provide(LOG_INDEX, log.as_bytes().to_vec());
    Ok(())
}

fn start(tpm: &mut Platform<impl Entropy, impl Clock>) -> Result<(), MeasureError> {
    let mut answer = [0; 16];
    let len = crate::svsm::Tpm::execute(tpm, &STARTUP_CLEAR, &mut answer);
    if answer.get(6..len) == Some(&[0; 4]) { Ok(()) } else { Err(MeasureError::Tpm) }
}

/// The banks are known when the first event has extended them.
fn first_event(
    tpm: &mut Platform<impl Entropy, impl Clock>,
    data: &[u8],
) -> Result<(tpm_core::EventDigests, EventLog), MeasureError> {
    let digests = extend(tpm, 0, data)?;
    let algorithms: Vec<u16> = digests.iter().map(|(alg, _)| alg).collect();
    Ok((digests, EventLog::new(algorithms.iter().copied())))
}

fn extend(
    tpm: &mut Platform<impl Entropy, impl Clock>,
    pcr: u32,
    data: &[u8],
) -> Result<tpm_core::EventDigests, MeasureError> {
    tpm.with(|tpm, _| {
        let mut event = tpm.event();
        event.update(data);
        tpm.measure(pcr, event)
    })
    .map_err(|_| MeasureError::Tpm)
}

fn give<'a>(making: &mut Event, given: impl Iterator<Item = &'a GivenDigest>) -> Result<(), MeasureError> {
    for given in given {
        making.give(given.alg, &given.digest).map_err(|_| MeasureError::Digest)?;
    }
    Ok(())
}

/// Hashes the region, if a digest is wanting, and keeps what stands in the event's data.
fn contents(
    pages: &mut dyn Pages,
    map: &dyn Owners,
    area: &Area,
    event: &EventOf,
    making: &mut Event,
) -> Result<Vec<u8>, MeasureError> {
    let mut contents = Vec::new();
    if event.with_contents {
        if area.size > MAX_CONTENTS {
            return Err(MeasureError::Region);
        }
        contents.reserve_exact(usize::try_from(area.size).map_err(|_| MeasureError::Region)?);
    }
    if event.with_contents || making.wants_contents() {
        for_each_page(pages, map, area, |page| {
            making.update(page);
            if event.with_contents {
                contents.extend(page);
            }
        })?;
    }
    Ok(contents)
}

/// Copies a region in, a page at a time; the last one as far as the region goes.
fn for_each_page(
    pages: &mut dyn Pages,
    map: &dyn Owners,
    area: &Area,
    mut with: impl FnMut(&[u8]),
) -> Result<(), Refused> {
    let mut page = [0; PAGE];
    let mut done = 0;
    while done < area.size {
        let len = (area.size - done).min(PAGE as u64);
        let here = page.get_mut(..usize::try_from(len).map_err(|_| Refused)?).ok_or(Refused)?;
        Claim::new(area.gpa + done, len).check(map)?.read(pages, here)?;
        with(here);
        done += len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256, Sha384};
    use zerocopy::FromZeros;

    use super::*;
    use crate::launch::{DigestEntry, LaunchParams, NO_PCR, RegionEntry};
    use crate::svsm::Tpm;
    use crate::testing::{Counted, FakeMachine, GIVEN, Stopped};

    const EV_IPL: u32 = 13;
    const COMMAND_LINE: &[u8] = b"console=ttyS1 quiet";

    /// A kernel of more than a page in PCR 9 and a command line in PCR 8, whose size is `len`.
    fn launch(measure: u32, len: u64) -> Launch {
        params(measure, len).check().unwrap()
    }

    fn params(measure: u32, len: u64) -> LaunchParams {
        let mut params = LaunchParams::EMPTY;
        params.measure = measure.into();
        params.region_count = 2.into();
        let regions = [(GIVEN, 5000, 9, 0, &b"kernel"[..]), (GIVEN + 0x2000, len, 8, 1, b"kernel_cmdline: ")];
        for (entry, (gpa, size, pcr, flags, name)) in params.regions.iter_mut().zip(regions) {
            *entry = RegionEntry {
                gpa: gpa.into(),
                size: size.into(),
                kind: 1.into(),
                pcr: if measure == 0 { NO_PCR.into() } else { pcr.into() },
                event_type: EV_IPL.into(),
                event_flags: flags.into(),
                ..RegionEntry::new_zeroed()
            };
            entry.name[..name.len()].copy_from_slice(name);
        }
        params
    }

    /// The digests of `given`, for the kernel.
    fn with_digests(given: &[(u16, u8, u8)]) -> Result<Platform<Counted, Stopped>, MeasureError> {
        let mut params = params(2, COMMAND_LINE.len() as u64);
        params.digest_count = u32::try_from(given.len()).unwrap().into();
        for (entry, (alg, size, octet)) in params.digests.iter_mut().zip(given) {
            *entry = DigestEntry { region: 0, size: *size, alg: (*alg).into(), digest: [*octet; 64] };
        }
        measured(&params.check().unwrap())
    }

    fn measured(launch: &Launch) -> Result<Platform<Counted, Stopped>, MeasureError> {
        measured_in(Platform::manufacture(Counted(0), Stopped, |_| {}).unwrap(), launch)
    }

    fn measured_in(
        mut tpm: Platform<Counted, Stopped>,
        launch: &Launch,
    ) -> Result<Platform<Counted, Stopped>, MeasureError> {
        let mut machine = FakeMachine::new();
        let map = machine.booted();
        machine.place(GIVEN, &[7; 4096]);
        machine.place(GIVEN + 0x1000, &[7; 904]);
        machine.place(GIVEN + 0x2000, COMMAND_LINE);
        measure(&mut machine, &map, &mut tpm, launch)?;
        Ok(tpm)
    }

    fn execute(tpm: &mut Platform<Counted, Stopped>, command: &[u8]) -> Vec<u8> {
        let mut answer = std::vec![0; 4096];
        let len = tpm.execute(command, &mut answer);
        answer.truncate(len);
        assert_eq!(answer[6..10], [0; 4], "{answer:02x?}");
        answer
    }

    /// TPM2_PCR_Read of one PCR in the SHA-256 bank.
    fn pcr(tpm: &mut Platform<Counted, Stopped>, number: u32) -> Vec<u8> {
        let map = (1_u32 << number).to_le_bytes();
        let head = [0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e, 0, 0, 0, 1, 0, 0xb, 3];
        let answer = execute(tpm, &[&head[..], &map[..3]].concat());
        answer[answer.len() - 32..].to_vec()
    }

    /// `size` octets of the log, by TPM2_NV_Read with the index's own, empty authValue.
    fn log(tpm: &mut Platform<Counted, Stopped>, size: u16) -> Vec<u8> {
        let index = LOG_INDEX.to_be_bytes();
        let head = [0x80, 2, 0, 0, 0, 35, 0, 0, 1, 0x4e];
        let area = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        let command = [&head[..], &index, &index, &area, &size.to_be_bytes(), &[0, 0]].concat();
        execute(tpm, &command)[16..].to_vec()
    }

    fn extended(data: &[u8]) -> Vec<u8> {
        Sha256::new().chain_update([0; 32]).chain_update(Sha256::digest(data)).finalize().to_vec()
    }

    /// In a state that was kept: the boot does not end for it, and events are measured as ever.
    #[test]
    fn an_index_of_the_guests_in_the_logs_place_stays_the_guests() {
        let mut tpm = Platform::manufacture(Counted(0), Stopped, |_| {}).unwrap();
        execute(&mut tpm, &STARTUP_CLEAR);
        // TPM2_NV_DefineSpace by the owner: AUTHREAD, AUTHWRITE, OWNERREAD, OWNERWRITE, 4 octets.
        let head = [0x80, 2, 0, 0, 0, 45, 0, 0, 1, 0x2a, 0x40, 0, 0, 1, 0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];
        let public = [&[0, 0, 0, 14][..], &LOG_INDEX.to_be_bytes(), &[0, 0xb, 0, 6, 0, 6, 0, 0, 0, 4]].concat();
        execute(&mut tpm, &[&head[..], &public].concat());
        let mut state = std::vec![0; tpm_core::MAX_STATE_SIZE];
        let len = tpm.with(|tpm, _| tpm.export(tpm_core::StateForm::PoweredOff, &mut state)).unwrap();
        let tpm = Platform::resume(&state[..len], Counted(1), Stopped, |_| {}).ok().unwrap();
        let mut tpm = measured_in(tpm, &launch(2, COMMAND_LINE.len() as u64)).unwrap();
        assert_eq!(pcr(&mut tpm, 8), extended(COMMAND_LINE));
        assert!(!tpm.with(|tpm, _| tpm.has_provided_index(LOG_INDEX)));
    }

    #[test]
    fn regions_are_measured_by_their_octets_and_pcr_0_to_7_are_separated() {
        let mut tpm = measured(&launch(2, COMMAND_LINE.len() as u64)).unwrap();
        assert_eq!(pcr(&mut tpm, 9), extended(&[7; 5000]));
        assert_eq!(pcr(&mut tpm, 8), extended(COMMAND_LINE));
        assert_eq!(pcr(&mut tpm, 7), extended(&[0; 4]));
        assert_eq!(pcr(&mut tpm, 10), [0; 32]);
    }

    #[test]
    fn a_digest_that_is_given_stands_for_the_contents_in_its_bank_alone() {
        let mut tpm = with_digests(&[(0xb, 32, 1)]).unwrap();
        assert_eq!(pcr(&mut tpm, 9), Sha256::digest([[0; 32], [1; 32]].concat()).to_vec());
        let log = log(&mut tpm, 900);
        let has = |bytes: &[u8]| log.windows(bytes.len()).any(|window| window == bytes);
        assert!(has(&[1; 32]) && !has(&Sha256::digest([7; 5000])));
        assert!(has(&Sha384::digest([7; 5000])));
    }

    #[test]
    fn with_a_digest_for_each_bank_the_contents_are_not_read() {
        let all = [(4, 20, 1), (0xb, 32, 1), (0xc, 48, 1), (0xd, 64, 1), (0x12, 32, 1)];
        let mut params = params(2, COMMAND_LINE.len() as u64);
        params.regions[0].gpa = 0x7000_0000_0000_u64.into();
        params.digest_count = 5.into();
        for (entry, (alg, size, octet)) in params.digests.iter_mut().zip(all) {
            *entry = DigestEntry { region: 0, size, alg: u16::into(alg), digest: [octet; 64] };
        }
        let launch = params.check().unwrap();
        assert!(measured(&launch).is_ok());
    }

    #[test]
    fn a_digest_of_another_length_than_its_algorithms_is_refused() {
        assert_eq!(with_digests(&[(0xb, 31, 1)]).err(), Some(MeasureError::Digest));
    }

    /// TCG PC Client Platform Firmware Profile, 10.2.
    #[test]
    fn the_log_begins_with_its_format_and_has_the_command_line() {
        let mut tpm = measured(&launch(2, COMMAND_LINE.len() as u64)).unwrap();
        let log = log(&mut tpm, 900);
        assert_eq!(log[..8], [0, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(log[32..48], *b"Spec ID Event03\0");
        let has = |bytes: &[u8]| log.windows(bytes.len()).any(|window| window == bytes);
        assert!(has(&[b"kernel_cmdline: ", COMMAND_LINE, b"\0"].concat()));
        assert!(has(&Sha256::digest([7; 5000])) && has(&Sha256::digest(COMMAND_LINE)));
    }

    #[test]
    fn before_a_firmware_that_measures_nothing_is_separated() {
        let mut tpm = measured(&launch(1, COMMAND_LINE.len() as u64)).unwrap();
        assert_eq!(pcr(&mut tpm, 7), [0; 32]);
    }

    #[test]
    fn what_is_too_long_for_the_log_is_refused() {
        assert_eq!(measured(&launch(2, MAX_CONTENTS + 1)).err(), Some(MeasureError::Region));
    }
}
