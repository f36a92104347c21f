//! Schedules of what happens to a state disk. See [`schedule`] and [`garbage`].

pub mod garbage;
mod ledger;
pub mod schedule;

use crate::drive::Drive;
use client::chance::Chance;
use sealed::layout::ROOM;
use sealed::{Beginning, Found, Fresh, Refusal, Root, Roots, StateDisk, Writer};

/// The firmware, on its chip.
const WRITER: Writer = Writer { measurement: [0x51; 48], policy: 0x3_0000, tcb: 3 };

fn roots() -> Roots {
    Roots { chip: Root::new([0x52; 32]), share: None, recovery: None }
}

fn fresh(chance: &mut Chance) -> Fresh {
    let drawn = Fresh::draw(|out| {
        chance.fill(out);
        Ok::<(), core::convert::Infallible>(())
    });
    match drawn {
        Ok(fresh) => fresh,
        Err(never) => match never {},
    }
}

type Disk<D> = StateDisk<Vec<u8>, D>;
type Opened<D> = Result<Disk<D>, Refusal<<D as sealed::BlockDevice>::Error>>;

/// A boot: what is there is opened; on an empty disk a TPM begins.
fn boot<D: sealed::BlockDevice>(mut device: D, known: Option<u64>, chance: &mut Chance) -> Opened<D> {
    let (fresh, room) = (fresh(chance), vec![0; ROOM]);
    match sealed::disk::look(&mut device)? {
        Found::Empty => StateDisk::create(device, &Beginning::new(), &WRITER, &roots(), fresh, room),
        Found::Record(head) => StateDisk::open(device, &head, &WRITER, &roots(), &roots(), known, fresh, room),
    }
}

/// The record that was opened, as the store reads it.
fn record<D: sealed::BlockDevice>(disk: &mut Disk<D>) -> Result<Vec<u8>, Refusal<D::Error>> {
    let mut out = vec![0; 8192];
    let length = tpm_core::store::Disk::read(disk, 0, &mut out)?;
    out.truncate(length);
    Ok(out)
}

/// A disk that was prepared, and nothing more.
fn prepared() -> crate::drive::Image {
    let mut drive = Drive::default();
    // A drive that was given no end has none.
    let _ = sealed::disk::prepare(&mut drive);
    drive.durable().clone()
}
