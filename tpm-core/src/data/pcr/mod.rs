//! PCR (Part 1, 14) with the attributes of the PC Client Platform TPM Profile, 4.6.

mod stored;

use crate::bounded::{bit, from};
use crate::crypto::hash::{self, Digest, HashAlg};
use crate::data::platform::Locality;
use crate::profile::PROFILE;
use crate::rc::Rc;
use crate::wire::{AlgId, BankSelection, Handle, List, PCR_BANKS, PCR_COUNT, PCR_SELECT_SIZE, PcrSelection, pt_pcr};

const BANKS: usize = PCR_BANKS.len();
const COUNT: usize = PCR_COUNT as usize;
/// A bit map of all PCR.
pub(crate) const ALL_PCR: u32 = (1 << PCR_COUNT) - 1;

/// All PCR of all banks: what there is room for.
pub(crate) const ALL_BANKS: [u32; BANKS] = [ALL_PCR; BANKS];

/// What is allocated when the TPM is manufactured: all PCR of the profile's banks.
pub(crate) fn default_allocation() -> [u32; BANKS] {
    PCR_BANKS.map(|alg| if PROFILE.allocated_banks.contains(&AlgId(alg.id())) { ALL_PCR } else { 0 })
}

/// Whether only PCR that there are, in banks that the profile has, are allocated.
pub(crate) fn is_possible(allocated: &[u32; PCR_BANKS.len()]) -> bool {
    let fits = |map: u32, id: u16| map & !ALL_PCR == 0 && (map == 0 || PROFILE.has(id));
    allocated.iter().zip(PCR_BANKS).all(|(map, alg)| fits(*map, alg.id()))
}

/// What may be done to a PCR; localities as bit maps of 0 to 4.
pub(crate) struct Attributes {
    reset: u8,
    extend: u8,
    /// starts as all ones and is set to zero by a D-RTM event
    pub(crate) drtm: bool,
    /// a change does not count in pcrUpdateCounter
    no_increment: bool,
}

pub(crate) const fn attributes(pcr: u32) -> Attributes {
    let (reset, extend, no_increment) = match pcr {
        0..=15 => (0, 0b1_1111, false),
        16 => (0b0_1111, 0b1_1111, true),
        17 | 18 => (0b1_0000, 0b1_1100, false),
        19 => (0b1_0000, 0b0_1100, false),
        20 => (0b1_0100, 0b0_1110, false),
        21 | 22 => (0b1_0100, 0b0_0100, true),
        _ => (0b0_1111, 0b1_1111, true),
    };
    Attributes { reset, extend, drtm: reset & 0b1_0000 != 0, no_increment }
}

/// The PCR that the H-CRTM extends before TPM2_Startup.
pub(crate) const HCRTM_PCR: u32 = 0;
/// The PCR that a D-RTM event extends.
pub(crate) const DRTM_PCR: u32 = 17;

/// Whether TPM2_Shutdown(STATE) saves the PCR.
pub(crate) const fn is_saved(pcr: u32) -> bool {
    pcr < 16
}

/// Whether the PCR belongs to the one group that has an authValue and an authPolicy (TPM2_PCR_SetAuthValue,
/// TPM2_PCR_SetAuthPolicy): those of the dynamic operating system.
pub(crate) const fn in_auth_group(pcr: Handle) -> bool {
    matches!(pcr.0, 20..=22)
}

const fn admits(map: u8, locality: Locality) -> bool {
    locality.get() < 5 && map & (1 << locality.get()) != 0
}

/// Whether TPM2_PCR_Reset is possible at this locality: at locality 4 only a D-RTM event resets.
pub(crate) const fn may_reset(pcr: u32, locality: Locality) -> bool {
    locality.get() != 4 && admits(attributes(pcr).reset, locality)
}

/// Whether TPM2_PCR_Extend and TPM2_PCR_Event are possible at this locality.
pub(crate) const fn may_extend(pcr: u32, locality: Locality) -> bool {
    admits(attributes(pcr).extend, locality)
}

/// Whether a change counts in pcrUpdateCounter.
pub(crate) const fn counts(pcr: u32) -> bool {
    !attributes(pcr).no_increment
}

/// The root of trust from which this start of the platform is measured: it decides with what PCR 0 begins (PC Client
/// Platform TPM Profile, 4.6.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Root {
    /// TPM2_Startup at locality 0
    Locality0,
    /// TPM2_Startup at locality 3
    Locality3,
    /// an H-CRTM event came before TPM2_Startup
    HCrtm,
}

/// The PCR of all banks.
#[derive(Clone)]
pub(crate) struct Pcrs {
    banks: [[Digest; COUNT]; BANKS],
    allocated: [u32; BANKS],
}

impl Pcrs {
    /// None is allocated.
    pub(crate) const NONE: Self = Self { banks: [[Digest::EMPTY; COUNT]; BANKS], allocated: [0; BANKS] };

    /// As after _TPM_Init with this allocation: zeros, and ones where only D-RTM may reset.
    pub(crate) fn new(allocated: [u32; BANKS]) -> Self {
        let mut banks = [[Digest::EMPTY; COUNT]; BANKS];
        for (bank, alg) in banks.iter_mut().zip(PCR_BANKS) {
            for (pcr, value) in from(0).zip(bank) {
                *value = Digest::zero(alg);
                if attributes(pcr).drtm {
                    value.as_mut_slice().fill(0xff);
                }
            }
        }
        Self { banks, allocated }
    }

    /// TPM Resume: PCR 0 to 15 are as they were saved, in the banks that are still allocated.
    pub(crate) fn resume(&mut self, saved: &Self) {
        for (bank, old) in self.banks.iter_mut().zip(&saved.banks) {
            for ((pcr, value), old) in from(0).zip(bank).zip(old) {
                if is_saved(pcr) {
                    *value = *old;
                }
            }
        }
    }

    /// The PCR of each bank since _TPM_Init.
    pub(crate) const fn allocated(&self) -> [u32; BANKS] {
        self.allocated
    }

    fn bank(alg: HashAlg) -> Option<usize> {
        PCR_BANKS.iter().position(|a| *a == alg)
    }

    /// Whether the PCR is in this bank.
    pub(crate) fn is_allocated(&self, alg: HashAlg, pcr: u32) -> bool {
        Self::bank(alg).and_then(|b| self.allocated.get(b)).is_some_and(|map| pcr < PCR_COUNT && map & (1 << pcr) != 0)
    }

    /// The value, if the PCR is allocated in this bank.
    fn get_mut(&mut self, alg: HashAlg, pcr: u32) -> Option<&mut Digest> {
        if !self.is_allocated(alg, pcr) {
            return None;
        }
        self.banks.get_mut(Self::bank(alg)?)?.get_mut(usize::try_from(pcr).ok()?)
    }

    /// PCR_new = H(PCR_old ‖ digest); nothing if the PCR is not in this bank.
    pub(crate) fn extend(&mut self, alg: HashAlg, pcr: u32, digest: &[u8]) {
        if let Some(value) = self.get_mut(alg, pcr) {
            *value = hash::digest(alg, &[value.as_slice(), digest]);
        }
    }

    /// Sets the PCR to zeros in all banks.
    pub(crate) fn reset(&mut self, pcr: u32) {
        self.start_from(pcr, 0);
    }

    /// Sets the PCR to zeros and this last octet in all banks.
    pub(crate) fn start_from(&mut self, pcr: u32, last: u8) {
        for alg in PCR_BANKS {
            if let Some(value) = self.get_mut(alg, pcr).map(Digest::as_mut_slice) {
                value.fill(0);
                if let Some(octet) = value.last_mut() {
                    *octet = last;
                }
            }
        }
    }

    /// The values of a bank, and which of its PCR are allocated: none of a bank that there is not.
    fn values_of(&self, alg: HashAlg) -> (&[Digest], u32) {
        let found = Self::bank(alg).and_then(|b| Some((self.banks.get(b)?, self.allocated.get(b)?)));
        found.map_or((&[], 0), |(values, allocated)| (values, *allocated))
    }

    /// Of a selection the PCR that are allocated (Part 3, 22.4.1).
    pub(crate) fn allocated_of(&self, mut selection: PcrSelection) -> PcrSelection {
        for bank in &mut selection.0 {
            bank.select &= self.values_of(bank.hash).1;
        }
        selection
    }

    /// The values of selected PCR that are allocated, in order.
    pub(crate) fn values<'p>(&'p self, selection: &'p PcrSelection) -> impl Iterator<Item = &'p Digest> {
        selection.0.iter().flat_map(|bank| {
            let (values, allocated) = self.values_of(bank.hash);
            let selected = BankSelection { select: bank.select & allocated, ..*bank };
            selected.iter().filter_map(|pcr| values.get(usize::try_from(pcr).ok()?))
        })
    }

    /// The banks with allocated PCR.
    pub(crate) fn allocated_banks(&self) -> impl Iterator<Item = HashAlg> + '_ {
        PCR_BANKS.into_iter().zip(self.allocated).filter(|(_, map)| *map != 0).map(|(alg, _)| alg)
    }

    /// TPM_CAP_PCRS: all banks that are implemented, with the PCR allocated in each.
    pub(crate) fn allocation(&self) -> PcrSelection {
        let banks = PCR_BANKS.into_iter().zip(self.allocated).filter(|(hash, _)| PROFILE.has(hash.id()));
        List::of(banks.map(|(hash, select)| BankSelection { hash, size: PCR_SELECT_SIZE, select }))
    }

    /// The digest over the selected PCR that are allocated, in order.
    pub(crate) fn digest(&self, alg: HashAlg, selection: &PcrSelection) -> Digest {
        hash::digest_of(alg, self.values(selection).map(Digest::as_slice))
    }
}

/// TPM_PT_PCR (Part 2, 6.14): the properties that exist, each with the PCR that have it.
pub(crate) fn properties() -> impl Iterator<Item = (u32, u32)> {
    let save = (pt_pcr::SAVE, select(is_saved));
    let by_locality = (0..5).flat_map(|locality| {
        let at = move |map: u8| u32::from(map) & bit(locality) != 0;
        let step = locality.saturating_mul(2);
        let extend = (pt_pcr::EXTEND_L0.saturating_add(step), select(move |pcr| at(attributes(pcr).extend)));
        let reset = (pt_pcr::RESET_L0.saturating_add(step), select(move |pcr| at(attributes(pcr).reset)));
        [extend, reset]
    });
    let others = [
        (pt_pcr::NO_INCREMENT, select(|pcr| attributes(pcr).no_increment)),
        (pt_pcr::DRTM_RESET, select(|pcr| attributes(pcr).drtm)),
        (pt_pcr::POLICY, select(|pcr| in_auth_group(Handle(pcr)))),
        (pt_pcr::AUTH, select(|pcr| in_auth_group(Handle(pcr)))),
    ];
    core::iter::once(save).chain(by_locality).chain(others)
}

fn select(test: impl Fn(u32) -> bool) -> u32 {
    (0..PCR_COUNT).filter(|pcr| test(*pcr)).fold(0, |map, pcr| map | bit(pcr))
}

/// What TPM2_PCR_Allocate makes of an allocation (Part 3, 22.5): banks that are not named stay, of a bank named twice
/// the last counts.
///
/// - `PCR`: no bank has PCR 0 for the H-CRTM or none has PCR 17 for D-RTM
pub(crate) fn reallocate(current: [u32; BANKS], wanted: &PcrSelection) -> Result<[u32; BANKS], Rc> {
    const REQUIRED: u32 = 1 << HCRTM_PCR | 1 << DRTM_PCR;
    let mut allocated = current;
    for bank in &wanted.0 {
        if let Some(map) = Pcrs::bank(bank.hash).and_then(|b| allocated.get_mut(b)) {
            *map = bank.select;
        }
    }
    let any = allocated.iter().fold(0, |any, map| any | map);
    if any & REQUIRED == REQUIRED { Ok(allocated) } else { Err(Rc::PCR) }
}

/// Octets that the PCR of an allocation take.
pub(crate) fn allocation_size(allocated: [u32; BANKS]) -> u32 {
    PCR_BANKS
        .iter()
        .zip(allocated)
        .map(|(alg, map)| u32::try_from(alg.digest_size()).unwrap_or(0).saturating_mul(map.count_ones()))
        .fold(0, u32::saturating_add)
}
