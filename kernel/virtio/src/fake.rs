//! A device on plain memory, which does as it should or lies wherever it can: for tests and for fuzzing.

use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use snp::ghcb::SharedMemory;
use snp::ghcb::call::Width;

use crate::host::{Configuration, Function, Host, PAGE, SharedPage};

/// Where its shared pages are.
const FIRST_PAGE: u64 = 0x80_0010_0000;
/// Octets of its BAR.
const BAR: u64 = 0x4000;
/// Pages that there are.
const MOST_PAGES: usize = 64;

/// What a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A disk.
    Disk,
    /// A console.
    Console,
}

/// How it lies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lies {
    /// Of 1024 answers so many are lies.
    pub rate: u32,
    /// What chance begins with.
    pub seed: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queue {
    size: u16,
    areas: [u64; 3],
    enabled: bool,
    seen: u16,
    used: u16,
}

/// All of a device.
#[derive(Debug)]
pub struct State {
    kind: Kind,
    /// Virtio over PCI; else MMIO.
    is_pci: bool,
    pages: Vec<[u8; PAGE]>,
    space: [u8; 256],
    features: u64,
    accepted: u64,
    select: [u32; 2],
    queue: u16,
    queues: [Queue; 2],
    status: u32,
    /// Its counter.
    pub ticks: u64,
    lies: Lies,
    /// Answers that were given so far.
    pub answers: u64,
    /// What the disk holds.
    pub sectors: Vec<u8>,
    /// Sectors that it claims to have.
    pub capacity: u64,
    /// How often it was told to flush.
    pub flushes: u64,
    /// It answers no request.
    pub is_silent: bool,
    /// Status octet of a disk's next answers.
    pub outcome: u8,
    /// Added to the index and the id of what it has used, and the octets that it says it has written.
    pub ahead: u16,
    /// See `ahead`.
    pub id: u32,
    /// See `ahead`.
    pub len: Option<u32>,
    /// What was written to the console, and what is to be read from it.
    pub written: Vec<u8>,
    /// See `written`.
    pub to_read: VecDeque<u8>,
}

/// The host with one device.
#[derive(Clone, Debug)]
pub struct Fake(pub Rc<RefCell<State>>);

/// A page of it.
#[derive(Debug)]
pub struct FakePage(Rc<RefCell<State>>, usize);

/// VIRTIO_F_VERSION_1, VIRTIO_F_ACCESS_PLATFORM, VIRTIO_BLK_F_FLUSH, and others that nobody wants.
const FEATURES: u64 = 1 << 33 | 1 << 32 | 1 << 29 | 1 << 28 | 1 << 9 | 1 << 6;

impl Fake {
    /// A device with as many sectors of zeros.
    #[must_use]
    pub fn new(kind: Kind, is_pci: bool, sectors: usize, lies: Lies) -> Self {
        let mut space = [0; 256];
        let id: u32 = if kind == Kind::Disk { 0x1042_1AF4 } else { 0x1043_1AF4 };
        put(&mut space, 0, &id.to_le_bytes());
        put(&mut space, 6, &[0x10]);
        put(&mut space, 0x34, &[0x40]);
        // Common, notifications, the device's own, in BAR 4, with one of another kind between.
        put(&mut space, 0x40, &structure(0x54, 1, 0, 0x38));
        put(&mut space, 0x54, &[0x11, 0x60, 0, 1]);
        put(&mut space, 0x60, &structure(0x74, 2, 0x1000, 0x1000));
        put(&mut space, 0x70, &4_u32.to_le_bytes());
        put(&mut space, 0x74, &structure(0, 4, 0x2000, 0x1000));
        put(&mut space, 0x20, &[0xC]);
        Self(Rc::new(RefCell::new(State {
            kind,
            is_pci,
            pages: Vec::new(),
            space,
            features: FEATURES,
            accepted: 0,
            select: [0; 2],
            queue: 0,
            queues: [Queue::default(); 2],
            status: 0,
            ticks: 0,
            lies,
            answers: 0,
            sectors: vec![0; 512 * sectors],
            capacity: sectors as u64,
            flushes: 0,
            is_silent: false,
            outcome: 0,
            ahead: 0,
            id: 0,
            len: None,
            written: Vec::new(),
            to_read: VecDeque::new(),
        })))
    }

    /// Changes it.
    pub fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        change(&mut self.0.borrow_mut())
    }
}

fn structure(next: u8, kind: u8, offset: u32, len: u32) -> [u8; 16] {
    let mut all = [9, next, 20, kind, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    put(&mut all, 8, &offset.to_le_bytes());
    put(&mut all, 12, &len.to_le_bytes());
    all
}

fn put(to: &mut [u8], at: usize, octets: &[u8]) {
    to.iter_mut().skip(at).zip(octets).for_each(|(to, from)| *to = *from);
}

fn get<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    from.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

#[expect(clippy::cast_possible_truncation, reason = "of what is cut off nothing is wanted")]
const fn low(value: u64) -> u32 {
    value as u32
}

impl State {
    /// The whole of its configuration space, to be changed.
    pub fn space(&mut self) -> &mut [u8; 256] {
        &mut self.space
    }

    /// What it offers.
    pub fn offer(&mut self, features: u64) {
        self.features = features;
    }

    fn chance(&mut self) -> u64 {
        // SplitMix64.
        self.lies.seed = self.lies.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.lies.seed;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn is_lie(&mut self) -> bool {
        self.answers += 1;
        self.lies.rate > 0 && low(self.chance()) % 1024 < self.lies.rate
    }

    /// The value, or another one.
    fn told(&mut self, value: u32) -> Option<u32> {
        if !self.is_lie() {
            return Some(value);
        }
        let other = low(self.chance());
        match self.chance() % 8 {
            0 => None,
            1 => Some(0),
            2 => Some(u32::MAX),
            3 => Some(value.wrapping_add(1)),
            4 => Some(value ^ 1 << (other % 32)),
            _ => Some(other),
        }
    }

    fn page_of(&self, gpa: u64) -> Option<(usize, usize)> {
        let offset = usize::try_from(gpa.checked_sub(FIRST_PAGE)?).ok()?;
        (offset / PAGE < self.pages.len()).then_some((offset / PAGE, offset % PAGE))
    }

    fn dma_read(&self, gpa: u64, out: &mut [u8]) {
        if let Some((page, at)) = self.page_of(gpa)
            && let Some(page) = self.pages.get(page)
        {
            out.iter_mut().zip(page.iter().skip(at)).for_each(|(to, from)| *to = *from);
        }
    }

    fn dma_write(&mut self, gpa: u64, octets: &[u8]) {
        if let Some((page, at)) = self.page_of(gpa)
            && let Some(page) = self.pages.get_mut(page)
        {
            put(page, at, octets);
        }
    }

    fn dma_u16(&self, gpa: u64) -> u16 {
        let mut octets = [0; 2];
        self.dma_read(gpa, &mut octets);
        u16::from_le_bytes(octets)
    }

    /// Where the registers of the device are seen.
    fn base(&self) -> u64 {
        let bar = u64::from(u32::from_le_bytes(get(&self.space, 0x20)) & !0xF);
        bar | u64::from(u32::from_le_bytes(get(&self.space, 0x24))) << 32
    }

    fn queue(&mut self) -> &mut Queue {
        let at = usize::from(self.queue % 2);
        let [first, second] = &mut self.queues;
        if at == 0 { first } else { second }
    }

    fn register(&mut self, offset: u64) -> u32 {
        let half = |value: u64, select: u32| low(if select == 0 { value } else { value >> 32 });
        let max = if self.queue < 2 { 64 } else { 0 };
        let offset = if self.is_pci { offset } else { over_mmio(offset) };
        match offset {
            0x4 => half(self.features, self.select[0]),
            0x14 => self.status,
            0x18 if self.status & 4 == 0 => max,
            0x18 => u32::from(self.queue().size),
            0x1E => self.queue.into(),
            0x2000 => low(self.capacity),
            0x2004 => low(self.capacity >> 32),
            _ => 0,
        }
    }

    fn set_register(&mut self, offset: u64, value: u32) {
        let offset = if self.is_pci { offset } else { over_mmio(offset) };
        let word = u16::try_from(value & 0xFFFF).unwrap_or(0);
        match offset {
            0x0 => self.select[0] = value,
            0x8 => self.select[1] = value,
            0xC if self.select[1] == 0 => self.accepted = self.accepted & !0xFFFF_FFFF | u64::from(value),
            0xC => self.accepted = self.accepted & 0xFFFF_FFFF | u64::from(value) << 32,
            0x14 if value == 0 => {
                (self.status, self.accepted) = (0, 0);
                self.queues = [Queue::default(); 2];
            }
            // It does not agree to what it has not offered, or, as QEMU does not, to addresses of another kind.
            0x14 if self.accepted & !self.features != 0 || (self.features & !self.accepted) >> 33 & 1 != 0 => {
                self.status = value & !8
            }
            0x14 => self.status = value,
            0x16 => self.queue = word,
            0x18 => self.queue().size = word,
            0x1C => self.queue().enabled = value == 1,
            0x20..=0x37 => {
                let at = usize::try_from(offset - 0x20).unwrap_or(0);
                let shift = 8 * (at % 8);
                let area = self.queue().areas.get_mut(at / 8);
                if let Some(area) = area {
                    *area = *area & !(0xFFFF_FFFF << shift) | u64::from(value) << shift;
                }
            }
            0x1000..=0x1FFF => self.serve(word),
            _ => {}
        }
    }

    /// Answers what is in a queue.
    fn serve(&mut self, number: u16) {
        let Some(queue) = self.queues.get(usize::from(number)).copied() else { return };
        if !queue.enabled || self.is_silent || queue.size == 0 {
            return;
        }
        let [descriptors, driver, device] = queue.areas;
        let made = self.dma_u16(driver + 2);
        let mut queue = queue;
        while queue.seen != made {
            let head = self.dma_u16(driver + 4 + 2 * u64::from(queue.seen % queue.size));
            let Some(len) = self.request(number, descriptors, head) else { return };
            queue.seen = queue.seen.wrapping_add(1);
            let mut entry = [0; 8];
            put(&mut entry, 0, &self.told(u32::from(head) + self.id).unwrap_or(7).to_le_bytes());
            put(&mut entry, 4, &self.told(self.len.unwrap_or(len)).unwrap_or(0).to_le_bytes());
            self.dma_write(device + 4 + 8 * u64::from(queue.used % queue.size), &entry);
            queue.used = queue.used.wrapping_add(1);
            let index = self.told(queue.used.wrapping_add(self.ahead).into()).unwrap_or(0);
            self.dma_write(device + 2, &u16::try_from(index & 0xFFFF).unwrap_or(0).to_le_bytes());
            if let Some(slot) = self.queues.get_mut(usize::from(number)) {
                *slot = queue;
            }
        }
    }

    /// Does what a chain of descriptors asks for; octets that are written. `None`: nothing yet.
    fn request(&mut self, number: u16, descriptors: u64, head: u16) -> Option<u32> {
        let (mut input, mut room, mut at) = (Vec::new(), Vec::new(), head);
        for _ in 0..64 {
            let mut descriptor = [0; 16];
            self.dma_read(descriptors + 16 * u64::from(at), &mut descriptor);
            let (gpa, len) = (u64::from_le_bytes(get(&descriptor, 0)), u32::from_le_bytes(get(&descriptor, 8)));
            let flags = u16::from_le_bytes(get(&descriptor, 12));
            if flags & 2 == 0 {
                let mut octets = vec![0; usize::try_from(len).unwrap_or(0).min(PAGE)];
                self.dma_read(gpa, &mut octets);
                input.extend(octets);
            } else {
                room.push((gpa, usize::try_from(len).unwrap_or(0)));
            }
            if flags & 1 == 0 {
                break;
            }
            at = u16::from_le_bytes(get(&descriptor, 14));
        }
        let total: usize = room.iter().map(|(_, len)| len).sum();
        let mut answer = match self.kind {
            Kind::Disk => self.block(&input, total),
            Kind::Console if number == 1 => {
                self.written.extend(&input);
                Vec::new()
            }
            Kind::Console => {
                let count = self.to_read.len().min(total);
                if count == 0 && !self.is_lie() {
                    return None;
                }
                self.to_read.drain(..count).collect()
            }
        };
        if self.is_lie() {
            let noise = self.chance();
            answer.iter_mut().for_each(|octet| *octet ^= noise.to_le_bytes()[3]);
        }
        let mut rest = answer.as_slice();
        for (gpa, len) in room {
            let (now, later) = rest.split_at(len.min(rest.len()));
            self.dma_write(gpa, now);
            rest = later;
        }
        u32::try_from(answer.len()).ok()
    }

    fn block(&mut self, input: &[u8], room: usize) -> Vec<u8> {
        let (kind, sector) = (u32::from_le_bytes(get(input, 0)), u64::from_le_bytes(get(input, 8)));
        let mut answer = vec![0; room];
        let at = usize::try_from(sector).unwrap_or(usize::MAX).saturating_mul(512);
        let len = if kind == 1 { input.len().saturating_sub(16) } else { room.saturating_sub(1) };
        let inside = at.checked_add(len).is_some_and(|end| end <= self.sectors.len());
        let status = match kind {
            _ if self.outcome != 0 => self.outcome,
            0 if inside => {
                put(&mut answer, 0, self.sectors.get(at..at + len).unwrap_or_default());
                0
            }
            1 if inside => {
                put(&mut self.sectors, at, input.get(16..).unwrap_or_default());
                0
            }
            4 => {
                self.flushes += 1;
                0
            }
            _ => 1,
        };
        if let Some(last) = answer.last_mut() {
            *last = status;
        }
        answer
    }

    /// Passes a message to a driver that waits for one.
    pub fn deliver(&mut self) {
        self.serve(0);
    }

    /// Takes what a driver waits to get rid of.
    pub fn take_written(&mut self) {
        self.serve(1);
    }

    /// The owner of the shared pages changes what it likes.
    fn scribble(&mut self) {
        if self.pages.is_empty() || self.lies.rate == 0 || !self.is_lie() {
            return;
        }
        let (where_, what) = (self.chance(), self.chance());
        let count = self.pages.len() as u64;
        let at = if where_ & 1 == 0 { 0xC00 + (where_ >> 32) % 16 } else { (where_ >> 32) % PAGE as u64 };
        let gpa = FIRST_PAGE + (where_ >> 8) % count * PAGE as u64 + at;
        let octets = what.to_le_bytes();
        let len = usize::try_from(what % 8).unwrap_or(0);
        self.dma_write(gpa, octets.get(..len).unwrap_or_default());
    }
}

/// The offset over PCI of what is at one over MMIO.
fn over_mmio(offset: u64) -> u64 {
    match offset {
        0x10 => 0x4,
        0x14 => 0x0,
        0x20 => 0xC,
        0x24 => 0x8,
        0x30 => 0x16,
        0x34 | 0x38 => 0x18,
        0x44 => 0x1C,
        0x50 => 0x1000,
        0x70 => 0x14,
        0x80 | 0x84 => offset - 0x60,
        0x90 | 0x94 => offset - 0x68,
        0xA0 | 0xA4 => offset - 0x70,
        0x100..=0x1FF => offset + 0x1F00,
        _ => 0xFFFF,
    }
}

/// Where a device is over MMIO.
pub const MMIO_BASE: u64 = 0xFEB0_0000;

impl Host for Fake {
    type Shared = FakePage;

    fn read(&mut self, gpa: u64, width: Width) -> Option<u32> {
        let state = &mut *self.0.borrow_mut();
        let value = if state.is_pci {
            let offset = gpa.checked_sub(state.base()).filter(|offset| *offset < BAR);
            offset.map_or(u32::MAX, |offset| state.register(offset))
        } else {
            match gpa.checked_sub(MMIO_BASE)? {
                0 => 0x7472_6976,
                4 => 2,
                8 => {
                    if state.kind == Kind::Disk {
                        2
                    } else {
                        3
                    }
                }
                offset => state.register(offset),
            }
        };
        state.told(value).map(|value| value & (u32::MAX >> (32 - 8 * width as u32)))
    }

    fn write(&mut self, gpa: u64, _: Width, value: u32) -> Option<()> {
        let state = &mut *self.0.borrow_mut();
        let base = if state.is_pci { state.base() } else { MMIO_BASE };
        if let Some(offset) = gpa.checked_sub(base).filter(|offset| *offset < BAR) {
            state.set_register(offset, value);
        }
        state.told(0).map(drop)
    }

    fn share(&mut self) -> Option<SharedPage<FakePage>> {
        let state = &mut *self.0.borrow_mut();
        let number = state.pages.len();
        if number == MOST_PAGES {
            return None;
        }
        state.pages.push([0; PAGE]);
        Some(SharedPage { bytes: FakePage(self.0.clone(), number), gpa: FIRST_PAGE + (number * PAGE) as u64 })
    }

    fn ticks(&mut self) -> u64 {
        let state = &mut *self.0.borrow_mut();
        state.ticks += 1;
        state.ticks
    }

    fn wait(&mut self) {
        self.0.borrow_mut().scribble();
    }
}

impl Configuration for Fake {
    fn config_read(&mut self, function: Function, offset: u8) -> Option<u32> {
        let state = &mut *self.0.borrow_mut();
        let is_it = Function::new(30, 0) == Some(function) && state.is_pci;
        let value = if is_it { u32::from_le_bytes(get(&state.space, offset.into())) } else { u32::MAX };
        state.told(value)
    }

    fn config_write(&mut self, _: Function, offset: u8, value: u32) -> Option<()> {
        let state = &mut *self.0.borrow_mut();
        match offset {
            // The low bits of a BAR say what it is and how large.
            0x20 => put(&mut state.space, 0x20, &(value & !low(BAR - 1) | 0xC).to_le_bytes()),
            0x24 | 0x10..=0x1C => put(&mut state.space, offset.into(), &value.to_le_bytes()),
            _ => {}
        }
        state.told(0).map(drop)
    }
}

impl SharedMemory for FakePage {
    fn len(&self) -> usize {
        PAGE
    }

    fn read(&self, offset: usize, out: &mut [u8]) {
        let state = &mut *self.0.borrow_mut();
        state.answers += 1;
        state.scribble();
        let page = state.pages.get(self.1).map_or(&[][..], |page| page.get(offset..).unwrap_or_default());
        out.fill(0);
        put(out, 0, page);
    }

    fn write(&mut self, offset: usize, octets: &[u8]) {
        let state = &mut *self.0.borrow_mut();
        if let Some(page) = state.pages.get_mut(self.1) {
            put(page, offset, octets);
        }
    }

    fn exchange(&mut self, _: usize, _: u32) -> u32 {
        0
    }
}

/// One device that lies by chance, used as the firmware does: whatever it answers, each call ends, and the octets
/// around a buffer are untouched. How many answers it gave, and how many calls were answered.
///
/// # Panics
/// If that is not so.
pub fn try_to_lie(seed: u64) -> (u64, u64) {
    let is_pci = seed & 1 == 0;
    let kind = if seed & 2 == 0 { Kind::Disk } else { Kind::Console };
    // From a device that lies once in its life to one that hardly says anything true.
    let rate = [1, 4, 16, 64, 512].into_iter().nth(usize::try_from(seed / 4 % 5).unwrap_or(0)).unwrap_or(1);
    let fake = Fake::new(kind, is_pci, 64, Lies { rate, seed: seed.wrapping_mul(0x2545_F491_4F6C_DD1D) });
    let answered = talk(&fake, kind, is_pci);
    (fake.change(|state| state.answers), answered)
}

fn talk(fake: &Fake, kind: Kind, is_pci: bool) -> u64 {
    const PATIENCE: u64 = 50;
    let function = Function::new(30, 0).unwrap_or_else(|| unreachable!("the function is one"));
    let host = &mut fake.clone();
    let opened =
        if is_pci { crate::pci::open(host, function, 0x7F_F000_0000) } else { crate::mmio::open(host, MMIO_BASE) };
    let Ok(registers) = opened else { return 0 };
    let mut answered = 0;
    let mut room = [0xA5; 3 * 512 + 32];
    if kind == Kind::Disk {
        let Ok(mut disk) = crate::disk::Disk::open(fake.clone(), registers, PATIENCE) else { return 0 };
        for first in 0..12 {
            let [before, buffer @ .., after] = &mut room.as_chunks_mut::<16>().0[..] else { return answered };
            let buffer = buffer.as_flattened_mut();
            answered += u64::from(disk.write(first, buffer).is_ok()) + u64::from(disk.flush().is_ok());
            answered += u64::from(disk.read(first, buffer).is_ok());
            assert!(*before == [0xA5; 16] && *after == [0xA5; 16], "octets around the buffer were written");
        }
    } else {
        let Ok(mut console) = crate::console::Console::open(fake.clone(), registers, PATIENCE) else { return 0 };
        for round in 0..12 {
            // It stalls now and then, and goes on.
            fake.change(|state| state.is_silent = round % 4 == 1);
            fake.change(State::take_written);
            fake.change(|state| state.to_read.extend([round; 300]));
            fake.change(State::deliver);
            answered += u64::from(console.write(&room).is_ok());
            // In all of them, more than a page.
            let mut buffer = [0xA5; 600];
            if let Ok(count) = console.read(&mut buffer) {
                assert!(count <= 600, "more was read than there is room for");
                answered += 1;
            }
        }
    }
    answered
}
