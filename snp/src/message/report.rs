//! MSG_REPORT_REQ and MSG_REPORT_RSP (SNP firmware ABI, tables 21 to 23).

use core::mem::{offset_of, size_of};
use zerocopy::byteorder::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::channel::{CertificateResult, Channel, MessageError};
use super::header::{MAX_PAYLOAD, RequestType};
use super::transport::Transport;
use crate::report::{REPORT_SIZE, Report};
use crate::rmp::Vmpl;

/// Which key shall sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeySelect {
    /// VLEK if one is loaded, else VCEK.
    VlekElseVcek = 0,
    /// VCEK.
    Vcek = 1,
    /// VLEK.
    Vlek = 2,
}

/// MSG_REPORT_REQ.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReportRequest {
    /// REPORT_DATA.
    pub report_data: [u8; 64],
    /// VMPL that the report shall name; not below the channel's.
    pub vmpl: U32,
    /// Bits 1:0: [`KeySelect`].
    pub key_select: U32,
    /// Zero.
    pub reserved_48: [u8; 24],
}

const _: () = assert!(size_of::<ReportRequest>() == 0x60);
const _: () = assert!(offset_of!(ReportRequest, vmpl) == 0x40);
const _: () = assert!(offset_of!(ReportRequest, key_select) == 0x44);

impl ReportRequest {
    /// A request for a report of `vmpl`.
    #[must_use]
    pub fn new(report_data: [u8; 64], vmpl: Vmpl, key: KeySelect) -> Self {
        Self {
            report_data,
            vmpl: U32::new(vmpl.number().into()),
            key_select: U32::new(u32::from(key as u8)),
            reserved_48: [0; 24],
        }
    }
}

/// Head of MSG_REPORT_RSP; the report follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReportResponseHead {
    /// 0, or 0x16 invalid parameters, 0x27 bad key select.
    pub status: U32,
    /// Bytes of the report.
    pub report_size: U32,
    /// Zero.
    pub reserved_08: [u8; 24],
}

const _: () = assert!(size_of::<ReportResponseHead>() == 0x20);

/// The report in a verified MSG_REPORT_RSP, checked against what was asked for. The signature is for the
/// verifier to check.
///
/// # Errors
/// `Status`, `AnswerSize`, `Mismatch`.
pub fn parse_response(payload: &[u8], report_data: &[u8; 64], vmpl: Vmpl) -> Result<Report, MessageError> {
    let size = MessageError::AnswerSize(payload.len());
    let (head, rest) = ReportResponseHead::read_from_prefix(payload).map_err(|_| size)?;
    if head.status != 0 {
        return Err(MessageError::Status(head.status.get()));
    }
    if usize::try_from(head.report_size.get()) != Ok(REPORT_SIZE) {
        return Err(size);
    }
    let (report, _) = Report::read_from_prefix(rest).map_err(|_| size)?;
    let as_asked = report.report_data == *report_data && report.vmpl == u32::from(vmpl.number());
    if as_asked && report.version.get() >= 2 { Ok(report) } else { Err(MessageError::Mismatch) }
}

impl Channel {
    /// A report of `vmpl` over `report_data`.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn report(
        &mut self,
        transport: &mut impl Transport,
        report_data: &[u8; 64],
        vmpl: Vmpl,
        key: KeySelect,
    ) -> Result<Report, MessageError> {
        let request = ReportRequest::new(*report_data, vmpl, key);
        let mut answer = [0; MAX_PAYLOAD];
        let len = self.request(transport, RequestType::Report, request.as_bytes(), &mut answer)?;
        parse_response(answer.get(..len).unwrap_or_default(), report_data, vmpl)
    }

    /// As [`Self::report`], and asks the host for its certificates.
    ///
    /// # Errors
    /// [`MessageError`].
    pub fn report_with_certificates(
        &mut self,
        transport: &mut impl Transport,
        report_data: &[u8; 64],
        vmpl: Vmpl,
        key: KeySelect,
    ) -> Result<(Report, CertificateResult), MessageError> {
        let request = ReportRequest::new(*report_data, vmpl, key);
        let mut answer = [0; MAX_PAYLOAD];
        let (len, certificates) =
            self.extended_request(transport, RequestType::Report, request.as_bytes(), &mut answer)?;
        let report = parse_response(answer.get(..len).unwrap_or_default(), report_data, vmpl)?;
        Ok((report, certificates))
    }
}
