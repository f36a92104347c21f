//! Faults that are planted in copies of the crate and of the simulation, each of which schedules must find.

/// The module of the code as it is.
pub const AS_IT_IS: &str = "as_it_is";

/// A fault.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    /// The module that has it.
    pub module: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// How it differs from the code as it is.
    pub changes: &'static [Change],
}

/// A change of a file, in which `from` stands once.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// In kernel/anchor/src, or src/version.
    pub file: &'static str,
    /// What is there.
    pub from: &'static str,
    /// What takes its place.
    pub to: &'static str,
}

const fn one(module: &'static str, what: &'static str, changes: &'static [Change]) -> Plant {
    Plant { module, what, changes }
}

/// All of them.
pub const PLANTS: &[Plant] = &[
    one(
        "half",
        "a quorum is half of the anchors",
        &[
            Change { file: "world.rs", from: "rng.u8(n / 2 + 1..=n)", to: "n.div_ceil(2)" },
            Change { file: "world.rs", from: "(2 * k - n - 1).min(n - 1)", to: "0" },
        ],
    ),
    one(
        "liars",
        "as many anchors lie as two quorums have in common",
        &[Change { file: "world.rs", from: "(2 * k - n - 1).min(n - 1)", to: "(2 * k - n).min(n - 1)" }],
    ),
    one(
        "forgetful",
        "an anchor answers before what it answers is on its disk",
        &[Change { file: "liar.rs", from: "self.is_up = false;", to: "self.is_up = false; self.entries.clear();" }],
    ),
    one(
        "promise",
        "an anchor accepts what is of an earlier turn than it has promised",
        &[Change {
            file: "keeper.rs",
            from: "promised.ballot.turn() > request.ballot.turn())",
            to: "promised.ballot.turn() > request.ballot.turn() && request.kind == kind::PREPARE)",
        }],
    ),
    one(
        "unpromised",
        "an anchor promises and remembers it not",
        &[Change { file: "keeper.rs", from: "            self.promised = *request;\n", to: "" }],
    ),
    one(
        "unaccepted",
        "an anchor says that it accepts and keeps what it had",
        &[Change { file: "keeper.rs", from: "        self.accepted = *request;\n", to: "" }],
    ),
    one(
        "late",
        "an anchor takes back what it accepted when an earlier step comes late",
        &[Change {
            file: "keeper.rs",
            from: "core::cmp::Ordering::Greater => return Reply::to(request, status::OUTRUN).showing(accepted),",
            to: "core::cmp::Ordering::Greater => {}",
        }],
    ),
    one(
        "one_less",
        "a TPM is content with one less than the quorum",
        &[Change {
            file: "client.rs",
            from: "if self.round.granted.count() >= self.quorum.k()",
            to: "if self.round.granted.count() + 1 >= self.quorum.k()",
        }],
    ),
    one(
        "twice",
        "a TPM counts an anchor twice",
        &[Change { file: "client.rs", from: "self.0.count_ones()", to: "(self.0 | self.0 << 8).count_ones()" }],
    ),
    one(
        "replayed",
        "a TPM takes replies to other requests",
        &[Change { file: "client.rs", from: "reply.request != self.round.digest", to: "false" }],
    ),
    one(
        "any_anchor",
        "a TPM takes what is not signed by the anchor of that number, and the host forges",
        &[
            Change { file: "client.rs", from: "!reply.is_signed_by::<K>(&anchor)", to: "false" },
            Change {
                file: "world.rs",
                from: "self.hear(packet.tpm, packet.anchor, reply)",
                to: "self.hear(packet.tpm, (packet.anchor + self.boots) % self.anchors.len(), reply)",
            },
        ],
    ),
    one(
        "oldest",
        "a TPM goes on from the oldest head that it is shown",
        &[Change {
            file: "client.rs",
            from: "ballot.order() >= shown.ballot.order()",
            to: "ballot.order() <= shown.ballot.order()",
        }],
    ),
    one(
        "anything",
        "a TPM goes on from whatever it is shown",
        &[Change {
            file: "client.rs",
            from: "Some((_, head)) if ours(&head) => Ok(head),",
            to: "Some((_, head)) => Ok(head),",
        }],
    ),
    one(
        "unsettled",
        "a boot does not have accepted anew what it was shown",
        &[Change {
            file: "client.rs",
            from: "Phase::Prepare => self.found().map_or_else(Phase::Over, |_| Phase::Prepared),",
            to: "Phase::Prepare => match self.found() {\n                Ok(found) => {\n                    \
                 self.request.head = found;\n                    self.is_settled()\n                }\n                \
                 Err(verdict) => Phase::Over(verdict),\n            },",
        }],
    ),
    one(
        "unflushed",
        "a head is registered before its record is flushed",
        &[
            Change { file: "tpm.rs", from: "(Some(record), _, _) =>", to: "(Some(record), None, _) =>" },
            Change { file: "tpm.rs", from: "(None, Some(record), _) =>", to: "(_, Some(record), _) =>" },
        ],
    ),
    one(
        "own_only",
        "a record does not name what it was made of",
        &[Change {
            file: "client.rs",
            from: "None => Mark::naming(self.term, self.quorum, &[last], true),",
            to: "None => Mark::naming(self.term, self.quorum, &[Head::GENESIS], true),",
        }],
    ),
    one(
        "no_own",
        "a record's own head is not among what anchors may know",
        &[Change { file: "client.rs", from: "mark.names_own().then_some(own)", to: "None::<Head>" }],
    ),
    one(
        "no_pending",
        "a record that is written while a head is out does not name that",
        &[Change {
            file: "client.rs",
            from: "Some(pending) => Mark::naming(self.term, self.quorum, &[last, pending], true),",
            to: "Some(_) => Mark::naming(self.term, self.quorum, &[last], true),",
        }],
    ),
    one(
        "impatient",
        "a TPM registers another head while the fate of one is not known",
        &[
            Change { file: "client.rs", from: "self.pending.is_some_and(|pending| pending != head)", to: "false" },
            Change {
                file: "client.rs",
                from: "let ready = matches!(self.phase, Phase::Settled | Phase::Holding);",
                to: "let ready = matches!(self.phase, Phase::Settled | Phase::Holding | Phase::Register);",
            },
            Change {
                file: "tpm.rs",
                from: "                0 => self.prepare(around),\n",
                to: "                0 => self.prepare(around),\n                3..10 if self.part == Part::Lives && \
                 self.client.registered().is_some() && self.written.is_none() => {\n                    self.wanted = \
                 self.disk;\n                    self.disk.map_or(Act::Works, |disk| {\n                        \
                 self.register(around.records.get(disk).head, around)\n                    })\n                }\n",
            },
        ],
    ),
    one(
        "same_nonce",
        "two boots have the same boot nonce",
        &[Change {
            file: "tpm.rs",
            from: "(number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)",
            to: "(number as u64 / 2)",
        }],
    ),
    one(
        "goes_on",
        "a TPM that was outrun takes its next turn without looking at who came between",
        &[Change {
            file: "client.rs",
            from: "Some((_, head)) if self.settled => Err(Verdict::Superseded(head)),",
            to: "Some(_) if self.settled => Ok(self.known.last_registered()),",
        }],
    ),
    one(
        "hearsay",
        "a TPM goes on in a term that it has only heard of",
        &[Change {
            file: "client.rs",
            from: "self.others = self.others.max(shown.ballot.term.get());",
            to: "self.term = self.term.max(shown.ballot.term.get());",
        }],
    ),
    one(
        "same_term",
        "a boot asks in the term that the record had",
        &[Change {
            file: "client.rs",
            from: "self.term = self.term.max(self.others).checked_add(1)?;",
            to: "self.term = self.term.max(1);",
        }],
    ),
    one(
        "same_key",
        "anchors know a TPM that has come by the key by which they know where it comes from",
        &[Change { file: "host.rs", from: "        self.subjects += 1;\n", to: "" }],
    ),
    one(
        "early_kept",
        "a destination says that it has kept the state before that is on its disk",
        &[Change {
            file: "moving.rs",
            from: "            self.written = Some(record);\n",
            to: "            self.written = Some(record);\n            around.runs.get_mut(run).is_kept = true;\n",
        }],
    ),
    one(
        "early_receipt",
        "a source gives its receipt before its tombstone is registered",
        &[Change {
            file: "moving.rs",
            from: "if self.client.state() == State::Holding && self.client.registered() == Some(own) {",
            to: "if self.client.state() == State::Holding {",
        }],
    ),
    one(
        "undead",
        "a source goes on behind its tombstone",
        &[Change {
            file: "moving.rs",
            from: "            return Act::IsDead(run);\n",
            to: "            self.part = Part::Lives;\n            return Act::IsDead(run);\n",
        }],
    ),
    one(
        "not_once_more",
        "a source begins its tombstone without having had an answer",
        &[Change {
            file: "moving.rs",
            from: "Leaving::Sent if around.runs.get(run).is_kept => self.asks_for_a_quorum(run, around),",
            to: "Leaving::Sent if around.runs.get(run).is_kept => self.entombs(run, 0, around),",
        }],
    ),
    one(
        "written_alone",
        "a source has a record registered that was written before it had settled",
        &[Change {
            file: "moving.rs",
            from: "self.disk.filter(|disk| around.records.get(*disk).mark.names_own())",
            to: "self.disk.filter(|_| self.client.registered().is_some())",
        }],
    ),
    one(
        "commits_on",
        "a source commits between the state that it sent and its tombstone",
        &[Change {
            file: "moving.rs",
            from: "            self.write_as(Kind::Moved(run), around);\n            self.part",
            to: "            let kind = if count == 0 { Kind::Lives } else { Kind::Moved(run) };\n            \
                 self.write_as(kind, around);\n            self.part",
        }],
    ),
    one(
        "another_receipt",
        "a state that waits takes the receipt of another run",
        &[Change {
            file: "moving.rs",
            from: "if around.runs.get(run).tombstone.is_some() && around.rng.bool() {",
            to: "if (0..=run).any(|run| around.runs.get(run).tombstone.is_some()) && around.rng.bool() {",
        }],
    ),
];
