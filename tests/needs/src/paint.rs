//! How deep a call goes: the stack of a thread is filled with one octet before, and looked at afterwards.
//!
//! The stack is written and read through the kernel (`/proc/self/mem`), below the frames that are in use.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::{fs, io, thread};

/// What no frame is likely to be full of.
const PAINT: u8 = 0xa7;
/// Octets at the top that are not painted: frames of the painter itself. The least that a call is found to need.
pub const LEAST: usize = 8 << 10;
/// Octets that are written or read at a time.
const CHUNK: usize = 64 << 10;

/// Runs `call` in a thread of its own with a painted stack of `size` octets: what it returns, and how many octets
/// of it have been written to below the frame from which it was called.
///
/// # Panics
/// If `call` does, or there is no such thread. A stack that overflows ends the process.
pub fn painted<T: Send>(size: usize, call: impl FnOnce() -> T + Send) -> (T, usize) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(size).spawn_scoped(scope, || {
            let above = 0_u8;
            let stack = Stack::below((&raw const above).addr()).expect("the stack of a thread");
            stack.paint().expect("a stack that can be painted");
            let result = call();
            (result, stack.used().expect("a stack that can be read"))
        });
        thread.expect("a thread").join().expect("a call that does not panic")
    })
}

/// The part of a thread's stack that is not in use.
struct Stack {
    bottom: usize,
    top: usize,
}

impl Stack {
    /// Of this thread, below an address in a frame of its own.
    fn below(top: usize) -> io::Result<Self> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let bottom = maps.lines().find_map(|line| bottom_of(line, top));
        Ok(Self { bottom: bottom.ok_or(io::ErrorKind::NotFound)?, top })
    }

    fn paint(&self) -> io::Result<()> {
        let memory = OpenOptions::new().write(true).open("/proc/self/mem")?;
        let paint = vec![PAINT; CHUNK];
        for at in (self.bottom..self.top - LEAST).step_by(CHUNK) {
            let length = CHUNK.min(self.top - LEAST - at);
            memory.write_all_at(&paint[..length], at as u64)?;
        }
        Ok(())
    }

    fn used(&self) -> io::Result<usize> {
        let memory = File::open("/proc/self/mem")?;
        let mut chunk = vec![0; CHUNK];
        for at in (self.bottom..self.top - LEAST).step_by(CHUNK) {
            let length = CHUNK.min(self.top - LEAST - at);
            memory.read_exact_at(&mut chunk[..length], at as u64)?;
            if let Some(touched) = chunk[..length].iter().position(|octet| *octet != PAINT) {
                return Ok(self.top - at - touched);
            }
        }
        Ok(LEAST)
    }
}

/// Where the mapping of this line of `/proc/self/maps` begins, if the address lies in it.
fn bottom_of(line: &str, address: usize) -> Option<usize> {
    let (begin, rest) = line.split_once('-')?;
    let (end, _) = rest.split_once(' ')?;
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    let (begin, end) = (number(begin)?, number(end)?);
    (begin..end).contains(&address).then_some(begin)
}

#[cfg(test)]
mod tests {
    use super::{LEAST, painted};
    use core::hint::black_box;

    /// A frame of so many octets.
    #[inline(never)]
    fn deep<const OCTETS: usize>() {
        black_box(&mut [1_u8; OCTETS]);
    }

    #[test]
    fn how_deep_a_call_goes_is_seen() {
        for _ in 0..3 {
            let (_, little) = painted(1 << 20, || ());
            let (_, much) = painted(1 << 20, deep::<300_000>);
            let (_, half) = painted(1 << 20, deep::<150_000>);
            assert!(little < 2 * LEAST, "{little}");
            assert!((300_000..300_000 + LEAST).contains(&much), "{much}");
            assert!((150_000..150_000 + LEAST).contains(&half), "{half}");
        }
    }
}
