//! Where the linker put things: the symbols of linker.ld, and the step from virtual to guest-physical.

use kernel::launch::{LaunchParams, SETTINGS_SIZE};
use kernel::mm::Region;
use kernel::mm::page_table::{Access, Placement};

/// Virtual address of the firmware's first byte.
pub const VIRTUAL_BASE: u64 = 0x4000_0000;
/// GPA of the firmware's first byte.
pub const GPA_BASE: u64 = 0x80_0000_0000;
/// Bytes that are the firmware's.
pub const SIZE: u64 = 8 * 1024 * 1024;

macro_rules! symbols {
    ($($(#[$doc:meta])* $name:ident = $symbol:ident;)*) => {
        unsafe extern "C" {
            $(static $symbol: u8;)*
        }
        $($(#[$doc])* pub fn $name() -> u64 {
            (&raw const $symbol) as u64
        })*
    };
}

symbols! {
    /// First byte of the piece below 4 GiB; GPA and virtual address.
    low_start = __low_start;
    /// End of the piece below 4 GiB.
    low_end = __low_end;
    /// CPUID page, in the piece below 4 GiB.
    cpuid_page = __cpuid_page;
    /// First instruction's page.
    text_start = __text_start;
    /// End of the instructions.
    text_end = __text_end;
    /// First page of constants.
    rodata_start = __rodata_start;
    /// End of the constants.
    rodata_end = __rodata_end;
    /// Secrets page.
    secrets_page = __secrets_page;
    /// The host's memory map.
    memory_map = __memory_map;
    /// Page below the boot stack.
    stack_guard = __stack_guard;
    /// End of the boot stack.
    stack_top = __stack_top;
    /// Page below the stack of the first processor's calls.
    call_stack_guard = __call_stack_guard;
    /// End of that stack.
    call_stack_top = __call_stack_top;
    /// Page below the stack of exceptions that end the firmware.
    fault_stack_guard = __fault_stack_guard;
    /// End of that stack.
    fault_stack_top = __fault_stack_top;
    /// Page below the stack of #VC.
    vc_stack_guard = __vc_stack_guard;
    /// End of that stack.
    vc_stack_top = __vc_stack_top;
    /// First byte of the heap.
    firmware_end = __firmware_end;
}

/// Measured page of [`LaunchParams`]. Only its address is used: the packer has changed the contents behind the
/// compiler's back.
pub fn launch_params() -> u64 {
    (&raw const LAUNCH_PARAMS) as u64
}

/// What the packer replaces: an image of this ELF alone starts no guest.
#[unsafe(link_section = ".launch_params")]
#[unsafe(export_name = "__launch_params")]
static LAUNCH_PARAMS: LaunchParamsPage =
    LaunchParamsPage { params: LaunchParams::EMPTY, rest: [0; 4096 - size_of::<LaunchParams>()] };

#[repr(C, align(4096))]
struct LaunchParamsPage {
    params: LaunchParams,
    rest: [u8; 4096 - size_of::<LaunchParams>()],
}

/// First of the measured pages of [`kernel::launch::Settings`]. Only its address is used, as of [`launch_params`].
pub fn settings() -> u64 {
    (&raw const SETTINGS) as u64
}

/// What the packer replaces: an image of this ELF alone has no settings.
#[unsafe(link_section = ".settings")]
#[unsafe(export_name = "__settings")]
static SETTINGS: SettingsPages = SettingsPages([0; SETTINGS_SIZE]);

#[repr(C, align(4096))]
struct SettingsPages([u8; SETTINGS_SIZE]);

/// GPA of an address that the linker knows of. Of others it is [`crate::memory::Memory::gpa_of`]: what the guest has
/// deposited lies anywhere.
pub const fn gpa_of(address: u64) -> u64 {
    address - VIRTUAL_BASE + GPA_BASE
}

/// The firmware's memory, by GPA: what the linker knows of, and `reserve` bytes behind it.
pub fn firmware(reserve: u64) -> Option<Region> {
    Region::new(GPA_BASE, GPA_BASE + SIZE + reserve)
}

/// What lies behind that which the linker knows of, by GPA. `None`: nothing.
pub fn reserved(reserve: u64) -> Option<Region> {
    Region::new(GPA_BASE + SIZE, GPA_BASE + SIZE + reserve)
}

/// The piece below 4 GiB, by GPA.
pub fn low_piece() -> Option<Region> {
    Region::new(low_start(), low_end())
}

/// Where the page tables put the firmware.
pub fn placement(c_bit: u32) -> Placement {
    Placement { virtual_base: VIRTUAL_BASE, gpa_base: GPA_BASE, c_bit: 1 << c_bit }
}

/// The parts of the firmware's memory that are not plain data.
pub fn parts() -> [Option<(Region, Access)>; 6] {
    let part = |start, end, access| Region::new(start, end).map(|region| (region, access));
    let guard = |start| part(start, start + kernel::mm::PAGE_SIZE, Access::None);
    [
        part(text_start(), text_end(), Access::Execute),
        part(rodata_start(), rodata_end(), Access::Read),
        guard(stack_guard()),
        guard(call_stack_guard()),
        guard(fault_stack_guard()),
        guard(vc_stack_guard()),
    ]
}
