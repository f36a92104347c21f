//! What of an opened state may be seen: names, sizes, counters. Contents of indices, seeds and authorizations are not
//! among it.

use crate::file::Refused;
use anyhow::{Context, Result};
use core::fmt::Write;
use tpm_core::store::{Disk, MAX_RECORD_SIZE, Store};
use tpm_core::{
    Clock, EkTemplate, Entropy, EntropyFailure, Hooks, Locality, MAX_EK_PUBLIC, MAX_STATE_SIZE, StateForm, Tpm,
};
use zeroize::Zeroizing;

use crate::key::hex;

/// The TPM's record, as the store finds it.
struct Found<'a>(&'a [u8]);

impl Disk for Found<'_> {
    type Error = core::convert::Infallible;
    const SLOTS: usize = 1;

    fn read(&mut self, _: usize, out: &mut [u8]) -> Result<usize, Self::Error> {
        let length = self.0.len().min(out.len());
        out[..length].copy_from_slice(&self.0[..length]);
        Ok(length)
    }

    fn write(&mut self, _: usize, _: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }
}

struct System;

impl Entropy for System {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        getrandom::fill(out).map_err(|_| EntropyFailure)
    }
}

/// Time stands still.
struct Still;

impl Clock for Still {
    fn now_ms(&mut self) -> u64 {
        0
    }
}

/// A TPM of an opened state.
pub(crate) struct Inside {
    tpm: Box<Tpm>,
    /// the state as it was read
    state: Zeroizing<Vec<u8>>,
    /// how often it was saved; a state that waits is no record of a store's
    generation: Option<u64>,
}

/// A line: what it is of, and what is said.
pub(crate) type Fact = (String, String);

impl Inside {
    /// The TPM in a record of the store's.
    pub(crate) fn open(record: &[u8]) -> Result<Self> {
        let mut buffer = Zeroizing::new(vec![0; MAX_RECORD_SIZE]);
        let (store, state) = Store::open(Found(record), &mut buffer).ok().ok_or(Refused::Contents)?;
        Self::of(state.ok_or(Refused::Contents)?, Some(store.generation()))
    }

    /// The TPM that a whole state is of, as after a loss of power.
    pub(crate) fn open_whole(state: &[u8]) -> Result<Self> {
        let running = Self::of(state, None)?;
        let mut buffer = Zeroizing::new(vec![0; MAX_STATE_SIZE]);
        let length = running.tpm.export(StateForm::PoweredOff, &mut buffer)?;
        let mut inside = Self::of(&buffer[..length], None)?;
        inside.state = running.state;
        Ok(inside)
    }

    fn of(state: &[u8], generation: Option<u64>) -> Result<Self> {
        let mut tpm = Box::new(Tpm::blank());
        tpm.import(state, &mut Hooks { entropy: &mut System, clock: &mut Still })?;
        Ok(Self { tpm, state: Zeroizing::new(state.to_vec()), generation })
    }

    /// Whether nothing at all differs, secrets included.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.state == other.state
    }

    /// Whether what an ordinary index holds differs.
    fn contents(&self, index: u32) -> Option<&[u8]> {
        self.tpm.index_contents(index)
    }

    /// The indices whose contents differ in the two, of those that both have.
    pub(crate) fn other_contents(&self, other: &Self, indices: &[u32]) -> Vec<u32> {
        indices.iter().copied().filter(|index| self.contents(*index) != other.contents(*index)).collect()
    }

    /// What may be seen, and the handles of NV Indices. The TPM is started for it, here and nowhere else.
    pub(crate) fn facts(&mut self) -> Result<(Vec<Fact>, Vec<u32>)> {
        let mut facts: Vec<Fact> = Vec::new();
        let mut say = |what: &str, text: String| facts.push((what.to_owned(), text));
        if let Some(generation) = self.generation {
            say("commits of the TPM", generation.to_string());
        }
        let seed = self.tpm.endorsement_seed_id().map_or_else(|| "none".to_owned(), |id| hex(&id));
        say("endorsement seed, its name", seed);
        let mut public = [0; MAX_EK_PUBLIC];
        let length = self.tpm.endorsement_key(EkTemplate::EccP256, &mut public).ok().context("the TPM makes no EK")?;
        say("EK (P-256), SHA-256 of its public area", hex(&sealed::layout::sha256(&public[..length])));
        self.run(0x144, &[0, 0]).context("TPM2_Startup")?;
        let clock = self.run(0x181, &[]).context("TPM2_ReadClock")?;
        let word = |at: usize| {
            clock.get(at..at + 4).map_or(0, |octets| u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]))
        };
        say("clock, ms", (u64::from(word(8)) << 32 | u64::from(word(12))).to_string());
        say("resetCount at the next start", word(16).to_string());
        for (property, name) in PROPERTIES {
            let value = self.capability(6, property, 1)?.first().map_or(0, |values| values.1);
            say(name, if property == 0x200 { format!("{value:#010x}") } else { value.to_string() });
        }
        for handle in self.handles(0x8100_0000)? {
            let read = self.run(0x173, &handle.to_be_bytes()).context("TPM2_ReadPublic")?;
            let public = sized(&read, 0).context("TPM2_ReadPublic answers too little")?;
            say(&format!("object {handle:#010x}, its name"), hex(sized(&read, 2 + public.len()).unwrap_or_default()));
        }
        let indices = self.handles(0x0100_0000)?;
        for index in &indices {
            let read = self.run(0x169, &index.to_be_bytes()).context("TPM2_NV_ReadPublic")?;
            let public = sized(&read, 0).context("TPM2_NV_ReadPublic answers too little")?;
            let size = public.last_chunk().map_or(0, |size| u16::from_be_bytes(*size));
            let mut text = format!("{size} octets, name ");
            let _ = write!(text, "{}", hex(sized(&read, 2 + public.len()).unwrap_or_default()));
            say(&format!("index {index:#010x}"), text);
        }
        Ok((facts, indices))
    }

    /// Runs a command without sessions; its parameters, if it succeeds.
    fn run(&mut self, code: u32, body: &[u8]) -> Result<Vec<u8>> {
        let size = u32::try_from(10 + body.len())?;
        let request = [&[0x80, 1][..], &size.to_be_bytes(), &code.to_be_bytes(), body].concat();
        let mut response = vec![0; tpm_core::profile::MAX_RESPONSE_SIZE];
        let hooks = &mut Hooks { entropy: &mut System, clock: &mut Still };
        let length = self.tpm.execute(hooks, Locality::ZERO, &request, &mut response);
        let response = response.get(..length).unwrap_or_default();
        let code = response.get(6..10).context("no response")?;
        anyhow::ensure!(code == [0; 4], "response code {}", hex(code));
        Ok(response.get(10..).unwrap_or_default().to_vec())
    }

    /// TPM2_GetCapability: pairs, or handles as pairs with 0.
    fn capability(&mut self, capability: u32, first: u32, count: u32) -> Result<Vec<(u32, u32)>> {
        let body: Vec<u8> = [capability, first, count].iter().flat_map(|word| word.to_be_bytes()).collect();
        let answer = self.run(0x17a, &body).context("TPM2_GetCapability")?;
        // moreData₁ ‖ capability₄ ‖ count₄
        let words: Vec<u32> = answer
            .get(9..)
            .unwrap_or_default()
            .chunks_exact(4)
            .map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]))
            .collect();
        Ok(if capability == 1 {
            words.iter().map(|handle| (*handle, 0)).collect()
        } else {
            words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect()
        })
    }

    /// All handles of a type, from its first on.
    fn handles(&mut self, first: u32) -> Result<Vec<u32>> {
        let mut handles: Vec<u32> = Vec::new();
        loop {
            let next = handles.last().map_or(first, |last| last + 1);
            let more = self.capability(1, next, 64)?;
            if more.is_empty() || next >> 24 != first >> 24 {
                return Ok(handles);
            }
            handles.extend(more.iter().map(|(handle, _)| *handle));
        }
    }
}

/// TPM_PT of what lasts.
const PROPERTIES: [(u32, &str); 6] = [
    (0x200, "TPM_PT_PERMANENT"),
    (0x20e, "failed authorizations"),
    (0x20f, "authorizations that may fail"),
    (0x210, "seconds until one is forgotten"),
    (0x211, "seconds until lockoutAuth is of use again"),
    (0x20a, "NV counters"),
];

/// The TPM2B at an offset.
fn sized(octets: &[u8], at: usize) -> Option<&[u8]> {
    let (length, rest) = octets.get(at..)?.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}
