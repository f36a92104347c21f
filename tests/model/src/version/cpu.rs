//! A processor: what its guest does, and the firmware on it, by its own way to memory.

use core::cell::RefCell;
use core::hash::Hash;
use core::mem::offset_of;
use std::rc::Rc;

use snp::ghcb::doorbell::Presented;
use snp::report::Report;
use snp::vmsa::Vmsa;
use zerocopy::FromZeros;

use super::attest::{Certificates, EndorsementKey, ReportError, Reports};
use super::interrupts::Interrupts;
use super::mm::{Attributes, Inaccessible, PAGE_SIZE, PageSize, Pages, Pvalidated, RmpError};
use super::svsm::apic::Wires;
use super::svsm::request::{Stop, after_stop};
use super::svsm::vcpus::Guest;
use super::mm::ownership::Ownership;
use super::svsm::vtpm::Buffers;
use super::svsm::{Machine, Tpm};
use super::sync::Mutex;
use crate::engine::{self, Op};
use crate::hardware::{Rule, Worker, World};

/// GHCB exit code of a call.
const VMGEXIT: u64 = 0x403;

/// The firmware on one processor, as it reaches memory.
pub struct Cpu {
    number: usize,
    /// It has not looked at the register state yet that it is to serve.
    is_to_serve: bool,
    /// The register state.
    served: Option<u64>,
}

impl Cpu {
    /// Where nobody is served.
    pub fn new(number: usize) -> Cpu {
        Cpu { number, is_to_serve: false, served: None }
    }
}

impl Cpu {
    /// An access is a step, unless it is to the call's registers, which nobody else may touch meanwhile: whoever does
    /// breaks a rule, before or after. EFER and the exit code, the first register that is looked at, are steps.
    fn access<R: Hash>(&self, op: Op, gpa: u64, work: impl FnOnce(&mut World) -> Rule<R>) -> R {
        let steps = [offset_of!(Vmsa, efer), offset_of!(Vmsa, guest_exit_code)];
        let step = steps.iter().any(|offset| *offset as u64 == gpa % PAGE_SIZE);
        if self.served == Some(gpa - gpa % PAGE_SIZE) && !step { engine::apply(work) } else { engine::step(op, work) }
    }
}

impl Pages for Cpu {
    fn read(&mut self, gpa: u64, out: &mut [u8]) -> Result<(), Inaccessible> {
        let begins = core::mem::take(&mut self.is_to_serve);
        if begins {
            self.served = Some(gpa - gpa % PAGE_SIZE);
        }
        self.access(Op::at("VMPL0 reads", gpa), gpa, |world| {
            if begins {
                world.begin_serving(self.number, gpa)?;
            }
            world.read(self.number, gpa, out)
        });
        Ok(())
    }

    fn write(&mut self, gpa: u64, bytes: &[u8]) -> Result<(), Inaccessible> {
        self.access(Op::at("VMPL0 writes", gpa), gpa, |world| world.write(self.number, gpa, bytes));
        Ok(())
    }

    fn exchange(&mut self, gpa: u64, value: u8) -> Result<u8, Inaccessible> {
        Ok(engine::step(Op::at("VMPL0 exchanges", gpa), |world| world.exchange(self.number, gpa, value)))
    }

    fn zero(&mut self, gpa: u64, _: PageSize) -> Result<(), Inaccessible> {
        engine::step(Op::at("VMPL0 zeroes", gpa), |world| world.zero(gpa));
        Ok(())
    }

    fn pvalidate(&mut self, gpa: u64, _: PageSize, validate: bool) -> Result<Pvalidated, RmpError> {
        let op = if validate { "PVALIDATE, valid," } else { "PVALIDATE, invalid," };
        let changed =
            engine::step(Op::at(op, gpa), |world| Ok(world.pvalidate(gpa, validate)? == Pvalidated::Changed));
        Ok(if changed { Pvalidated::Changed } else { Pvalidated::Unchanged })
    }

    fn rmpadjust(&mut self, gpa: u64, _: PageSize, attributes: Attributes) -> Result<(), RmpError> {
        let done = engine::step(Op::at("RMPADJUST", gpa), |world| {
            Ok(world.rmpadjust(self.number, gpa, attributes)?.is_ok())
        });
        if done { Ok(()) } else { Err(RmpError::InUse) }
    }

    fn extend_heap(&mut self, _: u64) -> bool {
        false
    }

    fn start_processor(&mut self, apic_id: u32, block: &[u64]) -> bool {
        engine::wait(Op::new("starts a processor"), |world| world.start(apic_id, block));
        true
    }

    /// INVLPGB, and TLBSYNC until all processors have done it.
    fn flush(&mut self) {
        engine::step(Op::new("INVLPGB, TLBSYNC"), |world| {
            world.flush_everywhere();
            Ok(())
        });
    }
}

/// A TPM that takes its time, and answers with its command's one byte.
#[derive(Default)]
pub struct SlowTpm(Box<Buffers>);

impl Tpm for SlowTpm {
    fn execute(&mut self, command: &[u8], response: &mut [u8]) -> usize {
        let command = command.first().copied().unwrap_or_default();
        let caller = engine::current();
        engine::step(Op::new("the TPM begins"), |world| world.begin_work(Worker::Tpm, caller));
        engine::step(Op::new("the TPM ends"), |world| {
            world.executed.push(command);
            world.end_work(Worker::Tpm);
            Ok(())
        });
        response[0] = command;
        1
    }

    fn buffers(&mut self) -> &mut Buffers {
        &mut self.0
    }

    fn execute_in_buffers(&mut self, _: usize, _: usize) -> usize {
        let (command, mut response) = (self.0.command[0], [0]);
        let len = self.execute(&[command], &mut response);
        self.0.response[0] = response[0];
        len
    }

    /// What it does for it is no command.
    fn endorsement_key(&mut self) -> Option<EndorsementKey> {
        let caller = engine::current();
        engine::step(Op::new("the TPM begins to make its key"), |world| world.begin_work(Worker::Tpm, caller));
        engine::step(Op::new("the TPM has its key"), |world| {
            world.end_work(Worker::Tpm);
            Ok(())
        });
        EndorsementKey::from_slice(b"EK").ok()
    }
}

/// A PSP that takes its time.
pub struct SlowPsp;

impl Reports for SlowPsp {
    fn report(&mut self, data: &[u8; 64], _: Option<&mut Certificates>) -> Result<Report, ReportError> {
        let caller = engine::current();
        engine::step(Op::new("the PSP begins"), |world| world.begin_work(Worker::Psp, caller));
        engine::step(Op::new("the PSP ends"), |world| {
            world.end_work(Worker::Psp);
            Ok(())
        });
        let mut report = Report::new_zeroed();
        report.report_data = *data;
        Ok(report)
    }
}

/// No vCPU has alternate injection.
struct NoWires;

impl Wires for NoWires {
    fn presented(&mut self) -> Presented {
        Presented::default()
    }

    fn end_of_level(&mut self, _: u8) {}

    fn signal(&mut self, _: u32) {}
}

/// What the firmware's processors share.
pub struct Shared {
    /// Map and vCPUs.
    pub guest: Mutex<Guest<Ownership>>,
    /// The TPM.
    pub tpm: Mutex<SlowTpm>,
    /// The PSP.
    pub reports: Mutex<SlowPsp>,
    /// What each processor's calls came to, in order.
    pub outcomes: RefCell<[Vec<Outcome>; crate::hardware::MAX_PROCESSORS]>,
}

/// What became of a call: RAX afterwards, `None` if it was not served.
pub type Outcome = Option<u64>;

impl Shared {
    /// The handlers' view from one processor.
    pub fn machine<'a>(&'a self, pages: &'a mut Cpu) -> Machine<'a> {
        Machine {
            apic_id: u32::try_from(pages.number).unwrap_or(u32::MAX),
            pages,
            guest: &self.guest,
            tpm: &self.tpm,
            interrupts: Interrupts::Any,
            weaknesses: None,
            reports: &self.reports,
            wires: Box::leak(Box::new(NoWires)),
        }
    }
}

/// A step of a vCPU at VMPL2.
#[derive(Clone, Debug)]
pub enum Do {
    /// Writes to memory; nothing happens where it may not.
    Write(u64, Vec<u8>),
    /// A call through a calling area: RAX, RCX, RDX, R8.
    Call(u64, [u64; 4]),
    /// The host stops it.
    Stop,
}

/// One processor from the scene's beginning: the guest runs with the register state `vmsa`, and the firmware whenever
/// it has stopped.
pub fn act(shared: &Rc<Shared>, number: usize, vmsa: u64, script: Vec<Do>) {
    let mut running = false;
    for step in script {
        if !core::mem::replace(&mut running, true) {
            engine::run_when_possible(vmsa, |world| world.run(number, vmsa));
        }
        let outcome = match step {
            Do::Write(gpa, bytes) => {
                engine::step(Op::at("VMPL2 writes", gpa), |world| world.guest_writes(number, gpa, &bytes));
                continue;
            }
            Do::Call(area, [rax, rcx, rdx, r8]) => {
                engine::step(Op::at("VMPL2 writes", area), |world| world.guest_writes(number, area, &[1]));
                exit_and_serve(shared, number, vmsa, VMGEXIT, [rax, rcx, rdx, r8, 0])
            }
            Do::Stop => exit_and_serve(shared, number, vmsa, 0x60, [0; 5]),
        };
        running = false;
        shared.outcomes.borrow_mut()[number].push(outcome);
    }
}

fn exit_and_serve(shared: &Rc<Shared>, number: usize, vmsa: u64, code: u64, registers: [u64; 5]) -> Outcome {
    engine::step(Op::at("#VMEXIT", vmsa), |world| world.exit(number, code, registers));
    serve(shared, number, vmsa)
}

fn serve(shared: &Rc<Shared>, number: usize, vmsa: u64) -> Outcome {
    let mut cpu = Cpu { number, is_to_serve: true, served: None };
    let stop = after_stop(&mut shared.machine(&mut cpu));
    let [rax, ..] = engine::apply(|world| {
        world.end_serving(number);
        world.registers(vmsa)
    });
    (stop == Stop::Served).then_some(rax)
}

/// A guest that calls, on a processor whose firmware the host runs when it likes. Whenever it runs again, its registers
/// are those that it had, or if its call was taken, those of the answer: RAX and RCX.
pub fn guest_alone(number: usize, vmsa: u64, area: u64, calls: &[([u64; 2], [u64; 2])]) {
    for ([rax, rcx], answer) in calls.iter().copied() {
        engine::run_when_possible(vmsa, |world| world.run(number, vmsa));
        engine::step(Op::at("VMPL2 writes", area), |world| world.guest_writes(number, area, &[1]));
        engine::step(Op::at("#VMEXIT", vmsa), |world| world.exit(number, VMGEXIT, [rax, rcx, 0, 0, 0]));
        engine::run_when_possible(vmsa, |world| {
            world.run(number, vmsa)?;
            let pending = world.word(area)? & 0xff == 1;
            let [rax, rcx] = if pending { [rax, rcx] } else { answer };
            let found = world.registers(vmsa)?;
            if found == [rax, rcx, 0, 0, 0] { Ok(()) } else { Err(format!("the guest goes on with {found:x?}")) }
        });
        engine::step(Op::at("#VMEXIT", vmsa), |world| world.exit(number, 0x60, [0; 5]));
    }
}

/// That firmware, some times; what is kept is whether a call was served.
pub fn firmware_alone(shared: &Rc<Shared>, number: usize, vmsa: u64, times: usize) {
    for _ in 0..times {
        let outcome = serve(shared, number, vmsa).map(|_| 0);
        shared.outcomes.borrow_mut()[number].push(outcome);
    }
}

const _: () = assert!(PAGE_SIZE == crate::hardware::PAGE);
