//! A set of command codes, as a bit map. Which commands can be on a list is declared at the commands.

use crate::rc::Fmt1;
use crate::wire::{Marshal, Reader, Unmarshal, Writer};

/// The code of the first bit.
const FIRST: u32 = 0x100;

/// Some of the commands whose codes are from 0x100 to 0x1ff.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CommandList {
    low: u128,
    high: u128,
}

impl CommandList {
    /// No command.
    pub(crate) const fn new() -> Self {
        Self { low: 0, high: 0 }
    }

    /// The command alone; none if there cannot be one with this code.
    const fn of(code: u32) -> Self {
        match code.checked_sub(FIRST) {
            Some(n @ 0..128) => Self { low: 1 << n, high: 0 },
            Some(n @ 128..256) => Self { low: 0, high: 1 << (n - 128) },
            _ => Self::new(),
        }
    }

    /// These and this one.
    pub(crate) const fn with(self, code: u32) -> Self {
        let one = Self::of(code);
        Self { low: self.low | one.low, high: self.high | one.high }
    }

    /// These without this one.
    pub(crate) const fn without(self, code: u32) -> Self {
        let one = Self::of(code);
        Self { low: self.low & !one.low, high: self.high & !one.high }
    }

    /// Puts a command on the list, or takes it off.
    pub(crate) const fn set(&mut self, code: u32, listed: bool) {
        *self = if listed { self.with(code) } else { self.without(code) };
    }

    /// Whether the command is on the list: asked for every command.
    pub(crate) const fn has(self, code: u32) -> bool {
        match code.checked_sub(FIRST) {
            Some(n @ 0..128) => self.low >> n & 1 != 0,
            Some(n @ 128..256) => self.high >> (n - 128) & 1 != 0,
            _ => false,
        }
    }

    /// Whether all of these are on the other list.
    pub(crate) const fn is_within(self, other: Self) -> bool {
        self.low & !other.low == 0 && self.high & !other.high == 0
    }

    /// The codes, ascending: as many steps as there are codes.
    pub(crate) fn codes(self) -> impl Iterator<Item = u32> {
        let high = FIRST.saturating_add(u128::BITS);
        bits(self.low).map(|n| FIRST.saturating_add(n)).chain(bits(self.high).map(move |n| high.saturating_add(n)))
    }
}

/// The places of the bits that are SET, from the lowest.
fn bits(mut word: u128) -> impl Iterator<Item = u32> {
    core::iter::from_fn(move || {
        let below = word.checked_sub(1)?;
        let place = word.trailing_zeros();
        word &= below;
        Some(place)
    })
}

/// The codes behind their number.
impl Marshal for CommandList {
    fn marshal(&self, w: &mut Writer<'_>) {
        self.low.count_ones().saturating_add(self.high.count_ones()).marshal(w);
        self.codes().for_each(|code| code.marshal(w));
    }
}

impl Unmarshal<'_> for CommandList {
    fn unmarshal(r: &mut Reader<'_>) -> Result<Self, Fmt1> {
        let mut list = Self::new();
        let mut last = None;
        for _ in 0..r.get::<u32>()? {
            let code: u32 = r.get()?;
            list.set(code, true);
            if last.is_some_and(|last| last >= code) || !list.has(code) {
                return Err(Fmt1::VALUE);
            }
            last = Some(code);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::CommandList;

    #[test]
    fn each_code_has_its_bit_and_what_can_be_none_has_none() {
        for code in (0..0x300).chain([u32::MAX]) {
            let list = CommandList::new().with(code);
            assert!(list.codes().eq(list.has(code).then_some(code)));
            assert_eq!(list.has(code), (0x100..0x200).contains(&code));
            assert!(list.without(code) == CommandList::new());
        }
    }

    #[test]
    fn codes_ascend_over_both_words() {
        let codes = [0x100, 0x17f, 0x180, 0x1ff];
        let list = codes.into_iter().rev().fold(CommandList::new(), CommandList::with);
        assert!(list.codes().eq(codes));
        assert!(list.without(0x180).is_within(list) && !list.is_within(list.without(0x180)));
        assert!(!list.is_within(list.without(0x17f)));
    }
}
