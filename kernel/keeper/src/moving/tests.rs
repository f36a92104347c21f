//! Both sides in one process: true handshakes between mock chips, queues for the relay, the firmware's disks in memory.

mod disks;
mod runs;

use std::boxed::Box;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::vec;
use std::vec::Vec;

use kernel::attest::{Certificates, ReportError, Reports};
use kernel::hooks::Platform;
use kernel::svsm::Tpm as _;
use migration::message::Kind;
use migration::{Arrival, Pending, Refusal, Terms, Tombstone};
use moves::chip::Boot;
use moves::scene::{CHIP_A, CHIP_B, IDENTITY, NEW, OLD};
use relay::{Message, Relay, service};
use snp::message::certificates::{ARK, ASK, VCEK};
use snp::report::Report;
use tpm_core::{Clock, EkTemplate, Entropy, EntropyFailure, MAX_EK_PUBLIC, Tpm};
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

use super::{Arrivals, Berth, Home, Leaving, Now, Stand, Unsure, arrive};

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

/// A clock that goes on when it is looked at.
struct Ticking(u64);

impl Clock for Ticking {
    fn now_ms(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

type Machine = Platform<Counted, Ticking>;
type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// One end of the way between two firmwares; whoever has the hosts has both queues.
struct End {
    incoming: Queue,
    outgoing: Queue,
    /// It takes nothing more.
    is_broken: bool,
}

impl Relay for End {
    type Error = ();

    fn send(&mut self, to: u16, _: u16, message: &[u8]) -> Result<(), ()> {
        assert_eq!(to, service::MIGRATION);
        if self.is_broken {
            return Err(());
        }
        self.outgoing.borrow_mut().push_back(message.to_vec());
        Ok(())
    }

    fn receive(&mut self) -> Result<Option<Message>, ()> {
        let message = |octets| Message { service: service::MIGRATION, number: 0, octets };
        if self.is_broken { Err(()) } else { Ok(self.incoming.borrow_mut().pop_front().map(message)) }
    }
}

fn ends() -> [End; 2] {
    let [a, b] = [Queue::default(), Queue::default()];
    let end = |incoming: &Queue, outgoing: &Queue| End {
        incoming: Rc::clone(incoming),
        outgoing: Rc::clone(outgoing),
        is_broken: false,
    };
    [end(&a, &b), end(&b, &a)]
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
        let (mut table, mut data) = (Vec::new(), Vec::new());
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

fn machine(entropy: u8) -> Machine {
    Platform::manufacture(Counted(entropy), Ticking(0), |_| ()).ok().unwrap()
}

fn vacant(entropy: u8) -> Machine {
    Platform::vacant(Counted(entropy), Ticking(0), |_| ())
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
