//! A command before it is authorized, and which commands the TPMs have.

use super::wire::{Bytes, Two};
use super::world::Entity;
use std::collections::{BTreeMap, BTreeSet};

/// A command before it is authorized.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) code: u32,
    pub(crate) handles: Vec<Entity>,
    /// how many of the handles are authorized: the first ones
    pub(crate) authorized: usize,
    pub(crate) params: Bytes,
    /// the response parameters are the same on both sides
    pub(crate) equal: bool,
    /// goes out as it is
    pub(crate) plain: bool,
}

impl Command {
    pub(crate) fn new(code: u32) -> Self {
        Self { code, handles: vec![], authorized: 0, params: Bytes::new(), equal: false, plain: false }
    }

    /// A handle that needs authorization; before the others.
    pub(crate) fn auth(mut self, entity: &Entity) -> Self {
        self.handles.push(entity.clone());
        self.authorized += 1;
        self
    }

    pub(crate) fn handle(mut self, entity: &Entity) -> Self {
        self.handles.push(entity.clone());
        self
    }

    pub(crate) fn params(self, params: Bytes) -> Self {
        Self { params, ..self }
    }

    /// Both TPMs give the same answer.
    pub(crate) fn equal(self) -> Self {
        Self { equal: true, ..self }
    }

    pub(crate) fn equal_if(self, equal: bool) -> Self {
        Self { equal, ..self }
    }

    /// Neither damaged nor with sessions that it does not need.
    pub(crate) fn plain(self) -> Self {
        Self { plain: true, ..self }
    }
}

/// What both TPMs say of the commands that they have, TPMA_CC by command code; and the algorithms of both.
#[derive(Default)]
pub(crate) struct Commands(pub(crate) Two<BTreeMap<u32, u32>>, pub(crate) BTreeSet<u16>);

impl Commands {
    /// Handles of a command, none if neither has it.
    pub(crate) fn handles(&self, code: u32) -> usize {
        self.0.iter().find_map(|side| side.get(&code)).map_or(0, |attributes| (attributes >> 25 & 7) as usize)
    }

    /// Whether we have a command that libtpms has not.
    pub(crate) fn only_ours(&self, code: u32) -> bool {
        self.0[0].contains_key(&code) && !self.0[1].contains_key(&code)
    }

    /// The commands of both.
    pub(crate) fn common(&self) -> BTreeSet<u32> {
        self.0[0].keys().filter(|code| self.0[1].contains_key(code)).copied().collect()
    }
}
