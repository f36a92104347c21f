//! Whose turn it is at the TPM, which does one thing at a time.
//!
//! The client that has used it least goes first, of equals the one that has waited longest. A client whose commands
//! take long pays by waiting: when another has used less, and was here a moment ago, it may come back before the long
//! command begins. Without that a client of short commands would wait for a long one after each of its own: it is never
//! there when a turn ends, since it has just got its answer. A client that was away has saved nothing up.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Instant;

/// By how much less a client must have used the TPM to be waited for.
const MARGIN: Duration = Duration::from_millis(2);
/// How long it is waited for after its last turn: this part of what it has used less,
const SHARE: u32 = 16;
/// and no longer than that.
const LONGEST: Duration = Duration::from_millis(10);

/// The queue.
#[derive(Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
}

/// One that takes turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Client(u64);

#[derive(Default)]
struct Queue {
    busy: bool,
    clients: HashMap<Client, Account>,
    waiting: Vec<Waiting>,
    /// What the client of the last turn had used when it began: one that returns starts from there.
    clock: Duration,
    /// Names for clients, and numbers in the queue.
    count: u64,
}

#[derive(Default, Clone, Copy)]
struct Account {
    used: Duration,
    /// When its last turn ended.
    left: Option<Instant>,
}

struct Waiting {
    client: Client,
    number: u64,
    thread: Thread,
}

/// The turn, until it is dropped.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    client: Client,
    begun: Instant,
}

impl Turns {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Someone new.
    pub(super) fn enter(&self) -> Client {
        let mut queue = self.queue();
        let client = Client(queue.number());
        queue.clients.insert(client, Account::default());
        client
    }

    /// A client that is gone for good.
    pub(super) fn leave(&self, client: Client) {
        self.queue().clients.remove(&client);
    }

    /// Waits for a turn.
    pub(super) fn take(&self, client: Client) -> Turn<'_> {
        let mut queue = self.queue();
        let number = queue.number();
        queue.forgive_absence(client, Instant::now());
        queue.waiting.push(Waiting { client, number, thread: thread::current() });
        loop {
            let now = Instant::now();
            let patience = match queue.next(now) {
                Some((next, patience)) if next == number => patience,
                // The next one is awake, or will be when this turn ends.
                _ => None,
            };
            if patience == Some(Duration::ZERO) {
                queue.begin(number);
                return Turn { turns: self, client, begun: now };
            }
            drop(queue);
            match patience {
                Some(patience) => thread::park_timeout(patience),
                None => thread::park(),
            }
            queue = self.queue();
        }
    }
}

impl Queue {
    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// A client that was away for long has used no less than those who waited.
    fn forgive_absence(&mut self, client: Client, now: Instant) {
        let clock = self.clock;
        let account = self.clients.entry(client).or_default();
        if account.left.is_none_or(|left| now.duration_since(left) >= LONGEST) {
            account.used = account.used.max(clock);
        }
    }

    fn used(&self, client: Client) -> Duration {
        self.clients.get(&client).map_or(self.clock, |account| account.used)
    }

    /// The next one, by its number in the queue, and how long it has to wait for others; nobody while a turn lasts.
    fn next(&self, now: Instant) -> Option<(u64, Option<Duration>)> {
        if self.busy {
            return None;
        }
        let first = self.waiting.iter().min_by_key(|one| (self.used(one.client), one.number))?;
        let used = self.used(first.client);
        let absent = self.clients.iter().filter(|(client, account)| {
            account.used + MARGIN < used && !self.waiting.iter().any(|one| one.client == **client)
        });
        let patience = |account: &Account| (used.saturating_sub(account.used) / SHARE).min(LONGEST);
        let until = absent.filter_map(|(_, account)| Some(account.left? + patience(account))).max();
        Some((first.number, Some(until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now)))))
    }

    fn begin(&mut self, number: u64) {
        if let Some(at) = self.waiting.iter().position(|one| one.number == number) {
            let one = self.waiting.remove(at);
            self.clock = self.used(one.client);
        }
        self.busy = true;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let mut queue = self.turns.queue();
        queue.busy = false;
        if let Some(account) = queue.clients.get_mut(&self.client) {
            account.used += now.duration_since(self.begun);
            account.left = Some(now);
        }
        let next = queue.next(now).and_then(|(number, _)| queue.waiting.iter().find(|one| one.number == number));
        if let Some(next) = next {
            next.thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Turns;
    use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use core::time::Duration;
    use std::thread;
    use std::time::Instant;

    /// Takes turns of that length until the end, and says how many.
    fn client(turns: &Turns, length: Duration, end: &AtomicBool) -> u32 {
        let (client, mut count) = (turns.enter(), 0);
        while !end.load(Ordering::Relaxed) {
            let turn = turns.take(client);
            let begun = Instant::now();
            while begun.elapsed() < length {
                core::hint::spin_loop();
            }
            drop(turn);
            count += 1;
        }
        turns.leave(client);
        count
    }

    #[test]
    fn a_client_of_short_commands_gets_many_turns_for_each_long_one_of_another() {
        let (turns, end) = (Turns::default(), AtomicBool::new(false));
        let (long, short) = thread::scope(|scope| {
            let long = scope.spawn(|| client(&turns, Duration::from_millis(40), &end));
            let short = scope.spawn(|| client(&turns, Duration::from_micros(50), &end));
            thread::sleep(Duration::from_secs(1));
            end.store(true, Ordering::Relaxed);
            (long.join().unwrap(), short.join().unwrap())
        });
        // A lock gives one each.
        assert!(long >= 2 && short > 20 * long, "{long} long, {short} short");
    }

    #[test]
    fn one_has_the_turn_at_a_time_and_nobody_waits_for_ever() {
        let (turns, inside) = (Turns::default(), AtomicU32::new(0));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let client = turns.enter();
                    for turn in 0..200 {
                        let taken = turns.take(client);
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        if turn % 16 == 0 {
                            thread::sleep(Duration::from_micros(100));
                        }
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(taken);
                    }
                    turns.leave(client);
                });
            }
        });
    }

    #[test]
    fn who_is_alone_waits_for_nobody() {
        let turns = Turns::default();
        let (gone, client) = (turns.enter(), turns.enter());
        drop(turns.take(gone));
        turns.leave(gone);
        let begun = Instant::now();
        for _ in 0..1000 {
            drop(turns.take(client));
        }
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}
