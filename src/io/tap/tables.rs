//! The tables that the program looks lengths and ports up in, made of the model's bounds and services. Pure.

use super::bpf::types;
use crate::model::sample::PACKET_SIZE_BOUNDS;
use crate::model::traffic::Service;

/// Ports below which a slot's number is found: the upper 8 bits of `port * key` (bpf/service.h).
const SLOTS: usize = 256;
/// A length below this has its bucket in a table (bpf/types.h, `SIZES`).
const SIZES: usize = 0x4000;
/// The bucket of all other lengths.
const LAST_BUCKET: usize = 15;

/// Upper bounds of the program's buckets: those of the histogram, and one that tells runts from frames of the least length.
pub(super) const SIZE_BOUNDS: [u64; 10] = {
    let mut bounds = [0; 10];
    bounds[0] = RUNT_BELOW - 1;
    let mut index = 0;
    while index < PACKET_SIZE_BOUNDS.len() {
        bounds[index + 1] = PACKET_SIZE_BOUNDS[index];
        index += 1;
    }
    bounds
};
/// Frames shorter than this are runts, without FCS.
pub(super) const RUNT_BELOW: u64 = 60;
/// Frames longer than this are jumbo frames; one of the histogram's bounds.
pub(super) const JUMBO_ABOVE: u64 = 1518;

/// The bucket of each length.
pub(super) fn size_buckets() -> [u8; SIZES] {
    std::array::from_fn(|size| {
        let bucket = SIZE_BOUNDS.iter().position(|bound| size as u64 <= *bound).unwrap_or(LAST_BUCKET);
        u8::try_from(bucket).unwrap_or(u8::MAX)
    })
}

/// A perfect hash of the services' ports.
pub(super) struct Services {
    /// The multiplier.
    pub key: u32,
    /// The slots.
    pub slots: [types::service_slot; SLOTS],
}

impl Services {
    /// Tries multipliers until no two ports share a slot: a few hundred tries, always the same.
    pub(super) fn new() -> Services {
        let mut key = 0x9e37_79b1_u32; // the golden ratio, odd: a good one to begin with (Knuth, 6.4)
        loop {
            if let Some(slots) = slots(key) {
                return Services { key, slots };
            }
            key = key.wrapping_add(2 * 0x0123_4567);
        }
    }

    /// How the program numbers a service: 0 is none.
    pub(super) fn number(service: Service) -> u8 {
        Service::ALL.iter().zip(1..).find(|(known, _)| **known == service).map_or(0, |(_, number)| number)
    }
}

fn slots(key: u32) -> Option<[types::service_slot; SLOTS]> {
    // Port 0 is nobody's, so a free slot answers "none" for it too.
    let mut slots = [types::service_slot::default(); SLOTS];
    for service in Service::ALL {
        let ports = service.ports();
        for (port, is_tcp) in
            ports.tcp.iter().map(|port| (port, true)).chain(ports.udp.iter().map(|port| (port, false)))
        {
            let slot = &mut slots[(u32::from(*port).wrapping_mul(key) >> 24) as usize];
            if slot.port != 0 && slot.port != *port {
                return None;
            }
            slot.port = *port;
            *(if is_tcp { &mut slot.tcp } else { &mut slot.udp }) = Services::number(*service);
        }
    }
    Some(slots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_of_a_service_finds_it_and_no_other_port_does() {
        let services = Services::new();
        for port in 0..=u16::MAX {
            let slot = services.slots[(u32::from(port).wrapping_mul(services.key) >> 24) as usize];
            let found = if slot.port == port { (slot.tcp, slot.udp) } else { (0, 0) };
            let number = |is_owner: &dyn Fn(Service) -> bool| {
                Service::ALL.iter().copied().find(|service| is_owner(*service)).map_or(0, Services::number)
            };
            let tcp = number(&|service| service.ports().tcp.contains(&port));
            let udp = number(&|service| service.ports().udp.contains(&port));
            assert_eq!(found, (tcp, udp), "port {port}");
        }
    }

    #[test]
    fn lengths_fall_into_the_bucket_whose_bound_they_do_not_exceed() {
        let buckets = size_buckets();
        let of = |size: usize| buckets[size];
        assert_eq!([0, 59, 60, 64, 65, 1518, 1519, 9216, 9217, 0x3fff].map(of), [0, 0, 1, 1, 2, 6, 7, 9, 15, 15]);
        assert!(SIZE_BOUNDS.contains(&JUMBO_ABOVE));
    }
}
