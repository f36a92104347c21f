//! What a handle stands for: its Name, authValue, authPolicy, and whether it is there (Part 1, 12, 13 and 16).

use crate::crypto::hash::{Digest, HashAlg, digest};
use crate::data::nv::NvIndex;
use crate::data::object::Object;
use crate::data::pcr;
use crate::data::state::HierarchyPolicy;
use crate::data::tpm::Tpm;
use crate::rc::{At, Fmt1, Nth, Rc};
use crate::secret::Seed;
use crate::wire::{Auth, Handle, HandleKind, INTERNAL_HASH, Name, NvAttributes, ObjectAttributes, handle_name};

impl Tpm {
    /// A transient or persistent object that is loaded and whose hierarchy is enabled; of a persistent one also that of
    /// who made it so.
    pub(crate) fn object(&self, h: Handle) -> Option<&Object> {
        let object = match h.kind() {
            HandleKind::Transient => self.ram.object(h),
            HandleKind::Persistent => {
                let by = if h >= Handle::PLATFORM_PERSISTENT { Handle::PLATFORM } else { Handle::OWNER };
                self.persistent.objects.get(h).filter(|_| self.hierarchy_enabled(by))
            }
            _ => None,
        }?;
        self.hierarchy_enabled(object.hierarchy).then_some(object)
    }

    /// An NV Index that is defined and whose hierarchy is enabled (Part 1, 34.2.1).
    pub(crate) fn nv_index(&self, h: Handle) -> Option<&NvIndex> {
        let index = self.persistent.nv.get(h)?;
        let enabled = if index.public.attributes.has(NvAttributes::PLATFORMCREATE) {
            self.clear.platform_nv_enabled
        } else {
            self.clear.storage_enabled
        };
        enabled.then_some(index)
    }

    /// Whether the hierarchy's enable is SET.
    pub(crate) fn hierarchy_enabled(&self, h: Handle) -> bool {
        match h {
            Handle::OWNER => self.clear.storage_enabled,
            Handle::ENDORSEMENT => self.clear.endorsement_enabled,
            Handle::PLATFORM => self.clear.platform_enabled,
            Handle::PLATFORM_NV => self.clear.platform_nv_enabled,
            _ => true,
        }
    }

    /// The proof of a hierarchy; that of the NULL hierarchy for anything else.
    pub(crate) fn proof(&self, hierarchy: Handle) -> &Seed {
        match hierarchy {
            Handle::OWNER => &self.persistent.storage_proof,
            Handle::ENDORSEMENT => &self.persistent.endorsement_proof,
            Handle::PLATFORM => &self.persistent.platform_proof,
            _ => &self.reset.null_proof,
        }
    }

    /// The primary seed of a hierarchy; that of the NULL hierarchy for anything else.
    pub(crate) fn seed(&self, hierarchy: Handle) -> &Seed {
        match hierarchy {
            Handle::OWNER => &self.persistent.storage_seed,
            Handle::ENDORSEMENT => &self.persistent.endorsement_seed,
            Handle::PLATFORM => &self.persistent.platform_seed,
            _ => &self.reset.null_seed,
        }
    }

    /// Whether the entity of the zero-based `index`-th handle is there (Part 3, 5.4).
    ///
    /// - `REFERENCE_H0`: a transient object or a session that is not loaded
    /// - `HANDLE`: a persistent object or NV Index that does not exist, or whose hierarchy is disabled; a session of
    ///   the other type
    /// - `HIERARCHY`: the hierarchy is disabled
    pub(crate) fn check_loaded(&self, h: Handle, index: usize) -> Result<(), Rc> {
        let at = At::Handle(Nth::of_index(index));
        match h.kind() {
            HandleKind::Transient if self.ram.slot(h).is_none() => Err(Rc::reference_h(index)),
            HandleKind::Transient if self.ram.sequence(h).is_none() && self.object(h).is_none() => {
                Err(Fmt1::HIERARCHY.at(at))
            }
            HandleKind::Persistent if self.object(h).is_none() => Err(Fmt1::HANDLE.at(at)),
            HandleKind::Nv if self.nv_index(h).is_none() => Err(Fmt1::HANDLE.at(at)),
            HandleKind::HmacSession | HandleKind::PolicySession if self.ram.sessions.is_loaded_as_other_type(h) => {
                Err(Fmt1::HANDLE.at(at))
            }
            HandleKind::HmacSession | HandleKind::PolicySession if self.ram.sessions.get(h).is_none() => {
                Err(Rc::reference_h(index))
            }
            HandleKind::Permanent if !self.hierarchy_enabled(h) => Err(Fmt1::HIERARCHY.at(at)),
            _ => Ok(()),
        }
    }

    /// Name of an entity (Part 1, 13): the handle itself for PCR, sessions and permanent values, the Empty Buffer for a
    /// sequence object.
    pub(crate) fn name_of(&self, h: Handle) -> Name {
        match h.kind() {
            HandleKind::Transient | HandleKind::Persistent => {
                self.object(h).map(|o| o.name.clone()).unwrap_or_default()
            }
            HandleKind::Nv => self.nv_index(h).map(NvIndex::name).unwrap_or_default(),
            _ => handle_name(h),
        }
    }

    /// Qualified Name of an object, or the handle of a hierarchy.
    pub(crate) fn qualified_name_of(&self, h: Handle) -> Name {
        self.object(h).map_or_else(|| handle_name(h), |o| o.qualified_name.clone())
    }

    /// authValue of an entity; empty for what has none.
    pub(crate) fn auth_value(&self, h: Handle) -> &[u8] {
        let auth = match h {
            Handle::OWNER => Some(&self.persistent.owner_auth),
            Handle::ENDORSEMENT => Some(&self.persistent.endorsement_auth),
            Handle::PLATFORM => Some(&self.clear.platform_auth),
            Handle::LOCKOUT => Some(&self.persistent.lockout_auth),
            _ if h.act_position().is_some() => Some(&self.clear.platform_auth),
            _ => match h.kind() {
                HandleKind::Transient | HandleKind::Persistent => {
                    let of_object = || self.object(h)?.sensitive.as_ref().map(|s| &s.auth);
                    self.ram.sequence(h).map(|s| &s.auth).or_else(of_object)
                }
                HandleKind::Nv => self.nv_index(h).map(|i| &i.auth),
                HandleKind::Pcr if pcr::in_auth_group(h) => Some(&self.clear.pcr_auth),
                _ => None,
            },
        };
        auth.map(Auth::as_slice).unwrap_or_default()
    }

    /// authPolicy of an entity: algorithm and digest, if it has one.
    pub(crate) fn auth_policy(&self, h: Handle) -> Option<(HashAlg, Digest)> {
        let hierarchy = |p: &HierarchyPolicy| *p;
        match h {
            Handle::OWNER => hierarchy(&self.persistent.owner_policy),
            Handle::ENDORSEMENT => hierarchy(&self.persistent.endorsement_policy),
            Handle::PLATFORM => hierarchy(&self.clear.platform_policy),
            Handle::LOCKOUT => hierarchy(&self.persistent.lockout_policy),
            _ if h.act_position().is_some() => h.act_position().and_then(|i| *self.clear.act_policies.get(i)?),
            _ => match h.kind() {
                HandleKind::Transient | HandleKind::Persistent => {
                    self.object(h).and_then(|o| o.public.name_alg.map(|alg| (alg, o.public.auth_policy)))
                }
                HandleKind::Nv => self.nv_index(h).map(|i| (i.public.name_alg, i.public.auth_policy)),
                HandleKind::Pcr if pcr::in_auth_group(h) => hierarchy(&self.persistent.pcr_policy),
                _ => None,
            },
        }
        .filter(|(_, digest)| !digest.is_empty())
    }

    /// Whether a failed authorization counts for dictionary-attack protection (Part 1, 16.8.1).
    pub(crate) fn is_da_protected(&self, h: Handle) -> bool {
        match h.kind() {
            HandleKind::Transient | HandleKind::Persistent => {
                self.object(h).is_some_and(|o| !o.has(ObjectAttributes::NO_DA))
            }
            HandleKind::Nv => self.nv_index(h).is_some_and(|i| !i.public.attributes.has(NvAttributes::NO_DA)),
            _ => false,
        }
    }

    /// The entity as a session is bound to it.
    pub(crate) fn bound_entity(&self, h: Handle) -> Digest {
        let auth = self.auth_value(h);
        let name = self.name_of(h);
        let length = [u8::try_from(name.len()).unwrap_or(u8::MAX)];
        digest(INTERNAL_HASH, &[&length, name.as_slice(), auth])
    }
}
