//! The rules, and how they are packed: u16 version 1, u16 number of rules, then the rules in ascending order. Each is
//! u8 rule, u8 what becomes of the boot otherwise (0 it ends, 1 the rule is named), u16 octets of the value, the value;
//! all little-endian.

use alloc::vec::Vec;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use super::Otherwise;

/// The only version that this firmware reads.
const VERSION: u16 = 1;

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Head {
    version: U16,
    rules: U16,
}

#[derive(FromBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RuleHead {
    rule: u8,
    otherwise: u8,
    octets: U16,
}

/// The least levels of a generation's TCB, in the order of the policy file: FMC, boot loader, TEE, SNP, microcode.
pub(super) type Levels = [u8; 5];

/// The least levels by generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Minimum {
    /// LAUNCH_TCB is judged, too.
    pub(super) launch: bool,
    /// Milan, Genoa, Turin; a generation without levels is refused.
    pub(super) levels: [Option<Levels>; 3],
}

/// A bit, and whether it must be set or clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bit {
    pub(super) number: u8,
    pub(super) set: bool,
}

/// What a rule demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand<'a> {
    /// Bit n: version n may be.
    Versions(u32),
    ReportedIsCommitted,
    GuestPolicyValue(u64),
    GuestPolicy(&'static str, Bit),
    Tcb(Minimum),
    PlatformInfo(&'static str, Bit),
    NoOtherPlatformInfo,
    /// Bits that must be there.
    LaunchMitigations(u64),
    CurrentMitigations(u64),
    Chips(&'a [[u8; 64]]),
    HostData(&'a [[u8; 32]]),
    IdKeyDigests(&'a [[u8; 48]]),
    AuthorKeyDigests(&'a [[u8; 48]]),
    FamilyId(&'a [u8; 16]),
    ImageId(&'a [u8; 16]),
    /// The least.
    GuestSvn(u32),
    /// Bits that must be there.
    HypervisorFeatures(u64),
    SevFeatures(u64),
    LaterReports,
}

/// Rules 4 to 12: bits of POLICY.
const GUEST_POLICY: [(&str, u8); 9] = [
    ("guest-policy.smt", 16),
    ("guest-policy.migration-agent", 18),
    ("guest-policy.debug", 19),
    ("guest-policy.single-socket", 20),
    ("guest-policy.cxl", 21),
    ("guest-policy.aes-256-xts", 22),
    ("guest-policy.rapl-disabled", 23),
    ("guest-policy.ciphertext-hiding", 24),
    ("guest-policy.page-swap-disabled", 25),
];
const FIRST_OF_GUEST_POLICY: u8 = 4;

/// Rules 14 to 21: bits of PLATFORM_INFO, from bit 0 on.
const PLATFORM_INFO: [&str; 8] = [
    "platform-info.smt",
    "platform-info.tsme",
    "platform-info.ecc",
    "platform-info.rapl-disabled",
    "platform-info.ciphertext-hiding",
    "platform-info.alias-check-complete",
    "platform-info.iommu-write-safe",
    "platform-info.trusted-io",
];
const FIRST_OF_PLATFORM_INFO: u8 = 14;

impl<'a> Demand<'a> {
    /// `None`: the rule has no such value.
    fn parse(rule: u8, value: &'a [u8]) -> Result<Option<Demand<'a>>, PolicyError> {
        let wide = |demand: fn(u64) -> Demand<'a>| U64::read_from_bytes(value).ok().map(|value| demand(value.get()));
        let narrow = |demand: fn(u32) -> Demand<'a>| U32::read_from_bytes(value).ok().map(|value| demand(value.get()));
        let nothing = |demand: Demand<'a>| value.is_empty().then_some(demand);
        let id = |demand: fn(&'a [u8; 16]) -> Demand<'a>| value.try_into().ok().map(demand);
        Ok(match rule {
            1 => narrow(Demand::Versions),
            2 => nothing(Demand::ReportedIsCommitted),
            3 => wide(Demand::GuestPolicyValue),
            13 => minimum(value).map(Demand::Tcb),
            22 => nothing(Demand::NoOtherPlatformInfo),
            23 => wide(Demand::LaunchMitigations),
            24 => wide(Demand::CurrentMitigations),
            25 => list(value).map(Demand::Chips),
            26 => list(value).map(Demand::HostData),
            27 => list(value).map(Demand::IdKeyDigests),
            28 => list(value).map(Demand::AuthorKeyDigests),
            29 => id(Demand::FamilyId),
            30 => id(Demand::ImageId),
            31 => narrow(Demand::GuestSvn),
            32 => wide(Demand::HypervisorFeatures),
            33 => wide(Demand::SevFeatures),
            34 => nothing(Demand::LaterReports),
            _ => return Demand::parse_bit(rule, value),
        })
    }

    fn parse_bit(rule: u8, value: &[u8]) -> Result<Option<Demand<'a>>, PolicyError> {
        let set = match value {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        };
        let nth = |first: u8| rule.checked_sub(first).map(usize::from);
        if let Some((name, number)) = nth(FIRST_OF_GUEST_POLICY).and_then(|nth| GUEST_POLICY.get(nth)) {
            return Ok(set.map(|set| Demand::GuestPolicy(name, Bit { number: *number, set })));
        }
        let number = rule.wrapping_sub(FIRST_OF_PLATFORM_INFO);
        match nth(FIRST_OF_PLATFORM_INFO).and_then(|nth| PLATFORM_INFO.get(nth)) {
            Some(name) => Ok(set.map(|set| Demand::PlatformInfo(name, Bit { number, set }))),
            None => Err(PolicyError::Rule(rule)),
        }
    }
}

/// One value at least, and nothing behind the last one.
fn list<const N: usize>(value: &[u8]) -> Option<&[[u8; N]]> {
    let (values, rest) = value.as_chunks();
    (rest.is_empty() && !values.is_empty()).then_some(values)
}

/// u8 whether LAUNCH_TCB is judged; for each generation u8 whether it has levels, and these.
fn minimum(value: &[u8]) -> Option<Minimum> {
    let flag = |octet: u8| if octet < 2 { Some(octet == 1) } else { None };
    let (launch, generations) = value.split_first()?;
    let generations: &[[u8; 6]; 3] = list(generations)?.try_into().ok()?;
    let mut levels = [None; 3];
    for (to, [there, least @ ..]) in levels.iter_mut().zip(generations) {
        *to = match flag(*there)? {
            true => Some(*least),
            false if *least == [0; 5] => None,
            false => return None,
        };
    }
    Some(Minimum { launch: flag(*launch)?, levels })
}

/// A rule, and what becomes of a boot that does not meet it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule<'a> {
    pub(super) demand: Demand<'a>,
    pub(super) otherwise: Otherwise,
}

/// The rules of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy<'a>(Vec<Rule<'a>>);

impl<'a> Policy<'a> {
    /// Reads a setting.
    pub fn parse(setting: &'a [u8]) -> Result<Policy<'a>, PolicyError> {
        let (head, mut rest) = Head::ref_from_prefix(setting).map_err(|_| PolicyError::Short)?;
        if head.version != VERSION {
            return Err(PolicyError::Version);
        }
        let mut rules = Vec::new();
        let mut last = 0;
        for _ in 0..head.rules.get() {
            let (head, behind) = RuleHead::ref_from_prefix(rest).map_err(|_| PolicyError::Short)?;
            let (value, behind) = behind.split_at_checked(head.octets.get().into()).ok_or(PolicyError::Short)?;
            let demand = Demand::parse(head.rule, value)?.ok_or(PolicyError::Value(head.rule))?;
            if head.rule <= last {
                return Err(PolicyError::Order(head.rule));
            }
            let otherwise = match head.otherwise {
                0 => Otherwise::Refuse,
                1 => Otherwise::NameIt,
                _ => return Err(PolicyError::Otherwise(head.rule)),
            };
            rules.push(Rule { demand, otherwise });
            (last, rest) = (head.rule, behind);
        }
        if rest.is_empty() { Ok(Policy(rules)) } else { Err(PolicyError::Behind) }
    }

    pub(super) fn rules(&self) -> &[Rule<'a>] {
        &self.0
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no rule: then the firmware still demands what every verifier does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What becomes of a later report that says something else than the first one. Without a word it is refused.
    #[must_use]
    pub fn later_reports(&self) -> Otherwise {
        let rule = self.0.iter().find(|rule| rule.demand == Demand::LaterReports);
        rule.map_or(Otherwise::Refuse, |rule| rule.otherwise)
    }
}

/// What is wrong with a packed policy. It is measured: the packer's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyError {
    /// Another version than 1.
    Version,
    /// It ends before the last rule does.
    Short,
    /// Something stands behind the last rule.
    Behind,
    /// A rule that does not exist.
    Rule(u8),
    /// A rule that is there twice, or behind one with a higher number.
    Order(u8),
    /// Another word for what becomes of the boot.
    Otherwise(u8),
    /// A value that the rule cannot have.
    Value(u8),
}

snp::error_words! { PolicyError {
    Self::Version => "its version is unknown",
    Self::Short => "it ends before its last rule does",
    Self::Behind => "there is something behind its last rule",
    Self::Rule(rule) => "there is no rule {rule}",
    Self::Order(rule) => "rule {rule} is there twice, or too late",
    Self::Otherwise(rule) => "rule {rule} says otherwise what becomes of the boot",
    Self::Value(rule) => "rule {rule} has a value that it cannot have",
} }
