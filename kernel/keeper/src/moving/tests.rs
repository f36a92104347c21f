//! Both sides in one process: true handshakes between mock chips, queues for the relay, the firmware's disks in memory.

mod anchored;
mod disks;
mod runs;

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::thread;
use std::vec;
use std::vec::Vec;

use kernel::attest::{Certificates, ReportError, Reports};
use kernel::hooks::Platform;
use migration::message::Kind;
use migration::{Arrival, Identity, Pending, Refusal, Terms, Tombstone, Wiped};
use moves::chip::Boot;
use moves::scene::{CHIP_A, CHIP_B, IDENTITY, NEW, OLD};
use relay::{Message, Relay, service};
use snp::message::certificates::{ARK, ASK, VCEK};
use snp::report::Report;
use tpm_core::{Clock, EkTemplate, Entropy, EntropyFailure, MAX_EK_PUBLIC, Tpm};
use zerocopy::IntoBytes;

use super::{Arrivals, Berth, Home, Leaving, NotEntombed, Now, Stand, Unsure, arrive};

/// Octets that count on.
struct Counted(u8);

impl Entropy for Counted {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        for octet in out {
            self.0 = self.0.wrapping_add(1);
            *octet = self.0;
        }
        Ok(())
    }
}

/// A clock that goes on when it is looked at, by as much as is said: not at all, while somebody is expected to answer.
#[derive(Clone, Default)]
struct Ticking {
    now: Arc<AtomicU64>,
    step: Arc<AtomicU64>,
}

impl Clock for Ticking {
    fn now_ms(&mut self) -> u64 {
        self.now.fetch_add(self.step.load(Ordering::Relaxed), Ordering::Relaxed)
    }
}

type Machine = Platform<Counted, Ticking>;
type Queue = Arc<Mutex<VecDeque<Vec<u8>>>>;

/// One end of the way between two firmwares; whoever has the hosts has both queues.
struct End {
    incoming: Queue,
    outgoing: Queue,
    /// It takes so many messages more, and is broken then.
    takes: usize,
    /// What of that is sent is lost.
    loses: Box<dyn FnMut(Kind) -> bool + Send>,
    /// At so many looks of which nothing would come, this comes.
    noise: Option<(Vec<u8>, u64)>,
    looks: u64,
}

impl Relay for End {
    type Error = ();

    fn send(&mut self, to: u16, _: u16, message: &[u8]) -> Result<(), ()> {
        assert_eq!(to, service::MIGRATION);
        self.takes = self.takes.checked_sub(1).ok_or(())?;
        if Kind::of(message).is_ok_and(|(kind, _)| (self.loses)(kind)) {
            return Ok(());
        }
        self.outgoing.lock().unwrap().push_back(message.to_vec());
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Message>, ()> {
        let message = |octets| Message { service: service::MIGRATION, number: 0, octets };
        let mut next = self.incoming.lock().unwrap().pop_front();
        if next.is_none() {
            self.looks += 1;
            next =
                self.noise.iter().find(|(_, every)| self.looks.is_multiple_of(*every)).map(|(noise, _)| noise.clone());
        }
        if next.is_none() {
            thread::yield_now();
        }
        if self.takes == 0 { Err(()) } else { Ok(next.map(message)) }
    }
}

fn ends() -> [End; 2] {
    let [a, b] = [Queue::default(), Queue::default()];
    let end = |incoming: &Queue, outgoing: &Queue| End {
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        takes: usize::MAX,
        loses: Box::new(|_| false),
        noise: None,
        looks: 0,
    };
    [end(&a, &b), end(&b, &a)]
}

/// Looks for messages at the source, in a thread of its own, as long as `destination` works. That is given what to call
/// when nothing has come: it ends when the source's run has, or where both wait in vain.
fn beside<R>(
    step: &Arc<AtomicU64>,
    mut poll: impl FnMut() -> Stand + Send,
    destination: impl FnOnce(&mut dyn FnMut() -> Option<bool>) -> R,
) -> (R, Stand) {
    let (is_over, is_done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let source = scope.spawn(|| {
            let mut last = Stand::Here;
            while !is_done.load(Ordering::Acquire) {
                let stand = poll();
                last = if stand == Stand::Here { last } else { stand };
                is_over.store(last != Stand::Here, Ordering::Release);
                thread::yield_now();
            }
            last
        });
        let mut looks_after = 0;
        let outcome = destination(&mut || {
            looks_after += u32::from(is_over.load(Ordering::Acquire));
            // Behind the end there may be messages yet.
            (looks_after < 10).then_some(false)
        });
        // Nobody answers any more.
        step.store(1, Ordering::Relaxed);
        is_done.store(true, Ordering::Release);
        (outcome, source.join().unwrap())
    })
}

/// A mock chip, as the firmware asks it.
struct Psp(Boot<'static>);

impl Reports for Psp {
    fn report(
        &mut self,
        report_data: &[u8; 64],
        certificates: Option<&mut Certificates>,
    ) -> Result<Report, ReportError> {
        let testimony = self.0.testimony(report_data);
        let Some(certificates) = certificates else { return Ok(testimony.report) };
        let all = [(VCEK, &testimony.vcek), (ASK, &testimony.ask), (ARK, &testimony.ark)];
        let (mut table, mut data) = (Vec::new(), Vec::<u8>::new());
        for (kind, der) in all {
            let at = u32::try_from(24 * 4 + data.len()).unwrap();
            table.extend(kind.as_bytes());
            table.extend(at.to_le_bytes());
            table.extend(u32::try_from(der.len()).unwrap().to_le_bytes());
            data.extend(der);
        }
        table.extend([0; 24]);
        table.extend(data);
        certificates.fill(|buffer| buffer[..table.len()].copy_from_slice(&table));
        Ok(testimony.report)
    }
}

fn old() -> Psp {
    Psp(Boot::new(&CHIP_A, OLD))
}

fn new() -> Psp {
    Psp(Boot::new(&CHIP_B, NEW))
}

fn machine(entropy: u8, clock: &Ticking) -> Machine {
    Platform::manufacture(Counted(entropy), clock.clone(), |_| ()).ok().unwrap()
}

fn vacant(entropy: u8) -> Machine {
    Platform::vacant(Counted(entropy), Ticking::default(), |_| ())
}

const STARTUP: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0];
const GET_RANDOM: &[u8] = &[0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 1];
const BEGIN: [u8; 4] = [1, Kind::Begin as u8, 0, 0];
const SUCCESS: u32 = 0;
const INITIALIZE: u32 = 0x100;
const FAILURE: u32 = 0x101;

fn code(machine: &mut impl kernel::svsm::Tpm, command: &[u8]) -> u32 {
    let mut response = [0; 4087];
    let len = machine.execute(command, &mut response);
    u32::from_be_bytes(response[..len][6..10].try_into().unwrap())
}

fn ek(machine: &mut Machine) -> Vec<u8> {
    let mut out = [0; MAX_EK_PUBLIC];
    let len = machine.with(|tpm, _| tpm.endorsement_key(EkTemplate::EccP256, &mut out)).ok().unwrap();
    out[..len].to_vec()
}
