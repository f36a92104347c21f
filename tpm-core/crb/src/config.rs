//! What an embedder decides about the device, once.

use crate::registers::{DATA_BUFFER, DATA_BUFFER_SIZE, PAGE};
use core::fmt;
use tpm_core::profile::{MAX_COMMAND_SIZE, MIN_BUFFER_SIZE};

const PAGE_SIZE: u32 = 0x1000;
const _: () = assert!(PAGE == PAGE_SIZE as usize);

/// Where systems look for a TPM.
pub const BASE: u64 = 0xfed4_0000;

/// Which localities' pages the guest finds; in the others reads are ones and writes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Localities {
    /// Locality 0.
    Zero,
    /// Localities 0 to 3. The fourth is the hardware's, which the platform speaks for: `CrbDevice::hash_start`.
    ZeroToThree,
    /// All five: whoever reaches the page of locality 4 can send a D-RTM event.
    All,
}

impl Localities {
    pub(crate) const fn count(self) -> u8 {
        match self {
            Self::Zero => 1,
            Self::ZeroToThree => 4,
            Self::All => 5,
        }
    }
}

/// A buffer in guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Area {
    /// the guest-physical address of its first octet
    pub address: u64,
    /// its octets, [`MIN_BUFFER_SIZE`] to [`MAX_COMMAND_SIZE`]
    pub size: u32,
}

impl Area {
    fn end(self) -> Option<u64> {
        self.address.checked_add(self.size.into())
    }

    fn is_possible(self) -> bool {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        (MIN_BUFFER_SIZE..=MAX_COMMAND_SIZE).contains(&size) && self.end().is_some()
    }

    fn overlaps(self, other: Self) -> bool {
        self.end().is_some_and(|end| other.address < end) && other.end().is_some_and(|end| self.address < end)
    }
}

/// Where commands and responses are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Buffers {
    /// In the data buffer of the device's page, [`DATA_BUFFER_SIZE`] octets.
    Page,
    /// In the same; what is longer goes through it in chunks, up to [`MAX_COMMAND_SIZE`] octets (PTP 1.07). A host that
    /// knows nothing of chunks sees a device without them.
    Chunks,
    /// In guest memory, where the platform has reserved it: the device copies each once. They are two, or one and the
    /// same.
    Guest {
        /// commands
        command: Area,
        /// responses
        response: Area,
    },
}

/// When a command is executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Execution {
    /// Before the write to START returns.
    AtOnce,
    /// When the embedder says so: `CrbDevice::poll`, or `CrbDevice::begin` and `CrbDevice::finish`.
    Deferred,
}

/// TPM_CRB_INTF_ID.InterfaceVersion (PTP 1.07, table 25).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// The first of the PTP, and the one that every EDK2 takes (see the head of the crate).
    One,
    /// A larger data buffer.
    Two,
    /// Chunks.
    Three,
}

impl Version {
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}

/// Who has made the device, by TPM_CRB_INTF_ID. The TCG assigns vendors' numbers; zeros are nobody's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// VID
    pub vendor: u16,
    /// DID
    pub device: u16,
    /// RID
    pub revision: u8,
}

/// The device's shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// the guest-physical address of the page of locality 0
    pub base: u64,
    /// pages that the guest finds
    pub localities: Localities,
    /// where commands and responses are
    pub buffers: Buffers,
    /// when they are executed
    pub execution: Execution,
    /// the version that registers show
    pub version: Version,
    /// the maker that registers show
    pub identity: Identity,
}

impl Default for Config {
    /// What unmodified systems find: locality 0 at [`BASE`], the data buffer with chunks, execution at once.
    fn default() -> Self {
        Self {
            base: BASE,
            localities: Localities::Zero,
            buffers: Buffers::Chunks,
            execution: Execution::AtOnce,
            version: Version::One,
            identity: Identity::default(),
        }
    }
}

/// Why there can be no such device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// The base is not a multiple of a page, or the pages do not fit behind it.
    Base,
    /// A buffer is shorter than [`MIN_BUFFER_SIZE`], longer than [`MAX_COMMAND_SIZE`], or ends beyond all addresses.
    Size,
    /// The buffers overlap each other, or the device; one and the same for both is possible.
    Overlap,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "the device cannot lie at this address",
            Self::Size => "a buffer has no possible size",
            Self::Overlap => "the buffers overlap each other or the device",
        })
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// # Errors
    /// Each of [`ConfigError`].
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let device = Area { address: self.base, size: self.octets() };
        if !self.base.is_multiple_of(PAGE as u64) || device.end().is_none() {
            return Err(ConfigError::Base);
        }
        let Buffers::Guest { command, response } = self.buffers else { return Ok(()) };
        if !command.is_possible() || !response.is_possible() {
            return Err(ConfigError::Size);
        }
        let apart = command == response || !command.overlaps(response);
        if !apart || command.overlaps(device) || response.overlaps(device) {
            return Err(ConfigError::Overlap);
        }
        Ok(())
    }

    /// How many octets from the base on the guest's accesses belong to the device.
    #[must_use]
    pub fn octets(&self) -> u32 {
        u32::from(self.localities.count()) * PAGE_SIZE
    }

    /// How many octets a command or response can have: what an embedder tells the engine (`Tpm::set_buffer_size`).
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        match self.buffers {
            Buffers::Page => DATA_BUFFER_SIZE,
            Buffers::Chunks => MAX_COMMAND_SIZE,
            Buffers::Guest { command, response } => {
                usize::try_from(command.size.min(response.size)).unwrap_or(MAX_COMMAND_SIZE)
            }
        }
    }

    /// Where registers say that commands and responses are.
    pub(crate) fn areas(&self) -> (Area, Area) {
        let buffer = u32::from(DATA_BUFFER);
        let page = Area { address: self.base.wrapping_add(buffer.into()), size: PAGE_SIZE - buffer };
        match self.buffers {
            Buffers::Page | Buffers::Chunks => (page, page),
            Buffers::Guest { command, response } => (command, response),
        }
    }
}
