//! Where registers lie within a locality's page, and their bits (PTP 1.07, tables 24 and 36 to 44).

/// Octets of a locality's page.
pub const PAGE: usize = 0x1000;
/// Octets of the data buffer: the rest of the page.
pub const DATA_BUFFER_SIZE: usize = PAGE - DATA_BUFFER as usize;

/// TPM_LOC_STATE, the same in all localities.
pub const LOC_STATE: u16 = 0x00;
/// TPM_LOC_CTRL_x
pub const LOC_CTRL: u16 = 0x08;
/// TPM_LOC_STS_x
pub const LOC_STS: u16 = 0x0c;
/// TPM_DATA_CSUM_ENABLE_x
pub const DATA_CSUM_ENABLE: u16 = 0x10;
/// TPM_DATA_CSUM_x
pub const DATA_CSUM: u16 = 0x14;
/// TPM_CRB_INTF_ID_x, 8 octets
pub const INTF_ID: u16 = 0x30;
/// The second half of TPM_CRB_INTF_ID_x: vendor and device.
pub const INTF_ID_HIGH: u16 = 0x34;
/// TPM_CRB_CTRL_EXT_x of older versions; reserved.
pub const CTRL_EXT: u16 = 0x38;
/// TPM_CRB_CTRL_REQ_x: the control area, whose address ACPI's table TPM2 has, begins here.
pub const CTRL_REQ: u16 = 0x40;
/// TPM_CRB_CTRL_STS_x
pub const CTRL_STS: u16 = 0x44;
/// TPM_CRB_CTRL_CANCEL_x
pub const CTRL_CANCEL: u16 = 0x48;
/// TPM_CRB_CTRL_START_x
pub const CTRL_START: u16 = 0x4c;
/// TPM_CRB_INT_ENABLE_x
pub const INT_ENABLE: u16 = 0x50;
/// TPM_CRB_INT_STS_x
pub const INT_STS: u16 = 0x54;
/// TPM_CRB_CTRL_CMD_SIZE_x
pub const CMD_SIZE: u16 = 0x58;
/// TPM_CRB_CTRL_CMD_LADDR_x
pub const CMD_LADDR: u16 = 0x5c;
/// TPM_CRB_CTRL_CMD_HADDR_x
pub const CMD_HADDR: u16 = 0x60;
/// TPM_CRB_CTRL_RSP_SIZE_x
pub const RSP_SIZE: u16 = 0x64;
/// TPM_CRB_CTRL_RSP_ADDR_x, 8 octets
pub const RSP_ADDR: u16 = 0x68;
/// The second half of TPM_CRB_CTRL_RSP_ADDR_x.
pub const RSP_ADDR_HIGH: u16 = 0x6c;
/// TPM_CRB_DATA_BUFFER_x
pub const DATA_BUFFER: u16 = 0x80;

/// Of TPM_LOC_STATE: no D-RTM sequence has ended.
pub const TPM_ESTABLISHED: u32 = 1;
/// Of TPM_LOC_STATE: a locality is active.
pub const LOC_ASSIGNED: u32 = 1 << 1;
/// Of TPM_LOC_STATE: where the active locality's number is.
pub const ACTIVE_LOCALITY: u32 = 2;
/// Of TPM_LOC_STATE: the other bits are valid.
pub const REG_VALID: u32 = 1 << 7;

/// Of TPM_LOC_CTRL_0 to _3.
pub const REQUEST_ACCESS: u32 = 1;
/// Of TPM_LOC_CTRL_0 to _3.
pub const RELINQUISH: u32 = 1 << 1;
/// Of TPM_LOC_CTRL_0 to _3.
pub const SEIZE: u32 = 1 << 2;
/// Of TPM_LOC_CTRL_3 and _4.
pub const RESET_ESTABLISHMENT: u32 = 1 << 3;
/// Of TPM_LOC_CTRL_4.
pub const HASH_START: u32 = 1;
/// Of TPM_LOC_CTRL_4.
pub const HASH_DATA: u32 = 1 << 1;
/// Of TPM_LOC_CTRL_4.
pub const HASH_END: u32 = 1 << 2;

/// Of TPM_LOC_STS_x.
pub const GRANTED: u32 = 1;
/// Of TPM_LOC_STS_x.
pub const BEEN_SEIZED: u32 = 1 << 1;

/// Of TPM_CRB_CTRL_REQ_x.
pub const CMD_READY: u32 = 1;
/// Of TPM_CRB_CTRL_REQ_x.
pub const GO_IDLE: u32 = 1 << 1;
/// Of TPM_CRB_CTRL_STS_x: an error that a reset ends.
pub const TPM_STS: u32 = 1;
/// Of TPM_CRB_CTRL_STS_x.
pub const TPM_IDLE: u32 = 1 << 1;
/// The one value of TPM_CRB_CTRL_CANCEL_x that cancels.
pub const CANCEL: u32 = 1;
/// Of TPM_CRB_CTRL_START_x.
pub const START: u32 = 1;
/// Of TPM_CRB_CTRL_START_x.
pub const RSP_RETRY: u32 = 1 << 1;
/// Of TPM_CRB_CTRL_START_x.
pub const NEXT_CHUNK: u32 = 1 << 2;

/// Of TPM_CRB_INTF_ID_x: the interface is a CRB.
pub const INTERFACE_TYPE_CRB: u32 = 1;
/// Of TPM_CRB_INTF_ID_x: where the version is.
pub const INTERFACE_VERSION: u32 = 4;
/// Of TPM_CRB_INTF_ID_x: there are localities beside 0.
pub const CAP_LOCALITY: u32 = 1 << 8;
/// Of TPM_CRB_INTF_ID_x: the next command may follow a response without Idle between them.
pub const CAP_IDLE_BYPASS: u32 = 1 << 9;
/// Of TPM_CRB_INTF_ID_x: what is longer than the data buffer goes in chunks.
pub const CAP_CHUNK: u32 = 1 << 10;
/// Of TPM_CRB_INTF_ID_x: accesses to the data buffer of up to 64 octets.
pub const CAP_XFER_64: u32 = 3 << 11;
/// Of TPM_CRB_INTF_ID_x.
pub const CAP_CRB: u32 = 1 << 14;
/// Of TPM_CRB_INTF_ID_x: the CRB is selected.
pub const SELECTOR_CRB: u32 = 1 << 17;
/// Of TPM_CRB_INTF_ID_x: and stays selected.
pub const SELECTOR_LOCKED: u32 = 1 << 19;
/// Of TPM_CRB_INTF_ID_x: where the revision is.
pub const REVISION: u32 = 24;

/// What data checksums read where there are none (CapSPICSUM is 0).
pub const NO_CHECKSUM: u32 = 0xffff;
