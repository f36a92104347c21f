//! Debian's libtpms (package libtpms0) or another one, loaded at run time; all `unsafe` of this package but for a
//! clock.
//!
//! libtpms keeps its TPM in globals. So there is one [`Libtpms`] in a process, of which neither a second one can be
//! made nor the first be sent to another thread. What its callbacks ask for (NVRAM, locality, physical presence) is in
//! thread-local variables for the same reason.

use crate::Peer;
use anyhow::{Context, Result, ensure};
use core::cell::{Cell, RefCell};
use core::ffi::{CStr, c_char, c_int, c_uchar};
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};
use libloading::{Library, Symbol};
use std::collections::BTreeMap;
use std::path::Path;

/// The file name of Debian's, as the dynamic linker looks for it.
const FILE: &str = "libtpms.so.0";

const SUCCESS: u32 = 0;
const FAIL: u32 = 9;
/// "There is no such file."
const RETRY: u32 = 0x800;
/// TPMLIB_TPM_VERSION_2
const VERSION_2: c_int = 1;

thread_local! {
    static NVRAM: RefCell<BTreeMap<Vec<u8>, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    static LOCALITY: Cell<u8> = const { Cell::new(0) };
    static PRESENCE: Cell<bool> = const { Cell::new(false) };
}

/// struct libtpms_callbacks
#[repr(C)]
struct Callbacks {
    size: c_int,
    nvram_init: extern "C" fn() -> u32,
    nvram_load: unsafe extern "C" fn(*mut *mut c_uchar, *mut u32, u32, *const c_char) -> u32,
    nvram_store: unsafe extern "C" fn(*const c_uchar, u32, u32, *const c_char) -> u32,
    nvram_delete: unsafe extern "C" fn(u32, *const c_char, c_uchar) -> u32,
    io_init: extern "C" fn() -> u32,
    locality: unsafe extern "C" fn(*mut u32, u32) -> u32,
    presence: unsafe extern "C" fn(*mut c_uchar, u32) -> u32,
}

extern "C" fn nothing_to_do() -> u32 {
    SUCCESS
}

/// A file of the NVRAM, in memory from malloc, which libtpms frees.
unsafe extern "C" fn load(data: *mut *mut c_uchar, length: *mut u32, _: u32, name: *const c_char) -> u32 {
    // SAFETY: libtpms gives a name that ends with zero.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    NVRAM.with_borrow(|files| {
        let Some(file) = files.get(name) else { return RETRY };
        // SAFETY: any size may be asked of malloc.
        let memory = unsafe { libc::malloc(file.len()) }.cast::<u8>();
        if memory.is_null() {
            return FAIL;
        }
        // SAFETY: `memory` has as many octets as the file and is new; `data` and `length` are libtpms' variables for
        // the outcome.
        unsafe {
            ptr::copy_nonoverlapping(file.as_ptr(), memory, file.len());
            *data = memory;
            *length = u32::try_from(file.len()).unwrap_or(0);
        }
        SUCCESS
    })
}

unsafe extern "C" fn store(data: *const c_uchar, length: u32, _: u32, name: *const c_char) -> u32 {
    // SAFETY: libtpms gives `length` octets and a name that ends with zero, both for the time of the call.
    let (data, name) = unsafe { (core::slice::from_raw_parts(data, length as usize), CStr::from_ptr(name)) };
    NVRAM.with_borrow_mut(|files| {
        let file = files.entry(name.to_bytes().to_vec()).or_default();
        file.clear();
        file.extend_from_slice(data);
    });
    SUCCESS
}

unsafe extern "C" fn delete(_: u32, name: *const c_char, must_exist: c_uchar) -> u32 {
    // SAFETY: libtpms gives a name that ends with zero.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    let was_there = NVRAM.with_borrow_mut(|files| files.remove(name).is_some());
    if was_there || must_exist == 0 { SUCCESS } else { FAIL }
}

unsafe extern "C" fn locality(to: *mut u32, _: u32) -> u32 {
    // SAFETY: `to` is libtpms' variable for the outcome.
    unsafe { *to = LOCALITY.get().into() };
    SUCCESS
}

unsafe extern "C" fn presence(to: *mut c_uchar, _: u32) -> u32 {
    // SAFETY: `to` is libtpms' variable for the outcome.
    unsafe { *to = PRESENCE.get().into() };
    SUCCESS
}

type Process = unsafe extern "C" fn(*mut *mut c_uchar, *mut u32, *mut u32, *mut c_uchar, u32) -> u32;

/// The one TPM of libtpms in this process.
pub struct Libtpms {
    main_init: unsafe extern "C" fn() -> u32,
    terminate: unsafe extern "C" fn(),
    process: Process,
    hash_start: unsafe extern "C" fn() -> u32,
    hash_data: unsafe extern "C" fn(*const c_uchar, u32) -> u32,
    hash_end: unsafe extern "C" fn() -> u32,
    version: u32,
    /// libtpms' buffer for responses, and its size
    buffer: *mut c_uchar,
    capacity: u32,
    /// a copy of the request: libtpms asks for one that it may write to
    request: Vec<u8>,
    /// what the functions above are of: never unloaded before them
    _library: Library,
}

impl Libtpms {
    /// Loads Debian's library and makes a TPM.
    ///
    /// # Errors
    /// If the library is not there, if it does not do what it should, or if this process has made one before.
    pub fn new() -> Result<Self> {
        Self::of_library(Path::new(FILE)).context("Debian's package libtpms0 has it")
    }

    /// Loads a library and makes a TPM. A path without a slash is looked for as the dynamic linker does.
    ///
    /// # Errors
    /// As [`Libtpms::new`].
    pub fn of_library(file: &Path) -> Result<Self> {
        static MADE: AtomicBool = AtomicBool::new(false);
        ensure!(!MADE.swap(true, Ordering::SeqCst), "libtpms has one TPM in a process");
        // SAFETY: the library's initialisers ask nothing of us, and the types of its functions are those of its headers
        // tpm_library.h and tpm_tis.h. The functions that are copied out of the symbols live as long as the library,
        // which `Self` keeps.
        unsafe {
            let library = Library::new(file).with_context(|| format!("cannot load {}", file.display()))?;
            let choose: Symbol<'_, unsafe extern "C" fn(c_int) -> u32> = library.get(b"TPMLIB_ChooseTPMVersion\0")?;
            let register: Symbol<'_, unsafe extern "C" fn(*mut Callbacks) -> u32> =
                library.get(b"TPMLIB_RegisterCallbacks\0")?;
            let version: Symbol<'_, unsafe extern "C" fn() -> u32> = library.get(b"TPMLIB_GetVersion\0")?;
            ensure!(choose(VERSION_2) == SUCCESS, "libtpms has no TPM 2.0");
            let mut callbacks = Callbacks {
                size: c_int::try_from(size_of::<Callbacks>())?,
                nvram_init: nothing_to_do,
                nvram_load: load,
                nvram_store: store,
                nvram_delete: delete,
                io_init: nothing_to_do,
                locality,
                presence,
            };
            ensure!(register(&raw mut callbacks) == SUCCESS, "libtpms does not take callbacks");
            let mut libtpms = Self {
                main_init: *library.get(b"TPMLIB_MainInit\0")?,
                terminate: *library.get(b"TPMLIB_Terminate\0")?,
                process: *library.get(b"TPMLIB_Process\0")?,
                hash_start: *library.get(b"TPM_IO_Hash_Start\0")?,
                hash_data: *library.get(b"TPM_IO_Hash_Data\0")?,
                hash_end: *library.get(b"TPM_IO_Hash_End\0")?,
                version: version(),
                buffer: ptr::null_mut(),
                capacity: 0,
                request: Vec::new(),
                _library: library,
            };
            libtpms.init();
            Ok(libtpms)
        }
    }

    /// The library's version, as it says: major, minor, micro.
    #[must_use]
    pub const fn version(&self) -> [u8; 3] {
        let [_, major, minor, micro] = self.version.to_be_bytes();
        [major, minor, micro]
    }

    /// _TPM_Init of what is in the NVRAM; an empty one is manufactured.
    fn init(&mut self) {
        // SAFETY: callbacks are registered, and the TPM has either not been started or been terminated.
        let result = unsafe { (self.main_init)() };
        assert_eq!(result, SUCCESS, "TPMLIB_MainInit");
    }

    fn terminate(&mut self) {
        // SAFETY: the TPM has been started.
        unsafe { (self.terminate)() };
    }
}

impl Drop for Libtpms {
    fn drop(&mut self) {
        self.terminate();
        // SAFETY: libtpms made the buffer with malloc, or it is null; nothing else has it.
        unsafe { libc::free(self.buffer.cast()) };
    }
}

impl Peer for Libtpms {
    fn manufacture(&mut self) {
        self.terminate();
        NVRAM.with_borrow_mut(BTreeMap::clear);
        self.init();
    }

    fn execute(&mut self, request: &[u8], locality: u8, response: &mut Vec<u8>) {
        LOCALITY.set(locality);
        self.request.clear();
        self.request.extend_from_slice(request);
        let size = u32::try_from(request.len()).expect("a short request");
        let mut length = 0;
        response.clear();
        // SAFETY: `buffer` is null with capacity 0 or what libtpms made of it before, which it may reallocate;
        // `request` is ours and of that size. After success `length` octets of the buffer are the response.
        unsafe {
            let result = (self.process)(
                &raw mut self.buffer,
                &raw mut length,
                &raw mut self.capacity,
                self.request.as_mut_ptr(),
                size,
            );
            assert_eq!(result, SUCCESS, "TPMLIB_Process");
            response.extend_from_slice(core::slice::from_raw_parts(self.buffer, length as usize));
        }
    }

    fn power_cycle(&mut self) {
        self.terminate();
        self.init();
    }

    fn set_physical_presence(&mut self, asserted: bool) {
        PRESENCE.set(asserted);
    }

    fn hash(&mut self, parts: &[&[u8]]) {
        // SAFETY: the TPM has been started, and each part is readable for the time of its call.
        unsafe {
            assert_eq!((self.hash_start)(), SUCCESS, "TPM_IO_Hash_Start");
            for part in parts {
                let size = u32::try_from(part.len()).expect("a short part");
                assert_eq!((self.hash_data)(part.as_ptr(), size), SUCCESS, "TPM_IO_Hash_Data");
            }
            assert_eq!((self.hash_end)(), SUCCESS, "TPM_IO_Hash_End");
        }
    }
}
