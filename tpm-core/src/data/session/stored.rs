//! A session as the TPM keeps it for itself: in a saved context and in its state.

use super::{Active, Binding, Session, Sessions};
use crate::data::policy::{BoundHash, PolicyState};
use crate::rc::Fmt1;
use crate::wire::{Marshal, Optional, Reader, Restore, Unmarshal, Writer};

impl Marshal for Session {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.kind.marshal(w);
        self.hash.marshal(w);
        self.symmetric.marshal(w);
        self.nonce_tpm.marshal(w);
        self.key.marshal(w);
        self.binding.marshal(w);
        self.audit.marshal(w);
        self.policy.marshal(w);
    }
}

impl Unmarshal<'_> for Session {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Ok(Self {
            kind: r.get()?,
            hash: r.get()?,
            symmetric: r.get()?,
            nonce_tpm: r.get()?,
            key: r.get()?,
            binding: r.get()?,
            audit: r.get()?,
            policy: r.get()?,
        })
    }
}

impl Optional for Binding {}

impl Marshal for Binding {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.entity.marshal(w);
        self.da_protected.marshal(w);
        self.lockout.marshal(w);
    }
}

impl Unmarshal<'_> for Binding {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Ok(Self { entity: r.get()?, da_protected: r.get()?, lockout: r.get()? })
    }
}

impl Marshal for PolicyState {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.digest.marshal(w);
        self.command_code.marshal(w);
        self.bound_hash.marshal(w);
        self.locality.marshal(w);
        self.physical_presence.marshal(w);
        self.auth_value.marshal(w);
        self.password.marshal(w);
        self.pcr_counter.marshal(w);
        self.nv_written.marshal(w);
        self.secure_channel.marshal(w);
        self.timeout_ms.marshal(w);
        self.start_ms.marshal(w);
        self.epoch.marshal(w);
    }
}

impl Unmarshal<'_> for PolicyState {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        Ok(Self {
            digest: r.get()?,
            command_code: r.get()?,
            bound_hash: r.get()?,
            locality: r.get()?,
            physical_presence: r.get()?,
            auth_value: r.get()?,
            password: r.get()?,
            pcr_counter: r.get()?,
            nv_written: r.get()?,
            secure_channel: r.get()?,
            timeout_ms: r.get()?,
            start_ms: r.get()?,
            epoch: r.get()?,
        })
    }
}

impl Optional for BoundHash {}

impl Marshal for BoundHash {
    fn marshal(&self, w: &mut Writer<'_>) {
        let (kind, digest) = match self {
            Self::CpHash(d) => (0u8, d),
            Self::NameHash(d) => (1, d),
            Self::Template(d) => (2, d),
            Self::Parameters(d) => (3, d),
        };
        kind.marshal(w);
        digest.marshal(w);
    }
}

impl Unmarshal<'_> for BoundHash {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let kind: u8 = r.get()?;
        let digest = r.get()?;
        match kind {
            0 => Ok(Self::CpHash(digest)),
            1 => Ok(Self::NameHash(digest)),
            2 => Ok(Self::Template(digest)),
            3 => Ok(Self::Parameters(digest)),
            _ => Err(Fmt1::SELECTOR),
        }
    }
}

impl Sessions {
    /// The counter, and what each handle is: 0 free, 1 loaded, 2 saved. What _TPM_Init loses is left out on request.
    pub(crate) fn marshal(&self, w: &mut Writer<'_>, powered_off: bool) {
        self.in_use.counter.marshal(w);
        for active in &self.in_use.active {
            let loaded = match active {
                Active::Loaded(slot) if !powered_off => self.loaded.get(*slot).and_then(Option::as_ref),
                _ => None,
            };
            match (active, loaded) {
                (Active::Saved(counter), _) => {
                    w.put(&[2]);
                    counter.marshal(w);
                }
                (_, Some(session)) => {
                    w.put(&[1]);
                    session.marshal(w);
                }
                _ => w.put(&[0]),
            }
        }
    }
}

/// Into a value without sessions.
impl Restore for Sessions {
    fn restore(&mut self, r: &mut Reader<'_>) -> Result<(), Fmt1> {
        self.in_use.change().counter = r.get()?;
        for index in 0..self.in_use.active.len() {
            match r.get::<u8>()? {
                0 => {}
                1 => {
                    self.load_at(index, r.get()?).map_err(|_| Fmt1::SIZE)?;
                }
                2 => {
                    let counter = r.get()?;
                    if counter >= self.in_use.counter {
                        return Err(Fmt1::RANGE);
                    }
                    if let Some(active) = self.in_use.change().active.get_mut(index) {
                        *active = Active::Saved(counter);
                    }
                }
                _ => return Err(Fmt1::SELECTOR),
            }
        }
        Ok(())
    }
}
