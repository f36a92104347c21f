//! The time that a thread has had a processor: what other load takes of the clock is not in it.

use core::time::Duration;

/// Processor time of this thread so far.
#[must_use]
pub fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a variable of ours, of the type that the function fills in.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "Linux has had this clock since 2.6.12");
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::thread_time;
    use core::time::Duration;
    use std::thread::sleep;
    use std::time::Instant;

    #[test]
    fn waiting_takes_none_and_working_does() {
        let start = thread_time();
        sleep(Duration::from_millis(200));
        assert!(thread_time() - start < Duration::from_millis(100));
        let (began, start) = (Instant::now(), thread_time());
        while thread_time() - start < Duration::from_millis(20) {}
        assert!(began.elapsed() >= Duration::from_millis(20), "a thread has no more than all of the time");
    }
}
