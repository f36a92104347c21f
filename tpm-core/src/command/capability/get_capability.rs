//! TPM2_GetCapability (Part 3, 30.2).

use super::algorithms::ALGORITHMS;
use super::properties;
use crate::command::area::{handles, params};
use crate::command::call::{Call, code_of};
use crate::command::interface::Command;
use crate::data::pcr;
use crate::data::tpm::Tpm;
use crate::fault::Fault;
use crate::profile::{MAX_CAP_BUFFER, PROFILE};
use crate::rc::{Fmt1, Rc};
use crate::wire::{AlgId, Buffer, Cap, Ha, Handle, HandleKind, Marshal, PCR_COUNT, PCR_SELECT_SIZE, Writer, pt};

pub(crate) struct GetCapability;

/// MAX_CAP_DATA: octets of the elements of a list, behind capability and count.
const MAX_CAP_DATA: usize = MAX_CAP_BUFFER - 4 - 4;

handles! { pub(crate) struct Handles {} }
params! { pub(crate) struct Params { capability: Cap, property: u32, property_count: u32 } }

/// moreData, and TPMS_CAPABILITY_DATA (Part 2, 10.10.2) as capability, count and elements.
pub(crate) struct Answer {
    more_data: bool,
    capability: Cap,
    page: Buffer<MAX_CAP_BUFFER>,
}

impl Marshal for Answer {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.more_data.marshal(w);
        self.capability.marshal(w);
        w.put(self.page.as_slice());
    }
}

/// A page of a list, and whether the list goes on.
struct Page {
    more: bool,
    data: Buffer<MAX_CAP_BUFFER>,
}

impl Page {
    /// The first elements: at most `count`, and as many of `element_size` octets as fit.
    fn of<T: Marshal>(items: impl Iterator<Item = T>, count: u32, element_size: usize) -> Result<Self, Rc> {
        let limit = usize::try_from(count).unwrap_or(usize::MAX).min(MAX_CAP_DATA / element_size);
        let mut items = items;
        let mut listed = 0u32;
        let mut more = false;
        let data = Buffer::of(|w| {
            0u32.marshal(w);
            items.by_ref().take(limit).for_each(|item| {
                item.marshal(w);
                listed = listed.saturating_add(1);
            });
            more = items.next().is_some();
            w.patch(0, &listed.to_be_bytes());
        });
        Ok(Self { more, data: data.map_err(|_| Fault::Capacity)? })
    }
}

/// Two values one after the other.
struct Pair<A, B>(A, B);

impl<A: Marshal, B: Marshal> Marshal for Pair<A, B> {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.0.marshal(w);
        self.1.marshal(w);
    }
}

/// TPMS_PCR_SELECT (Part 2, 10.6.1).
struct PcrSelect(u32);

impl Marshal for PcrSelect {
    fn marshal(&self, w: &mut Writer<'_>) {
        PCR_SELECT_SIZE.marshal(w);
        w.put(self.0.to_le_bytes().get(..PCR_SELECT_SIZE.into()).unwrap_or_default());
    }
}

/// TPMT_HA, or TPM_ALG_NULL without a digest.
struct Policy(Option<Ha>);

impl Marshal for Policy {
    fn marshal(&self, w: &mut Writer<'_>) {
        match self.0 {
            Some(ha) => ha.marshal(w),
            None => AlgId::NULL.marshal(w),
        }
    }
}

impl Command for GetCapability {
    const CODE: u32 = 0x17a;
    const IN_FAILURE_MODE: bool = true;
    const UNTESTED: bool = true;
    type Handles = Handles;
    type Params<'a> = Params;
    type Reply<'t> = Answer;

    /// - `VALUE` at `capability`: no such group. TPM_CAP_PUB_KEYS and TPM_CAP_SPDM_SESSION_INFO are for TPMs with an
    ///   SPDM responder.
    /// - `HANDLE` at `property`: TPM_CAP_HANDLES, and no handles have this most significant octet
    /// - `VALUE` at `property`: not zero for TPM_CAP_PCRS, no permanent handle for TPM_CAP_AUTH_POLICIES, no ACT for
    ///   TPM_CAP_ACT
    fn run<'t>(tpm: &'t mut Tpm, call: &Call, _h: Handles, p: Params) -> Result<Answer, Rc> {
        let page = match tpm.ram.fault {
            Some(fault) => in_failure_mode(tpm, call, fault, &p),
            None => page(tpm, call, &p),
        }?;
        Ok(Answer { more_data: page.more, capability: p.capability, page: page.data })
    }
}

fn page(tpm: &Tpm, call: &Call, p: &Params) -> Result<Page, Rc> {
    let (first, count) = (p.property, p.property_count);
    match p.capability {
        Cap::ALGS => Page::of(
            ALGORITHMS
                .iter()
                .filter(|(id, _)| PROFILE.has(id.0) && u32::from(id.0) >= first)
                .map(|(id, a)| Pair(*id, *a)),
            count,
            6,
        ),
        Cap::HANDLES => handles(tpm, Handle(first), count),
        Cap::COMMANDS => Page::of(call.commands.iter().copied().filter(|cc| code_of(*cc) >= first), count, 4),
        Cap::PP_COMMANDS => Page::of(tpm.persistent.presence.codes().filter(|code| *code >= first), count, 4),
        Cap::AUDIT_COMMANDS => Page::of(tpm.persistent.audit.commands.codes().filter(|code| *code >= first), count, 4),
        Cap::PCRS => allocation(tpm, p),
        Cap::TPM_PROPERTIES => Page::of(properties::all(tpm, call, first).map(|(pt, value)| Pair(pt, value)), count, 8),
        Cap::PCR_PROPERTIES => Page::of(
            pcr::properties().filter(|(pt, _)| *pt >= first).map(|(pt, map)| Pair(pt, PcrSelect(map))),
            count,
            8,
        ),
        Cap::ECC_CURVES => Page::of(PROFILE.curves.iter().map(|c| c.0).filter(|c| u32::from(*c) >= first), count, 2),
        Cap::AUTH_POLICIES => auth_policies(tpm, Handle(first), count),
        Cap::ACT => acts(tpm, Handle(first), count),
        Cap::VENDOR_PROPERTY => Page::of(properties::vendor(tpm, first), count, 4),
        _ => Err(Fmt1::VALUE.at(Params::capability)),
    }
}

/// TPM_CAP_HANDLES: those in use, from the most significant octet of the first one.
fn handles(tpm: &Tpm, first: Handle, count: u32) -> Result<Page, Rc> {
    let from = |handles: &mut dyn Iterator<Item = Handle>| Page::of(handles.filter(|h| *h >= first), count, 4);
    match first.kind() {
        HandleKind::Pcr => from(&mut (0..PCR_COUNT).map(Handle)),
        HandleKind::Nv => from(&mut tpm.persistent.nv.iter().map(|i| i.public.index)),
        HandleKind::HmacSession => Page::of(tpm.ram.sessions.loaded_handles(first), count, 4),
        HandleKind::PolicySession => Page::of(tpm.ram.sessions.saved_handles(first), count, 4),
        HandleKind::Permanent => from(&mut PERMANENT.into_iter().chain(tpm.ram.acts.iter().map(|(h, _)| h))),
        HandleKind::Transient => from(&mut tpm.ram.object_handles()),
        HandleKind::Persistent => from(&mut tpm.persistent.objects.handles()),
        HandleKind::Other => Err(Fmt1::HANDLE.at(Params::property)),
    }
}

const PERMANENT: [Handle; 7] = [
    Handle::OWNER,
    Handle::NULL,
    Handle::PW,
    Handle::LOCKOUT,
    Handle::ENDORSEMENT,
    Handle::PLATFORM,
    Handle::PLATFORM_NV,
];

/// TPM_CAP_PCRS: the whole allocation or nothing.
fn allocation(tpm: &Tpm, p: &Params) -> Result<Page, Rc> {
    if p.property != 0 {
        return Err(Fmt1::VALUE.at(Params::property));
    }
    let all = tpm.ram.pcrs.allocation();
    let limit = if p.property_count == 0 { 0 } else { u32::MAX };
    Page::of(all.0.iter().copied(), limit, 6)
}

/// TPM_CAP_AUTH_POLICIES: the authPolicy of each hierarchy and ACT.
fn auth_policies(tpm: &Tpm, first: Handle, count: u32) -> Result<Page, Rc> {
    if first.kind() != HandleKind::Permanent {
        return Err(Fmt1::VALUE.at(Params::property));
    }
    let hierarchies = [Handle::OWNER, Handle::LOCKOUT, Handle::ENDORSEMENT, Handle::PLATFORM]
        .into_iter()
        .chain(tpm.ram.acts.iter().map(|(h, _)| h))
        .filter(|h| *h >= first);
    Page::of(
        hierarchies.map(|h| Pair(h, Policy(tpm.auth_policy(h).map(|(alg, digest)| Ha { alg, digest })))),
        count,
        70,
    )
}

/// TPM_CAP_ACT: TPMS_ACT_DATA of each timer (Part 2, 10.8.5).
fn acts(tpm: &Tpm, first: Handle, count: u32) -> Result<Page, Rc> {
    if !(Handle::act(0)..=Handle::act(15)).contains(&first) {
        return Err(Fmt1::VALUE.at(Params::property));
    }
    let now_ms = tpm.ram.time_ms;
    let data = |(h, act): (Handle, &crate::data::act::Act)| Pair(h, Pair(act.remaining_s(now_ms), act.attributes()));
    Page::of(tpm.ram.acts.iter().filter(|(h, _)| *h >= first).map(data), count, 12)
}

/// In failure mode only what says which TPM this is (Part 1, 9.4): TPM_PT_MANUFACTURER to TPM_PT_FIRMWARE_VERSION_2.
/// Any error is told as `FAILURE`.
fn in_failure_mode(tpm: &Tpm, call: &Call, fault: Fault, p: &Params) -> Result<Page, Rc> {
    if p.capability != Cap::TPM_PROPERTIES {
        return Err(fault.into());
    }
    let reported = pt::MANUFACTURER..=pt::FIRMWARE_VERSION_2;
    let known = properties::all(tpm, call, p.property.max(pt::MANUFACTURER)).filter(|(pt, _)| reported.contains(pt));
    Page::of(known.map(|(pt, value)| Pair(pt, value)), p.property_count, 8)
}

/// The one element of a group that has this property, as TPM2_GetCapability lists it; None if there is none. For
/// TPM2_PolicyCapability.
///
/// - the codes of TPM2_GetCapability
pub(crate) fn element(
    tpm: &Tpm,
    call: &Call,
    capability: Cap,
    property: u32,
) -> Result<Option<Buffer<MAX_CAP_BUFFER>>, Rc> {
    const COUNT: usize = 4;
    if capability.is_of_spdm() {
        return Ok(None);
    }
    let page = page(tpm, call, &Params { capability, property, property_count: 1 })?;
    let element = page.data.as_slice().get(COUNT..).unwrap_or_default();
    let number = || element.first_chunk().map(|tag| u32::from_be_bytes(*tag));
    let asked = Handle(property);
    // An algorithm or a curve has two octets, TPMA_CC the code's index and its vendor bit, everything else starts with
    // a UINT32. The type of a handle selects a list, so its index finds it: loaded and saved sessions are listed with a
    // type of their own, but are an element with the handle that was asked for.
    let (is_found, element) = match capability {
        Cap::ALGS | Cap::ECC_CURVES => {
            (element.first_chunk().map(|id| u16::from_be_bytes(*id).into()) == Some(property), element)
        }
        Cap::HANDLES => (number().map(|h| Handle(h).index()) == Some(asked.index()), &property.to_be_bytes()[..]),
        Cap::COMMANDS => (number().map(code_of) == Some(property), element),
        _ => (number() == Some(property), element),
    };
    if !is_found {
        return Ok(None);
    }
    Buffer::from_slice(element).map(Some).map_err(|_| Fault::Capacity.into())
}
