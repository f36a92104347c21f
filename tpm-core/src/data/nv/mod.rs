//! NV Indices and where their contents are (Part 1, 34).

mod index;
mod places;
mod provided;
mod stored;

use crate::crypto::hash::Hasher;
use crate::fault::Fault;
use crate::profile;
use crate::rc::Rc;
use crate::wire::{Auth, Handle, NvAttributes, NvPublic, NvType};
use heapless::Vec;
pub(crate) use index::NvIndex;
use places::Places;
use provided::ProvidedIndices;

/// All indices in the order of their handles, and their contents without gaps.
pub(crate) struct NvMemory {
    indices: Vec<NvIndex, { profile::MAX_NV_INDICES }>,
    places: Places,
    data: [u8; profile::NV_MEMORY_SIZE],
    used: usize,
    /// indices whose contents the platform has: no part of the state
    provided: ProvidedIndices,
    /// the greatest value that a counter which is no longer there has had
    greatest_count: u64,
}

/// What an octet of an ordinary index in NV memory is that has not been written while others have; in RAM it is zero,
/// and in a PIN index (Part 1, 34.2.6.6), where a pinLimit of ones would be no limit.
const UNWRITTEN: u8 = 0xff;

/// So many indices are a few.
const FEW: usize = 4;

impl NvMemory {
    /// No index.
    #[inline(always)]
    pub(crate) const fn new() -> Self {
        Self {
            indices: Vec::new(),
            places: Places::new(0),
            data: [0; profile::NV_MEMORY_SIZE],
            used: 0,
            provided: ProvidedIndices::new(),
            greatest_count: 0,
        }
    }

    /// Looks for indices with a hash that goes by this number: see [`Places`].
    pub(crate) fn hash_by(&mut self, key: u64) {
        self.places = Places::new(key);
        self.note_places();
    }

    fn note_places(&mut self) {
        self.places.set(self.indices.iter().map(|i| i.public.index));
    }

    fn place(&self, h: Handle) -> Option<usize> {
        self.places.find(h, |n| self.indices.get(n).filter(|i| i.public.index == h).map(|_| n))
    }

    /// The index with this handle.
    #[inline]
    pub(crate) fn get(&self, h: Handle) -> Option<&NvIndex> {
        self.stored(h).or_else(|| self.provided.get(h))
    }

    /// The index with this handle, if its contents are here. A few are looked at one by one, which is quicker than to
    /// look for one.
    #[inline]
    fn stored(&self, h: Handle) -> Option<&NvIndex> {
        match self.indices.as_slice() {
            few if few.len() <= FEW => few.iter().find(|i| i.public.index == h),
            _ => self.get_of_many(h),
        }
    }

    // Not in line, so that what calls `stored` is no longer for it.
    #[inline(never)]
    fn get_of_many(&self, h: Handle) -> Option<&NvIndex> {
        self.places.find(h, |n| self.indices.get(n).filter(|i| i.public.index == h))
    }

    fn get_mut(&mut self, h: Handle) -> Option<&mut NvIndex> {
        let place = self.place(h)?;
        self.indices.get_mut(place)
    }

    /// All indices, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &NvIndex> {
        let (mut stored, mut provided) = (self.indices.iter().peekable(), self.provided.iter().peekable());
        core::iter::from_fn(move || match (stored.peek(), provided.peek()) {
            (Some(one), Some(other)) if one.public.index < other.public.index => stored.next(),
            (Some(_), None) => stored.next(),
            (_, _) => provided.next(),
        })
    }

    /// Contents of an index that has them here; empty if there is none.
    pub(crate) fn data(&self, h: Handle) -> &[u8] {
        self.stored(h).map(|i| self.contents(i)).unwrap_or_default()
    }

    fn contents(&self, index: &NvIndex) -> &[u8] {
        let rest = self.data.get(index.offset..);
        rest.and_then(|rest| rest.get(..index.public.data_size.into())).unwrap_or_default()
    }

    fn data_mut(&mut self, h: Handle) -> &mut [u8] {
        let Some((offset, size)) = self.stored(h).map(|i| (i.offset, usize::from(i.public.data_size))) else {
            return &mut [];
        };
        self.data.get_mut(offset..).and_then(|rest| rest.get_mut(..size)).unwrap_or_default()
    }

    fn is_written(&self, h: Handle) -> bool {
        self.stored(h).is_some_and(|i| i.public.attributes.has(NvAttributes::WRITTEN))
    }

    /// Another authValue for an index.
    pub(crate) fn set_auth(&mut self, h: Handle, auth: Auth) {
        if let Some(index) = self.get_mut(h) {
            index.auth = auth;
        }
    }

    /// SETs attributes of an index.
    pub(crate) fn set_attributes(&mut self, h: Handle, attributes: NvAttributes) {
        if let Some(index) = self.get_mut(h) {
            index.public.attributes = index.public.attributes.with(attributes);
        }
    }

    /// Writes into an ordinary index; nothing if that is not within it.
    pub(crate) fn write(&mut self, h: Handle, offset: usize, bytes: &[u8]) {
        let Some(index) = self.place(h).and_then(|place| self.indices.get_mut(place)) else { return };
        let (attributes, size) = (index.public.attributes, index.public.data_size.into());
        let contents = self.data.get_mut(index.offset..).and_then(|rest| rest.get_mut(..size)).unwrap_or_default();
        if !attributes.has(NvAttributes::WRITTEN) {
            let erased = attributes.nv_type() == Some(NvType::Ordinary) && !attributes.has(NvAttributes::ORDERLY);
            contents.fill(if erased { UNWRITTEN } else { 0 });
        }
        if let Some(to) = contents.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len())) {
            to.copy_from_slice(bytes);
        }
        index.public.attributes = attributes.with(NvAttributes::WRITTEN);
    }

    /// The number in a counter or bit field.
    pub(crate) fn number(&self, h: Handle) -> u64 {
        number(self.data(h))
    }

    /// The greatest value that any counter has or had.
    fn greatest_count(&self) -> u64 {
        let counters = self.indices.iter().filter(|i| i.public.attributes.nv_type() == Some(NvType::Counter));
        counters.map(|i| number(self.contents(i))).fold(self.greatest_count, u64::max)
    }

    /// Counts a counter up by one; when it is first used, from the greatest value that any counter has or had.
    pub(crate) fn increment(&mut self, h: Handle) {
        let old = if self.is_written(h) { self.number(h) } else { self.greatest_count() };
        self.write(h, 0, &old.saturating_add(1).to_be_bytes());
    }

    /// SETs bits of a bit field.
    pub(crate) fn set_bits(&mut self, h: Handle, bits: u64) {
        let old = if self.is_written(h) { self.number(h) } else { 0 };
        self.write(h, 0, &(old | bits).to_be_bytes());
    }

    /// H(old ‖ data) in an extend index, whose first old value is a Zero Digest.
    pub(crate) fn extend(&mut self, h: Handle, data: &[u8]) {
        let Some(alg) = self.stored(h).map(|i| i.public.name_alg) else { return };
        if !self.is_written(h) {
            self.data_mut(h).fill(0);
        }
        let digest = Hasher::new(alg).chain(self.data(h)).chain(data).finish();
        self.write(h, 0, digest.as_slice());
    }

    /// Octets that further indices may have.
    pub(crate) fn free(&self) -> usize {
        profile::NV_MEMORY_SIZE.saturating_sub(self.used)
    }

    /// How many more indices may be defined.
    pub(crate) fn room(&self) -> usize {
        profile::MAX_NV_INDICES.saturating_sub(self.indices.len())
    }

    /// Whether an index can be defined.
    ///
    /// - `NV_DEFINED`: the handle is in use
    /// - `NV_SPACE`: no room for contents or for an index
    pub(crate) fn check_room(&self, public: &NvPublic) -> Result<(), Rc> {
        if self.get(public.index).is_some() {
            return Err(Rc::NV_DEFINED);
        }
        if self.room() == 0 || self.free() < public.data_size.into() { Err(Rc::NV_SPACE) } else { Ok(()) }
    }

    /// Defines an index, its contents zero.
    ///
    /// - what [`NvMemory::check_room`] says
    pub(crate) fn define(&mut self, public: NvPublic, auth: Auth) -> Result<(), Rc> {
        self.check_room(&public)?;
        let size = usize::from(public.data_size);
        let at = self.indices.partition_point(|i| i.public.index < public.index);
        let offset = self.used;
        let contents = self.data.get_mut(offset..).and_then(|rest| rest.get_mut(..size)).ok_or(Rc::NV_SPACE)?;
        self.indices.insert(at, NvIndex { public, auth, offset }).map_err(|_| Rc::NV_SPACE)?;
        contents.fill(0);
        self.used = self.used.saturating_add(size);
        self.note_places();
        Ok(())
    }

    /// Defines an index whose contents the platform has, or changes the size of one.
    ///
    /// - `NV_DEFINED`: the handle is that of an index whose contents are here
    /// - `NV_SPACE`: no room for one more
    pub(crate) fn provide(&mut self, public: NvPublic) -> Result<(), Rc> {
        if self.stored(public.index).is_some() {
            return Err(Rc::NV_DEFINED);
        }
        self.provided.set(NvIndex { public, auth: Auth::new(), offset: 0 })
    }

    /// Octets of an index whose contents the platform has.
    pub(crate) fn provided_size(&self, h: Handle) -> Option<usize> {
        self.provided.get(h).map(|i| i.public.data_size.into())
    }

    /// Deletes an index; what lies behind its contents moves up. A counter's value is remembered.
    pub(crate) fn undefine(&mut self, h: Handle) {
        self.provided.remove(h);
        self.greatest_count = self.greatest_count();
        // That it is there nothing shows the compiler.
        let Some(at) = self.place(h).filter(|at| *at < self.indices.len()) else { return };
        let gone = self.indices.remove(at);
        self.note_places();
        let size = usize::from(gone.public.data_size);
        if let Some(space) = self.data.get_mut(gone.offset..self.used).filter(|space| space.len() >= size) {
            space.copy_within(size.., 0);
        }
        self.used = self.used.saturating_sub(size);
        if let Some(tail) = self.data.get_mut(self.used..).and_then(|rest| rest.get_mut(..size)) {
            tail.fill(0);
        }
        for index in self.indices.iter_mut().filter(|i| i.offset > gone.offset) {
            index.offset = index.offset.saturating_sub(size);
        }
    }

    /// TPM Restart (Part 3, 9.3.1): locks for the time until now end, and indices with CLEAR_STCLEAR become unwritten.
    pub(crate) fn restart(&mut self) {
        self.startup_clear(|_| false);
    }

    /// TPM Reset: as TPM Restart, and all ORDERLY indices but counters become unwritten. If no TPM2_Shutdown came
    /// before, an ORDERLY counter goes on from the greatest value that it may have had since it was last saved.
    pub(crate) fn reset(&mut self, orderly: bool) {
        self.startup_clear(|a| a.has(NvAttributes::ORDERLY) && a.nv_type() != Some(NvType::Counter));
        if orderly {
            return;
        }
        for at in 0..self.indices.len() {
            let Some(public) = self.indices.get(at).map(|i| i.public) else { continue };
            let hybrid = public.attributes.has(NvAttributes::ORDERLY.with(NvAttributes::WRITTEN));
            if hybrid && public.attributes.nv_type() == Some(NvType::Counter) {
                let count = self.number(public.index) | profile::MAX_ORDERLY_COUNT;
                self.write(public.index, 0, &count.to_be_bytes());
            }
        }
    }

    fn startup_clear(&mut self, forgets: impl Fn(NvAttributes) -> bool) {
        for index in &mut self.indices {
            let mut a = index.public.attributes.without(NvAttributes::READLOCKED);
            if forgets(a) || a.has(NvAttributes::CLEAR_STCLEAR) {
                a = a.without(NvAttributes::WRITTEN);
            }
            if !a.has(NvAttributes::WRITEDEFINE.with(NvAttributes::WRITTEN)) {
                a = a.without(NvAttributes::WRITELOCKED);
            }
            index.public.attributes = a;
        }
    }

    /// TPM2_NV_GlobalWriteLock: locks all indices that have TPMA_NV_GLOBALLOCK.
    pub(crate) fn lock_globally(&mut self) {
        let locked = self.indices.iter_mut().filter(|i| i.public.attributes.has(NvAttributes::GLOBALLOCK));
        locked.for_each(|i| i.public.attributes = i.public.attributes.with(NvAttributes::WRITELOCKED));
    }

    /// Contents lie side by side, within what is used, handles ascend, and each is found.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        let total = self.indices.iter().fold(0, |total: usize, i| total.saturating_add(i.public.data_size.into()));
        if total != self.used || self.used > profile::NV_MEMORY_SIZE {
            return Err(Fault::NvSpace);
        }
        if self.indices.iter().any(|i| i.offset.saturating_add(i.public.data_size.into()) > self.used) {
            return Err(Fault::NvPlace);
        }
        if !self.indices.windows(2).all(|w| matches!(w, [a, b] if a.public.index < b.public.index)) {
            return Err(Fault::NvOrder);
        }
        if !(0..).zip(&self.indices).all(|(n, i)| self.place(i.public.index) == Some(n)) {
            return Err(Fault::NvTable);
        }
        if !self.indices.iter().all(|i| i.public.size_suits()) {
            return Err(Fault::NvType);
        }
        if !self.provided.is_ordered() || self.provided.iter().any(|i| self.stored(i.public.index).is_some()) {
            return Err(Fault::NvOrder);
        }
        Ok(())
    }
}

/// The number in the contents of a counter or bit field.
fn number(contents: &[u8]) -> u64 {
    contents.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
