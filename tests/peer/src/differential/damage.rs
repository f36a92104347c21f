//! Damage to a command on its way, the same for both TPMs.

use core::ops::Range;

use super::cc;
use super::command::Command;
use super::generate::lattice;
use super::world::{Entity, Subject, World, rh};

/// Damage to a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Damage {
    /// a handle is another
    Handle(usize, u32),
    /// a bit of the parameters, before authorization
    Bit(usize),
    /// two octets of the parameters, before authorization
    Word(usize, u16),
    /// the parameters are shorter, or longer by so many octets
    Resize(isize),
    /// the whole command is cut, or longer
    Tail(isize),
    /// an octet of the command, after authorization
    Octet(usize, u8),
    /// commandSize
    Size(isize),
    Tag(u16),
    /// the authorization area has one entry less
    Without,
    /// another command code
    Code(u32),
}

impl Damage {
    /// What is damaged as if the caller had meant it; `aligned` octets of the parameters mean the same for both.
    pub(super) fn before_authorization(self, command: &mut Command, aligned: usize) {
        let params = &mut command.params.0;
        match self {
            Self::Handle(i, value) => {
                let old = command.handles[i].clone();
                command.handles[i] = Entity { handle: [value, value], ..old };
            }
            Self::Bit(at) if aligned > 0 => params.iter_mut().for_each(|side| {
                let n = at % (aligned * 8);
                side[n / 8] ^= 1 << (n % 8);
            }),
            Self::Word(at, value) if aligned > 1 => params.iter_mut().for_each(|side| {
                let n = at % (aligned - 1);
                side[n..n + 2].copy_from_slice(&value.to_be_bytes());
            }),
            Self::Resize(by) => params.iter_mut().for_each(|side| resize(side, by)),
            Self::Code(code) => (command.code, command.equal) = (code, false),
            _ => {}
        }
    }

    /// Which octets of a request, whose parameters are at `params`, are other than they were meant.
    pub(super) fn hit(self, params: Range<usize>, aligned: usize) -> Option<Range<usize>> {
        let Range { start, end } = params;
        let from = |n: usize, len| n..n + len;
        Some(match self {
            Self::Handle(i, _) => from(10 + 4 * i, 4),
            Self::Bit(at) if aligned > 0 => from(start + at % (aligned * 8) / 8, 1),
            Self::Word(at, _) if aligned > 1 => from(start + at % (aligned - 1), 2),
            Self::Bit(_) | Self::Word(..) => return None,
            Self::Resize(by) | Self::Tail(by) => {
                end.saturating_add_signed(by.min(0))..end.saturating_add_signed(by.max(0))
            }
            Self::Octet(at, _) => from(at % (start + aligned.min(end - start)), 1),
            Self::Size(_) => 2..6,
            Self::Tag(_) => 0..2,
            Self::Code(_) => 6..10,
            Self::Without => 0..start,
        })
    }

    /// What is damaged on the way.
    pub(super) fn after_authorization(self, request: &mut Vec<u8>, hit: Option<&Range<usize>>) {
        match self {
            Self::Tail(by) => resize(request, by),
            Self::Octet(_, mask) => request[hit.map_or(0, |hit| hit.start)] ^= mask,
            Self::Tag(tag) => request[..2].copy_from_slice(&tag.to_be_bytes()),
            _ => {}
        }
    }
}

impl World {
    /// Some damage that suits a command.
    pub(super) fn damage(&mut self, command: &Command) -> Damage {
        let at = self.rng.usize(..);
        // Whether a handle means the same on both sides.
        let aligned = self.objects.iter().all(|o| o.entity.handle[0] == o.entity.handle[1]);
        let few = self.one_of(&[-1, -1, 1, 1, 2, -2, 4, -4, 16, -16]);
        match self.rng.u8(0..24) {
            0..3 | 17..19 if !aligned => Damage::Without,
            _ if !aligned && command.code == cc::FLUSH_CONTEXT => Damage::Without,
            0..3 if !command.handles.is_empty() => {
                let others =
                    [0, 1, 23, 24, 0x0100_0000, 0x0150_0001, 0x0200_0000, 0x0300_0000, 0x4000_0000, 0x4000_0006];
                let known = [rh::OWNER, rh::NULL, rh::PW, rh::LOCKOUT, rh::ENDORSEMENT, rh::PLATFORM, rh::PLATFORM_NV];
                let objects =
                    [0x8000_0000, 0x8000_0001, 0x8000_0002, 0x8000_0008, 0x8100_0000, 0x8180_0000, 0x80ff_ffff];
                let all = [&others[..], &known, &objects].concat();
                Damage::Handle(at % command.handles.len(), self.one_of(&all))
            }
            0..9 => Damage::Bit(at),
            9..14 => Damage::Word(at, self.one_of(&[0, 0, 1, 0x10, 0xffff, 0x8000, 0x0b, 0x0c, 0x400])),
            14..16 => Damage::Resize(few),
            16 => Damage::Tail(few),
            17..19 => Damage::Octet(at, 1 << (at % 8)),
            19 => Damage::Size(few),
            20 => Damage::Tag(self.one_of(&[0x8001, 0x8002, 0x8000, 0xc4, 0x8003])),
            21..23 => Damage::Without,
            _ if self.subject == Subject::Lattices => Damage::Code(self.one_of(&lattice::COMMANDS)),
            _ => Damage::Code(self.one_of(cc::ALL).0),
        }
    }
}

fn resize(octets: &mut Vec<u8>, by: isize) {
    octets.resize(octets.len().saturating_add_signed(by), 0);
}
