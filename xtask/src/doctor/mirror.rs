//! Whether Debian's suites can be reached, without apt: their signed list is asked for where apt would ask.

use host::fetch;
use std::thread;

/// Seconds until a mirror has not answered.
const TIMEOUT: u64 = 8;

/// Whether a suite is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// It is.
    Yes,
    /// It is not, the mirror says.
    Absent(String),
    /// The mirror says nothing.
    Silent(String),
    /// It was not asked, and why.
    Unknown(String),
}

/// Asks for each suite, all at once.
pub fn reach(suites: &[&'static str]) -> Vec<(&'static str, Reach)> {
    let archive = fetch::archive();
    let asked = suites.iter().map(|&suite| {
        let archive = archive.as_ref().map(String::clone).map_err(|error| format!("{error:#}"));
        (suite, thread::spawn(move || archive.map_or_else(Reach::Absent, |archive| ask(&archive, suite))))
    });
    let asked: Vec<_> = asked.collect();
    let joined =
        |thread: thread::JoinHandle<Reach>| thread.join().unwrap_or_else(|_| Reach::Silent("no answer".into()));
    asked.into_iter().map(|(suite, thread)| (suite, joined(thread))).collect()
}

fn ask(archive: &str, suite: &str) -> Reach {
    if !archive.starts_with("http://") {
        return Reach::Unknown(format!("{archive} is not asked without apt"));
    }
    let url = format!("{}/dists/{suite}/InRelease", archive.trim_end_matches('/'));
    match minreq::head(url).with_timeout(TIMEOUT).send() {
        Ok(answer) if answer.status_code == 200 => Reach::Yes,
        Ok(answer) => Reach::Absent(format!("the mirror says {} {}", answer.status_code, answer.reason_phrase)),
        Err(error) => Reach::Silent(format!("the mirror does not answer: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Reach, ask};
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    /// A mirror with one suite, for two questions.
    fn mirror() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                let there = line.starts_with("HEAD /debian/dists/trixie/InRelease ");
                let status = if there { "200 OK" } else { "404 Not Found" };
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            }
        });
        format!("http://{address}/debian/")
    }

    #[test]
    fn a_suite_is_there_or_not_or_nobody_answers() {
        let mirror = mirror();
        assert_eq!(ask(&mirror, "trixie"), Reach::Yes);
        assert_eq!(ask(&mirror, "bo"), Reach::Absent("the mirror says 404 Not Found".into()));
        assert!(matches!(ask("http://127.0.0.1:1", "trixie"), Reach::Silent(_)));
        assert!(matches!(ask("https://127.0.0.1", "trixie"), Reach::Unknown(_)));
    }
}
