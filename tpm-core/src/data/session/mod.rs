//! Sessions (Part 1, 16.5): what is loaded, and which handles are in use.

mod stored;

use crate::bounded::{count, from};
use crate::crypto::hash::{Digest, HashAlg};
use crate::data::lasting::Lasting;
use crate::data::policy::PolicyState;
use crate::fault::Fault;
use crate::profile::{CONTEXT_GAP_MAX, MAX_ACTIVE_SESSIONS, MAX_LOADED_SESSIONS};
use crate::rc::{Fmt1, Rc};
use crate::secret::Secret;
use crate::wire::{Handle, Marshal, Reader, SymDef, Unmarshal, Writer};

/// TPM_SE (Part 2, 6.11).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SessionType {
    /// TPM_SE_HMAC
    Hmac,
    /// TPM_SE_POLICY
    Policy,
    /// TPM_SE_TRIAL
    Trial,
}

impl Unmarshal<'_> for SessionType {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        match r.get::<u8>()? {
            0 => Ok(Self::Hmac),
            1 => Ok(Self::Policy),
            3 => Ok(Self::Trial),
            _ => Err(Fmt1::VALUE),
        }
    }
}

impl Marshal for SessionType {
    fn marshal(&self, w: &mut Writer<'_>) {
        let id: u8 = match self {
            Self::Hmac => 0,
            Self::Policy => 1,
            Self::Trial => 3,
        };
        id.marshal(w);
    }
}

impl SessionType {
    fn first_handle(self) -> Handle {
        match self {
            Self::Hmac => Handle::HMAC_SESSION_FIRST,
            Self::Policy | Self::Trial => Handle::POLICY_SESSION_FIRST,
        }
    }
}

/// To which entity a session is bound (Part 1, 16.6.10). It stays bound only while the entity's name and authValue stay
/// what they were, and until it is used for audit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binding {
    /// digest over name and authValue
    pub(crate) entity: Digest,
    /// the entity is subject to dictionary-attack protection
    pub(crate) da_protected: bool,
    /// the entity is TPM_RH_LOCKOUT
    pub(crate) lockout: bool,
}

/// A loaded session.
pub(crate) struct Session {
    /// sessionType
    pub(crate) kind: SessionType,
    /// authHash
    pub(crate) hash: HashAlg,
    /// symmetric
    pub(crate) symmetric: SymDef,
    /// nonceTPM
    pub(crate) nonce_tpm: Digest,
    /// sessionKey, empty when neither bound nor salted
    pub(crate) key: Secret<64>,
    /// bound entity
    pub(crate) binding: Option<Binding>,
    /// audit session digest, once used for audit
    pub(crate) audit: Option<Digest>,
    /// what a policy or trial session has collected
    pub(crate) policy: PolicyState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Active {
    Free,
    Loaded(usize),
    Saved(u64),
}

/// Which session handles are in use: what is left of sessions without power.
struct HandlesInUse {
    active: [Active; MAX_ACTIVE_SESSIONS],
    /// counter of the next saved session context
    counter: u64,
}

impl HandlesInUse {
    const NONE: Self = Self { active: [Active::Free; MAX_ACTIVE_SESSIONS], counter: 1 };

    fn set(&mut self, h: Handle, to: Active) {
        if let Some(active) = usize::try_from(h.index()).ok().and_then(|i| self.active.get_mut(i)) {
            *active = to;
        }
    }
}

/// All sessions: those loaded, and the context counters of those saved (Part 1, 8.6.4 and 27.5).
pub(crate) struct Sessions {
    loaded: [Option<Session>; MAX_LOADED_SESSIONS],
    in_use: Lasting<HandlesInUse>,
}

impl Sessions {
    /// No sessions.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self { loaded: [const { None }; MAX_LOADED_SESSIONS], in_use: Lasting::new(HandlesInUse::NONE) }
    }

    /// All sessions end, the saved ones, too.
    pub(crate) fn end(&mut self) {
        self.loaded.fill_with(|| None);
        *self.in_use.change() = HandlesInUse::NONE;
    }

    /// A count that is another after each change of which handles are in use.
    pub(crate) const fn changes(&self) -> u64 {
        self.in_use.changes()
    }

    /// _TPM_Init: what was loaded is lost, saved contexts may come back.
    pub(crate) fn power_off(&mut self) {
        self.loaded.fill_with(|| None);
        let active = &mut self.in_use.change().active;
        active.iter_mut().filter(|a| matches!(a, Active::Loaded(_))).for_each(|a| *a = Active::Free);
    }

    fn active(&self, h: Handle) -> Active {
        usize::try_from(h.index()).ok().and_then(|i| self.in_use.active.get(i)).copied().unwrap_or(Active::Free)
    }

    fn loaded_index(&self, h: Handle) -> Option<usize> {
        let Active::Loaded(slot) = self.active(h) else { return None };
        let session = self.loaded.get(slot)?.as_ref()?;
        (session.kind.first_handle().kind() == h.kind()).then_some(slot)
    }

    /// A loaded session.
    pub(crate) fn get(&self, h: Handle) -> Option<&Session> {
        self.loaded_index(h).and_then(|slot| self.loaded.get(slot)?.as_ref())
    }

    /// Whether a session with this number is loaded, but as one of the other type of handle.
    pub(crate) fn is_loaded_as_other_type(&self, h: Handle) -> bool {
        matches!(self.active(h), Active::Loaded(_)) && self.get(h).is_none()
    }

    /// A loaded session.
    pub(crate) fn get_mut(&mut self, h: Handle) -> Option<&mut Session> {
        let slot = self.loaded_index(h)?;
        self.loaded.get_mut(slot)?.as_mut()
    }

    /// Whether a session could be started now.
    ///
    /// - `SESSION_MEMORY`: no slot for a loaded session
    /// - `SESSION_HANDLES`: no handle is free
    /// - `CONTEXT_GAP`: the oldest saved session must be loaded or flushed first
    pub(crate) fn room(&self) -> Result<(), Rc> {
        if self.loaded.iter().all(Option::is_some) {
            return Err(Rc::SESSION_MEMORY);
        }
        if !self.in_use.active.contains(&Active::Free) {
            return Err(Rc::SESSION_HANDLES);
        }
        self.gap()
    }

    /// `CONTEXT_GAP` if another saved context would be too far from the oldest one.
    fn gap(&self) -> Result<(), Rc> {
        if self.in_use.counter < CONTEXT_GAP_MAX {
            return Ok(());
        }
        let saved = |a: &Active| if let Active::Saved(n) = a { Some(*n) } else { None };
        let oldest = self.in_use.active.iter().filter_map(saved).min();
        match oldest {
            Some(n) if self.in_use.counter.saturating_sub(n) >= CONTEXT_GAP_MAX => Err(Rc::CONTEXT_GAP),
            _ => Ok(()),
        }
    }

    /// Starts a session, for which the caller has asked for `room`.
    #[inline(always)]
    pub(crate) fn start(&mut self, session: Session) -> Result<Handle, Rc> {
        let index = self.in_use.active.iter().position(|a| *a == Active::Free).ok_or(Rc::SESSION_HANDLES)?;
        self.load_at(index, session)
    }

    #[inline(always)]
    fn load_at(&mut self, index: usize, session: Session) -> Result<Handle, Rc> {
        let slot = self.loaded.iter().position(Option::is_none).ok_or(Rc::SESSION_MEMORY)?;
        let handle = Handle(session.kind.first_handle().0 | u32::try_from(index).unwrap_or(0));
        let (Some(to), Some(active)) = (self.loaded.get_mut(slot), self.in_use.change().active.get_mut(index)) else {
            return Err(Rc::SESSION_HANDLES);
        };
        *to = Some(session);
        *active = Active::Loaded(slot);
        Ok(handle)
    }

    /// Flushes a loaded or saved session, of whichever type its handle says it is; false if there is none with this
    /// number.
    pub(crate) fn flush(&mut self, h: Handle) -> bool {
        match self.active(h) {
            Active::Free => return false,
            Active::Saved(_) => {}
            Active::Loaded(slot) => {
                if let Some(to) = self.loaded.get_mut(slot) {
                    *to = None;
                }
            }
        }
        self.in_use.change().set(h, Active::Free);
        true
    }

    /// The counter that the next saved context gets.
    ///
    /// - `CONTEXT_GAP`: the oldest saved session must be loaded or flushed first
    pub(crate) fn next_counter(&self) -> Result<u64, Rc> {
        self.gap().map(|()| self.in_use.counter)
    }

    /// Unloads a session whose context is saved: the context's counter.
    ///
    /// - `CONTEXT_GAP`: the oldest saved session must be loaded or flushed first
    pub(crate) fn save(&mut self, h: Handle) -> Result<(Session, u64), Rc> {
        self.gap()?;
        let slot = self.loaded_index(h).ok_or(Rc::reference_h(0))?;
        let session = self.loaded.get_mut(slot).and_then(Option::take).ok_or(Rc::reference_h(0))?;
        let in_use = self.in_use.change();
        let counter = in_use.counter;
        in_use.counter = in_use.counter.saturating_add(1);
        in_use.set(h, Active::Saved(counter));
        Ok((session, counter))
    }

    /// Whether a session with this handle is saved with this counter.
    pub(crate) fn is_saved(&self, h: Handle, counter: u64) -> bool {
        self.active(h) == Active::Saved(counter)
    }

    /// Loads a saved session again. The caller has checked that it is saved.
    ///
    /// - `SESSION_MEMORY`: no slot for a loaded session
    pub(crate) fn restore(&mut self, h: Handle, session: Session) -> Result<Handle, Rc> {
        self.load_at(usize::try_from(h.index()).unwrap_or(usize::MAX), session)
    }

    /// Handles of loaded sessions, ascending from `first`.
    pub(crate) fn loaded_handles(&self, first: Handle) -> impl Iterator<Item = Handle> + '_ {
        self.handles(first, |a| matches!(a, Active::Loaded(_)))
    }

    /// Handles of saved sessions, ascending from `first`; all with the type of an HMAC session, as the TPM no longer
    /// knows it.
    pub(crate) fn saved_handles(&self, first: Handle) -> impl Iterator<Item = Handle> + '_ {
        self.handles(first, |a| matches!(a, Active::Saved(_)))
    }

    fn handles(&self, first: Handle, test: fn(&Active) -> bool) -> impl Iterator<Item = Handle> + '_ {
        let kind = |a: &Active| match a {
            Active::Loaded(slot) => {
                self.loaded.get(*slot).and_then(Option::as_ref).map_or(SessionType::Hmac, |s| s.kind)
            }
            _ => SessionType::Hmac,
        };
        from(0)
            .zip(&self.in_use.active)
            .filter(move |(_, a)| test(a))
            .map(move |(i, a)| Handle(kind(a).first_handle().0 | i))
            .filter(move |h| h.index() >= first.index())
    }

    /// Numbers of loaded, saved, and free session handles.
    pub(crate) fn census(&self) -> (usize, usize, usize) {
        let that = |f: fn(&Active) -> bool| count(self.in_use.active.iter().filter(|a| f(a)));
        (
            that(|a| matches!(a, Active::Loaded(_))),
            that(|a| matches!(a, Active::Saved(_))),
            that(|a| *a == Active::Free),
        )
    }

    /// Every loaded slot is named by exactly one active handle and the other way round.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let loaded = count(self.loaded.iter().flatten());
        let (named, _, _) = self.census();
        let names_one =
            |a: &&Active| matches!(a, Active::Loaded(s) if self.loaded.get(*s).is_some_and(Option::is_some));
        let found = count(self.in_use.active.iter().filter(names_one));
        if loaded == named && named == found { Ok(()) } else { Err(Fault::Sessions) }
    }
}
