//! A node as operators have it: dozens of attachments by our plugins and by the Go plugins, on bridges of their own and
//! point to point, some with published ports, with pods as Kubernetes' runtimes name them.
//!
//! ```no_run
//! use ferrule_tests::Crowd;
//!
//! let Some(crowd) = Crowd::start(50, 20) else { return };
//! let shown = crowd.cnitool(&["show", "--format", "json"]);
//! crowd.node.kill(&crowd.members[3].container);
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use libcni::plugin::Env;
use libcni::runtime::{Attachment, Networks, Runtime, find_network};
use libcni::store::write_atomic;
use libcni::types::{AttachmentId, CniArgs};
use serde_json::Value;

use crate::{Binaries, Container, Node, Output, fixture};

/// The networks that our plugins serve, in `tests/fixtures/crowd`, and how many of every ten attachments are on each.
const OURS: [(&str, usize); 4] = [("pods", 5), ("edge", 2), ("storage", 2), ("direct", 1)];
/// The same of the Go plugins.
const REFERENCE: [(&str, usize); 3] = [("go-pods", 5), ("go-old", 3), ("go-direct", 2)];
/// How many attachments are made at once.
const WORKERS: usize = 4;
/// The port of the host that is published first.
const FIRST_PORT: u16 = 8000;
/// Of the attachments to a network that publishes ports, each third has some.
const PUBLISHING: usize = 3;

/// Who made an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Our plugins.
    Ours,
    /// The Go plugins.
    Reference,
}

/// An attachment.
#[derive(Clone, Debug)]
pub struct Member {
    /// The name of its network.
    pub network: String,
    /// Who made it.
    pub maker: Maker,
    /// The container, with its interface, `CNI_ARGS` and capability arguments.
    pub container: Container,
    /// The namespace and name of its pod.
    pub pod: (String, String),
    /// The result of its ADD.
    pub result: Value,
}

/// A node with many attachments, made by `libcni::runtime` with a cache of the node's own.
#[derive(Debug)]
pub struct Crowd {
    /// The node.
    pub node: Node,
    /// The attachments.
    pub members: Vec<Member>,
    /// `PATH` on the node.
    path: String,
    ours: Binaries,
    reference: Option<Binaries>,
}

impl Crowd {
    /// A node with `ours` attachments by the plugins under test and `reference` by the Go plugins. `None`, with a printed
    /// SKIP, outside the sandbox or without the plugins.
    ///
    /// # Panics
    /// If an ADD fails.
    #[must_use]
    pub fn start(ours: usize, reference: usize) -> Option<Self> {
        let node = Node::start()?;
        let binaries = Binaries::ours()?;
        let go = if reference == 0 { None } else { Some(Binaries::reference()?) };
        let path = node.program_path();
        let mut crowd = Self { node, members: Vec::new(), path, ours: binaries, reference: go };
        crowd.configure();
        let mut members = crowd.plan(&OURS, ours, Maker::Ours);
        members.extend(crowd.plan(&REFERENCE, reference, Maker::Reference));
        crowd.attach(&mut members);
        crowd.members = members;
        Some(crowd)
    }

    /// The configuration directory (`NETCONFPATH`).
    #[must_use]
    pub fn conf_dir(&self) -> PathBuf {
        self.node.dir().join("net.d")
    }

    /// The cache directory (`CNI_CACHE_DIR`).
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.node.dir().join("cache")
    }

    /// Runs our cnitool on the node, with its configuration, cache and plugins.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn cnitool(&self, args: &[&str]) -> Output {
        self.cnitool_with(args, &[])
    }

    /// The same with more environment variables.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn cnitool_with(&self, args: &[&str], env: &[(&str, &str)]) -> Output {
        let mut command = Command::new(self.ours.plugin("cnitool"));
        command.args(args).env("PATH", &self.path).envs(env.iter().copied());
        command.env("NETCONFPATH", self.conf_dir()).env("CNI_CACHE_DIR", self.cache_dir());
        command.env("CNI_PATH", self.ours.dir());
        let output = self.node.host.run(|| command.output());
        Output::from(output.unwrap_or_else(|e| panic!("cnitool {args:?}: {e}")))
    }

    /// The runtime that makes attachments by these plugins.
    #[must_use]
    pub fn runtime(&self, maker: Maker) -> Runtime {
        let binaries = match maker {
            Maker::Ours => &self.ours,
            Maker::Reference => self.reference.as_ref().unwrap_or(&self.ours),
        };
        let mut runtime = Runtime::new([binaries.dir()]).with_cache_dir(&self.cache_dir());
        runtime.env = Env::of_process().with("PATH", &self.path);
        runtime
    }

    /// Attaches a container of [`Node::container`] to one of the networks; the result.
    ///
    /// # Panics
    /// If ADD fails.
    #[must_use]
    pub fn attach_to(&self, network: &str, container: &Container, maker: Maker) -> Value {
        let (network, runtime) = (self.network(network), self.runtime(maker));
        let attachment = attachment(container);
        let added = self.node.host.run(|| runtime.add(&network, &attachment));
        let name = &container.place.name;
        added.unwrap_or_else(|e| panic!("ADD of {name}: {}", libcni::error::causes(Some(&e)))).wire
    }

    /// Detaches a member.
    ///
    /// # Panics
    /// If DEL fails.
    pub fn detach(&self, member: &Member) {
        let network = self.network(&member.network);
        let runtime = self.runtime(member.maker);
        let attachment = attachment(&member.container);
        let deleted = self.node.host.run(|| runtime.del(&network, &attachment));
        deleted
            .unwrap_or_else(|e| panic!("DEL of {}: {}", member.container.place.name, libcni::error::causes(Some(&e))));
    }

    /// Writes the configuration lists, with the directories of this node.
    fn configure(&self) {
        std::fs::create_dir_all(self.conf_dir()).expect("configuration directory");
        for (name, _) in OURS.iter().chain(&REFERENCE) {
            let conflist = self.here(fixture(&format!("crowd/{name}.conflist")));
            let path = self.conf_dir().join(format!("{name}.conflist"));
            let text = serde_json::to_vec_pretty(&conflist).expect("JSON");
            write_atomic(&path, &text, 0o644).expect("write a conflist");
        }
        let read = Networks::read(&self.conf_dir()).expect("configurations");
        assert!(read.skipped.is_empty(), "{:?}", read.skipped);
    }

    /// The list with the data directories of this node.
    fn here(&self, mut conflist: Value) -> Value {
        for plugin in conflist["plugins"].as_array_mut().into_iter().flatten() {
            self.node.own_directories(plugin);
        }
        conflist
    }

    fn network(&self, name: &str) -> libcni::runtime::NetworkList {
        find_network(&self.conf_dir(), name).expect("network").list
    }

    /// The containers of `count` attachments, spread over `networks`.
    fn plan(&self, networks: &[(&str, usize)], count: usize, maker: Maker) -> Vec<Member> {
        let lot: Vec<&str> = networks.iter().flat_map(|&(name, share)| std::iter::repeat_n(name, share)).collect();
        (0..count).map(|at| self.member(lot[at % lot.len()], at, maker)).collect()
    }

    fn member(&self, network: &str, at: usize, maker: Maker) -> Member {
        let publishes = fixture(&format!("crowd/{network}.conflist")).to_string().contains("portMappings");
        let prefix = if maker == Maker::Ours { "web" } else { "legacy" };
        let pod = (["default", "shop", "kube-system"][at % 3].to_owned(), format!("{prefix}-{at}"));
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={}", pod.0, pod.1);
        let mut container = self.node.container(&pod.1).with_args(&args);
        if publishes && at.is_multiple_of(PUBLISHING) {
            let offset = if maker == Maker::Ours { 0 } else { 1000 };
            let port = FIRST_PORT + offset + u16::try_from(at).expect("few attachments");
            container = container.publish("tcp", port, 80).publish("udp", port, 53);
        }
        Member { network: network.to_owned(), maker, container, pod, result: Value::Null }
    }

    /// Attaches all, several at once.
    fn attach(&self, members: &mut [Member]) {
        let share = members.len().div_ceil(WORKERS).max(1);
        // Those of the Go plugins take ten times as long: each worker gets some of them.
        let mut shares: Vec<Vec<&mut Member>> = (0..WORKERS).map(|_| Vec::with_capacity(share)).collect();
        for (at, member) in members.iter_mut().enumerate() {
            shares[at % WORKERS].push(member);
        }
        std::thread::scope(|scope| {
            for share in shares {
                scope.spawn(|| {
                    for member in share {
                        member.result = self.attach_to(&member.network, &member.container, member.maker);
                    }
                });
            }
        });
    }
}

/// What the runtime is told of a container.
fn attachment(container: &Container) -> Attachment {
    let id = AttachmentId {
        container_id: container.id.parse().expect("container ID"),
        ifname: container.ifname.parse().expect("interface name"),
    };
    Attachment {
        id,
        netns: Some(container.netns.clone()).filter(|path| *path != Path::new("")),
        args: CniArgs::parse(&container.args).expect("CNI_ARGS"),
        capability_args: container.capabilities.as_object().cloned().unwrap_or_default(),
    }
}
