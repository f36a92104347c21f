//! How a sealed request gets to the PSP and the answer back.

use crate::Page;
use crate::ghcb::call::{GuestRequestPages, GuestRequestResult};
use crate::ghcb::{Ghcb, Hypervisor, SharedMemory};

/// What the host made of one attempt. Only hints: the proof is the verified answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The host says that the PSP has answered; the answer page was copied.
    Completed,
    /// The certificate buffer is too small, the PSP was not asked.
    CertificatesTooSmall {
        /// 4 KiB pages needed, the host's word.
        pages: u64,
    },
    /// To be repeated.
    Busy,
    /// Anything else: an error of host or PSP, or an exit that breaks the protocol.
    Failed,
}

/// A way to the PSP, by way of an adversary.
pub trait Transport {
    /// Shows `request` (header and payload) to the host, and, if it says that it is done, copies the answer page to
    /// `answer` once. With `certificates`, the host is also asked to fill the certificate buffer, if there is one.
    fn exchange(&mut self, request: &[u8], certificates: bool, answer: &mut Page) -> Exit;

    /// Called between two attempts after BUSY.
    fn pause(&mut self) {}
}

/// The way through the GHCB.
#[derive(Debug)]
pub struct GhcbTransport<'a, H, P, S> {
    /// The registered GHCB.
    pub ghcb: &'a mut Ghcb<H, P>,
    /// The shared request page.
    pub request: &'a mut S,
    /// The shared answer page.
    pub answer: &'a mut S,
    /// Where both and the certificate buffer are.
    pub pages: GuestRequestPages,
}

impl<H: Hypervisor, P: SharedMemory, S: SharedMemory> Transport for GhcbTransport<'_, H, P, S> {
    fn exchange(&mut self, request: &[u8], certificates: bool, answer: &mut Page) -> Exit {
        // An answer that was left over must not be there when the host forgets to write a new one.
        self.answer.write(0, &[0; crate::PAGE_SIZE]);
        self.request.write(0, &[0; crate::PAGE_SIZE]);
        self.request.write(0, request);
        let mut pages = self.pages;
        if !certificates {
            pages.certificates = None;
        }
        match self.ghcb.guest_request(pages) {
            Ok(GuestRequestResult::Completed) => {
                self.answer.read(0, answer);
                Exit::Completed
            }
            Ok(GuestRequestResult::CertificatesTooSmall { pages }) => Exit::CertificatesTooSmall { pages },
            Ok(GuestRequestResult::Busy) => Exit::Busy,
            Ok(GuestRequestResult::HypervisorError(_) | GuestRequestResult::FirmwareError(_)) | Err(_) => Exit::Failed,
        }
    }

    fn pause(&mut self) {
        for _ in 0..1000 {
            core::hint::spin_loop();
        }
    }
}
