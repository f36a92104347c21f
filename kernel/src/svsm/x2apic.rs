//! The x2APIC of a vCPU with alternate injection: what is requested, what is in service, and what its register state is
//! given when it runs next. It decides alone, on values: nothing here reaches memory or the host.
//!
//! One interrupt at a time stands in the register state (V_IRQ in VINTR_CTRL), from where the processor takes it when
//! the vCPU's flags and its TPR let it. Whether it has is seen when the vCPU stops: until then it counts as requested,
//! not as in service. So nothing is delivered twice, and a more urgent one takes the place of one that was not taken.

use snp::ghcb::doorbell::Presented;
use snp::svsm::apic::{Command, Destination, Message, VectorConfig, logical_id, register};

/// Vectors below this are exceptions, which nobody may raise by an interrupt command.
const FIRST: u8 = 16;
/// Vectors of exceptions that processors have: a host may be allowed no interrupt at these.
const FIRST_OF_HOST: u8 = 31;
/// The vector by which a host may be allowed NMIs.
const NMI: u8 = 2;

/// Fields of VINTR_CTRL (APM volume 2, table B-4).
mod control {
    pub(super) const IRQ: u64 = 1 << 8;
    /// Priority 19:16, ignore TPR 20, vector 39:32.
    pub(super) const INTERRUPT: u64 = 0x1F << 16 | 0xFF << 32;
    pub(super) const PRIORITY: u32 = 16;
    pub(super) const VECTOR: u32 = 32;
    /// The upper half of TPR.
    pub(super) const TPR: u64 = 0xF;
}

/// EVENTINJ with an NMI.
const NMI_EVENT: u64 = 1 << 31 | 2 << 8 | 2;
const EVENT_VALID: u64 = 1 << 31;

/// A set of vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Vectors([u32; 8]);

impl Vectors {
    fn change(&mut self, vector: u8, is_in: bool) {
        let bit = 1 << (vector % 32);
        if let Some(group) = self.0.get_mut(usize::from(vector / 32)) {
            *group = if is_in { *group | bit } else { *group & !bit };
        }
    }

    fn has(&self, vector: u8) -> bool {
        self.group(vector / 32) >> (vector % 32) & 1 == 1
    }

    fn group(&self, index: u8) -> u32 {
        self.0.get(usize::from(index)).copied().unwrap_or(0)
    }

    fn highest(&self) -> Option<u8> {
        (0..=u8::MAX).rev().find(|vector| self.has(*vector))
    }
}

/// The priority class of a vector.
const fn class(vector: u8) -> u8 {
    vector >> 4
}

/// A register or value that there is none of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

/// What a write asks for beside what the APIC does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// TPR becomes this.
    Tpr(u8),
    /// The host is to be told that this level-triggered interrupt of its was served.
    HostEoi(u8),
    /// This is to be sent.
    Send(Command),
}

/// An APIC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Apic {
    requested: Vectors,
    in_service: Vectors,
    level: Vectors,
    /// What the host may raise.
    allowed: Vectors,
    nmi: bool,
    /// In the register state.
    queued: Option<u8>,
    /// An NMI is there.
    nmi_queued: bool,
    icr: u64,
}

impl Apic {
    /// The vCPU has stopped, with VINTR_CTRL and EVENTINJ as they are in its register state: what has been taken is in
    /// service, and what has not is requested still. Returns both without it.
    #[must_use]
    pub fn settle(&mut self, control: u64, event: u64) -> (u64, u64) {
        if let Some(vector) = self.queued.take()
            && control & control::IRQ == 0
        {
            self.requested.change(vector, false);
            self.in_service.change(vector, true);
        }
        let is_left = core::mem::take(&mut self.nmi_queued) && event == NMI_EVENT;
        self.nmi |= is_left;
        (control & !(control::IRQ | control::INTERRUPT), if is_left { 0 } else { event })
    }

    /// The vCPU is to run, after [`Apic::settle`]: VINTR_CTRL and EVENTINJ with what it gets.
    #[must_use]
    pub fn present(&mut self, control: u64, event: u64) -> (u64, u64) {
        let event = if self.nmi && event & EVENT_VALID == 0 {
            (self.nmi, self.nmi_queued) = (false, true);
            NMI_EVENT
        } else {
            event
        };
        self.queued = self.requested.highest().filter(|vector| class(*vector) > self.class_in_service());
        let interrupt = self.queued.map_or(0, |vector| {
            control::IRQ | u64::from(class(vector)) << control::PRIORITY | u64::from(vector) << control::VECTOR
        });
        (control & !(control::IRQ | control::INTERRUPT) | interrupt, event)
    }

    fn class_in_service(&self) -> u8 {
        self.in_service.highest().map_or(0, class)
    }

    /// What the host presents: taken is what it was allowed.
    pub fn take(&mut self, presented: &Presented) {
        let each = self.requested.0.iter_mut().zip(presented.vectors).zip(self.allowed.0);
        each.for_each(|((requested, presented), allowed)| *requested |= presented & allowed);
        // Of the lowest group only vector 31 is an interrupt; NMIs have a way of their own.
        if let Some(vector) = presented.level.filter(|vector| *vector >= FIRST_OF_HOST && self.allowed.has(*vector)) {
            self.requested.change(vector, true);
            self.level.change(vector, true);
        }
        self.requested.change(NMI, false);
        self.nmi |= presented.nmi && self.allowed.has(NMI);
    }

    /// A message of a vCPU's.
    pub fn accept(&mut self, message: Message) {
        match message {
            Message::Fixed(vector) => self.requested.change(vector, true),
            Message::Nmi => self.nmi = true,
        }
    }

    /// Lets the host raise a vector, or all but those of exceptions, or does not.
    pub fn configure(&mut self, config: VectorConfig) -> Result<(), Refused> {
        match config.vector {
            Some(vector) if vector >= FIRST_OF_HOST || vector == NMI => self.allowed.change(vector, config.allowed),
            Some(_) => return Err(Refused),
            None => (FIRST_OF_HOST..=u8::MAX).for_each(|vector| self.allowed.change(vector, config.allowed)),
        }
        Ok(())
    }

    /// A register of the APIC with this id, whose vCPU has this VINTR_CTRL.
    pub fn read(&self, register: u64, id: u32, control: u64) -> Result<u64, Refused> {
        let tpr = tpr_of(control);
        let of = |set: &Vectors, first: u64| u8::try_from(register - first).map(|index| set.group(index).into());
        match register {
            register::ID => Ok(id.into()),
            register::TPR => Ok(tpr.into()),
            register::PPR => Ok(self.ppr(tpr).into()),
            register::LDR => Ok(logical_id(id).into()),
            register::ICR => Ok(self.icr),
            register::ISR..register::TMR => of(&self.in_service, register::ISR).map_err(|_| Refused),
            register::TMR..register::IRR => of(&self.level, register::TMR).map_err(|_| Refused),
            register::IRR..END_OF_IRR => of(&self.requested, register::IRR).map_err(|_| Refused),
            _ => Err(Refused),
        }
    }

    /// The more urgent of what is in service and TPR.
    fn ppr(&self, tpr: u8) -> u8 {
        let in_service = self.in_service.highest().unwrap_or(0);
        if class(in_service) > class(tpr) { in_service & 0xF0 } else { tpr }
    }

    /// Writes a register.
    pub fn write(&mut self, register: u64, value: u64) -> Result<Effect, Refused> {
        match register {
            register::TPR => u8::try_from(value).map(Effect::Tpr).map_err(|_| Refused),
            register::EOI if value == 0 => Ok(self.end().map_or(Effect::None, Effect::HostEoi)),
            register::ICR => {
                let command = Command::decode(value).filter(|command| is_legal(command.message)).ok_or(Refused)?;
                self.icr = value;
                Ok(Effect::Send(command))
            }
            register::SELF_IPI => {
                let vector = u8::try_from(value).map_err(|_| Refused)?;
                let message = Message::Fixed(vector);
                let command = Command { message, destination: Destination::Itself };
                if is_legal(message) { Ok(Effect::Send(command)) } else { Err(Refused) }
            }
            _ => Err(Refused),
        }
    }

    /// The end of the most urgent interrupt in service; its vector, if it is the host's and level-triggered.
    fn end(&mut self) -> Option<u8> {
        let vector = self.in_service.highest()?;
        self.in_service.change(vector, false);
        let is_level = self.level.has(vector);
        self.level.change(vector, false);
        is_level.then_some(vector)
    }
}

const END_OF_IRR: u64 = register::IRR + 8;

const fn is_legal(message: Message) -> bool {
    !matches!(message, Message::Fixed(..FIRST))
}

/// TPR as VINTR_CTRL has it: its class.
#[expect(clippy::cast_possible_truncation, reason = "four bits, shifted by four")]
const fn tpr_of(control: u64) -> u8 {
    ((control & control::TPR) << 4) as u8
}

/// VINTR_CTRL with another TPR.
#[must_use]
pub fn with_tpr(control: u64, tpr: u8) -> u64 {
    control & !0xFF | u64::from(class(tpr))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// A vCPU whose processor does what AMD's do: its register state and what it has taken.
    #[derive(Default)]
    struct Vcpu {
        apic: Apic,
        control: u64,
        event: u64,
        interrupts_on: bool,
        taken: std::vec::Vec<u8>,
        nmis: u32,
    }

    impl Vcpu {
        fn on() -> Vcpu {
            Vcpu { interrupts_on: true, ..Vcpu::default() }
        }

        /// It runs, and stops.
        fn run(&mut self) {
            (self.control, self.event) = self.apic.present(self.control, self.event);
            if self.event == NMI_EVENT {
                (self.event, self.nmis) = (0, self.nmis + 1);
            }
            let priority = (self.control >> 16 & 15) as u8;
            if self.control & control::IRQ != 0 && self.interrupts_on && priority > (self.control & 15) as u8 {
                self.control &= !control::IRQ;
                self.taken.push((self.control >> 32) as u8);
            }
            (self.control, self.event) = self.apic.settle(self.control, self.event);
        }

        fn write(&mut self, register: u64, value: u64) -> Result<Effect, Refused> {
            let effect = self.apic.write(register, value)?;
            match effect {
                Effect::Tpr(tpr) => self.control = with_tpr(self.control, tpr),
                Effect::Send(command) if command.destination.is(5, 5) => self.apic.accept(command.message),
                _ => {}
            }
            Ok(effect)
        }

        fn read(&self, register: u64) -> u64 {
            self.apic.read(register, 5, self.control).unwrap()
        }

        fn self_ipi(&mut self, vector: u8) {
            self.write(register::SELF_IPI, vector.into()).unwrap();
        }

        fn eoi(&mut self) -> Effect {
            self.write(register::EOI, 0).unwrap()
        }
    }

    #[test]
    fn the_more_urgent_one_comes_first_and_the_rest_after_its_end() {
        let mut vcpu = Vcpu::on();
        [0x41, 0x63, 0x62, 0x30].into_iter().for_each(|vector| vcpu.self_ipi(vector));
        (0..3).for_each(|_| vcpu.run());
        assert_eq!(vcpu.taken, [0x63], "nothing of its class or below");
        assert_eq!((vcpu.read(register::ISR + 3), vcpu.read(register::IRR + 3)), (1 << 3, 1 << 2));
        assert_eq!(vcpu.read(register::PPR), 0x60);
        vcpu.self_ipi(0x70);
        vcpu.run();
        assert_eq!((vcpu.taken.last(), vcpu.read(register::PPR)), (Some(&0x70), 0x70));
        for _ in 0..5 {
            assert_eq!(vcpu.eoi(), Effect::None);
            vcpu.run();
        }
        assert_eq!(vcpu.taken, [0x63, 0x70, 0x62, 0x41, 0x30]);
        assert_eq!(vcpu.read(register::PPR), 0);
    }

    #[test]
    fn what_is_not_taken_is_requested_still_and_gives_way_to_the_more_urgent() {
        let mut vcpu = Vcpu::default();
        vcpu.self_ipi(0x41);
        vcpu.run();
        assert_eq!((vcpu.read(register::IRR + 2), vcpu.read(register::ISR + 2)), (2, 0));
        vcpu.self_ipi(0x99);
        vcpu.run();
        vcpu.interrupts_on = true;
        vcpu.run();
        assert_eq!(vcpu.taken, [0x99]);
        vcpu.eoi();
        vcpu.run();
        assert_eq!(vcpu.taken, [0x99, 0x41]);
        vcpu.eoi();
        vcpu.run();
        assert_eq!(vcpu.taken.len(), 2, "once each");
    }

    #[test]
    fn tpr_holds_back_its_class_and_below() {
        let mut vcpu = Vcpu::on();
        vcpu.write(register::TPR, 0x65).unwrap();
        assert_eq!((vcpu.read(register::TPR), vcpu.read(register::PPR)), (0x60, 0x60));
        vcpu.self_ipi(0x6F);
        vcpu.run();
        assert!(vcpu.taken.is_empty());
        vcpu.self_ipi(0x70);
        vcpu.run();
        assert_eq!(vcpu.taken, [0x70]);
        vcpu.eoi();
        vcpu.write(register::TPR, 0x50).unwrap();
        vcpu.run();
        assert_eq!(vcpu.taken, [0x70, 0x6F]);
    }

    #[test]
    fn an_nmi_needs_no_flag_and_waits_for_another_event() {
        let mut vcpu = Vcpu::default();
        vcpu.apic.accept(Message::Nmi);
        vcpu.run();
        assert_eq!(vcpu.nmis, 1);
        vcpu.run();
        assert_eq!(vcpu.nmis, 1);
        // What is in the register state and was not delivered is not lost, and nothing else is taken for it.
        let mut apic = Apic::default();
        apic.accept(Message::Nmi);
        let other = EVENT_VALID | 3 << 8 | 14;
        assert_eq!(apic.present(0, other), (0, other));
        assert_eq!(apic.settle(0, other), (0, other));
        assert_eq!(apic.present(0, 0), (0, NMI_EVENT));
        assert_eq!(apic.settle(0, NMI_EVENT), (0, 0));
        assert_eq!(apic.present(0, 0), (0, NMI_EVENT));
        assert_eq!(apic.settle(0, 0), (0, 0));
        assert_eq!(apic.present(0, 0), (0, 0));
    }

    #[test]
    fn a_host_raises_only_what_it_was_allowed() {
        let everything = Presented { vectors: [u32::MAX; 8], level: Some(0x55), nmi: true };
        let mut vcpu = Vcpu::on();
        vcpu.apic.take(&everything);
        vcpu.run();
        assert_eq!((vcpu.apic, vcpu.nmis), (Apic::default(), 0));
        for vector in (0..31).filter(|vector| *vector != 2) {
            assert_eq!(vcpu.apic.configure(VectorConfig { vector: Some(vector), allowed: true }), Err(Refused));
        }
        vcpu.apic.configure(VectorConfig { vector: Some(0x55), allowed: true }).unwrap();
        vcpu.apic.take(&everything);
        vcpu.run();
        assert_eq!((&vcpu.taken[..], vcpu.nmis), (&[0x55][..], 0));
        assert_eq!(vcpu.eoi(), Effect::HostEoi(0x55), "the level is the host's to be told of");
        assert_eq!(vcpu.eoi(), Effect::None);
        vcpu.apic.configure(VectorConfig { vector: Some(2), allowed: true }).unwrap();
        vcpu.apic.configure(VectorConfig { vector: None, allowed: true }).unwrap();
        vcpu.apic.configure(VectorConfig { vector: Some(0x55), allowed: false }).unwrap();
        vcpu.apic.take(&everything);
        (0..300).for_each(|_| {
            vcpu.run();
            assert_eq!(vcpu.eoi(), Effect::None);
        });
        let taken: BTreeSet<u8> = vcpu.taken[1..].iter().copied().collect();
        assert_eq!(taken, (31..=255).filter(|vector| *vector != 0x55).collect());
        assert_eq!((vcpu.taken.len(), vcpu.nmis), (1 + 224, 1));
    }

    #[test]
    fn registers_and_values_that_there_are_none_of() {
        use register::{EOI, ICR, ID, IRR, ISR, LDR, PPR, SELF_IPI, TMR, TPR};
        let mut apic = Apic::default();
        let sets = (ISR..TMR).chain(TMR..IRR).chain(IRR..IRR + 8);
        let readable: BTreeSet<u64> = [ID, TPR, PPR, LDR, ICR].into_iter().chain(sets).collect();
        for register in (0..0x1000).chain([u64::MAX, 0xFFFF_FFFF_0000_0830]) {
            assert_eq!(apic.read(register, 5, 0).is_ok(), readable.contains(&register), "{register:#x}");
            assert_eq!(
                apic.write(register, 0).is_ok(),
                [TPR, EOI].contains(&register),
                "{register:#x}: vector 0 is none of an interrupt's"
            );
        }
        assert_eq!((apic.read(ID, 0x25, 0), apic.read(LDR, 0x25, 0)), (Ok(0x25), Ok(0x2_0020)));
        for (register, value) in [(TPR, 0x100), (EOI, 1), (SELF_IPI, 0x100), (SELF_IPI, 15), (ICR, 0x500), (ICR, 15)] {
            assert_eq!(apic.write(register, value), Err(Refused), "{register:#x} {value:#x}");
        }
        assert_eq!(apic, Apic::default(), "what is refused changes nothing");
        let icr = 9 << 32 | 0x4041;
        let command = Command { message: Message::Fixed(0x41), destination: Destination::Physical(9) };
        assert_eq!((apic.write(ICR, icr), apic.read(ICR, 5, 0)), (Ok(Effect::Send(command)), Ok(icr)));
    }

    /// Beside sets that are kept in the plainest way, on a long way that chance chooses: what is taken was requested,
    /// is more urgent than all in service and than TPR, and the most urgent there is; what was requested is taken once.
    #[test]
    fn as_a_plain_model_by_chance() {
        let mut word = 0x9E37_79B9_7F4A_7C15_u64;
        let mut chance = |below: u64| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word % below
        };
        let (mut requested, mut in_service) = (BTreeSet::new(), BTreeSet::new());
        let mut vcpu = Vcpu::on();
        let mut tpr = 0;
        for _ in 0..200_000 {
            match chance(6) {
                0 | 1 => {
                    let vector = chance(240) as u8 + 16;
                    vcpu.self_ipi(vector);
                    requested.insert(vector);
                }
                2 => {
                    vcpu.eoi();
                    in_service.pop_last();
                }
                3 => {
                    tpr = chance(256) as u8;
                    vcpu.write(register::TPR, tpr.into()).unwrap();
                }
                4 => vcpu.interrupts_on = chance(4) > 0,
                _ => {
                    let before = vcpu.taken.len();
                    vcpu.run();
                    let best = requested.last().copied();
                    let floor = in_service.last().map_or(0, |vector: &u8| vector >> 4);
                    let comes = best.filter(|best| best >> 4 > floor && best >> 4 > tpr >> 4 && vcpu.interrupts_on);
                    assert_eq!(vcpu.taken.get(before).copied(), comes);
                    if let Some(vector) = comes {
                        requested.remove(&vector);
                        in_service.insert(vector);
                    }
                }
            }
            let bits = |first| (0..8).map(|n| vcpu.read(first + n)).collect::<std::vec::Vec<_>>();
            let of = |set: &BTreeSet<u8>| {
                let group = |n| set.iter().filter(|vector| **vector / 32 == n).map(|vector| 1 << (vector % 32)).sum();
                (0..8).map(group).collect::<std::vec::Vec<u64>>()
            };
            assert_eq!((bits(register::IRR), bits(register::ISR)), (of(&requested), of(&in_service)));
        }
        assert!(vcpu.taken.len() > 5_000, "{}", vcpu.taken.len());
    }
}
