//! What the exit statuses of `cargo xtask` mean, for all verbs: the manual prints [`TABLE`].

use std::panic;
use std::process::ExitCode;

/// Printed below the manual.
pub const TABLE: &str = "Exit status:
  0    done; for verify: verified
  1    failed, and said why: a test, a build, a file, a boot; for demo: not both
       verified and refused; for doctor: `run` or `ci` cannot work here
  2    the arguments are wrong
  3    verify: consistent, but not verified, since nothing says which launch digest is right
  10…  verify: the first step of its list fails; 11 for the second step, and so on
  40…  guest: it has not started (40), wants a restart (41), has halted (42),
       has panicked (43), has crashed (44), still runs after its time (45)
  141  nobody reads the output any more";

/// `verify`: every step is ok, on a launch digest that nobody but the collector vouches for.
pub const NOT_VERIFIED: u8 = 3;
/// `verify`: the first step has failed; the next step's status is one more.
pub const FIRST_STEP: u8 = 10;
/// `guest`: it has ended, or has done nothing in its time, without a sign of a running system.
pub const GUEST_NOT_STARTED: u8 = 40;
/// `guest`: it has asked for a restart.
pub const GUEST_RESTART: u8 = 41;
/// `guest`: its processor waits for nothing.
pub const GUEST_HALT: u8 = 42;
/// `guest`: its kernel says that it cannot go on.
pub const GUEST_PANIC: u8 = 43;
/// `guest`: it has ended without having meant to.
pub const GUEST_CRASH: u8 = 44;
/// `guest`: it has run until its time was over.
pub const GUEST_RUNNING: u8 = 45;
/// The reader of our output has closed it, as in `… | head -1`: what a shell shows for SIGPIPE.
pub const CLOSED_PIPE: u8 = 141;

/// Runs `program`; when nobody reads what it prints any more, ends it without a word, as SIGPIPE would. SIGPIPE itself
/// stays ignored: a server must survive a client that goes. `println!` panics instead, and unwinding lets children and
/// temporary folders go.
pub fn until_the_pipe_is_closed(program: impl FnOnce() -> ExitCode + panic::UnwindSafe) -> ExitCode {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        if !is_closed_pipe(panic.payload_as_str()) {
            usual(panic);
        }
    }));
    panic::catch_unwind(program).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        if is_closed_pipe(said) { ExitCode::from(CLOSED_PIPE) } else { panic::resume_unwind(panic) }
    })
}

/// Whether a panic says what `println!` says of a closed pipe (the words are the standard library's; a test holds
/// them).
fn is_closed_pipe(said: Option<&str>) -> bool {
    said.is_some_and(|said| said.starts_with("failed printing to std") && said.contains("Broken pipe"))
}
