//! Makes the lab's devices, each pair by one netlink request that also sets its name, index, MTU and state.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::layout::{Device, MARKER_DEVICES, MTU, PortCount};
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
    runtime.block_on(raise_loopback()).context("raising the loopback device of the switch")
}

async fn create_pairs(ports: PortCount, switch: BorrowedFd<'_>) -> Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection().context("opening a netlink socket")?;
    let connection = tokio::spawn(connection);
    let mut pairs = vec![(quiet(MARKER_DEVICES.0), quiet(MARKER_DEVICES.1).build())];
    for port in ports.ports() {
        let end = |kind: Device| quiet(&port.device(kind)).index(port.ifindex(kind));
        pairs.push((end(Device::Wire), end(Device::Port).build()));
        pairs.push((end(Device::Cpu), quiet(&port.name()).setns_by_fd(switch.as_raw_fd()).build()));
    }
    for (near, far) in pairs {
        let pair = veth(near, far);
        handle.link().add(pair).execute().await.context("making a pair of devices")?;
    }
    connection.abort();
    Ok(())
}

/// An end of a pair that is up and says nothing by itself.
fn quiet(name: &str) -> LinkMessageBuilder<LinkUnspec> {
    LinkMessageBuilder::<LinkUnspec>::new().name(name).mtu(MTU).arp(false).up()
}

fn veth(near: LinkMessageBuilder<LinkUnspec>, far: LinkMessage) -> LinkMessage {
    let near = near.build();
    let mut pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(far)))
        .set_header(near.header)
        .build();
    pair.attributes.extend(near.attributes);
    pair
}

async fn raise_loopback() -> Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    handle.link().set(LinkMessageBuilder::<LinkUnspec>::new().index(1).up().build()).execute().await?;
    connection.abort();
    Ok(())
}
