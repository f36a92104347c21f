//! The reverse-map table as its user sees it: VMPLs, permissions, and what PVALIDATE and RMPADJUST answer (APM volume
//! 3).

/// A virtual machine privilege level; 0 is the most privileged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Vmpl {
    /// The SVSM.
    Vmpl0 = 0,
    /// Unused here.
    Vmpl1 = 1,
    /// The operating system.
    Vmpl2 = 2,
    /// Unused here.
    Vmpl3 = 3,
}

impl Vmpl {
    /// All levels in order.
    pub const ALL: [Self; 4] = [Self::Vmpl0, Self::Vmpl1, Self::Vmpl2, Self::Vmpl3];

    /// The level as the specifications' structures hold it.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The level of a number, `None` beyond 3.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|level| u64::from(level.number()) == number)
    }
}

/// Size operand of PVALIDATE and RMPADJUST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PageSize {
    /// 4 KiB.
    Size4K = 0,
    /// 2 MiB.
    Size2M = 1,
}

impl PageSize {
    /// Bytes of such a page.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Size4K => 0x1000,
            Self::Size2M => 0x20_0000,
        }
    }
}

/// What a VMPL may do with a page (VMPL_PERM_MASK).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    /// No access.
    pub const NONE: Self = Self(0);
    /// Read.
    pub const READ: Self = Self(1);
    /// Write.
    pub const WRITE: Self = Self(2);
    /// Execution at CPL 3.
    pub const EXECUTE_USER: Self = Self(4);
    /// Execution at CPL 0 to 2.
    pub const EXECUTE_SUPERVISOR: Self = Self(8);
    /// Read, write, execute.
    pub const ALL: Self = Self(0xF);

    /// The bits as in VMPL_PERM_MASK.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// RDX of RMPADJUST: target VMPL in bits 7:0, permissions in 15:8, VMSA attribute in bit 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// An ordinary page for `target`.
    #[must_use]
    pub const fn page(target: Vmpl, permissions: Permissions) -> Self {
        Self(target.number() as u64 | (permissions.bits() as u64) << 8)
    }

    /// A VMSA page: the target may read it and nothing else (Linux reads SEV_FEATURES of a VMSA that it gave away).
    #[must_use]
    pub const fn vmsa(target: Vmpl) -> Self {
        Self(Self::page(target, Permissions::READ).0 | 1 << 16)
    }

    /// A VMSA page of VMPL0's own. RMPADJUST takes no target that is not below the caller (APM volume 3): VMPL1 it is,
    /// which gets no right to it.
    #[must_use]
    pub const fn own_vmsa() -> Self {
        Self(Self::page(Vmpl::Vmpl1, Permissions::NONE).0 | 1 << 16)
    }

    /// The register's value.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Why PVALIDATE or RMPADJUST did not do its work (EAX).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RmpError {
    /// FAIL_INPUT (1): a page size or alignment that the instruction does not take.
    Input,
    /// FAIL_PERMISSION (2): the target VMPL is not below the caller's, or the permissions exceed the caller's.
    Permission,
    /// FAIL_INUSE (3): another CPU holds the entry.
    InUse,
    /// FAIL_SIZEMISMATCH (6): the nested page table maps the page with another size.
    SizeMismatch,
    /// A code that the manual does not list.
    Unknown(u32),
    /// The instruction did not end: its operand's page cannot be reached (#VC, #PF, #GP).
    Inaccessible,
}

crate::error_words! { RmpError {
    Self::Input => "a page size or alignment that the instruction does not take",
    Self::Permission => "the VMPL or its permissions exceed the own ones",
    Self::InUse => "another CPU holds the entry",
    Self::SizeMismatch => "the page is mapped with another size",
    Self::Unknown(code) => "an unknown code: {code}",
    Self::Inaccessible => "the page cannot be reached",
} }

/// Memory that the firmware may use cannot be reached: the host has taken the page, or given another that is not
/// validated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inaccessible;

crate::error_words! { Inaccessible {
    Self => "the host has taken the memory",
} }

impl From<Inaccessible> for RmpError {
    fn from(_: Inaccessible) -> Self {
        Self::Inaccessible
    }
}

impl RmpError {
    /// Decodes EAX, where 0 is success.
    pub const fn check(eax: u32) -> Result<(), Self> {
        match eax {
            0 => Ok(()),
            1 => Err(Self::Input),
            2 => Err(Self::Permission),
            3 => Err(Self::InUse),
            6 => Err(Self::SizeMismatch),
            other => Err(Self::Unknown(other)),
        }
    }

    /// The code as the instruction gave it; `None` if it gave none.
    #[must_use]
    pub const fn code(self) -> Option<u32> {
        match self {
            Self::Input => Some(1),
            Self::Permission => Some(2),
            Self::InUse => Some(3),
            Self::SizeMismatch => Some(6),
            Self::Unknown(code) => Some(code),
            Self::Inaccessible => None,
        }
    }
}

/// What a successful PVALIDATE found (CF).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "an unchanged page is an attack when the firmware validates its own memory"]
pub enum Pvalidated {
    /// CF = 0: the validated bit changed.
    Changed,
    /// CF = 1: it already had the wanted value. Fatal for a page that is validated for the first time.
    Unchanged,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that the facts name for the guest's VMSA, a full grant, and the SVSM's own VMSA.
    #[test]
    fn attributes_have_the_values_of_the_manual() {
        assert_eq!(Attributes::vmsa(Vmpl::Vmpl2).bits(), 0x1_0102);
        assert_eq!(Attributes::vmsa(Vmpl::Vmpl1).bits(), 0x1_0101);
        assert_eq!(Attributes::own_vmsa().bits(), 0x1_0001);
        assert_eq!(Attributes::page(Vmpl::Vmpl2, Permissions::ALL).bits(), 0xF02);
        assert_eq!(Attributes::page(Vmpl::Vmpl3, Permissions::NONE).bits(), 3);
    }

    #[test]
    fn every_code_survives_the_round_trip() {
        assert_eq!(RmpError::check(0), Ok(()));
        for code in 1..=0x40 {
            assert_eq!(RmpError::check(code).map_err(RmpError::code), Err(Some(code)));
        }
    }

    #[test]
    fn only_four_levels_exist() {
        for number in 0..=0x1_0000_u64 {
            assert_eq!(Vmpl::from_number(number).is_some(), number < 4);
        }
    }
}
