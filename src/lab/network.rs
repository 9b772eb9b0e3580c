//! Makes the lab's devices, each pair by one netlink request that also sets names, indices and MTU.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::layout::{Device, MARKER_DEVICES, MTU, Port, PortCount, TUNNEL_DEVICES, TUNNEL_IFINDEX, TUNNEL_MTU};
use super::namespaces::{NetworkNamespaces, enter_network};

/// Makes every device of the switch, all up. Leaves the calling thread in the namespace "switch".
///
/// # Errors
/// Says which device the kernel refused.
pub fn create_devices(namespaces: &NetworkNamespaces, ports: PortCount) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // A netlink socket belongs to the namespace in which it was opened.
    enter_network(&namespaces.asic)?;
    runtime.block_on(create_pairs(ports, namespaces.switch.as_fd()))?;
    enter_network(&namespaces.switch)?;
    runtime.block_on(raise(ports.ports().map(Port::name).chain([TUNNEL_DEVICES.1.to_owned(), "lo".to_owned()])))
}

/// Removes a device of the calling thread's namespace, and with it the other end of its pair.
///
/// # Errors
/// There is none of that name, or the kernel refuses.
pub async fn remove_device(name: &str) -> Result<()> {
    let what = || format!("removing {name}");
    let index = nix::net::if_::if_nametoindex(name).with_context(what)?;
    let (connection, handle, _) = rtnetlink::new_connection().context("opening a netlink socket")?;
    let connection = tokio::spawn(connection);
    let removed = handle.link().del(index).execute().await;
    connection.abort();
    removed.with_context(what)
}

/// Makes all pairs from the namespace "asic" and raises the ends that are in it.
async fn create_pairs(ports: PortCount, switch: BorrowedFd<'_>) -> Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection().context("opening a netlink socket")?;
    let connection = tokio::spawn(connection);
    let mut pairs = vec![(quiet(MARKER_DEVICES.0), quiet(MARKER_DEVICES.1))];
    for port in ports.ports() {
        let end = |kind: Device| quiet(&port.device(kind)).index(port.ifindex(kind));
        pairs.push((end(Device::Wire), end(Device::Port)));
        pairs.push((end(Device::Cpu), quiet(&port.name()).setns_by_fd(switch.as_raw_fd())));
    }
    let collector = quiet_of_mtu(TUNNEL_DEVICES.1, TUNNEL_MTU).setns_by_fd(switch.as_raw_fd());
    pairs.push((quiet_of_mtu(TUNNEL_DEVICES.0, TUNNEL_MTU).index(TUNNEL_IFINDEX), collector));
    for (near, far) in pairs {
        handle.link().add(veth(near.up(), far)).execute().await.context("making a pair of devices")?;
    }
    connection.abort();
    let far_ends = ports.ports().map(|port| port.device(Device::Port));
    raise(far_ends.chain([MARKER_DEVICES.1.to_owned()])).await
}

/// An end of a pair that says nothing by itself.
fn quiet(name: &str) -> LinkMessageBuilder<LinkUnspec> {
    quiet_of_mtu(name, MTU)
}

fn quiet_of_mtu(name: &str, mtu: u32) -> LinkMessageBuilder<LinkUnspec> {
    LinkMessageBuilder::<LinkUnspec>::new().name(name).mtu(mtu).arp(false)
}

/// The far end cannot be made up at once: the kernel raises it before it knows its other end, and refuses (`ENOTCONN`).
fn veth(near: LinkMessageBuilder<LinkUnspec>, far: LinkMessageBuilder<LinkUnspec>) -> LinkMessage {
    let near = near.build();
    let mut pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far.build())))
        .set_header(near.header)
        .build();
    pair.attributes.extend(near.attributes);
    pair
}

/// Sets devices of the calling thread's namespace up.
async fn raise(names: impl Iterator<Item = String>) -> Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection().context("opening a netlink socket")?;
    let connection = tokio::spawn(connection);
    for name in names {
        let up = LinkMessageBuilder::<LinkUnspec>::new().name(&name).up().build();
        handle.link().set(up).execute().await.with_context(|| format!("setting {name} up"))?;
    }
    connection.abort();
    Ok(())
}
