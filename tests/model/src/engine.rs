//! Every order in which the processors can take their steps.
//!
//! A processor is a coroutine that runs the firmware's code. Before each step that another could notice it stops, and
//! the explorer decides who is next. Code cannot be copied amid its run, so a state is reached again by running all
//! from the start along the same decisions. A state that was seen is not gone on from: it is what memory and locks
//! hold, and all that each processor has seen so far, which decides what it does next.

use core::cell::RefCell;
use core::fmt;
use core::hash::Hash;
use core::panic::AssertUnwindSafe;
use std::collections::{BTreeSet, HashMap};
use std::panic::{catch_unwind, resume_unwind};
use std::thread::panicking;

use generator::{Generator, Gn};

use crate::hardware::{MAX_PROCESSORS, Rule, World};
use crate::hash::Lanes;

/// Words of a coroutine's stack.
const STACK: usize = 0x1_0000;

/// The locks, in the one order in which they may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lock {
    /// The TPM's.
    Tpm,
    /// The PSP's.
    Psp,
    /// The guest's: ownership map and vCPUs.
    Guest,
}

const LOCKS: [Lock; 3] = [Lock::Tpm, Lock::Psp, Lock::Guest];

/// A step, for those who read of it.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    what: &'static str,
    gpa: u64,
}

impl Op {
    /// A step that concerns a page.
    #[must_use]
    pub fn at(what: &'static str, gpa: u64) -> Op {
        Op { what, gpa }
    }

    /// Any other.
    #[must_use]
    pub fn new(what: &'static str) -> Op {
        Op { what, gpa: 0 }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.what)?;
        if self.gpa == 0 { Ok(()) } else { write!(out, " {:#x}", self.gpa) }
    }
}

/// What a processor needs for its next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wants {
    /// Nothing but its turn.
    Turn,
    /// A lock that is free.
    Lock(Lock),
    /// A register state that can be run. If none ever can be, the host does not run this processor any more.
    Vmsa(u64),
    /// It has done all.
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Task {
    wants: Wants,
    next: Op,
    /// All that it has seen.
    seen: Lanes,
}

impl Task {
    const NEW: Op = Op { what: "begins", gpa: 0 };

    fn new() -> Task {
        Task { wants: Wants::Turn, next: Task::NEW, seen: Lanes::default() }
    }
}

#[derive(Default)]
struct Run {
    world: World,
    tasks: Vec<Task>,
    jobs: Vec<Option<Job>>,
    current: Option<usize>,
    holders: [Option<usize>; 3],
    /// What each lock protects, when it was last free.
    protected: [u64; 3],
    abandoned: bool,
    over: bool,
    broken: Option<String>,
    trace: Vec<(usize, Op)>,
}

impl Run {
    fn holder(&mut self, lock: Lock) -> &mut Option<usize> {
        &mut self.holders[lock as usize]
    }

    fn holds(&self, task: usize, lock: Lock) -> bool {
        self.holders[lock as usize] == Some(task)
    }

    fn saw(&mut self, value: &impl Hash) {
        if let Some(task) = self.current {
            // That it has seen something is something, too.
            self.tasks[task].seen = self.tasks[task].seen.with(&1_u8).with(value);
        }
    }

    fn can_go(&self, task: &Task) -> bool {
        match task.wants {
            Wants::Turn => true,
            Wants::Lock(lock) => self.holders[lock as usize].is_none(),
            Wants::Vmsa(gpa) => self.world.can_run(gpa),
            Wants::Nothing => false,
        }
    }

    fn who_can_go(&self) -> Turns {
        let mut turns = Turns::default();
        for (number, task) in self.tasks.iter().enumerate() {
            if self.can_go(task) {
                turns.list[turns.len] = number;
                turns.len += 1;
            }
        }
        turns
    }

    fn key(&self) -> u128 {
        let mut key = Lanes::default().with(&self.world).with(&self.holders).with(&self.protected);
        for task in &self.tasks {
            key = key.with(&task.seen).with(&task.wants);
        }
        key.both()
    }

    /// The steps that stand before the processors.
    fn next(&self) -> Lanes {
        let steps = self.tasks.iter().map(|task| (task.next.what, task.next.gpa));
        steps.fold(Lanes::default(), |next, step| next.with(&step))
    }

    /// Nobody waits for the TPM or the PSP, also not by waiting for somebody who does.
    fn check_waiting(&self) -> Rule<()> {
        for (number, task) in self.tasks.iter().enumerate() {
            if let Wants::Lock(lock) = task.wants
                && let Some(holder) = self.holders[lock as usize]
                && self.world.works_for(holder)
            {
                return Err(format!("processor {number} waits for the lock {lock:?} while TPM or PSP work"));
            }
        }
        Ok(())
    }

    /// Nobody can go on: all is done, or those who wait wait for a register state that is no more.
    fn check_end(&self) -> Rule<()> {
        let stuck = self.tasks.iter().position(|task| matches!(task.wants, Wants::Lock(_)));
        stuck.map_or(Ok(()), |task| Err(format!("deadlock: processor {task} waits for {:?}", self.tasks[task].wants)))
    }
}

/// What a processor does, from the beginning of the scene.
pub type Job = Box<dyn FnOnce()>;
/// What must be true when nobody can go on; the answer says what the calls came to.
pub type Finale = Box<dyn FnOnce(&World) -> Rule<String>>;

/// The payload of a coroutine that is not to go on.
struct Stopped;

thread_local! {
    static RUN: RefCell<Run> = RefCell::default();
}

// ---- For the processors.

/// A step that another processor could notice, or that depends on another. What `work` answers is seen.
pub fn step<R: Hash>(op: Op, work: impl FnOnce(&mut World) -> Rule<R>) -> R {
    pause(Wants::Turn, op);
    apply(work)
}

/// VMRUN, as soon as the register state can be run.
pub fn run_when_possible(gpa: u64, work: impl FnOnce(&mut World) -> Rule<()>) {
    pause(Wants::Vmsa(gpa), Op::at("VMRUN", gpa));
    apply(work);
}

/// A step in which another processor is waited for: whoever takes it holds no lock.
pub fn wait<R: Hash>(op: Op, work: impl FnOnce(&mut World) -> Rule<R>) -> R {
    let held = RUN.with_borrow(|run| {
        let task = run.current?;
        LOCKS.into_iter().find(|lock| run.holds(task, *lock))
    });
    if let Some(held) = held {
        broken(format!("a processor is waited for by who holds {held:?}"));
    }
    step(op, work)
}

/// What is no step: nobody else notices it.
pub fn apply<R: Hash>(work: impl FnOnce(&mut World) -> Rule<R>) -> R {
    let outcome = RUN.with_borrow_mut(|run| {
        let outcome = work(&mut run.world);
        if let Ok(seen) = &outcome {
            run.saw(seen);
        }
        outcome
    });
    outcome.unwrap_or_else(|rule| broken(rule))
}

/// The processor that takes a step.
#[must_use]
pub fn current() -> usize {
    RUN.with_borrow(|run| run.current.unwrap_or_default())
}

/// Waits for a lock. Only the guest's is waited for, and whoever holds it waits for nobody.
pub fn acquire(lock: Lock) {
    check_order(lock);
    if lock != Lock::Guest {
        broken(format!("the lock {lock:?} is waited for"));
    }
    pause(Wants::Lock(lock), Op::new("locks the guest"));
    take(lock);
}

/// Takes a lock if it is free.
#[must_use]
pub fn try_acquire(lock: Lock) -> bool {
    check_order(lock);
    pause(Wants::Turn, Op::new(if lock == Lock::Tpm { "tries to lock the TPM" } else { "tries to lock the PSP" }));
    let free = RUN.with_borrow_mut(|run| {
        let free = run.holder(lock).is_none();
        run.saw(&free);
        free
    });
    if free {
        take(lock);
    }
    free
}

/// Frees a lock. `settle` checks what it protects, and tells it apart from any other state.
pub fn release(lock: Lock, settle: impl FnOnce(&mut World) -> Rule<u64>) {
    if panicking() {
        return;
    }
    let settled = RUN.with_borrow_mut(|run| {
        let settled = settle(&mut run.world);
        *run.holder(lock) = None;
        if let Ok(protected) = settled {
            run.protected[lock as usize] = protected;
        }
        settled
    });
    if let Err(rule) = settled {
        broken(rule);
    }
}

fn check_order(lock: Lock) {
    let held = RUN.with_borrow(|run| {
        let task = run.current?;
        LOCKS.into_iter().find(|held| *held >= lock && run.holds(task, *held))
    });
    if let Some(held) = held {
        broken(format!("the lock {lock:?} is asked for by who holds {held:?}"));
    }
}

fn take(lock: Lock) {
    RUN.with_borrow_mut(|run| {
        *run.holder(lock) = Some(run.current.unwrap_or(MAX_PROCESSORS));
        let protected = run.protected[lock as usize];
        run.saw(&protected);
    });
}

fn pause(wants: Wants, next: Op) {
    let on_stage = RUN.with_borrow_mut(|run| {
        let task = run.current?;
        run.tasks[task] = Task { wants, next, ..run.tasks[task] };
        Some(task)
    });
    if on_stage.is_none() || panicking() {
        return;
    }
    switch();
    if RUN.with_borrow(|run| run.abandoned) {
        resume_unwind(Box::new(Stopped));
    }
}

fn broken(rule: String) -> ! {
    let on_stage = RUN.with_borrow_mut(|run| {
        run.broken.get_or_insert(rule.clone());
        run.current.is_some()
    });
    assert!(on_stage, "before the scene begins: {rule}");
    resume_unwind(Box::new(Stopped))
}

/// Back to the explorer, and on when it resumes us.
fn switch() {
    #[expect(deprecated, reason = "the scope that took its place cannot be reached from within the firmware's code")]
    generator::yield_with(());
}

// ---- For the explorer.

/// What was explored.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Different states.
    pub states: u64,
    /// Steps between them.
    pub transitions: u64,
    /// Steps of the longest way.
    pub longest: usize,
    /// Orders of all steps, which are ways through the states.
    pub orders: f64,
    /// What all calls came to, in any order.
    pub ends: BTreeSet<String>,
}

/// A rule that was broken, and the way there.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rule.
    pub rule: String,
    /// A step a line.
    pub trace: Vec<String>,
    /// States before it was found.
    pub states: u64,
}

/// A decision: who could go on, and who does.
struct Decision {
    turns: Turns,
    at: usize,
    key: u128,
    next: Lanes,
    orders: f64,
}

#[derive(Clone, Copy, Default)]
struct Turns {
    list: [usize; MAX_PROCESSORS],
    len: usize,
}

/// Explores all orders of what `scene` sets up, anew each time.
///
/// # Errors
/// The first rule that was found broken.
pub fn explore(scene: &dyn Fn() -> (Vec<Job>, Finale)) -> Result<Figures, Found> {
    let mut explorer = Explorer::default();
    let outcome = explorer.all(scene);
    explorer.end();
    outcome
}

#[derive(Default)]
struct Explorer {
    coroutines: Vec<Generator<'static, (), ()>>,
    decisions: Vec<Decision>,
    /// States that were gone on from in every way: how many orders there are, and what comes next.
    seen: HashMap<u128, (f64, Lanes)>,
    figures: Figures,
}

impl Explorer {
    fn all(&mut self, scene: &dyn Fn() -> (Vec<Job>, Finale)) -> Result<Figures, Found> {
        loop {
            let finale = self.start(scene);
            let orders = self.one(finale)?;
            self.abandon();
            if !self.back(orders) {
                self.figures.states = self.seen.len() as u64;
                return Ok(core::mem::take(&mut self.figures));
            }
        }
    }

    /// All processors stand before their first step.
    fn start(&mut self, scene: &dyn Fn() -> (Vec<Job>, Finale)) -> Finale {
        RUN.with_borrow_mut(|run| *run = Run::default());
        let (jobs, finale) = scene();
        while self.coroutines.len() < jobs.len() {
            self.coroutines.push(coroutine(self.coroutines.len()));
        }
        let count = jobs.len();
        RUN.with_borrow_mut(|run| {
            run.tasks = vec![Task::new(); count];
            run.jobs = jobs.into_iter().map(Some).collect();
        });
        for task in 0..count {
            self.resume(task);
        }
        finale
    }

    /// One order: along the decisions that there are, and on to a state that was seen, or to the end.
    fn one(&mut self, finale: Finale) -> Result<f64, Found> {
        let mut depth = 0;
        loop {
            let turns = RUN.with_borrow(|run| {
                let rule = run.broken.clone().map_or_else(|| run.check_waiting(), Err);
                rule.map(|()| run.who_can_go())
            });
            let turns = turns.map_err(|rule| self.found(rule))?;
            if turns.len == 0 {
                let end = RUN.with_borrow(|run| run.check_end().and_then(|()| finale(&run.world)));
                self.figures.longest = self.figures.longest.max(depth);
                let end = end.map_err(|rule| self.found(rule))?;
                self.figures.ends.insert(end);
                return Ok(1.0);
            }
            if depth == self.decisions.len() {
                let key = RUN.with_borrow(Run::key);
                if let Some((orders, next)) = self.seen.get(&key).copied() {
                    // If what comes next is not the same, somebody has seen what the model does not know of.
                    let same = RUN.with_borrow(Run::next) == next;
                    return if same { Ok(orders) } else { Err(self.found(String::from("two states taken for one"))) };
                }
                let next = RUN.with_borrow(Run::next);
                self.decisions.push(Decision { turns, at: 0, key, next, orders: 0.0 });
            }
            let Decision { turns, at, .. } = &self.decisions[depth];
            let task = turns.list[*at];
            depth += 1;
            RUN.with_borrow_mut(|run| {
                let next = run.tasks[task].next;
                run.trace.push((task, next));
            });
            self.resume(task);
        }
    }

    /// To the last decision that can be another; `false` if there is none.
    fn back(&mut self, orders: f64) -> bool {
        let mut orders = orders;
        while let Some(decision) = self.decisions.last_mut() {
            self.figures.transitions += 1;
            decision.orders += orders;
            decision.at += 1;
            if decision.at < decision.turns.len {
                return true;
            }
            orders = decision.orders;
            self.seen.insert(decision.key, (orders, decision.next));
            self.decisions.pop();
        }
        self.figures.orders = orders;
        false
    }

    fn resume(&mut self, task: usize) {
        RUN.with_borrow_mut(|run| run.current = Some(task));
        self.coroutines[task].resume();
        RUN.with_borrow_mut(|run| run.current = None);
    }

    /// Whoever stands amid a scene leaves it.
    fn abandon(&mut self) {
        let tasks = RUN.with_borrow_mut(|run| {
            run.abandoned = true;
            run.tasks.clone()
        });
        for (number, task) in tasks.iter().enumerate() {
            if task.wants != Wants::Nothing {
                self.resume(number);
            }
        }
    }

    fn found(&mut self, rule: String) -> Found {
        self.abandon();
        let step = |(task, op): &(usize, Op)| format!("processor {task} {op}");
        let trace = RUN.with_borrow(|run| run.trace.iter().map(step).collect());
        Found { rule, trace, states: (self.seen.len() + self.decisions.len()) as u64 }
    }

    /// The coroutines end, so that none is cancelled.
    fn end(&mut self) {
        RUN.with_borrow_mut(|run| {
            *run = Run::default();
            run.over = true;
        });
        for coroutine in &mut self.coroutines {
            coroutine.resume();
        }
    }
}

/// A coroutine that does one job after the other.
fn coroutine(task: usize) -> Generator<'static, (), ()> {
    Gn::new_opt(STACK, move || {
        loop {
            let job = RUN.with_borrow_mut(|run| run.jobs.get_mut(task).and_then(Option::take));
            if let Some(job) = job
                && let Err(payload) = catch_unwind(AssertUnwindSafe(job))
                && !payload.is::<Stopped>()
            {
                let said = payload.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic");
                let rule = format!("panic: {said}");
                RUN.with_borrow_mut(|run| run.broken.get_or_insert(rule).clone());
            }
            RUN.with_borrow_mut(|run| {
                if let Some(task) = run.tasks.get_mut(task) {
                    task.wants = Wants::Nothing;
                }
            });
            switch();
            if RUN.with_borrow(|run| run.over) {
                return;
            }
        }
    })
}
