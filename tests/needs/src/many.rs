//! Many TPMs in one process, used by several threads.

use client::command::{body, command, handle_of, password, response_code, take_2b, tpm2b};
use client::hash::Alg;
use client::platform::{CountedEntropy, ManualClock};
use client::template::{creation, ecc_signing};
use client::{cc, codes};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::fs;
use std::sync::Mutex;
use std::thread;
use tpm_core::profile::MAX_RESPONSE_SIZE;
use tpm_core::{Hooks, Locality, MAX_STATE_SIZE, StateForm, Tpm};

/// What each TPM does, command by command: between two, other threads may have it.
const STEPS: usize = 6;
const INDEX: u32 = 0x0180_0001;
/// SHA-256, PCR 16
const PCR_16: [u8; 10] = [0, 0, 0, 1, 0, 0xb, 3, 0, 0, 1];

/// One of them, and what it is known by.
struct One {
    tpm: Box<Tpm>,
    entropy: CountedEntropy,
    number: u32,
    done: usize,
    key: u32,
    public: Vec<u8>,
}

impl One {
    fn new(number: u32) -> Self {
        let mut entropy = CountedEntropy { count: u64::from(number) << 32, dry: false };
        let mut tpm = Box::new(Tpm::blank());
        tpm.manufacture(&mut Hooks { entropy: &mut entropy, clock: &mut ManualClock(0) }).expect("entropy");
        Self { tpm, entropy, number, done: 0, key: 0, public: Vec::new() }
    }

    fn run(&mut self, code: u32, handles: &[u32], passwords: usize, parameters: &[u8]) -> Vec<u8> {
        let request = command(code, handles, &password(b"").repeat(passwords), parameters);
        let mut response = vec![0; MAX_RESPONSE_SIZE];
        let hooks = &mut Hooks { entropy: &mut self.entropy, clock: &mut ManualClock(0) };
        let length = self.tpm.execute(hooks, Locality::ZERO, &request, &mut response);
        response.truncate(length);
        assert_eq!(response_code(&response), 0, "{code:#x} of TPM {}", self.number);
        body(code, &response, passwords > 0)
    }

    /// What is written to its NV Index, and extended into its PCR.
    fn own(&self) -> Vec<u8> {
        Alg::Sha256.hash(&[&self.number.to_be_bytes()])
    }

    fn pcr(&self) -> Vec<u8> {
        Alg::Sha256.hash(&[&[0; 32], &self.own()])
    }

    /// The next step.
    fn step(&mut self) {
        match self.done {
            0 => drop(self.run(cc::STARTUP, &[], 0, &[0, 0])),
            1 => {
                let values = [&[0, 0, 0, 1, 0, 0xb][..], &self.own()].concat();
                self.run(cc::PCR_EXTEND, &[16], 1, &values);
            }
            2 => {
                let public = [&INDEX.to_be_bytes()[..], &[0, 0xb, 0, 4, 0, 4, 0, 0, 0, 32]].concat();
                self.run(cc::NV_DEFINE_SPACE, &[codes::OWNER], 1, &[tpm2b(b""), tpm2b(&public)].concat());
            }
            3 => drop(self.run(cc::NV_WRITE, &[INDEX, INDEX], 1, &[tpm2b(&self.own()), vec![0, 0]].concat())),
            4 => {
                let made = self.run(cc::CREATE_PRIMARY, &[codes::OWNER], 1, &creation(b"", b"", &ecc_signing()));
                (self.key, self.public) = (handle_of(&made), take_2b(&mut &made[4..]).to_vec());
            }
            _ => {
                let parameters = [&tpm2b(&self.own())[..], &[0, 0x10], &PCR_16].concat();
                let quote = self.run(cc::QUOTE, &[self.key], 1, &parameters);
                let digest = Alg::Sha256.hash(&[&self.pcr()]);
                for part in [self.own(), digest] {
                    assert!(quote.windows(32).any(|window| window == part), "the quote of TPM {}", self.number);
                }
            }
        }
        self.done += 1;
    }

    /// It is the one that it has been, and its state is no other's.
    fn check(&mut self) {
        let read = self.run(cc::PCR_READ, &[], 0, &PCR_16);
        assert_eq!(read[read.len() - 32..], self.pcr(), "PCR 16 of TPM {}", self.number);
        let read = self.run(cc::NV_READ, &[INDEX, INDEX], 1, &[0, 32, 0, 0]);
        assert_eq!(read[2..], self.own(), "the index of TPM {}", self.number);
    }

    fn state(&self) -> Vec<u8> {
        let mut state = vec![0; MAX_STATE_SIZE];
        let length = self.tpm.export(StateForm::Whole, &mut state).expect("room for a state");
        state[..length].to_vec()
    }
}

/// What was seen.
#[derive(Debug)]
pub struct Seen {
    /// octets of a TPM, as the compiler says
    pub size: usize,
    /// octets of memory by which each TPM made the process grow, once it was in use
    pub grown: usize,
    /// and what of that was left for each when all were gone
    pub left: usize,
    /// the longest state, in octets
    pub state: usize,
    /// commands that were executed
    pub commands: usize,
}

/// Makes and uses so many TPMs in so many threads. Each command is given by the thread that comes by.
///
/// # Panics
/// If a TPM does not answer, or two are mixed up.
#[must_use]
pub fn together(count: u32, threads: usize) -> Seen {
    let before = resident();
    let tpms: Vec<_> = (0..count).map(|number| Mutex::new(One::new(number))).collect();
    let turns = AtomicUsize::new(0);
    let per_thread: Vec<usize> = thread::scope(|scope| {
        let work = || {
            let mut given = 0;
            loop {
                let turn = turns.fetch_add(1, Ordering::Relaxed);
                if turn >= STEPS * tpms.len() {
                    return given;
                }
                tpms[turn % tpms.len()].lock().expect("no thread panics").step();
                given += 1;
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
    });
    assert!(per_thread.iter().all(|given| *given > 0), "each thread gave commands: {per_thread:?}");
    let grown = resident().saturating_sub(before);
    let mut longest = 0;
    let (mut states, mut keys) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let tpms: Vec<_> = tpms.into_iter().map(|tpm| tpm.into_inner().expect("no thread panics")).collect();
    let count = tpms.len();
    for mut one in tpms {
        assert_eq!(one.done, STEPS);
        one.check();
        let state = one.state();
        longest = longest.max(state.len());
        assert!(states.insert(Alg::Sha256.hash(&[&state])) && keys.insert(one.public), "two TPMs are one");
    }
    let left = resident().saturating_sub(before);
    Seen { size: size_of::<Tpm>(), grown: grown / count, left: left / count, state: longest, commands: STEPS * count }
}

/// Octets of this process that are in memory.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages: usize = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number of pages");
    pages * 4096
}
