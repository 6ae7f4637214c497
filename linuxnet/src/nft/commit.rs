//! Sending a transaction and telling which of its changes the kernel refused.

use nix::errno::Errno;
use nix::libc;

use super::Table;
use super::abi::*;
use super::element::ElementEntry;
use super::removal::Removal;
use super::socket::{Nfnetlink, Request, generic_header};
use super::transaction::{Act, Change, Question, Transaction};
use crate::error::{Cause, NetlinkError, Refusal};
use crate::nl::{Attributes, Reply, frame};

/// How often a removal that others overtook is looked at again.
const ATTEMPTS: u32 = 5;

/// A change as it goes to the kernel.
struct Order<'t> {
    change: &'t Change,
    message: u16,
    flags: u16,
    attributes: Option<Attributes>,
}

impl Order<'_> {
    /// Whether it may fail because somebody else changed the object after we looked at it.
    fn depends_on_a_look(&self) -> bool {
        !matches!(self.change.act, Act::Make { .. })
    }
}

/// What the kernel said to a batch.
enum Outcome {
    Done,
    /// The change of this index was refused.
    Refused(usize, Refusal),
    /// The batch as a whole was.
    Failed(Cause),
}

impl Nfnetlink {
    /// Makes all changes of a transaction, or none. An empty one is nothing to do.
    ///
    /// # Errors
    /// The first change that the kernel refused, by name: "cannot add element tcp . 8080 to map dnat4". A failure makes
    /// the kernel wait for an RCU grace period (8 to 16 ms).
    pub fn commit(&mut self, transaction: &Transaction<'_>) -> Result<(), NetlinkError> {
        if let Some(fault) = &transaction.fault {
            return Err(NetlinkError::new(fault.doing.clone(), Cause::Request(fault.text.clone())));
        }
        let mut removal = self.removal;
        for attempt in 1.. {
            let orders = self.orders(transaction, removal)?;
            match self.send(&orders) {
                Outcome::Done => return Ok(()),
                Outcome::Failed(cause) => return Err(NetlinkError::new("commit a netfilter transaction", cause)),
                Outcome::Refused(index, refusal) => {
                    let Some(order) = orders.get(index) else { break };
                    let again = order.depends_on_a_look() && attempt < ATTEMPTS;
                    match refusal.errno {
                        Errno::EINVAL | Errno::EOPNOTSUPP if again && removal != Removal::Delete => {
                            removal = removal.fallback();
                        }
                        Errno::ENOENT | Errno::EEXIST if again => {}
                        _ => return Err(NetlinkError::new(order.change.doing.clone(), refusal)),
                    }
                }
            }
        }
        Err(NetlinkError::new("commit a netfilter transaction", Cause::Answer("an error of a message never sent")))
    }

    /// What to send: the changes, without the removals of what is not there.
    fn orders<'t>(
        &mut self,
        transaction: &'t Transaction<'_>,
        removal: Removal,
    ) -> Result<Vec<Order<'t>>, NetlinkError> {
        let mut orders = Vec::with_capacity(transaction.changes.len());
        for change in &transaction.changes {
            let order = self.order(change, removal).map_err(|cause| NetlinkError::new(change.doing.clone(), cause))?;
            orders.extend(order);
        }
        Ok(orders)
    }

    fn order<'t>(&mut self, change: &'t Change, removal: Removal) -> Result<Option<Order<'t>>, Cause> {
        let plain = |message, flags| Some(Order { change, message, flags, attributes: None });
        Ok(match (&change.act, removal) {
            (Act::Make { message, flags }, _) => plain(*message, *flags),
            (Act::Remove { destroy, .. }, Removal::Expire | Removal::Destroy) => plain(*destroy, 0),
            (Act::Remove { delete, question, .. }, Removal::Delete) => {
                self.ask(change, question, |_| Some(()))?.and_then(|()| plain(*delete, 0))
            }
            (Act::Expire { question, table, set }, Removal::Expire) => {
                let found = self.ask(change, question, |payload| ElementEntry::decode_all(payload).next())?;
                // The table's family is in the change; only the name goes into the attributes.
                let table = Table::inet(table);
                found.map(|element| Order {
                    attributes: Some(element.expiring(table, set)),
                    change,
                    message: NFT_MSG_NEWSETELEM,
                    flags: u16::try_from(libc::NLM_F_CREATE).unwrap_or_default(),
                })
            }
            (Act::Expire { .. }, Removal::Destroy) => plain(NFT_MSG_DESTROYSETELEM, 0),
            (Act::Expire { question, .. }, Removal::Delete) => {
                self.ask(change, question, |_| Some(()))?.and_then(|()| plain(NFT_MSG_DELSETELEM, 0))
            }
        })
    }

    fn ask<T>(
        &mut self,
        change: &Change,
        question: &Question,
        read: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, Cause> {
        let request = Request {
            subsystem: NFNL_SUBSYS_NFTABLES,
            message: question.message,
            family: change.family,
            attributes: question.attributes.as_ref().unwrap_or(&change.attributes),
        };
        self.find(&request, |_, payload| read(payload))
    }

    /// Sends one batch. Only the last change asks for an acknowledgement: those of the frame around the changes come
    /// since Linux 6.10 only, and errors come unasked.
    fn send(&mut self, orders: &[Order<'_>]) -> Outcome {
        if orders.is_empty() {
            return Outcome::Done;
        }
        let begin = self.socket.next_sequence();
        let mut sequences = Vec::with_capacity(orders.len());
        let mut batch = Vec::with_capacity(orders.len() * 160 + 64);
        let (request, ack) = (libc::NLM_F_REQUEST, libc::NLM_F_ACK);
        let flag = |flags: i32| u16::try_from(flags).unwrap_or_default();
        let edge = generic_header(0, NFNL_SUBSYS_NFTABLES);
        frame(&mut batch, NFNL_MSG_BATCH_BEGIN, flag(request), begin, &edge, &[]);
        for (index, order) in orders.iter().enumerate() {
            let sequence = self.socket.next_sequence();
            sequences.push(sequence);
            let last = if index + 1 == orders.len() { flag(ack) } else { 0 };
            let kind = NFNL_SUBSYS_NFTABLES << 8 | order.message;
            let attributes = order.attributes.as_ref().unwrap_or(&order.change.attributes).as_bytes();
            let head = generic_header(order.change.family, 0);
            frame(&mut batch, kind, flag(request) | order.flags | last, sequence, &head, attributes);
        }
        let end = self.socket.next_sequence();
        frame(&mut batch, NFNL_MSG_BATCH_END, flag(request), end, &edge, &[]);
        if let Err(cause) = self.socket.send(&batch) {
            return Outcome::Failed(cause);
        }
        self.outcome(begin, &sequences, end)
    }

    /// Reads answers until the one to the last change. They come in the order of the changes; a failure of the batch
    /// as a whole (no privilege, no memory) is told of its first or last message.
    fn outcome(&mut self, begin: u32, sequences: &[u32], end: u32) -> Outcome {
        let mut refused: Option<(usize, Refusal)> = None;
        loop {
            let messages = match self.socket.receive() {
                Ok(messages) => messages,
                Err(cause) => return refused.map_or(Outcome::Failed(cause), |(i, r)| Outcome::Refused(i, r)),
            };
            for message in messages {
                let index = sequences.iter().position(|&s| s == message.sequence);
                match (message.reply(), index) {
                    (Reply::Refused(refusal), None) if [begin, end].contains(&message.sequence) => {
                        return Outcome::Failed(refusal.into());
                    }
                    (Reply::Refused(refusal), Some(index)) if refused.is_none() => refused = Some((index, refusal)),
                    _ => {}
                }
                if index == Some(sequences.len() - 1) {
                    return refused.map_or(Outcome::Done, |(i, r)| Outcome::Refused(i, r));
                }
            }
        }
    }
}
