//! Changes, collected to be made all at once.

use ipnet::IpNet;

use super::abi::*;
use super::chain::BaseChain;
use super::element::{Element, by_key};
use super::range::ranges;
use super::rule::Rule;
use super::set::Set;
use super::value::Value;
use super::{COMMENT_BYTES, Family, Table};
use crate::nl::Attributes;

/// Make it if it is missing.
const ENSURE: u16 = 0x400; // NLM_F_CREATE
/// Make it; fail if it is there.
const CREATE: u16 = ENSURE | 0x200; // NLM_F_EXCL
/// Make it behind the others.
const APPEND: u16 = ENSURE | 0x800; // NLM_F_APPEND

/// A list of changes that [`Nfnetlink::commit`](super::Nfnetlink::commit) makes: all of them or none.
///
/// `ensure_*` and `add_*` accept what is there already; `create_*` fails (`EEXIST`); `remove_*` accepts absence.
#[derive(Clone, Debug)]
pub struct Transaction<'a> {
    table: Table<'a>,
    pub(super) changes: Vec<Change>,
    /// What cannot be expressed, found while building: reported by the commit.
    pub(super) fault: Option<Fault>,
}

/// One change.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// For messages; completes "cannot".
    pub(super) doing: String,
    pub(super) family: u8,
    pub(super) attributes: Attributes,
    pub(super) act: Act,
}

/// What kind of change it is.
#[derive(Clone, Debug)]
pub(super) enum Act {
    /// This message, with these flags.
    Make { message: u16, flags: u16 },
    /// An element, with these flags.
    Add { flags: u16 },
    /// The message that does not mind absence; or, if `question` finds something, the one that does.
    Remove { destroy: u16, delete: u16, question: Question },
    /// An element, in the quickest way.
    Expire { question: Question, table: String, set: String },
}

/// How to find out whether there is something to remove. Without attributes: those of the change.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) message: u16,
    pub(super) attributes: Option<Attributes>,
}

/// A request that the kernel's interface has no room for.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) doing: String,
    pub(super) text: String,
}

impl<'a> Transaction<'a> {
    /// No changes yet; those to come are to this table.
    #[must_use]
    pub fn new(table: Table<'a>) -> Self {
        Self { table, changes: Vec::new(), fault: None }
    }

    /// The changes to come are to another table.
    pub fn at(&mut self, table: Table<'a>) -> &mut Self {
        self.table = table;
        self
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Makes the table if it is missing: `add table inet example`.
    pub fn ensure_table(&mut self) -> &mut Self {
        let attributes = self.named(NFTA_TABLE_NAME);
        self.make(format!("create table {}", self.table), NFT_MSG_NEWTABLE, ENSURE, attributes)
    }

    /// Makes a chain that the kernel calls.
    ///
    /// There is no `ensure_chain`: to declare a chain that exists costs an RCU grace period when the socket is closed,
    /// and rules would be added twice. Look with [`Nfnetlink::find_chain`](super::Nfnetlink::find_chain) first. If
    /// somebody else makes it meanwhile, the whole transaction fails with `EEXIST`: look again.
    pub fn create_base_chain(&mut self, chain: &BaseChain<'_>) -> &mut Self {
        let mut attributes = self.named(NFTA_CHAIN_TABLE);
        attributes.string(NFTA_CHAIN_NAME, chain.name);
        chain.encode(&mut attributes);
        self.make(self.doing("create chain", chain.name), NFT_MSG_NEWCHAIN, CREATE, attributes)
    }

    /// Makes a chain to jump to.
    pub fn create_chain(&mut self, name: &str) -> &mut Self {
        let mut attributes = self.named(NFTA_CHAIN_TABLE);
        attributes.string(NFTA_CHAIN_NAME, name);
        self.make(self.doing("create chain", name), NFT_MSG_NEWCHAIN, CREATE, attributes)
    }

    /// Makes a set or map if it is missing. One of another type under this name is an error (`EEXIST`).
    pub fn ensure_set(&mut self, set: &Set<'_>) -> &mut Self {
        let mut attributes = self.named(NFTA_SET_TABLE);
        attributes.string(NFTA_SET_NAME, set.name);
        set.encode(u32::try_from(self.changes.len() + 1).unwrap_or(u32::MAX), &mut attributes);
        let doing = self.doing(&format!("create {}", set.noun()), set.name);
        self.make(doing, NFT_MSG_NEWSET, ENSURE, attributes)
    }

    /// Adds a rule at the end of a chain.
    pub fn add_rule(&mut self, chain: &str, rule: &Rule) -> &mut Self {
        self.rule(chain, rule, APPEND)
    }

    /// Adds a rule at the beginning of a chain.
    pub fn insert_rule(&mut self, chain: &str, rule: &Rule) -> &mut Self {
        self.rule(chain, rule, ENSURE)
    }

    fn rule(&mut self, chain: &str, rule: &Rule, flags: u16) -> &mut Self {
        let mut attributes = self.of_chain(chain);
        rule.encode(self.table.family, &mut attributes);
        let doing = self.doing("add a rule to chain", chain);
        self.check_comment(&doing, rule.comment_text());
        self.make(doing, NFT_MSG_NEWRULE, flags, attributes)
    }

    /// Adds an element; one with the same key and data may be there already, and then keeps its comment. Other data
    /// under that key is an error (`EEXIST`).
    pub fn add_element(&mut self, set: &str, element: &Element) -> &mut Self {
        self.element(set, element, ENSURE)
    }

    /// Adds an element; an error (`EEXIST`) if the key is there, whatever its data.
    pub fn create_element(&mut self, set: &str, element: &Element) -> &mut Self {
        self.element(set, element, CREATE)
    }

    /// Adds all addresses of these networks to a set with intervals, whose key is an address of their family. They may
    /// overlap each other, but nothing that is in the set already.
    pub fn add_networks(&mut self, set: &str, networks: &[IpNet]) -> &mut Self {
        for (first, behind) in ranges(networks) {
            self.add_element(set, &Element::new(first));
            if let Some(behind) = behind {
                self.add_element(set, &Element::end_of_range(behind));
            }
        }
        self
    }

    fn element(&mut self, set: &str, element: &Element, flags: u16) -> &mut Self {
        let doing = format!("add {}", element.describe(set));
        self.check_comment(&doing, element.comment_text());
        self.change(doing, Act::Add { flags }, element.encode(self.table, set))
    }

    /// Takes an element away, in the quickest way that the kernel has: on Linux 6.12 and later it expires within a
    /// millisecond or two, and nobody waits. In a set without `flags timeout` it is deleted.
    ///
    /// The chain that an expired element jumped to stays busy until the kernel has swept the element away, about a
    /// second; to remove such a chain, or to give the key to somebody else, in the same transaction, use
    /// [`Transaction::destroy_element`].
    pub fn remove_element(&mut self, set: &str, key: &Value) -> &mut Self {
        let question = Question { message: NFT_MSG_GETSETELEM, attributes: None };
        let act = Act::Expire { question, table: self.table.name.to_owned(), set: set.to_owned() };
        self.change(format!("remove element {key} from {set}"), act, by_key(self.table, set, key))
    }

    /// Deletes an element at once. Closing the socket waits for an RCU grace period.
    pub fn destroy_element(&mut self, set: &str, key: &Value) -> &mut Self {
        let attributes = by_key(self.table, set, key);
        let act = remove(NFT_MSG_DESTROYSETELEM, NFT_MSG_DELSETELEM, NFT_MSG_GETSETELEM);
        self.change(format!("remove element {key} from {set}"), act, attributes)
    }

    /// Deletes a rule by the kernel's number for it.
    pub fn remove_rule(&mut self, chain: &str, handle: u64) -> &mut Self {
        let mut attributes = self.of_chain(chain);
        attributes.be64(NFTA_RULE_HANDLE, handle);
        let doing = self.doing(&format!("remove rule {handle} from chain"), chain);
        self.change(doing, remove(NFT_MSG_DESTROYRULE, NFT_MSG_DELRULE, NFT_MSG_GETRULE), attributes)
    }

    /// Deletes all rules of a chain, which may be missing.
    pub fn flush_chain(&mut self, chain: &str) -> &mut Self {
        let mut found_by = self.named(NFTA_CHAIN_TABLE);
        found_by.string(NFTA_CHAIN_NAME, chain);
        let question = Question { message: NFT_MSG_GETCHAIN, attributes: Some(found_by) };
        let act = Act::Remove { destroy: NFT_MSG_DESTROYRULE, delete: NFT_MSG_DELRULE, question };
        self.change(self.doing("flush chain", chain), act, self.of_chain(chain))
    }

    /// Deletes a chain with its rules. An error (`EBUSY`) while a rule or an element jumps to it.
    pub fn remove_chain(&mut self, chain: &str) -> &mut Self {
        let mut attributes = self.named(NFTA_CHAIN_TABLE);
        attributes.string(NFTA_CHAIN_NAME, chain);
        let act = remove(NFT_MSG_DESTROYCHAIN, NFT_MSG_DELCHAIN, NFT_MSG_GETCHAIN);
        self.change(self.doing("remove chain", chain), act, attributes)
    }

    /// Deletes a set or map with its elements. An error (`EBUSY`) while a rule looks into it.
    pub fn remove_set(&mut self, set: &str) -> &mut Self {
        let mut attributes = self.named(NFTA_SET_TABLE);
        attributes.string(NFTA_SET_NAME, set);
        let act = remove(NFT_MSG_DESTROYSET, NFT_MSG_DELSET, NFT_MSG_GETSET);
        self.change(self.doing("remove set", set), act, attributes)
    }

    /// Deletes the table with all that is in it.
    pub fn remove_table(&mut self) -> &mut Self {
        let act = remove(NFT_MSG_DESTROYTABLE, NFT_MSG_DELTABLE, NFT_MSG_GETTABLE);
        self.change(format!("remove table {}", self.table), act, self.named(NFTA_TABLE_NAME))
    }

    /// Attributes that begin with the name of the table.
    fn named(&self, kind: u16) -> Attributes {
        let mut attributes = Attributes::new();
        attributes.string(kind, self.table.name);
        attributes
    }

    fn of_chain(&self, chain: &str) -> Attributes {
        let mut attributes = self.named(NFTA_RULE_TABLE);
        attributes.string(NFTA_RULE_CHAIN, chain);
        attributes
    }

    /// `create chain postrouting in table inet example`.
    fn doing(&self, what: &str, name: &str) -> String {
        format!("{what} {name} in table {}", self.table)
    }

    fn make(&mut self, doing: String, message: u16, flags: u16, attributes: Attributes) -> &mut Self {
        self.change(doing, Act::Make { message, flags }, attributes)
    }

    fn change(&mut self, doing: String, act: Act, attributes: Attributes) -> &mut Self {
        let family = Family::number(self.table.family);
        self.changes.push(Change { doing, family, attributes, act });
        self
    }

    fn check_comment(&mut self, doing: &str, comment: Option<&str>) {
        let length = comment.map_or(0, str::len);
        if length > COMMENT_BYTES && self.fault.is_none() {
            let text = format!("its comment has {length} bytes, more than {COMMENT_BYTES}");
            self.fault = Some(Fault { doing: doing.to_owned(), text });
        }
    }
}

const fn remove(destroy: u16, delete: u16, get: u16) -> Act {
    Act::Remove { destroy, delete, question: Question { message: get, attributes: None } }
}
