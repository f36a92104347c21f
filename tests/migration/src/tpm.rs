//! A TPM of the engine's that moves: stopped between two commands, sent whole, and made of that again.

use crate::Seeded;
use crate::chip::Boot;
use crate::scene::{BOOT_NONCE, CHIP_A, CHIP_B, EPOCH, IDENTITY, NEW, OLD, terms};
use client::attributes::nv;
use client::cc;
use client::codes::OWNER;
use client::command::{tpm2b, with_passwords};
use client::platform::{CountedEntropy, ManualClock};
use client::session::{Start, Transport};
use client::template::{creation, ecc_storage};
use core::time::Duration;
use migration::Wiped;
use migration::destination::{self, Destination};
use migration::source::{self, Bearer, Source};
use migration::{Arrival, Refusal, Tombstone};
use std::time::Instant;
use tpm_core::{Hooks, Locality, MAX_STATE_SIZE, StateForm, Tpm};

/// A TPM and its platform.
pub struct Platform {
    /// The TPM.
    pub tpm: Box<Tpm>,
    entropy: CountedEntropy,
    /// Its clock.
    pub clock: ManualClock,
}

impl Platform {
    /// A new TPM before TPM2_Startup, whose entropy begins at `count`.
    pub fn manufacture(count: u64) -> Self {
        let mut new = Self::blank(count);
        new.tpm.manufacture(&mut Hooks { entropy: &mut new.entropy, clock: &mut new.clock }).expect("entropy");
        new
    }

    fn blank(count: u64) -> Self {
        let entropy = CountedEntropy { count, dry: false };
        Self { tpm: Box::new(Tpm::blank()), entropy, clock: ManualClock(0) }
    }

    /// The TPM of a whole state, on a platform of its own.
    ///
    /// # Errors
    /// `State`.
    pub fn of(state: &[u8], count: u64) -> Result<Self, Refusal> {
        let mut new = Self::blank(count);
        let mut hooks = Hooks { entropy: &mut new.entropy, clock: &mut new.clock };
        new.tpm.import(state, &mut hooks).map_err(|_| Refusal::State)?;
        Ok(new)
    }

    /// The whole state.
    pub fn state(&self) -> Wiped {
        let mut state = Wiped::of(vec![0; MAX_STATE_SIZE]);
        let len = self.tpm.export(StateForm::Whole, &mut state).expect("room for it");
        state.truncate(len);
        state
    }
}

impl Transport for Platform {
    fn transmit(&mut self, request: &[u8]) -> Vec<u8> {
        let mut response = vec![0; tpm_core::profile::MAX_RESPONSE_SIZE];
        let mut hooks = Hooks { entropy: &mut self.entropy, clock: &mut self.clock };
        let len = self.tpm.execute(&mut hooks, Locality::ZERO, request, &mut response);
        response.truncate(len);
        response
    }
}

/// A TPM that has moved, and what was measured of it.
pub struct Moved {
    /// Where it is now.
    pub platform: Platform,
    /// What is left of it.
    pub tombstone: Tombstone,
    /// What it became.
    pub arrival: Arrival,
    /// From the offer until the destination is ready, while the source answers: what the certificates, the reports and
    /// the ephemeral keys cost, mock chips' signatures included.
    pub handshake: Duration,
    /// From when the source stops until the destination can answer. No disk is part of it.
    pub silence: Duration,
    /// Octets of the state.
    pub octets: usize,
}

/// Moves a TPM between two chips.
///
/// # Errors
/// The refusal that ends it.
pub fn moved(from: Platform) -> Result<Moved, Refusal> {
    let [old, new] = terms();
    let (mut a, mut b) = (Boot::new(&CHIP_A, OLD), Boot::new(&CHIP_B, NEW));
    let mut rng = Seeded::new("move");
    let begun = Instant::now();
    let bearer = Bearer { identity: IDENTITY, epoch: EPOCH, kept: false, grant: None };
    let (mut source, offer) = Source::offer(&old, &bearer, &mut rng)?;
    let mut destination = Destination::new(&new, false, MAX_STATE_SIZE, None)?;
    let answer = reply(destination.receive(&offer, &mut b, &mut rng)?)?;
    let source::Next::Send(proof) = source.receive(&answer, &mut a)? else { return Err(Refusal::Unexpected) };
    let ready = reply(destination.receive(&proof, &mut b, &mut rng)?)?;
    let handshake = begun.elapsed();
    let source::Next::HandOver = source.receive(&ready, &mut a)? else { return Err(Refusal::Unexpected) };
    // The last answer has been given.
    let stopped = Instant::now();
    let state = from.state();
    let octets = state.len();
    let head = source.hand_over(state, EPOCH, BOOT_NONCE, &mut rng)?;
    destination.receive(&head, &mut b, &mut rng)?;
    let mut arrived = None;
    while let Some(chunk) = source.next_chunk()? {
        if let destination::Next::Keep(_) = destination.receive(&chunk, &mut b, &mut rng)? {
            arrived = Some(Platform::of(destination.state(), 1 << 32)?);
        }
    }
    let mut platform = arrived.ok_or(Refusal::Length)?;
    let source::Next::Entomb(tombstone) = source.receive(&destination.kept()?, &mut a)? else {
        return Err(Refusal::Unexpected);
    };
    drop(from);
    let receipt = source.entombed()?;
    let destination::Next::Awake(arrival) = destination.receive(&receipt, &mut b, &mut rng)? else {
        return Err(Refusal::Unexpected);
    };
    destination.live()?;
    // TPM2_GetRandom of one octet: the first answer.
    let first = platform.transmit(&client::command(cc::GET_RANDOM, &[], &[], &[0, 1]));
    let silence = stopped.elapsed();
    if first.get(6..10) != Some(&[0; 4]) || !destination.answers() || source.answers() {
        return Err(Refusal::State);
    }
    Ok(Moved { platform, tombstone, arrival, handshake, silence, octets })
}

fn reply(next: destination::Next) -> Result<Vec<u8>, Refusal> {
    match next {
        destination::Next::Send(message) => Ok(message),
        _ => Err(Refusal::Unexpected),
    }
}

/// A TPM with much in it: the NV memory nearly full, objects and sessions in all places.
///
/// # Panics
/// If the TPM refuses a command.
pub fn furnished() -> Platform {
    let mut tpm = Platform::manufacture(0);
    let mut run = |code: u32, handles: &[u32], passwords: &[&[u8]], parameters: &[u8]| {
        let response = tpm.transmit(&with_passwords(code, handles, passwords, parameters));
        assert_eq!(client::command::response_code(&response), 0, "command {code:#x}");
    };
    run(cc::STARTUP, &[], &[], &[0, 0]);
    let attributes = nv::OWNERWRITE | nv::OWNERREAD | nv::AUTH;
    for index in 0x0180_0000_u32..0x0180_001c {
        let public = [&index.to_be_bytes()[..], &[0, 0xb], &attributes.to_be_bytes(), &[0, 0], &[8, 0]].concat();
        run(cc::NV_DEFINE_SPACE, &[OWNER], &[b""], &[tpm2b(b""), tpm2b(&public)].concat());
        for offset in [0_u16, 1024] {
            run(cc::NV_WRITE, &[OWNER, index], &[b""], &[&tpm2b(&[0x5a; 1024])[..], &offset.to_be_bytes()].concat());
        }
    }
    for _ in 0..tpm_core::profile::MAX_LOADED_OBJECTS - 1 {
        run(cc::CREATE_PRIMARY, &[OWNER], &[b""], &creation(b"", b"", &ecc_storage()));
    }
    for _ in 0..tpm_core::profile::MAX_LOADED_SESSIONS {
        let (handles, parameters) = Start::default().request(&[1; 16]);
        run(cc::START_AUTH_SESSION, &handles, &[], &parameters);
    }
    tpm
}
