//! Suites side by side: QEMU emulates one processor in one thread, so that a suite leaves half of two cores idle. Each
//! runs in a process of its own; what it says is printed when it has ended.

use anyhow::{Context, Result, ensure};
use booted::Totals;
use fs_err as fs;
use host::child;
use host::qemu::Folder;
use std::collections::VecDeque;
use std::env;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

/// Takes the next suite from an end of what waits.
type End = fn(&mut VecDeque<&'static str>) -> Option<&'static str>;

/// Runs all of them, one lane from the beginning and one from the end: those at the end, with an operating system,
/// share packages and kernels that they prepare, and so never meet.
pub(super) fn run(names: Vec<&'static str>) -> Totals {
    let waiting = Mutex::new(VecDeque::from(names));
    let totals = Mutex::new(Totals::default());
    let lane = |next: End| loop {
        let Some(name) = next(&mut locked(&waiting)) else { return };
        let (said, ran) = in_a_process(name);
        let mut totals = locked(&totals);
        println!("{said}");
        *totals += ran;
    };
    thread::scope(|scope| {
        scope.spawn(|| lane(VecDeque::pop_front));
        scope.spawn(|| lane(VecDeque::pop_back));
    });
    *locked(&totals)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a suite says, and its totals. One that does not come to its end is one failed case.
fn in_a_process(name: &str) -> (String, Totals) {
    spoken(name).unwrap_or_else(|(said, why)| (format!("{said}\nFAIL {name}: {why:#}\n"), Totals::one(false)))
}

fn spoken(name: &str) -> Result<(String, Totals), (String, anyhow::Error)> {
    let (said, has_passed) = output(name).map_err(|why| (String::new(), why))?;
    match judged(&said, has_passed) {
        Ok((lines, totals)) => Ok((lines.to_owned(), totals)),
        Err(why) => Err((said, why)),
    }
}

/// This program again, for one suite: all that it writes, and whether it is content.
fn output(name: &str) -> Result<(String, bool)> {
    let folder = Folder::new()?;
    let path = folder.path().join("said");
    let file = fs::File::create(&path)?.into_parts().0;
    let mut suite = child::command(env::current_exe().context("this program has no file")?);
    suite.args(["test", "--only", name]).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = suite.status().with_context(|| format!("`{name}` cannot be started"))?;
    Ok((String::from_utf8_lossy(&fs::read(&path)?).into_owned(), status.success()))
}

/// The last line is its totals; the lines before them.
fn judged(said: &str, has_passed: bool) -> Result<(&str, Totals)> {
    let lines = said.trim_end();
    let (lines, last) = lines.rsplit_once('\n').unwrap_or(("", lines));
    let totals = Totals::read(last).with_context(|| format!("it ends without totals, with `{last}`"))?;
    ensure!(totals != Totals::default(), "it has run no case");
    ensure!(has_passed == (totals.failed == 0), "it ends with another status than its totals say, {totals}");
    Ok((lines, totals))
}

#[cfg(test)]
mod tests {
    use super::judged;
    use booted::Totals;

    #[test]
    fn a_suite_is_what_its_last_line_and_its_status_say() {
        assert_eq!(judged("== a\nok   b\n1 passed, 0 failed\n", true).unwrap(), ("== a\nok   b", Totals::one(true)));
        assert_eq!(judged("FAIL b\n0 passed, 1 failed\n", false).unwrap(), ("FAIL b", Totals::one(false)));
        for (said, has_passed) in [
            ("", false),
            ("", true),
            ("ok   b\n", true),
            ("1 passed, 0 failed\nkilled", true),
            ("0 passed, 0 failed", true),
            ("1 passed, 0 failed", false),
            ("1 passed, 1 failed", true),
        ] {
            assert!(judged(said, has_passed).is_err(), "{said}");
        }
    }
}
