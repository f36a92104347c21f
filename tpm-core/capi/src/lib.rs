//! The engine for programs in C: `include/quoin.h` says what each function does, and which rules its callers keep.
//!
//! Here is nothing but the border: pointers become references, panics become errors, and the rest is [`tpm_core`]. All
//! `unsafe` of it is in this file; each rests on the header's rules, and on the flag by which one call at a time has a
//! TPM.
#![expect(clippy::missing_safety_doc, reason = "the rules are the header's")]

mod error;

use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int, c_void};
use core::fmt::{self, Write};
use core::panic::AssertUnwindSafe;
use core::sync::atomic::{AtomicBool, Ordering};
use core::{mem, ptr, slice};
use error::Error;
use std::panic::catch_unwind;
use tpm_core::profile::{MAX_COMMAND_SIZE, MAX_RESPONSE_SIZE};
use tpm_core::{
    Clock, Entropy, EntropyFailure, Fault, Generation, Hooks, Locality, MAX_STATE_SIZE, StateError, StateForm, Tpm,
};

/// `quoin_platform`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct QuoinPlatform {
    context: *mut c_void,
    entropy: Option<unsafe extern "C" fn(context: *mut c_void, out: *mut u8, length: usize) -> c_int>,
    now_ms: Option<unsafe extern "C" fn(context: *mut c_void) -> u64>,
}

/// The platform's entropy.
struct Source(QuoinPlatform);

impl Entropy for Source {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyFailure> {
        let fill = self.0.entropy.ok_or(EntropyFailure)?;
        // SAFETY: the header asks for a function of this type that writes no more than it is told; `out` is ours alone.
        let status = unsafe { fill(self.0.context, out.as_mut_ptr(), out.len()) };
        if status == 0 { Ok(()) } else { Err(EntropyFailure) }
    }
}

/// The platform's time.
struct Time(QuoinPlatform);

impl Clock for Time {
    fn now_ms(&mut self) -> u64 {
        // SAFETY: the header asks for a function of this type.
        self.0.now_ms.map_or(0, |now_ms| unsafe { now_ms(self.0.context) })
    }
}

/// What one call at a time has.
struct Inner {
    tpm: Box<Tpm>,
    entropy: Source,
    clock: Time,
    saved: Option<Generation>,
}

impl Inner {
    fn with_hooks<T>(&mut self, call: impl FnOnce(&mut Tpm, &mut Hooks<'_>) -> T) -> T {
        let Self { tpm, entropy, clock, .. } = self;
        call(tpm, &mut Hooks { entropy, clock })
    }
}

/// `quoin_tpm`.
pub struct QuoinTpm {
    /// A call has it.
    busy: AtomicBool,
    canceled: AtomicBool,
    inner: UnsafeCell<Inner>,
}

/// A call for a TPM, which nobody else has meanwhile.
///
/// # Safety
/// `tpm` is NULL, or came from `quoin_create` and has not been destroyed.
unsafe fn call(tpm: *const QuoinTpm, work: impl FnOnce(&mut Inner, &AtomicBool) -> Result<(), Error>) -> c_int {
    // SAFETY: see above; nobody ever makes a `&mut QuoinTpm`.
    let Some(tpm) = (unsafe { tpm.as_ref() }) else { return Error::Argument as c_int };
    if tpm.busy.swap(true, Ordering::Acquire) {
        return Error::Busy as c_int;
    }
    // SAFETY: `busy` was clear, so no other call is between here and the store below.
    let inner = unsafe { &mut *tpm.inner.get() };
    let outcome = guarded(inner, |inner| work(inner, &tpm.canceled));
    tpm.busy.store(false, Ordering::Release);
    outcome.err().unwrap_or(Error::Ok) as c_int
}

/// No panic crosses the border. The engine has none; if it had, nobody would know what its TPM is like.
fn guarded(inner: &mut Inner, work: impl FnOnce(&mut Inner) -> Result<(), Error>) -> Result<(), Error> {
    catch_unwind(AssertUnwindSafe(|| work(inner))).unwrap_or_else(|panic| {
        // What was thrown might panic again when it is dropped.
        mem::forget(panic);
        inner.tpm.enter_failure_mode();
        Err(Error::Fault)
    })
}

/// A caller's octets. None are wanted of a NULL that has none.
///
/// # Safety
/// `data` is NULL, or has `length` octets that nobody writes to during the call.
unsafe fn octets<'a>(data: *const u8, length: usize) -> Result<&'a [u8], Error> {
    match (data.is_null(), length) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(Error::Argument),
        (_, length) if isize::try_from(length).is_err() => Err(Error::Argument),
        // SAFETY: see above; no object is longer than `isize::MAX`.
        (false, length) => Ok(unsafe { slice::from_raw_parts(data, length) }),
    }
}

/// A caller's buffer, of which no more than `most` octets are looked at.
///
/// # Safety
/// `data` is NULL, or has `room` octets that nobody else touches during the call.
unsafe fn buffer<'a>(data: *mut u8, room: usize, most: usize) -> Result<&'a mut [u8], Error> {
    match (data.is_null(), room.min(most)) {
        (_, 0) => Ok(&mut []),
        (true, _) => Err(Error::Argument),
        // SAFETY: see above; `most` is small.
        (false, room) => Ok(unsafe { slice::from_raw_parts_mut(data, room) }),
    }
}

/// Writes to where a caller wants it.
///
/// # Safety
/// `out` is NULL, or has room for a `T`.
unsafe fn put<T>(out: *mut T, value: T) -> Result<(), Error> {
    if out.is_null() {
        return Err(Error::Argument);
    }
    // SAFETY: see above; the value has no destructor that would be left out.
    unsafe { out.write_unaligned(value) };
    Ok(())
}

/// Whether two of a caller's buffers have octets in common.
fn overlap(one: *const u8, length: usize, other: *const u8, room: usize) -> bool {
    let (one, other) = (one.addr(), other.addr());
    one < other.saturating_add(room) && other < one.saturating_add(length)
}

/// `quoin_version`
#[unsafe(no_mangle)]
pub extern "C" fn quoin_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// `quoin_error_words`
#[unsafe(no_mangle)]
pub extern "C" fn quoin_error_words(error: c_int) -> *const c_char {
    error::words(error).as_ptr()
}

/// `quoin_max_command_size`
#[unsafe(no_mangle)]
pub extern "C" fn quoin_max_command_size() -> usize {
    MAX_COMMAND_SIZE
}

/// `quoin_max_response_size`
#[unsafe(no_mangle)]
pub extern "C" fn quoin_max_response_size() -> usize {
    MAX_RESPONSE_SIZE
}

/// `quoin_max_state_size`
#[unsafe(no_mangle)]
pub extern "C" fn quoin_max_state_size() -> usize {
    MAX_STATE_SIZE
}

/// `quoin_create`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_create(platform: *const QuoinPlatform, out: *mut *mut QuoinTpm) -> c_int {
    // SAFETY: the header asks for a place for a pointer.
    if unsafe { put(out, ptr::null_mut()) }.is_err() || platform.is_null() {
        return Error::Argument as c_int;
    }
    // SAFETY: the header asks for a platform; it is copied.
    let platform = unsafe { platform.read_unaligned() };
    if platform.entropy.is_none() || platform.now_ms.is_none() {
        return Error::Argument as c_int;
    }
    let made = catch_unwind(|| {
        let inner =
            Inner { tpm: Box::new(Tpm::blank()), entropy: Source(platform), clock: Time(platform), saved: None };
        let (busy, canceled) = (AtomicBool::new(false), AtomicBool::new(false));
        Box::into_raw(Box::new(QuoinTpm { busy, canceled, inner: UnsafeCell::new(inner) }))
    });
    let Ok(tpm) = made.map_err(mem::forget) else { return Error::Fault as c_int };
    // SAFETY: as above.
    unsafe { put(out, tpm) }.err().unwrap_or(Error::Ok) as c_int
}

/// `quoin_destroy`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_destroy(tpm: *mut QuoinTpm) {
    if !tpm.is_null() {
        // SAFETY: it came from `quoin_create`, is destroyed once, and no call for it is going on.
        let tpm = unsafe { Box::from_raw(tpm) };
        let _ = catch_unwind(AssertUnwindSafe(|| drop(tpm))).map_err(mem::forget);
    }
}

/// `quoin_manufacture`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_manufacture(tpm: *mut QuoinTpm) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        inner.saved = None;
        inner.with_hooks(|tpm, hooks| tpm.manufacture(hooks)).map_err(|_| Error::Entropy)
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_restore`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_restore(tpm: *mut QuoinTpm, state: *const u8, length: usize) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        // SAFETY: the header asks for `length` octets.
        let state = unsafe { octets(state, length) }?;
        inner.saved = None;
        inner.with_hooks(|tpm, hooks| tpm.import(state, hooks))?;
        inner.saved = Some(inner.tpm.generation());
        Ok(())
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_save`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_save(
    tpm: *mut QuoinTpm,
    form: c_int,
    out: *mut u8,
    room: usize,
    length: *mut usize,
) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        let form = match form {
            0 => StateForm::PoweredOff,
            1 => StateForm::Whole,
            _ => return Err(Error::Argument),
        };
        // SAFETY: the header asks for a place for a number.
        unsafe { put(length, 0) }?;
        // SAFETY: the header asks for `room` octets, which are the caller's alone.
        let out = unsafe { buffer(out, room, MAX_STATE_SIZE) }?;
        let (octets, outcome) = match inner.tpm.export(form, out) {
            Ok(octets) => (octets, Ok(())),
            Err(StateError::Room(octets)) => (octets, Err(Error::Room)),
            Err(error) => (0, Err(error.into())),
        };
        if outcome.is_ok() {
            inner.saved = Some(inner.tpm.generation());
        }
        // SAFETY: as above.
        unsafe { put(length, octets) }?;
        outcome
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_is_saved`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_is_saved(tpm: *mut QuoinTpm, answer: *mut c_int) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        let saved = inner.saved.as_ref().is_some_and(|saved| *saved == inner.tpm.generation());
        // SAFETY: the header asks for a place for a number.
        unsafe { put(answer, c_int::from(saved)) }
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_execute`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_execute(
    tpm: *mut QuoinTpm,
    locality: u8,
    command: *const u8,
    length: usize,
    response: *mut u8,
    room: usize,
    answered: *mut usize,
) -> c_int {
    let work = |inner: &mut Inner, canceled: &AtomicBool| {
        // SAFETY: the header asks for a place for a number.
        unsafe { put(answered, 0) }?;
        let locality = Locality::new(locality).ok_or(Error::Argument)?;
        if room < MAX_RESPONSE_SIZE {
            return Err(Error::Room);
        }
        if overlap(command, length, response, room) {
            return Err(Error::Argument);
        }
        // SAFETY: the header asks for `length` octets, apart from the response's.
        let command = unsafe { octets(command, length) }?;
        // SAFETY: the header asks for `room` octets, which are the caller's alone.
        let response = unsafe { buffer(response, room, MAX_RESPONSE_SIZE) }?;
        // What came before is too late for the last command, and too early for this one.
        canceled.store(false, Ordering::Relaxed);
        let octets = inner.with_hooks(|tpm, hooks| tpm.execute_unless(hooks, locality, command, response, canceled));
        // SAFETY: as above.
        unsafe { put(answered, octets) }
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_cancel`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_cancel(tpm: *mut QuoinTpm) {
    // SAFETY: the header's rule for `tpm`; another call may have it, so no more than a shared reference is made.
    if let Some(tpm) = unsafe { tpm.cast_const().as_ref() } {
        tpm.canceled.store(true, Ordering::Relaxed);
    }
}

/// `quoin_init`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_init(tpm: *mut QuoinTpm) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        inner.with_hooks(|tpm, hooks| tpm.init(hooks));
        Ok(())
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_shut_down`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_shut_down(tpm: *mut QuoinTpm) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        inner.with_hooks(|tpm, hooks| tpm.shut_down(hooks));
        Ok(())
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_set_physical_presence`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_set_physical_presence(tpm: *mut QuoinTpm, asserted: c_int) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        inner.tpm.set_physical_presence(asserted != 0);
        Ok(())
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_set_buffer_size`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_set_buffer_size(tpm: *mut QuoinTpm, octets: usize) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        inner.tpm.set_buffer_size(octets);
        Ok(())
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_hash_start`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_hash_start(tpm: *mut QuoinTpm) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        inner.tpm.hash_start();
        Ok(())
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_hash_data`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_hash_data(tpm: *mut QuoinTpm, data: *const u8, length: usize) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        // SAFETY: the header asks for `length` octets.
        inner.tpm.hash_data(unsafe { octets(data, length) }?);
        Ok(())
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_hash_end`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_hash_end(tpm: *mut QuoinTpm, ended: *mut c_int) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        // SAFETY: the header asks for a place for a number.
        unsafe { put(ended, 0) }?;
        let done = inner.tpm.hash_end();
        // SAFETY: as above.
        unsafe { put(ended, c_int::from(done)) }
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// `quoin_fault`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_fault(tpm: *mut QuoinTpm, number: *mut u16) -> c_int {
    let work = |inner: &mut Inner, _: &AtomicBool| {
        // SAFETY: the header asks for a place for a number.
        unsafe { put(number, inner.tpm.fault().map_or(0, Fault::number)) }
    };
    // SAFETY: the header's rule for `tpm`.
    unsafe { call(tpm, work) }
}

/// Writes what there is room for, and counts the rest.
struct Counted<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl Write for Counted<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.out.get_mut(self.length..).unwrap_or_default();
        free.iter_mut().zip(text.bytes()).for_each(|(to, octet)| *to = octet);
        self.length = self.length.saturating_add(text.len());
        Ok(())
    }
}

/// `quoin_fault_words`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn quoin_fault_words(number: u16, out: *mut c_char, room: usize) -> usize {
    /// More than is ever said.
    const MOST: usize = 1024;
    // SAFETY: the header asks for `room` octets, which are the caller's alone.
    let Ok(out) = (unsafe { buffer(out.cast(), room, MOST) }) else { return 0 };
    let Some((end, text)) = out.split_last_mut() else { return counted(number, &mut []) };
    let length = counted(number, text);
    text.get_mut(length).unwrap_or(end).clone_from(&0);
    length
}

fn counted(number: u16, out: &mut [u8]) -> usize {
    let mut counted = Counted { out, length: 0 };
    Fault::from_number(number).map_or(0, |fault| write!(counted, "{fault}").map_or(0, |()| counted.length))
}

#[cfg(test)]
mod tests;
