//! How long a session may be not active before the job gives it up: a question of what kind of session it is.

use std::net::IpAddr;
use std::time::Duration;

use super::{LOST_GRACE, NEIGHBOUR_TIMEOUT, SessionState, SessionStates};
use crate::model::provision::Provision;
use crate::model::provision::mirror::{MirrorPlan, MirrorTarget};
use crate::model::schema::Reason;
use crate::model::status::Ending;

/// A session that is not active.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// Since when.
    pub(super) since: Duration,
    /// When it counts as lost.
    pub(super) until: Duration,
}

impl Missing {
    /// What orchagent's word makes of a session that was `before`; `None` if it is active.
    ///
    /// Only an ERSPAN session goes inactive by itself and comes back by itself, with its neighbour; a SPAN session has been refused
    /// by the hardware. A row that is not there comes back at once (a flushed STATE_DB) or never.
    pub(super) fn after(
        before: Option<Missing>,
        state: SessionState,
        provision: &Provision,
        now: Duration,
    ) -> Option<Missing> {
        let Provision::Mirror(mirror) = provision;
        let since = before.map_or(now, |before| before.since);
        let until = match (state, &mirror.target) {
            (SessionState::Active, _) => return None,
            (SessionState::Inactive, MirrorTarget::Tunnel(_)) => since + NEIGHBOUR_TIMEOUT,
            (SessionState::Inactive, MirrorTarget::Port(_)) | (SessionState::Absent, _) => {
                before.map_or(Duration::MAX, |before| before.until).min(now + LOST_GRACE)
            }
        };
        Some(Missing { since, until })
    }
}

/// What is said of an ERSPAN session that waits.
pub(super) fn waiting(provision: &Provision, states: &SessionStates) -> Option<String> {
    let Provision::Mirror(mirror) = provision;
    let dst = mirror.tunnel()?.outer.dst;
    let inactive = states.listed(provision, SessionState::Inactive);
    let plural = if inactive.contains(',') { "s" } else { "" };
    // What keeps one of several sessions to one address inactive is not on the way to that address.
    let resolved = states.first(provision, SessionState::Active).is_some();
    (!inactive.is_empty() && !resolved).then(|| {
        format!(
            "orchagent holds mirror session{plural} {inactive} inactive: {}; it has {} s",
            unresolved(mirror, dst),
            NEIGHBOUR_TIMEOUT.as_secs()
        )
    })
}

/// What orchagent may mean by an inactive ERSPAN session: it says no more than that.
fn unresolved(mirror: &MirrorPlan, dst: IpAddr) -> String {
    let refused = if mirror.is_sampled() { "the hardware or a port's sampler" } else { "the hardware" };
    format!("the switch knows no route or no neighbour for erspan_dst_ip {dst}, or {refused} refused it")
}

/// orchagent did not make the session active in its time.
///
/// A job has all of its sessions or none: results of some of its ports would be taken for those of all.
pub(super) fn timed_out(provision: &Provision, states: &SessionStates) -> Ending {
    let Provision::Mirror(mirror) = provision;
    let state = states.worst(provision);
    let session = states.first(provision, state).unwrap_or_default();
    let mut ending = match (state, &mirror.target) {
        (SessionState::Inactive, MirrorTarget::Port(_)) => Ending::failed(
            Reason::MirrorInactive,
            format!(
                "orchagent took mirror session {session} but left it inactive; see syslog of orchagent and syncd for why"
            ),
        ),
        (SessionState::Inactive, MirrorTarget::Tunnel(tunnel))
            if states.first(provision, SessionState::Active).is_some() =>
        {
            let (dst, active) = (tunnel.outer.dst, states.listed(provision, SessionState::Active));
            Ending::failed(
                Reason::MirrorInactive,
                format!(
                    "orchagent left mirror session {session} inactive, while {active} to the same erspan_dst_ip {dst} is active; see syslog of orchagent and syncd"
                ),
            )
        }
        (SessionState::Inactive, MirrorTarget::Tunnel(tunnel)) => {
            let dst = tunnel.outer.dst;
            Ending::failed(
                Reason::MirrorInactive,
                format!(
                    "orchagent left mirror session {session} inactive: {}; ping {dst} from the switch, and see syslog of orchagent",
                    unresolved(mirror, dst)
                ),
            )
        }
        (SessionState::Absent | SessionState::Active, _) => Ending::failed(
            Reason::MirrorRejected,
            format!(
                "no word of orchagent on mirror session {session} arrived within 5 s: it refused it, it is not running, or Redis did not pass it on; see syslog of orchagent"
            ),
        ),
    };
    if mirror.sessions.len() > 1 {
        ending.add(&format!(
            "the job takes {} mirror sessions, and the others are given up with this one; how many the ASIC has stands in no table: name fewer ports, or set max_sessions to what it has",
            mirror.sessions.len()
        ));
    }
    ending
}

/// The session went and stayed away.
pub(super) fn lost(provision: &Provision, states: &SessionStates) -> Ending {
    let Provision::Mirror(mirror) = provision;
    let state = states.worst(provision);
    let session = states.first(provision, state).unwrap_or_default();
    let message = match (state, &mirror.target) {
        (SessionState::Inactive, MirrorTarget::Port(_)) => {
            format!("mirror session {session} went inactive while the job ran; the counts stop there")
        }
        (SessionState::Inactive, MirrorTarget::Tunnel(tunnel)) => format!(
            "mirror session {session} went inactive while the job ran and stayed so for {} s: {}; the counts stop there",
            NEIGHBOUR_TIMEOUT.as_secs(),
            unresolved(mirror, tunnel.outer.dst)
        ),
        (SessionState::Absent | SessionState::Active, _) => {
            format!("mirror session {session} disappeared from STATE_DB while the job ran; the counts stop there")
        }
    };
    Ending::failed(Reason::MirrorLost, message)
}
