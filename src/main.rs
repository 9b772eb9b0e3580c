//! `telegen-sonic`: the daemon. The command line joins it in its own commit.

use telegen_sonic::daemon::{Options, run};
use telegen_sonic::io::tap::Attach;

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    run(&Options {
        database_config: "/var/run/redis/sonic-db/database_config.json".into(),
        state_dir: "/var/run/telegen".into(),
        attach: Attach::Auto,
    })
}
