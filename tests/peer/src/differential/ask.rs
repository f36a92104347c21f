//! What the caller asks one or both TPMs beside the sequence: nothing of it is counted or compared.

use super::cc;
use super::command::Command;
use super::explained::Maker;
use super::tally::Case;
use super::wire::Two;
use super::world::{Entity, World};
use client::codes::{OBJECT_MEMORY, SESSION_MEMORY};
use client::command::{Rest, command as octets, response_code};
use client::names::{cap, pt};
use std::collections::BTreeSet;

impl World {
    fn ask(&mut self, side: usize, code: u32, handles: &[u32], parameters: &[u8]) -> Vec<u8> {
        let mut response = Vec::new();
        self.tpms[side].execute(&octets(code, handles, &[], parameters), 0, &mut response);
        response
    }

    /// TPM2_GetCapability: what one TPM has from a property on, behind moreData and the capability.
    fn ask_capability(&mut self, side: usize, capability: u32, property: u32, count: u32) -> Vec<u8> {
        let words = [capability, property, count].map(u32::to_be_bytes).concat();
        let response = self.ask(side, cc::GET_CAPABILITY, &[], &words);
        response.get(15..).unwrap_or_default().to_vec()
    }

    /// Asks both for the commands that they have, and the other one whose it is.
    pub(crate) fn learn_commands(&mut self) {
        self.commands.0 = [0, 1].map(|side| {
            self.tpms[side].manufacture();
            self.ask(side, cc::STARTUP, &[], &[0, 0]);
            let list = self.ask_capability(side, cap::COMMANDS, 0, 254);
            let attributes = list.get(4..).unwrap_or_default().as_chunks().0.iter().copied().map(u32::from_be_bytes);
            attributes.map(|attributes| (attributes & 0x2000_ffff, attributes)).collect()
        });
        let [ours, theirs] = [0, 1].map(|side| {
            // Identifiers, and attributes of four octets.
            let list = self.ask_capability(side, cap::ALGS, 0, 254);
            let entries = list.get(4..).unwrap_or_default().as_chunks().0.iter();
            entries.map(|[high, low, ..]: &[u8; 6]| u16::from_be_bytes([*high, *low])).collect::<BTreeSet<u16>>()
        });
        self.commands.1 = &ours & &theirs;
        let property = self.ask_capability(1, cap::TPM_PROPERTIES, pt::MANUFACTURER, 1);
        self.maker =
            property.get(8..).and_then(|value| value.first_chunk()).map_or_else(Maker::default, |m| Maker::of(*m));
    }

    /// How many objects, or sessions, each TPM says are loaded.
    fn loaded(&mut self, first: u32) -> Two<usize> {
        [0, 1].map(|side| {
            let list = self.ask_capability(side, cap::HANDLES, first, 64);
            list.first_chunk().map_or(0, |count| u32::from_be_bytes(*count) as usize)
        })
    }

    /// libtpms says that it has no slot: whether they are all taken, as it says itself.
    pub(super) fn explain_by_slots(&mut self, case: &Case) -> Option<&'static str> {
        let (first, needed, why) = match case.rc[1] {
            OBJECT_MEMORY => {
                let said = case.request[0].get(10..10 + 4 * case.handles).unwrap_or_default();
                let persistent = said.chunks(4).filter(|handle| handle[0] == 0x81).count();
                let makes = cc::loads(case.code) || cc::makes(case.code);
                (0x8000_0000, persistent + usize::from(makes), "slots for objects")
            }
            SESSION_MEMORY => (0x0200_0000, 1, "slots for sessions"),
            _ => return None,
        };
        (self.loaded(first)[1] + needed > 3).then_some(why)
    }

    /// Whether the objects that a command used are those that were meant, by their names: damage to an earlier command
    /// may have exchanged them.
    pub(super) fn is_as_known(&mut self, command: &Command) -> bool {
        let objects =
            command.handles.iter().filter(|h| matches!(h.handle[0] >> 24, 0x80 | 0x81) && !h.name[0].is_empty());
        objects.cloned().collect::<Vec<_>>().into_iter().all(|entity| {
            [0, 1].into_iter().all(|side| self.name(side, entity.handle[side]).as_ref() == Ok(&entity.name[side]))
        })
    }

    /// Whether an object is another than is known, or not there, on one side.
    pub(super) fn is_another(&mut self, entity: &Entity) -> bool {
        [0, 1].into_iter().any(|side| match self.name(side, entity.handle[side]) {
            Ok(name) => name != entity.name[side],
            // Where no slot is free it cannot be asked for.
            Err(rc) => rc != OBJECT_MEMORY,
        })
    }

    /// TPM2_ReadPublic: an object's Name, or the response code.
    fn name(&mut self, side: usize, handle: u32) -> Result<Vec<u8>, u32> {
        let response = self.ask(side, cc::READ_PUBLIC, &[handle], &[]);
        let mut rest = Rest(response.get(10..).unwrap_or_default());
        let _public = rest.sized();
        rest.sized().map(<[u8]>::to_vec).ok_or_else(|| response_code(&response))
    }
}
