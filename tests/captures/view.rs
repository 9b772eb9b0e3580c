//! What one witness says of a capture, in a form in which witnesses can be compared.

use std::collections::{BTreeMap, BTreeSet};

use telegen_sonic::lab::sent::{Count, Sent};
use telegen_sonic::model::sample::FlowKey;

use crate::rules::Dissection;

/// All that is compared. Classes and flows without a packet are left out.
#[derive(Debug, Default)]
pub struct View {
    pub total: Count,
    /// By `eth_<class>` and `ip_<class>`, as the result row names them.
    pub classes: BTreeMap<String, Count>,
    pub flows: BTreeMap<FlowKey, Count>,
}

/// Where two witnesses do not say the same.
pub struct Difference {
    /// `total`, a class, or a flow.
    pub what: String,
    pub here: Count,
    pub there: Count,
}

impl View {
    /// Counts one frame.
    fn add(&mut self, bytes: u64, classes: impl IntoIterator<Item = String>, flow: Option<FlowKey>) {
        count(&mut self.total, bytes);
        for class in classes {
            count(self.classes.entry(class).or_default(), bytes);
        }
        if let Some(flow) = flow {
            count(self.flows.entry(flow).or_default(), bytes);
        }
    }

    /// Everything in which this view and another one differ.
    pub fn differences(&self, other: &View) -> Vec<Difference> {
        let total = Difference { what: "total".to_owned(), here: self.total, there: other.total };
        let mut all = vec![total];
        all.extend(pairs(&self.classes, &other.classes, String::clone));
        all.extend(pairs(&self.flows, &other.flows, flow_name));
        all.retain(|difference| difference.here != difference.there);
        all
    }
}

impl From<&[Dissection]> for View {
    fn from(frames: &[Dissection]) -> View {
        let mut view = View::default();
        for frame in frames {
            let ip_class = frame.ip_class().map(|class| format!("ip_{class}"));
            let classes = [Some(format!("eth_{}", frame.class)), ip_class];
            view.add(frame.bytes as u64, classes.into_iter().flatten(), frame.flow());
        }
        view
    }
}

impl From<&Sent> for View {
    fn from(sent: &Sent) -> View {
        let named = |family: &str, counts: &BTreeMap<String, Count>| {
            counts.iter().map(|(name, count)| (format!("{family}_{name}"), *count)).collect::<Vec<_>>()
        };
        let flows = sent.flows.iter().map(|flow| {
            let key = FlowKey {
                src: flow.src,
                dst: flow.dst,
                ip_proto: flow.ip_proto,
                sport: flow.l4_sport,
                dport: flow.l4_dport,
                vlan: flow.vlan,
            };
            (key, Count { packets: flow.packets, bytes: flow.bytes })
        });
        View {
            total: Count { packets: sent.packets, bytes: sent.bytes },
            classes: [named("eth", &sent.protocols.ethernet), named("ip", &sent.protocols.ip)]
                .concat()
                .into_iter()
                .collect(),
            flows: flows.collect(),
        }
    }
}

fn count(count: &mut Count, bytes: u64) {
    count.packets += 1;
    count.bytes += bytes;
}

fn pairs<'a, K: Ord>(
    here: &'a BTreeMap<K, Count>,
    there: &'a BTreeMap<K, Count>,
    name: impl Fn(&K) -> String + 'a,
) -> impl Iterator<Item = Difference> + 'a {
    let keys: BTreeSet<&K> = here.keys().chain(there.keys()).collect();
    let of = |map: &BTreeMap<K, Count>, key: &K| map.get(key).copied().unwrap_or_default();
    keys.into_iter().map(move |key| Difference { what: name(key), here: of(here, key), there: of(there, key) })
}

/// `flow 10.0.0.1 1000 > 10.0.0.2 53 proto 17 vlan 0`
fn flow_name(flow: &FlowKey) -> String {
    let FlowKey { src, dst, ip_proto, sport, dport, vlan } = flow;
    format!("flow {src} {sport} > {dst} {dport} proto {ip_proto} vlan {vlan}")
}
