//! What the secure processor answers to each type of guest message.

use super::Psp;
use super::message::{Message, PAYLOAD};
use crate::bits::{array, put, u32_at, u64_at};
use crate::config::Config;
use sha2::{Digest, Sha256};

/// Message types (SNP firmware ABI, table 100).
mod kind {
    pub(super) const KEY: u8 = 3;
    pub(super) const REPORT: u8 = 5;
    pub(super) const TSC_INFO: u8 = 17;
}

/// Status in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Status {
    InvalidParameter = 0x16,
    InvalidKey = 0x27,
}

/// Offset of the body of a report or key answer.
const BODY: usize = 0x20;

impl Psp {
    /// The answer to a message whose tag and sequence number were right. `None`: the firmware refuses the type or has
    /// no identity.
    pub(super) fn respond(&self, request: &Message, config: &Config) -> Option<Message> {
        let mut answer = Message {
            kind: request.kind + 1,
            version: 1,
            vmpck: request.vmpck,
            sequence: request.sequence + 1,
            payload: [0; PAYLOAD],
            len: BODY,
        };
        if request.version != 1 {
            return None;
        }
        match request.kind {
            kind::REPORT => self.report_answer(request, &mut answer, config)?,
            kind::KEY => self.key_answer(request, &mut answer)?,
            // Status 0; a scale of 1, no offset: the guest's time-stamp counter is the machine's.
            kind::TSC_INFO if request.len == 128 => {
                put(&mut answer.payload, 8, &(1u64 << 32).to_le_bytes());
                answer.len = 128;
            }
            _ => return None,
        }
        Some(answer)
    }

    fn report_answer(&self, request: &Message, answer: &mut Message, config: &Config) -> Option<()> {
        const REQUEST: usize = 0x60;
        let lies = &config.lies;
        let body = &request.payload[..request.len];
        let (vmpl, key) = (u32_at(body, 0x40), u32_at(body, 0x44));
        let reserved = body.get(0x48..).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
        let status = if request.len != REQUEST || !reserved || !may_name(request, vmpl) || key >> 2 != 0 || key == 3 {
            Some(Status::InvalidParameter as u64)
        } else if key == 2 {
            // No VLEK is loaded.
            Some(Status::InvalidKey as u64)
        } else {
            lies.report_status
        };
        if let Some(status) = status {
            put(&mut answer.payload, 0, &crate::bits::lo32(status).to_le_bytes());
            return Some(());
        }
        let mut report_data: [u8; 64] = array(body, 0);
        if let Some(bit) = lies.wrong_report_data {
            report_data[crate::bits::us(bit / 8 % 64)] ^= 1 << (bit % 8);
        }
        let vmpl = lies.wrong_vmpl_report.map_or(vmpl, crate::bits::lo32);
        let report = self.report(&report_data, vmpl, config)?;
        let size = u32::try_from(report.len()).unwrap_or(0);
        put(&mut answer.payload, 4, &size.to_le_bytes());
        put(&mut answer.payload, BODY, &report);
        answer.len = BODY + report.len();
        Some(())
    }

    fn key_answer(&self, request: &Message, answer: &mut Message) -> Option<()> {
        const POLICY: u64 = 1;
        const MEASUREMENT: u64 = 1 << 3;
        const SVN: u64 = 1 << 4;
        const TCB: u64 = 1 << 5;
        let identity = self.identity.as_ref()?;
        let body = &request.payload[..request.len];
        let (root, fields, vmpl, svn, tcb) =
            (u32_at(body, 0), u64_at(body, 8), u32_at(body, 0x10), u32_at(body, 0x14), u64_at(body, 0x18));
        let size = matches!(request.len, 0x20 | 0x28);
        // Only the VCEK is a root here: no migration agent has loaded a VMRK. The guest's SVN is 0, because there is no
        // ID block.
        let sound = size
            && root == 0
            && fields >> 7 == 0
            && may_name(request, vmpl)
            && svn == 0
            && tcb_at_most(tcb, identity.tcb);
        if !sound {
            put(&mut answer.payload, 0, &(Status::InvalidParameter as u32).to_le_bytes());
            return Some(());
        }
        let chosen = |bit: u64, value: &[u8; 48]| if fields & bit != 0 { *value } else { [0; 48] };
        let wide = |value: u64| {
            let mut bytes = [0; 48];
            put(&mut bytes, 0, &value.to_le_bytes());
            bytes
        };
        let key = Sha256::new()
            .chain_update(b"quoin mock derived key")
            .chain_update(identity.scalar)
            .chain_update(fields.to_le_bytes())
            .chain_update(vmpl.to_le_bytes())
            .chain_update(chosen(POLICY, &wide(self.policy)))
            .chain_update(chosen(MEASUREMENT, &self.digest))
            .chain_update(chosen(SVN, &wide(svn.into())))
            .chain_update(chosen(TCB, &wide(tcb)))
            .finalize();
        put(&mut answer.payload, BODY, &key);
        answer.len = BODY + 32;
        Some(())
    }
}

/// May the holder of this VMPCK speak for `vmpl`?
fn may_name(request: &Message, vmpl: u32) -> bool {
    (request.vmpck as u64..4).contains(&u64::from(vmpl))
}

/// Is every component of `asked` at most that of `have`?
fn tcb_at_most(asked: u64, have: u64) -> bool {
    asked.to_le_bytes().iter().zip(have.to_le_bytes()).all(|(asked, have)| *asked <= have)
}
