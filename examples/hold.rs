use std::num::NonZeroU32;
use telegen_sonic::io::tap::*;
fn main() {
    let all = std::env::args().nth(1).unwrap_or_default();
    let rate: u32 = std::env::args().nth(2).map_or(1_000_000, |t| t.parse().unwrap());
    let plan = TapPlan {
        netdev: "x".into(),
        hooks: Hooks::Ingress,
        filter: Default::default(),
        sample_rate: NonZeroU32::new(rate).unwrap(),
        flows: if rate < 1000 { FlowSlots::within(DEFAULT_MEMORY, possible_cpus().unwrap()) } else { None },
        inner: false,
        encapsulation: None,
    };
    let t = Switches::TOTALS;
    let sw = match all.as_str() {
        "all" => Switches::default(),
        "health" => Switches { without_health: false, ..t },
        _ => t,
    };
    let p = Program::load_with(&plan, sw).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(6));
    drop(p);
}
