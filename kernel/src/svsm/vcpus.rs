//! The guest as its processors share it: who owns its memory, and which register state each processor serves.

use alloc::vec::Vec;

use heapless::Vec as FixedVec;

use snp::svsm::apic::Command;

use super::x2apic::Apic;
use crate::mm::ownership::MAX_VMSAS;
use crate::mm::{Owners, PAGE_SIZE, Region};

/// Bytes that the firmware takes for each processor but the one that boots.
pub const BLOCK_SIZE: u64 = 76 * 1024;
/// Pages that it takes of what the guest deposits for a processor that is started later: the block, and one that the
/// processor begins with.
pub const LATER_PAGES: usize = (BLOCK_SIZE / PAGE_SIZE) as usize + 1;
/// The same with a doorbell page.
pub const MAX_LATER_PAGES: usize = LATER_PAGES + 1;
/// Processors that the firmware runs on.
pub const MAX_PROCESSORS: usize = 256;
const _: () = assert!(2 * MAX_PROCESSORS <= MAX_VMSAS);

/// A vCPU of the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vcpu {
    /// GPA of its register state.
    pub vmsa: u64,
    /// GPA of its calling area.
    pub calling_area: u64,
    /// The SEV_FEATURES that the firmware gives to the guest.
    pub sev_features: u64,
}

/// Whether the firmware runs on a processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It does.
    Runs,
    /// It will, when the guest creates a vCPU for it.
    Later,
    /// It is being started, without a lock.
    Starting,
    /// It did not come up, and never will be used.
    Failed,
}

/// A processor on which the firmware runs at VMPL0, or will.
#[derive(Debug)]
struct Processor {
    apic_id: u32,
    state: State,
    /// Whose calls it serves.
    vcpu: Option<Vcpu>,
    /// It is doing so.
    serving: bool,
    /// The vCPU's, where it has alternate injection.
    apic: Apic,
}

/// What all processors work on, behind one lock. A handler keeps the lock from the judgement of an address to the last
/// access; none keeps it while the TPM or the PSP works.
pub struct Guest<M: ?Sized = dyn Owners> {
    /// On the heap: they are 54 KiB, and whoever makes a guest would have them in frame after frame.
    processors: Vec<Processor>,
    /// Pages that the guest was asked for, and that no call has used since.
    pub(super) wanted: u32,
    /// Pages that a processor takes that is started later.
    pub(super) later_pages: u32,
    /// How many want their APICs emulated, the firmware among them.
    want_apics: u32,
    /// Who owns each page.
    pub map: M,
}

/// There is no such processor, or it is serving its vCPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// The firmware does not run there.
    Unknown,
    /// It serves a call of the vCPU that would be replaced.
    Serving,
    /// The firmware is to be started there.
    Later,
    /// It is being started.
    Starting,
}

impl<M: Owners> Guest<M> {
    /// The processor `boot` runs the guest's first vCPU. The others have none yet; `None` if there are too many, or one
    /// is there twice.
    #[must_use]
    pub fn new(map: M, boot: u32, vcpu: Vcpu, others: &[u32]) -> Option<Guest<M>> {
        let mut guest = Guest { processors: Vec::new(), wanted: 0, later_pages: 0, want_apics: 1, map };
        guest.add(Processor { vcpu: Some(vcpu), ..Processor::new(boot, State::Runs) })?;
        others.iter().try_for_each(|apic_id| guest.add(Processor::new(*apic_id, State::Runs)))?;
        Some(guest)
    }

    /// With processors that are started when the guest creates a vCPU for them, each with so many pages that it
    /// deposits. `None` as for [`Guest::new`], or if they are more than [`MAX_LATER_PAGES`].
    #[must_use]
    pub fn with_later(mut self, apic_ids: impl IntoIterator<Item = u32>, pages: usize) -> Option<Guest<M>> {
        self.later_pages = u32::try_from(pages).ok().filter(|_| pages <= MAX_LATER_PAGES)?;
        apic_ids.into_iter().try_for_each(|apic_id| self.add(Processor::new(apic_id, State::Later)))?;
        Some(self)
    }
}

impl<M: ?Sized> Guest<M> {
    fn add(&mut self, processor: Processor) -> Option<()> {
        let is_there = self.processors.iter().any(|other| other.apic_id == processor.apic_id);
        if is_there || self.processors.len() >= MAX_PROCESSORS {
            return None;
        }
        self.processors.try_reserve(1).ok()?;
        self.processors.push(processor);
        Some(())
    }

    /// Whether there is one processor only.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.processors.len() == 1
    }

    /// The vCPU that the processor serves from here to [`Guest::end`]. `None`: it has none.
    pub fn begin(&mut self, apic_id: u32) -> Option<Vcpu> {
        let processor = self.processor(apic_id)?;
        let vcpu = processor.vcpu?;
        processor.serving = true;
        Some(vcpu)
    }

    /// The processor serves nobody any more. A vCPU that is `lost` is not served again.
    pub fn end(&mut self, apic_id: u32, lost: bool) {
        if let Some(processor) = self.processor(apic_id) {
            processor.serving = false;
            if lost {
                processor.vcpu = None;
            }
        }
    }

    /// The vCPU that is being served on the processor.
    pub(crate) fn calling(&mut self, apic_id: u32) -> Option<&mut Vcpu> {
        self.processor(apic_id)?.vcpu.as_mut()
    }

    /// The calling area of the guest's first vCPU.
    pub(super) fn first_calling_area(&self) -> Option<u64> {
        self.processors.first()?.vcpu.map(|vcpu| vcpu.calling_area)
    }

    /// Whether a vCPU calls through a page of `region`.
    pub(super) fn has_calling_area(&self, region: Region) -> bool {
        self.processors.iter().any(|one| one.vcpu.is_some_and(|vcpu| region.contains(vcpu.calling_area)))
    }

    /// Whether a vCPU can get the processor.
    pub(crate) fn place(&mut self, apic_id: u32) -> Result<(), NoPlace> {
        match self.processor(apic_id) {
            None => Err(NoPlace::Unknown),
            Some(processor) if processor.serving => Err(NoPlace::Serving),
            Some(processor) => match processor.state {
                State::Runs => Ok(()),
                State::Later => Err(NoPlace::Later),
                State::Starting => Err(NoPlace::Starting),
                State::Failed => Err(NoPlace::Unknown),
            },
        }
    }

    /// The processor is being started from here to [`Guest::started`].
    pub(super) fn start(&mut self, apic_id: u32) {
        self.set(apic_id, State::Starting);
    }

    /// The processor has come up, or never will be used.
    pub(super) fn started(&mut self, apic_id: u32, is_up: bool) {
        self.set(apic_id, if is_up { State::Runs } else { State::Failed });
    }

    fn set(&mut self, apic_id: u32, state: State) {
        if let Some(processor) = self.processor(apic_id) {
            processor.state = state;
        }
    }

    /// The processor serves `vcpu` from now on, in the place of the one that it served: a register state that is
    /// nobody's any more stays one until it is deleted.
    pub(super) fn put(&mut self, apic_id: u32, vcpu: Vcpu) {
        if let Some(processor) = self.processor(apic_id) {
            (processor.vcpu, processor.apic) = (Some(vcpu), Apic::default());
        }
    }

    /// Whether a call of the vCPU with this register state is being served.
    pub(super) fn is_served(&self, vmsa: u64) -> bool {
        self.processors.iter().any(|processor| processor.serving && processor.has(vmsa))
    }

    /// No processor serves the vCPU with this register state any more.
    pub(super) fn drop_vcpu(&mut self, vmsa: u64) {
        for processor in self.processors.iter_mut().filter(|processor| processor.has(vmsa)) {
            processor.vcpu = None;
        }
    }

    /// The APIC of the processor's vCPU.
    pub(super) fn apic(&mut self, apic_id: u32) -> Option<&mut Apic> {
        self.processor(apic_id).map(|processor| &mut processor.apic)
    }

    /// Gives a command of one vCPU's to those that it is for; who they are.
    pub(super) fn send(&mut self, from: u32, command: Command) -> FixedVec<u32, MAX_PROCESSORS> {
        let is_receiver =
            |processor: &&mut Processor| processor.vcpu.is_some() && command.destination.is(processor.apic_id, from);
        let receivers = self.processors.iter_mut().filter(is_receiver);
        receivers
            .map(|processor| {
                processor.apic.accept(command.message);
                processor.apic_id
            })
            .collect()
    }

    /// One more wants emulated APICs. `None`: they are too many.
    pub(super) fn want_apics_more(&mut self) -> Option<()> {
        self.want_apics = self.want_apics.checked_add(1)?;
        Some(())
    }

    /// One less does. `None`: it is the last.
    pub(super) fn want_apics_less(&mut self) -> Option<()> {
        self.want_apics = self.want_apics.checked_sub(1).filter(|rest| *rest > 0)?;
        Some(())
    }

    /// Where all processors have come up, each is at its APIC id.
    fn processor(&mut self, apic_id: u32) -> Option<&mut Processor> {
        let expected = usize::try_from(apic_id).ok().filter(|at| self.has(*at, apic_id));
        let at = expected.or_else(|| (0..self.processors.len()).find(|at| self.has(*at, apic_id)))?;
        self.processors.get_mut(at)
    }

    fn has(&self, at: usize, apic_id: u32) -> bool {
        self.processors.get(at).is_some_and(|processor| processor.apic_id == apic_id)
    }
}

impl Processor {
    fn new(apic_id: u32, state: State) -> Processor {
        Processor { apic_id, state, vcpu: None, serving: false, apic: Apic::default() }
    }

    fn has(&self, vmsa: u64) -> bool {
        self.vcpu.is_some_and(|vcpu| vcpu.vmsa == vmsa)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::ownership::Ownership;
    use crate::testing::{FakeMachine, GIVEN};

    const BOOT: Vcpu = Vcpu { vmsa: 0x80_0000_5000, calling_area: GIVEN, sev_features: 1 };
    const OTHER: Vcpu = Vcpu { vmsa: GIVEN + 0x5000, ..BOOT };

    fn guest(others: &[u32]) -> Option<Guest<Ownership>> {
        Guest::new(FakeMachine::new().booted(), 0, BOOT, others)
    }

    #[test]
    fn a_processor_is_there_once_and_there_are_no_more_than_fit() {
        assert!(guest(&[]).unwrap().is_alone());
        assert!(!guest(&[7]).unwrap().is_alone());
        assert!(guest(&[1, 0]).is_none());
        assert!(guest(&[1, 2, 1]).is_none());
        let many: std::vec::Vec<u32> = (1..256).collect();
        assert!(guest(&many).is_some());
        assert!(guest(&[&many[..], &[256]].concat()).is_none());
    }

    #[test]
    fn a_processor_that_comes_later_is_started_once() {
        let mut guest = guest(&[1]).unwrap().with_later(2..4, LATER_PAGES).unwrap();
        assert!(!guest.is_alone());
        assert_eq!(
            [1, 2, 3, 4].map(|id| guest.place(id)),
            [Ok(()), Err(NoPlace::Later), Err(NoPlace::Later), Err(NoPlace::Unknown)]
        );
        guest.start(2);
        guest.start(3);
        assert_eq!([2, 3].map(|id| (guest.place(id), guest.begin(id))), [(Err(NoPlace::Starting), None); 2]);
        guest.started(2, true);
        guest.started(3, false);
        assert_eq!([2, 3].map(|id| guest.place(id)), [Ok(()), Err(NoPlace::Unknown)]);
    }

    #[test]
    fn processors_that_come_later_are_there_once_and_take_no_more_than_they_have_a_place_for() {
        let with_later = |ids: &[u32], pages| guest(&[1]).unwrap().with_later(ids.to_vec(), pages).is_some();
        assert!(with_later(&[2, 3], MAX_LATER_PAGES));
        assert!(!with_later(&[2, 3], MAX_LATER_PAGES + 1));
        assert!(!with_later(&[1], 1) && !with_later(&[0], 1) && !with_later(&[2, 2], 1));
        let many: std::vec::Vec<u32> = (2..256).collect();
        assert!(with_later(&many, 1) && !with_later(&[&many[..], &[256]].concat(), 1));
    }

    /// The host has no processor 2: those behind it are found all the same.
    #[test]
    fn a_processor_is_found_by_its_apic_id_wherever_it_is() {
        let mut guest = guest(&[1, 3, 255]).unwrap();
        assert_eq!(
            [0, 1, 2, 3, 4, 255, 256].map(|id| guest.place(id).is_ok()),
            [true, true, false, true, false, true, false]
        );
    }

    #[test]
    fn a_vcpu_that_is_being_served_keeps_its_processor() {
        let mut guest = guest(&[7]).unwrap();
        assert_eq!(guest.begin(7), None);
        guest.put(7, OTHER);
        assert_eq!(
            (guest.begin(7), guest.is_served(OTHER.vmsa), guest.is_served(BOOT.vmsa)),
            (Some(OTHER), true, false)
        );
        assert_eq!(guest.place(7), Err(NoPlace::Serving));
        assert_eq!(guest.place(8), Err(NoPlace::Unknown));
        guest.end(7, false);
        assert_eq!(guest.place(7), Ok(()));
        guest.drop_vcpu(OTHER.vmsa);
        assert_eq!(guest.begin(7), None);
    }

    #[test]
    fn a_lost_vcpu_is_not_served_again() {
        let mut guest = guest(&[]).unwrap();
        assert_eq!(guest.begin(0), Some(BOOT));
        guest.end(0, true);
        assert_eq!(guest.begin(0), None);
    }
}
