//! A reader who goes while we print, as in `… | head -1`.

use std::panic;
use std::process::ExitCode;

/// What a shell shows for SIGPIPE: nobody reads our output any more.
pub const CLOSED_PIPE: u8 = 141;

/// Runs `program`; when nobody reads what it prints any more, ends it without a word, as SIGPIPE would. SIGPIPE itself
/// stays ignored: a server must survive a client that goes. `println!` panics instead, and unwinding lets children and
/// temporary folders go.
pub fn until_it_is_closed(program: impl FnOnce() -> ExitCode + panic::UnwindSafe) -> ExitCode {
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
