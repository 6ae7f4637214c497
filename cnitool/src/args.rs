//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ColorChoice, Parser, Subcommand, ValueHint};

use crate::completion::{CompletionOptions, ManOptions};
use crate::conformance::ConformanceOptions;
use crate::doctor::DoctorOptions;
use crate::gc::GcOptions;
use crate::install::Placement;
use crate::manual;
use crate::schema::SchemaOptions;
use crate::show::ShowOptions;
use crate::trace::TraceOptions;
use crate::validate::ValidateOptions;

/// Runs CNI network configurations: adds, checks and removes an interface in a network namespace that exists already.
#[derive(Debug, Parser)]
#[command(name = "cnitool", version, after_help = manual::below_help(), max_term_width = manual::HELP_COLUMNS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Default, Args)]
pub(crate) struct Global {
    /// Interface name in the container (default: CNI_IFNAME or eth0)
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) ifname: Option<String>,
    /// Where attachments are remembered (default: CNI_CACHE_DIR or /var/lib/cni)
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cache_dir: Option<PathBuf>,
    /// Stop a plugin that takes longer than this many seconds (default: no limit)
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) timeout: Option<u32>,
    /// Colour: on a terminal, unless NO_COLOR is set; or always, or never
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t, hide_possible_values = true)]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add a network interface to a network namespace and print the result
    Add(AddTarget),
    /// Check that a network interface is as `add` made it
    Check(Target),
    /// Remove a network interface from a network namespace
    Del(Target),
    /// Do one of these three and show what each plugin gets, gives and changes, and how long it takes
    Trace(TraceOptions),
    /// Remove what is left of attachments whose network namespace is gone
    Gc(GcOptions),
    /// Ask whether `add` could succeed now
    Status(StatusTarget),
    /// Print the version of cnitool, and run every program in CNI_PATH to ask for its CNI versions
    Version,
    /// Look for what is wrong with network configurations: keys, values, plugins, addresses, and this node
    Validate(ValidateOptions),
    /// Print the JSON Schema of a plugin's configuration, or of a whole .conflist file; for editors
    Schema(SchemaOptions),
    /// List the attachments in the cache
    Attachments(AttachmentsOptions),
    /// Show what is on this node: attachments, addresses, bridges, published ports, and what is odd
    Show(ShowOptions),
    /// Look for what is wrong with container networks on this node, and say what to do about it
    Doctor(DoctorOptions),
    /// Try what the kernel can do, in a namespace that nobody sees; for `doctor`
    #[command(hide = true)]
    TryKernel,
    /// Write what a shell needs to complete commands, options, networks and paths
    Completion(CompletionOptions),
    /// Write the manual: a page for each command
    Man(ManOptions),
    /// The names of the networks, one in each line; for completion
    #[command(hide = true)]
    Networks,
    /// Put plugins and configurations where a container runtime looks for them, each by rename
    Install(InstallOptions),
    /// Put back what was in a directory before the last `install`; again, and it is undone
    Rollback(RollbackOptions),
    /// Remove what `install` has put into a directory, and put back what was there before
    Uninstall(UninstallOptions),
    /// Do nothing until SIGTERM or SIGINT: for pods whose init containers do the work
    Pause,
    /// Ask overlayd, the overlay's daemon, how it is on this node
    Overlay(OverlayOptions),
    /// Tell whether the plugins of a directory do what the CNI specification says, in namespaces of its own
    Conformance(ConformanceOptions),
    /// One node of `conformance`
    #[command(name = crate::conformance::NODE, hide = true)]
    ConformanceNode,
}

#[derive(Debug, Args)]
pub(crate) struct InstallOptions {
    /// A file and its new path, or a directory and the one that its files are to be in
    #[arg(value_name = "FROM=TO", required = true, value_parser = Placement::parse)]
    pub(crate) placements: Vec<Placement>,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackOptions {
    /// A directory that `install` has put files into, such as /opt/cni/bin
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::DirPath)]
    pub(crate) dirs: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct UninstallOptions {
    /// A directory that `install` has put files into, such as /opt/cni/bin
    #[arg(value_name = "DIR", required = true, value_hint = ValueHint::DirPath)]
    pub(crate) dirs: Vec<PathBuf>,
    /// Leave away what `install` had replaced
    #[arg(long)]
    pub(crate) no_restore: bool,
}

/// A network and a namespace; the Go tool ignores further arguments, and so do we.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Name of the network: the `name` in a file of NETCONFPATH
    #[arg(value_name = "NETWORK")]
    pub(crate) network: String,
    /// Path of the network namespace, such as /run/netns/web
    #[arg(value_name = "NETNS", value_hint = ValueHint::FilePath)]
    pub(crate) netns: PathBuf,
    #[arg(hide = true)]
    ignored: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AddTarget {
    #[command(flatten)]
    pub(crate) target: Target,
    /// After a failure, leave what the plugins before it made, to look at it
    #[arg(long)]
    pub(crate) keep_on_failure: bool,
}

/// A network; the namespace is not needed, but the Go tool demands one.
#[derive(Debug, Args)]
pub(crate) struct StatusTarget {
    /// Name of the network
    #[arg(value_name = "NETWORK")]
    pub(crate) network: String,
    /// Not used; accepted because the Go tool wants it
    #[arg(value_name = "NETNS")]
    ignored: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct AttachmentsOptions {
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OverlayOptions {
    #[command(subcommand)]
    pub(crate) question: OverlayQuestion,
    /// Where overlayd answers
    #[arg(long, global = true, value_name = "PATH", default_value = "/run/overlayd/overlayd.sock")]
    pub(crate) socket: PathBuf,
    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum OverlayQuestion {
    /// Whether this node is ready, its subnets, its store, and how many nodes it reaches
    Status,
    /// All nodes: their subnets, where and how they are reached, and those that are refused with the reason
    Peers,
    /// Compare what should be in the kernel with what is
    Diff,
    /// Explain step by step how the address of a container is reached
    Explain {
        /// The address of a container
        #[arg(value_name = "POD_IP")]
        ip: IpAddr,
    },
}
