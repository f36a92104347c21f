//! Whatever is accessed: nothing panics, and no locality sees what is another's.

use crate::rig::{Rig, guest_buffers};
use proptest::prelude::*;
use tpm_core::Locality;
use tpm_crb::registers::{CTRL_CANCEL, CTRL_REQ, CTRL_START, DATA_BUFFER, LOC_CTRL, PAGE};
use tpm_crb::{BASE, Buffers, Config, CrbDevice, Engine, Execution, Localities, NoMemory};

/// What locality `n` writes, and what the engine answers it: octets of its own.
fn mark(locality: u8) -> u8 {
    0x11 * (locality + 1)
}

/// Answers with the locality's mark, at a length that the command says.
struct Marks {
    length: usize,
}

impl Engine for Marks {
    fn execute(&mut self, locality: Locality, command: &[u8], response: &mut [u8]) -> usize {
        let own = mark(locality.get());
        assert!(command.iter().all(|octet| [0, own].contains(octet)), "the command is one locality's");
        response[..self.length].fill(own);
        self.length
    }

    fn cancel(&mut self) {}
    fn hash_start(&mut self) {}
    fn hash_data(&mut self, data: &[u8]) {
        assert!(data.iter().all(|octet| [0, mark(4)].contains(octet)), "the event is locality 4's");
    }

    fn hash_end(&mut self) -> bool {
        true
    }
}

/// xorshift64*
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 32) % n
    }
}

/// One step of guest or embedder; how many of its own octets a locality has read.
fn step(device: &mut CrbDevice, engine: &mut Marks, numbers: &mut Numbers) -> usize {
    // Half of the accesses are the active locality's: the others' lead to nothing.
    let any = u8::try_from(numbers.below(5)).unwrap();
    let locality = device.active_locality().filter(|_| numbers.below(2) == 0).map_or(any, Locality::get);
    let page = BASE + u64::from(locality) * PAGE as u64;
    let width = [1, 2, 4, 8, 3, 64][usize::try_from(numbers.below(6)).unwrap()];
    let most = if numbers.below(2000) == 0 { 8192 } else { device.config().buffer_size() };
    engine.length = usize::try_from(numbers.below(most as u64 - 9)).unwrap() + 10;
    if numbers.below(20_000) == 0 {
        engine.length = 9;
    }
    match numbers.below(16) {
        0..4 => {
            let at = match numbers.below(16) {
                0 => LOC_CTRL,
                1 => CTRL_CANCEL,
                2..6 => CTRL_REQ,
                _ => CTRL_START,
            };
            let value = 1u32 << numbers.below(4);
            let _ = device.write(engine, &mut NoMemory, page + u64::from(at), &value.to_le_bytes());
        }
        4..9 => {
            let at = u64::from(DATA_BUFFER) + numbers.below(0x1000 - 0x80);
            let _ = device.write(engine, &mut NoMemory, page + at, &[mark(locality); 64][..width]);
        }
        9..13 => {
            let at = u64::from(DATA_BUFFER) + numbers.below(0x1000 - 0x80);
            let mut out = [0; 64];
            device.read(page + at, &mut out[..width]);
            for octet in &out[..width] {
                assert!([0, 0xff, mark(locality)].contains(octet), "locality {locality} reads {octet:#x}");
            }
            return out[..width].iter().filter(|octet| **octet == mark(locality)).count();
        }
        13 => {
            let at = numbers.below(0x5100);
            let value = numbers.next().to_le_bytes();
            // Anywhere but the data buffers, whose octets are marks.
            if at % PAGE as u64 + 8 <= DATA_BUFFER.into() {
                let _ = device.write(engine, &mut NoMemory, BASE + at, &value[..width.min(8)]);
            }
            device.read(BASE + at, &mut [0; 64][..width]);
        }
        14 => device.poll(engine, &mut NoMemory),
        _ => match device.begin() {
            Some(pending) => {
                let own = mark(pending.locality.get());
                if numbers.below(2) == 0 {
                    device.finish(&mut NoMemory, &vec![own; engine.length]);
                }
            }
            // The one that was begun before, whoever has the TPM now: its mark is none of those.
            None => device.finish(&mut NoMemory, &vec![0; engine.length]),
        },
    }
    0
}

#[test]
fn ten_million_accesses_do_no_harm() {
    for (n, (buffers, execution)) in [
        (Buffers::Chunks, Execution::AtOnce),
        (Buffers::Chunks, Execution::Deferred),
        (Buffers::Page, Execution::Deferred),
        (guest_buffers(8192), Execution::Deferred),
    ]
    .into_iter()
    .enumerate()
    {
        let config = Config { buffers, execution, localities: Localities::All, ..Config::default() };
        let mut device = Box::new(CrbDevice::new(config).unwrap());
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 + n as u64);
        let mut engine = Marks { length: 10 };
        let mut own = 0;
        for _ in 0..2_500_000 {
            own += step(&mut device, &mut engine, &mut numbers);
            if numbers.below(5000) == 0 {
                device.reset(&mut engine);
            }
        }
        let in_page = !matches!(buffers, Buffers::Guest { .. });
        assert_eq!(own > 20_000, in_page, "{buffers:?}: {own} octets of a locality's own were read");
    }
}

proptest! {
    #[test]
    fn any_access_at_any_address_is_answered(
        accesses in prop::collection::vec(
            (any::<bool>(), prop_oneof![0..0x6000u64, any::<u64>()], 0usize..100, any::<u64>()),
            1..200,
        ),
    ) {
        let mut rig = Rig::new(Config { localities: Localities::All, ..Config::default() });
        for (write, at, width, value) in accesses {
            let address = BASE.wrapping_add(at);
            let octets: Vec<u8> = value.to_le_bytes().into_iter().cycle().take(width).collect();
            if write {
                let _ = rig.device.write(&mut rig.engine, &mut rig.ram, address, &octets);
            } else {
                rig.device.read(address, &mut vec![0; width]);
            }
            let shown = rig.shown();
            prop_assert!(!(shown.0 && shown.1), "idle and executing");
        }
    }
}
