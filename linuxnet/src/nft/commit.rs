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

/// What the kernel said to a batch that failed: the index of the order it refused (none: the batch as a whole), and why.
type Failure = (Option<usize>, Cause);

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
        let mut attempt = 1;
        loop {
            let orders = self.orders(transaction, removal)?;
            let Err((at, cause)) = self.send(&orders) else { return Ok(()) };
            let refused = at.and_then(|index| orders.get(index)).map(|order| order.change);
            let next = match (refused, &cause) {
                (Some(change), Cause::Refused(refusal)) if attempt < ATTEMPTS => self.next(change, refusal, removal),
                _ => None,
            };
            let Some(next) = next else {
                let doing = refused.map_or("commit a netfilter transaction", |change| change.doing.as_str());
                return Err(NetlinkError::new(doing, cause));
            };
            removal = next;
            attempt += 1;
        }
    }

    /// Whether a batch may succeed if it is made again, and with which way of removal.
    fn next(&mut self, refused: &Change, refusal: &Refusal, removal: Removal) -> Option<Removal> {
        match (&refused.act, refusal.errno) {
            (Act::Make { .. }, _) => None,
            // What stood in the way was on its way out; the kernel's wait after the failure outlasted it.
            (Act::Add { .. }, Errno::EEXIST) => {
                let there = Question { message: NFT_MSG_GETSETELEM, attributes: None };
                let found = self.ask(refused, &there, |payload| ElementEntry::decode_all(payload).next()).ok()?;
                found.is_none_or(|element| element.leaving).then_some(removal)
            }
            (Act::Add { .. }, _) => None,
            // The kernel does not know this way, or the set is without `flags timeout`.
            (Act::Remove { .. } | Act::Expire { .. }, Errno::EINVAL | Errno::EOPNOTSUPP) => removal.fallback(),
            // Where the table or chain is missing too, even DESTROY fails: look for each.
            (Act::Remove { .. }, Errno::ENOENT) => Some(Removal::Delete),
            (Act::Expire { .. }, Errno::ENOENT) if removal == Removal::Destroy => Some(Removal::Delete),
            // Somebody else changed it since we looked.
            (Act::Remove { .. } | Act::Expire { .. }, Errno::ENOENT | Errno::EEXIST) => Some(removal),
            (Act::Remove { .. } | Act::Expire { .. }, _) => None,
        }
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
            (Act::Add { flags }, _) => plain(NFT_MSG_NEWSETELEM, *flags),
            (Act::Remove { destroy, .. }, Removal::Expire | Removal::Destroy) => plain(*destroy, 0),
            (Act::Remove { delete, question, .. }, Removal::Delete) => {
                self.ask(change, question, |_| Some(()))?.and_then(|()| plain(*delete, 0))
            }
            (Act::Expire { question, table, set }, Removal::Expire) => {
                let found = self.ask(change, question, |payload| ElementEntry::decode_all(payload).next())?;
                let found = found.filter(|element| !element.leaving);
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
            version: 0,
            attributes: question.attributes.as_ref().unwrap_or(&change.attributes),
        };
        self.find(&request, |_, payload| read(payload))
    }

    /// Sends one batch. Only the last change asks for an acknowledgement: those of the frame around the changes come
    /// since Linux 6.10 only, and errors come unasked.
    fn send(&mut self, orders: &[Order<'_>]) -> Result<(), Failure> {
        if orders.is_empty() {
            return Ok(());
        }
        let begin = self.socket.next_sequence();
        let mut sequences = Vec::with_capacity(orders.len());
        let mut batch = Vec::with_capacity(orders.len() * 160 + 64);
        let (request, ack) = (libc::NLM_F_REQUEST, libc::NLM_F_ACK);
        let flag = |flags: i32| u16::try_from(flags).unwrap_or_default();
        let edge = generic_header(0, 0, NFNL_SUBSYS_NFTABLES);
        frame(&mut batch, NFNL_MSG_BATCH_BEGIN, flag(request), begin, &edge, &[]);
        for (index, order) in orders.iter().enumerate() {
            let sequence = self.socket.next_sequence();
            sequences.push(sequence);
            let last = if index + 1 == orders.len() { flag(ack) } else { 0 };
            let kind = NFNL_SUBSYS_NFTABLES << 8 | order.message;
            let attributes = order.attributes.as_ref().unwrap_or(&order.change.attributes).as_bytes();
            let head = generic_header(order.change.family, 0, 0);
            frame(&mut batch, kind, flag(request) | order.flags | last, sequence, &head, attributes);
        }
        let end = self.socket.next_sequence();
        frame(&mut batch, NFNL_MSG_BATCH_END, flag(request), end, &edge, &[]);
        self.socket.send(&batch).map_err(|cause| (None, cause))?;
        self.outcome(begin, &sequences, end)
    }

    /// Reads answers until the one to the last change. They come in the order of the changes; a failure of the batch
    /// as a whole (no privilege, no memory) is told of its first or last message.
    fn outcome(&mut self, begin: u32, sequences: &[u32], end: u32) -> Result<(), Failure> {
        let mut outcome = Ok(());
        loop {
            let messages = match self.socket.receive() {
                Ok(messages) => messages,
                Err(cause) => return outcome.and(Err((None, cause))),
            };
            for message in messages {
                let index = sequences.iter().position(|&s| s == message.sequence);
                if let Reply::Refused(refusal) = message.reply() {
                    if [begin, end].contains(&message.sequence) {
                        return Err((None, refusal.into()));
                    }
                    if outcome.is_ok() && index.is_some() {
                        outcome = Err((index, refusal.into()));
                    }
                }
                if index.is_some_and(|index| index + 1 == sequences.len()) {
                    return outcome;
                }
            }
        }
    }
}
