//! All plugins in one executable: it is the plugin whose name it is called by.

/// musl's own allocator maps and unmaps a page some thirty times in the life of a plugin. Without that an ADD of bridge
/// takes 5 % less time, one of portmap 25 %.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    libcni::plugin::main_multicall(&[
        &bandwidth::Bandwidth,
        &bridge::Bridge,
        &dhcp::Dhcp,
        &dummy::Dummy,
        &firewall::Firewall,
        &host_device::HostDevice,
        &host_local::HostLocal,
        &ipvlan::Ipvlan,
        &loopback::Loopback,
        &macvlan::Macvlan,
        &portmap::Portmap,
        &ptp::Ptp,
        &sbr::Sbr,
        &static_ipam::Static,
        &tap::TapPlugin,
        &tuning::Tuning,
        &vlan::Vlan,
        &vrf::Vrf,
        &vxlan_delegate::VxlanDelegate,
    ])
}
