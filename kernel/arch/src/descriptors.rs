//! GDT, TSS and IDT. Every vector runs on a stack of its own (IST): the core library uses the red zone in two
//! functions, and a fault because the stack ran out must still be told.

use x86_64::instructions::segmentation::{CS, SS, Segment};
use x86_64::instructions::tables::{lidt, load_tss};
use x86_64::structures::DescriptorTablePointer;
use x86_64::structures::gdt::{Descriptor, GlobalDescriptorTable, SegmentSelector};
use x86_64::structures::tss::TaskStateSegment;
use x86_64::{PrivilegeLevel, VirtAddr};

use crate::cell::TakeOnce;
use crate::exceptions::{STUB_SIZE, VC, stubs};
use crate::hv::{self, HV};
use crate::layout;

/// IST index (from 0) of the stack for everything that ends the firmware.
const FAULT_STACK: u8 = 0;
/// IST index (from 0) of #VC's stack.
const VC_STACK: u8 = 1;
/// IST index (from 0) of #HV's stack, where there is restricted injection: the end of #VC's.
const HV_STACK: u8 = 2;

static GDT: TakeOnce<GlobalDescriptorTable> = TakeOnce::new(GlobalDescriptorTable::new());
static TSS: TakeOnce<TaskStateSegment> = TakeOnce::new(TaskStateSegment::new());
static IDT: TakeOnce<[Gate; 256]> = TakeOnce::new([Gate::ABSENT; 256]);

/// Ends of the stacks of exceptions of one processor.
#[derive(Clone, Copy)]
pub struct Stacks {
    /// That of what ends the firmware.
    pub fault: u64,
    /// #VC's and, above it, #HV's.
    pub vc: u64,
}

/// An interrupt gate.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
struct Gate([u64; 2]);

impl Gate {
    const ABSENT: Gate = Gate([0; 2]);

    /// Present, DPL 0, type 14, on IST `stack` (APM volume 2, 8.9.1).
    fn new(handler: u64, code: SegmentSelector, stack: u8) -> Gate {
        let low = handler & 0xffff | u64::from(code.0) << 16 | (u64::from(stack) + 1) << 32 | 0x8e << 40;
        Gate([low | handler >> 16 << 48, handler >> 32])
    }
}

/// Takes all three tables into use on the processor that boots. `None` if they are in use already. `restricted`: VMPL0
/// has restricted injection; without it #HV is as any other exception that a host makes up.
pub fn load_first(restricted: bool) -> Option<()> {
    let (gdt, tss, idt) = (GDT.take()?, TSS.take()?, IDT.take()?);
    for (vector, gate) in (0_u64..).zip(idt.iter_mut()) {
        *gate = match vector {
            HV if restricted => Gate::new(hv::entry(), CODE, HV_STACK),
            VC => Gate::new(stubs() + vector * STUB_SIZE, CODE, VC_STACK),
            _ => Gate::new(stubs() + vector * STUB_SIZE, CODE, FAULT_STACK),
        };
    }
    load(gdt, tss, Stacks { fault: layout::fault_stack_top(), vc: layout::vc_stack_top() });
    Some(())
}

/// The first descriptor behind the null one: [`load`] appends it first.
const CODE: SegmentSelector = SegmentSelector::new(1, PrivilegeLevel::Ring0);

/// Takes a processor's own GDT and TSS into use, and the IDT, which all share.
pub fn load(gdt: &'static mut GlobalDescriptorTable, tss: &'static mut TaskStateSegment, stacks: Stacks) {
    tss.interrupt_stack_table[usize::from(FAULT_STACK)] = VirtAddr::new(stacks.fault);
    tss.interrupt_stack_table[usize::from(VC_STACK)] = VirtAddr::new(stacks.vc - hv::STACK);
    tss.interrupt_stack_table[usize::from(HV_STACK)] = VirtAddr::new(stacks.vc);
    let code = gdt.append(Descriptor::kernel_code_segment());
    let data = gdt.append(Descriptor::kernel_data_segment());
    let task = gdt.append(Descriptor::tss_segment(tss));
    gdt.load();
    // SAFETY: the selectors name the descriptors just made: flat ring-0 code and data, and the processor's TSS.
    unsafe {
        CS::set_reg(code);
        SS::set_reg(data);
        load_tss(task);
    }
    let pointer = DescriptorTablePointer { limit: 256 * 16 - 1, base: VirtAddr::new(IDT.address()) };
    // SAFETY: the table is static and each gate leads to its stub.
    unsafe { lidt(&pointer) };
}
