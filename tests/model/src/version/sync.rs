//! The firmware's locks, as the explorer has them.

use core::cell::{RefCell, RefMut};
use core::ops::{Deref, DerefMut};

use super::attest::Reports;
use super::mm::ownership;
use super::svsm::Tpm;
use super::svsm::vcpus::{Guest, NoPlace};
use crate::engine::{self, Lock};
use crate::hardware::{Owner, Rule, World};

/// A lock with a name.
pub struct Mutex<T: ?Sized> {
    name: Lock,
    value: RefCell<T>,
}

/// The lock is held.
pub struct MutexGuard<'a, T: ?Sized + Protected> {
    name: Lock,
    value: Option<RefMut<'a, T>>,
}

impl<T> Mutex<T> {
    /// What the lock protects.
    pub fn new(name: Lock, value: T) -> Mutex<T> {
        Mutex { name, value: RefCell::new(value) }
    }
}

impl<T: ?Sized + Protected> Mutex<T> {
    /// Waits for it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        engine::acquire(self.name);
        MutexGuard { name: self.name, value: Some(self.value.borrow_mut()) }
    }

    /// Takes it if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        engine::try_acquire(self.name).then(|| MutexGuard { name: self.name, value: Some(self.value.borrow_mut()) })
    }
}

impl<T: ?Sized + Protected> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.value.as_ref().expect("the value is there up to the end")
    }
}

impl<T: ?Sized + Protected> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("the value is there up to the end")
    }
}

impl<T: ?Sized + Protected> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(mut value) = self.value.take() {
            engine::release(self.name, |world| value.settle(world));
        }
    }
}

/// What a lock protects.
pub trait Protected {
    /// Checks it when the lock is freed, and gives all of it that whoever has the lock next can see, as a hash: what a
    /// processor does must follow from what it has seen.
    fn settle(&mut self, world: &mut World) -> Rule<u64>;
}

impl Protected for Guest {
    fn settle(&mut self, world: &mut World) -> Rule<u64> {
        let map = world.settle(|gpa| match self.map.owner(gpa) {
            ownership::Owner::Guest => Owner::Guest,
            ownership::Owner::Unvalidated => Owner::Unvalidated,
            ownership::Owner::Vmsa => Owner::Vmsa,
            ownership::Owner::Firmware => Owner::Firmware,
            ownership::Owner::Poisoned | ownership::Owner::Unbacked => Owner::Nobody,
        })?;
        // What is being served is known by how far its processor has come; whether the firmware runs there is not.
        let vcpus: Vec<_> = (0..)
            .take(crate::hardware::MAX_PROCESSORS)
            .map(|apic_id| self.calling(apic_id).map(|vcpu| (vcpu.vmsa, vcpu.calling_area)))
            .collect();
        let places: Vec<_> = (0..)
            .take(crate::hardware::MAX_PROCESSORS)
            .map(|apic_id| self.place(apic_id).err().filter(|why| *why != NoPlace::Serving).map(|why| why as u8))
            .collect();
        Ok(core::hash::Hasher::finish(&map.with(&vcpus).with(&places).with(&self.map.deposited())))
    }
}

impl Protected for dyn Tpm + '_ {
    fn settle(&mut self, _: &mut World) -> Rule<u64> {
        Ok(0)
    }
}

impl Protected for dyn Reports + '_ {
    fn settle(&mut self, _: &mut World) -> Rule<u64> {
        Ok(0)
    }
}
