//! What no program in C can show: a panic, and misuse that is answered.

use super::{
    Error, Inner, QuoinPlatform, QuoinTpm, call, error, overlap, quoin_create, quoin_destroy, quoin_error_words,
    quoin_execute, quoin_fault, quoin_fault_words, quoin_init, quoin_manufacture, quoin_max_response_size, quoin_save,
};
use core::ffi::{CStr, c_int, c_void};
use core::ptr;
use std::collections::BTreeSet;
use tpm_core::Fault;

unsafe extern "C" fn entropy(_: *mut c_void, out: *mut u8, length: usize) -> c_int {
    // SAFETY: the engine gives a buffer of that length.
    unsafe { ptr::write_bytes(out, 0x5a, length) };
    0
}

unsafe extern "C" fn now_ms(_: *mut c_void) -> u64 {
    0
}

const PLATFORM: QuoinPlatform =
    QuoinPlatform { context: ptr::null_mut(), entropy: Some(entropy), now_ms: Some(now_ms) };

/// A TPM that is destroyed at the end.
struct Owned(*mut QuoinTpm);

impl Owned {
    fn new() -> Self {
        let mut tpm = ptr::null_mut();
        // SAFETY: both are places of ours.
        assert_eq!(unsafe { quoin_create(&PLATFORM, &mut tpm) }, 0);
        // SAFETY: it has just been created.
        assert_eq!(unsafe { quoin_manufacture(tpm) }, 0);
        Self(tpm)
    }

    fn fault(&self) -> u16 {
        let mut number = 0;
        // SAFETY: it has not been destroyed.
        assert_eq!(unsafe { quoin_fault(self.0, &mut number) }, 0);
        number
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it is destroyed here alone.
        unsafe { quoin_destroy(self.0) };
    }
}

#[test]
fn a_panic_is_an_error_and_the_tpm_fails_until_its_reset() {
    let tpm = Owned::new();
    assert_eq!(tpm.fault(), 0);
    // SAFETY: it has not been destroyed.
    let outcome = unsafe { call(tpm.0, |_: &mut Inner, _| panic!("a mistake of the library")) };
    assert_eq!(outcome, Error::Fault as c_int);
    assert_eq!(tpm.fault(), Fault::Platform.number());
    // SAFETY: as above.
    assert_eq!(unsafe { quoin_init(tpm.0) }, 0);
    assert_eq!(tpm.fault(), 0, "and it is no longer busy");
}

#[test]
fn a_call_within_a_call_is_busy() {
    let tpm = Owned::new();
    let within = || {
        // SAFETY: it has not been destroyed; that a call has it is the point.
        unsafe { quoin_init(tpm.0) }
    };
    let mut second = None;
    // SAFETY: as above.
    let first = unsafe {
        call(tpm.0, |_: &mut Inner, _| {
            second = Some(within());
            Ok(())
        })
    };
    assert_eq!((first, second), (0, Some(Error::Busy as c_int)));
    assert_eq!(within(), 0);
}

#[test]
fn buffers_that_overlap_are_refused() {
    let tpm = Owned::new();
    let room = quoin_max_response_size();
    let mut octets = vec![0u8; room + 20];
    let mut answered = 7;
    let start = octets.as_mut_ptr();
    for at in [0, 9, room - 1] {
        // SAFETY: all lies within `octets`; that parts of it overlap is the point, and no reference to it is made.
        let outcome = unsafe { quoin_execute(tpm.0, 0, start.add(at), 10, start, room, &mut answered) };
        assert_eq!((outcome, answered), (Error::Argument as c_int, 0), "{at}");
    }
    // SAFETY: as above, apart.
    let outcome = unsafe { quoin_execute(tpm.0, 0, start.add(room), 10, start, room, &mut answered) };
    assert_eq!((outcome, answered), (0, 10));
    let at = |n: usize| ptr::without_provenance::<u8>(n);
    assert!(!overlap(at(10), 0, at(5), 5) && !overlap(at(10), 5, at(15), 5) && overlap(at(10), 6, at(15), 5));
    assert!(overlap(at(usize::MAX - 3), usize::MAX, at(usize::MAX - 1), usize::MAX));
}

#[test]
fn null_is_refused_wherever_it_stands() {
    let tpm = Owned::new();
    let argument = Error::Argument as c_int;
    let (null, room) = (ptr::null_mut(), quoin_max_response_size());
    let (mut out, mut length) = (vec![0u8; room], 0);
    // SAFETY: each pointer is NULL or a place of ours.
    unsafe {
        assert_eq!(quoin_manufacture(ptr::null_mut()), argument);
        assert_eq!(quoin_execute(tpm.0, 0, ptr::null(), 10, out.as_mut_ptr(), room, &mut length), argument);
        assert_eq!(quoin_execute(tpm.0, 0, ptr::null(), 0, out.as_mut_ptr(), room, &mut length), 0);
        assert_eq!(quoin_execute(tpm.0, 0, ptr::null(), 0, null, room, &mut length), argument);
        assert_eq!(quoin_execute(tpm.0, 0, ptr::null(), 0, out.as_mut_ptr(), room, ptr::null_mut()), argument);
        assert_eq!(quoin_save(tpm.0, 0, null, 10, &mut length), argument);
        assert_eq!(quoin_create(ptr::null(), &mut ptr::null_mut()), argument);
        assert_eq!(quoin_create(&PLATFORM, ptr::null_mut()), argument);
        for platform in [QuoinPlatform { entropy: None, ..PLATFORM }, QuoinPlatform { now_ms: None, ..PLATFORM }] {
            assert_eq!(quoin_create(&platform, &mut ptr::null_mut()), argument);
        }
        quoin_destroy(ptr::null_mut());
        super::quoin_cancel(ptr::null_mut());
    }
}

#[test]
fn each_error_has_words_of_its_own_and_stands_in_the_header() {
    let header = include_str!("../include/quoin.h");
    let mut said = BTreeSet::new();
    for error in error::ALL {
        let number = *error as c_int;
        let mut name = String::new();
        for letter in format!("{error:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.extend(letter.to_uppercase());
        }
        assert!(header.contains(&format!("QUOIN_{name} = {number}")), "{name}");
        said.insert(error::words(number));
    }
    assert_eq!(said.len(), error::ALL.len());
    // SAFETY: they are texts of the library's.
    let words = [-1, 13, c_int::MAX].map(|number| unsafe { CStr::from_ptr(quoin_error_words(number)) });
    assert!(words.iter().all(|words| !said.contains(words)));
}

#[test]
fn the_words_of_a_fault_fit_any_buffer() {
    let number = Fault::Platform.number();
    let whole = Fault::Platform.to_string();
    // SAFETY: no room is no buffer.
    assert_eq!(unsafe { quoin_fault_words(number, ptr::null_mut(), 0) }, whole.len());
    for room in 1..whole.len() + 3 {
        let mut out = vec![0x7f; whole.len() + 4];
        // SAFETY: `out` is longer.
        assert_eq!(unsafe { quoin_fault_words(number, out.as_mut_ptr().cast(), room) }, whole.len());
        let shown = whole.len().min(room - 1);
        assert_eq!((&out[..shown], out[shown]), (&whole.as_bytes()[..shown], 0), "{room}");
        assert!(out[room..].iter().all(|octet| *octet == 0x7f));
    }
    let mut out = [0x7f_u8; 4];
    // SAFETY: as above.
    assert_eq!((unsafe { quoin_fault_words(0, out.as_mut_ptr().cast(), 4) }, out[0]), (0, 0));
}
