//! The page with the register state of the guest's first vCPU.

use kernel::fatal::{Fatal, Reason};
use kernel::mm::{GUEST_VMPL, LARGE_PAGE_SIZE, PAGE};
use kernel::svsm::vcpus::Vcpu;
use snp::vmsa::Vmsa;
use zerocopy::IntoBytes;

use crate::cell::TakeOnce;
use crate::processor::BOOT_APIC_ID;
use crate::{host, layout};

#[repr(C, align(4096))]
struct VmsaPage([u8; PAGE]);

/// Two, since one that begins a 2 MiB page makes hardware fail: one of them does not.
static PAGES: [TakeOnce<VmsaPage>; 2] = [const { TakeOnce::new(VmsaPage([0; PAGE])) }; 2];

/// Puts the state into a page of the firmware's, makes that a VMSA, and tells the host.
pub fn start(vmsa: &Vmsa, calling_area: u64) -> Result<Vcpu, Fatal> {
    let fits = |page: &&'static TakeOnce<VmsaPage>| !layout::gpa_of(page.address()).is_multiple_of(LARGE_PAGE_SIZE);
    let page = PAGES.iter().find(fits).ok_or_else(Fatal::plain(Reason::GuestStart))?;
    let address = page.address();
    let contents = page.take().ok_or_else(Fatal::plain(Reason::GuestStart))?;
    contents.0.copy_from_slice(vmsa.as_bytes());
    let sev_features = vmsa.sev_features.get();
    // SAFETY: the only reference to the page ended above, and `take` gives out no other.
    unsafe { host::register_vmsa(address, GUEST_VMPL, BOOT_APIC_ID, sev_features) }?;
    Ok(Vcpu { vmsa: layout::gpa_of(address), calling_area, sev_features })
}
