//! Measures what is started into PCRs, and leaves the log in an NV Index (docs/boot.md, "Measured boot").

use alloc::vec::Vec;

use tpm_core::{Clock, Entropy, Measurement};

use crate::event_log::{EventLog, Full, event_type};
use crate::guest::{Claim, Refused};
use crate::hooks::Platform;
use crate::launch::{Area, EventOf, Launch, Measure};
use crate::mm::ownership::Ownership;
use crate::mm::{PAGE, Pages};

/// The NV Index with the log, in the range of the platform's manufacturer (TCG Registry of Reserved TPM 2.0 Handles, 2.2).
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
    /// More events than the log holds.
    LogFull,
    /// A region is not the guest's, or too long to stand in the log.
    Region,
}

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

/// Starts the TPM, measures the firmware's version and every region of `launch` that names a PCR, and stores the log.
pub fn measure(
    pages: &mut dyn Pages,
    map: &Ownership,
    tpm: &mut Platform<impl Entropy, impl Clock>,
    launch: &Launch,
) -> Result<(), MeasureError> {
    start(tpm)?;
    let version: Vec<u8> =
        concat!("Quoin ", env!("CARGO_PKG_VERSION"), "\0").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (digests, mut log) = first_event(tpm, &version)?;
    log.push(0, event_type::S_CRTM_VERSION, &digests, &[&version])?;
    for (area, event) in launch.areas.iter().filter_map(|area| Some((area, area.event?))) {
        measure_area(pages, map, tpm, &mut log, area, &event)?;
    }
    if launch.measure == Measure::OperatingSystem {
        for pcr in SEPARATED {
            let digests = extend(tpm, pcr, &[0; 4])?;
            log.push(pcr, event_type::SEPARATOR, &digests, &[&[0; 4]])?;
        }
    }
    tpm.with(|tpm, _| tpm.platform_index(LOG_INDEX, log.as_bytes())).map_err(|_| MeasureError::Tpm)
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
    let mut event = Measurement::new();
    event.update(data);
    tpm.with(|tpm, _| tpm.measure(pcr, event)).map_err(|_| MeasureError::Tpm)
}

fn measure_area(
    pages: &mut dyn Pages,
    map: &Ownership,
    tpm: &mut Platform<impl Entropy, impl Clock>,
    log: &mut EventLog,
    area: &Area,
    event: &EventOf,
) -> Result<(), MeasureError> {
    let mut contents = Vec::new();
    if event.with_contents {
        if area.size > MAX_CONTENTS {
            return Err(MeasureError::Region);
        }
        contents.reserve_exact(usize::try_from(area.size).map_err(|_| MeasureError::Region)?);
    }
    let mut measurement = Measurement::new();
    for_each_page(pages, map, area, |page| {
        measurement.update(page);
        if event.with_contents {
            contents.extend(page);
        }
    })?;
    let digests = tpm.with(|tpm, _| tpm.measure(event.pcr, measurement)).map_err(|_| MeasureError::Tpm)?;
    Ok(log.push(event.pcr, event.event_type, &digests, &[event.name(), &contents, b"\0"])?)
}

/// Copies a region in, a page at a time; the last one as far as the region goes.
fn for_each_page(
    pages: &mut dyn Pages,
    map: &Ownership,
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
