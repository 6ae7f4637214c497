//! The cookbook: each recipe (docs/cookbook) is cooked by the test of its name, which attaches containers by the page's
//! lists, sees what the page promises, and removes them; and what its terminal shows is done as it stands there.

mod bridges;
mod lan;
mod links;
mod settings;

use ferrule_tests::{Bed, Binaries, Container, Network, Node, Place, Pod};
use serde_json::{Value, json};

use crate::console;
use crate::page::{Page, pages_below};

/// A machine outside, and one on the LAN of the node's card `eth1`, as the pages call them.
const OUTSIDE: &str = "192.0.2.1";
const OUTSIDE_V6: &str = "2001:db8::1";
const ON_LAN: &str = "10.5.0.254";

/// A recipe, and a node with its first network.
struct Recipe {
    page: Page,
    bed: Bed,
}

impl Recipe {
    /// The page of this name, and a node that `prepare` makes fit for it; `None`, with a printed SKIP, outside the sandbox
    /// or without the plugins.
    fn on(name: &str, prepare: impl FnOnce(&Node)) -> Option<Self> {
        Self::of_page(Page::read(format!("docs/cookbook/{name}.md")), prepare)
    }

    /// A page with lists, which are valid, and a terminal.
    fn of_page(page: Page, prepare: impl FnOnce(&Node)) -> Option<Self> {
        Binaries::ours()?;
        let node = Node::start()?;
        prepare(&node);
        let network = node.network(page.conflists().remove(0));
        console::validate(&page, &node);
        let before = node.snapshot();
        Some(Self { page, bed: Bed { node, network, before } })
    }

    /// The page of this name on a usual node.
    fn of(name: &str) -> Option<Self> {
        Self::on(name, |_| {})
    }

    fn node(&self) -> &Node {
        &self.bed.node
    }

    /// The network of this name on the page.
    fn network(&self, name: &str) -> Network {
        let list = self.page.conflists().into_iter().find(|list| list["name"] == name);
        self.node().network(list.unwrap_or_else(|| panic!("no list {name} on {}", self.page.path.display())))
    }

    /// A new container on the first network.
    fn attach(&self, name: &str) -> Pod {
        self.bed.attach(name)
    }

    /// A new container that asks for something.
    fn attach_asking(&self, name: &str, capability: &str, value: Value) -> Pod {
        self.bed.attach_to(&self.bed.network, self.node().container(name).with_capability(capability, value))
    }

    /// CHECK and DEL of all, after which nothing is left; and the same by what the page's terminal shows.
    fn serve(self, pods: &[&Pod]) {
        self.serve_after("", pods);
    }

    /// The same, the terminal after this preparation.
    fn serve_after(self, preparation: &str, pods: &[&Pod]) {
        for pod in pods {
            self.bed.network.check(&pod.container).expect("CHECK");
        }
        self.bed.end(pods);
        self.at_the_terminal(preparation);
    }

    /// It goes as the page's terminal shows, after which nothing is left.
    fn at_the_terminal(&self, preparation: &str) {
        console::run(&self.page, self.node(), preparation);
        self.node().assert_nothing_left(&self.bed.before, &[]);
    }
}

/// CHECK and DEL of an attachment to a further network.
fn end(network: &Network, container: &Container) {
    network.check(container).expect("CHECK");
    network.del(container).expect("DEL");
}

/// Whether `place` reaches `address`.
fn reaches(place: &Place, address: &str) -> bool {
    place.ping(address.parse().unwrap())
}

/// A second card `eth1`, up and without an address; a machine on its LAN has [`ON_LAN`].
fn plug_eth1(node: &Node) {
    node.plug_lan();
    for command in ["ip link set lan down", "ip link set lan name eth1", "ip link set eth1 up"] {
        node.host.sh(command);
    }
    ferrule_tests::eventually("IPv6 on eth1", || !node.host.sh("ip -6 route show table local dev eth1").is_empty());
}

#[test]
fn the_first_five_minutes() {
    let Some(recipe) = Recipe::of_page(Page::read("docs/start.md"), |_| {}) else { return };
    recipe.at_the_terminal("");
}

#[test]
fn looking_at_a_node() {
    let Some(recipe) = Recipe::of_page(Page::read("docs/node.md"), |_| {}) else { return };
    recipe.at_the_terminal("");
}

#[test]
fn every_recipe_has_a_test_of_its_name_and_every_list_an_own_name() {
    let program = std::env::current_exe().unwrap();
    let list = std::process::Command::new(program).args(["--list", "--format", "terse"]).output().unwrap();
    let tests = String::from_utf8(list.stdout).unwrap();
    let tests: Vec<&str> = tests.lines().filter_map(|line| line.strip_suffix(": test")?.rsplit("::").next()).collect();
    let mut recipes = 0;
    for page in pages_below("docs/cookbook") {
        let name = page.path.file_stem().unwrap().to_string_lossy().replace('-', "_");
        if name == "README" {
            continue;
        }
        recipes += 1;
        assert!(tests.contains(&name.as_str()), "nobody tests {}", page.path.display());
        let mut names: Vec<Value> = page.conflists().iter().map(|list| list["name"].clone()).collect();
        assert!(!names.is_empty(), "{} has no list", page.path.display());
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{}: two lists of one name", page.path.display());
    }
    assert!(recipes >= 20, "{recipes} recipes");
}

/// `object` at a JSON pointer, for comparisons.
fn at(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).cloned().unwrap_or(json!(null))
}
