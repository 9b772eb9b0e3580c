//! How a session gets into the ASIC and out of it: `activateSession`, `deactivateSession`.
//!
//! Nothing is rolled back. What is bound when a port refuses stays bound (fact S15), and an object that something still refers to stays (16, 17).

use super::{Held, Orchagent, Why, Work};
use crate::lab::orchagent::faults::Verdict;
use crate::lab::orchagent::hardware::{CopyDestination, MirrorTarget, NoRoom, PortSide};
use crate::lab::orchagent::messages::Output;
use crate::lab::orchagent::session::{Destination, Slots};

impl Orchagent {
    /// The moment has come to make the session work.
    pub(super) fn activate(&mut self, name: String, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get(&name).filter(|session| !session.active) else { return };
        if self.faults.of(Some(&name)).verdict == Some(Verdict::Inactive) {
            out.push(Output::Log(format!("Failed to activate session {name}: fault `inactive`")));
            return;
        }
        let sampling = session.spec.sampling;
        let slots = session.spec.slots(&self.topology);
        // The neighbour may have gone while this was waiting.
        let Some(target) = self.target(&name) else { return };
        if self.faults.no_room(self.objects.mirrors()) == Some(NoRoom::OrchagentEnds) {
            out.push(Output::Log(format!("Failed to activate session {name}: no mirror session left; ending")));
            self.ended = true;
            return;
        }
        let mirror = self.objects.create_mirror(&target, out);
        let sampler = sampling.map(|sampling| self.objects.create_mirror_sampler(sampling, out));
        if let Some(session) = self.sessions.get_mut(&name) {
            session.held = Held { mirror: Some(mirror), sampler, target: Some(target) };
        }
        self.bind_next(name, slots, Why::Activation, out);
    }

    /// What the session's copies would be and where they would go, if that is known.
    fn target(&mut self, name: &str) -> Option<MirrorTarget> {
        let session = self.sessions.get(name)?;
        let sampling = session.spec.sampling;
        let destination = match session.spec.destination.clone() {
            Destination::Span { port } => CopyDestination::Port(port),
            Destination::Erspan(erspan) => CopyDestination::Tunnel(self.tunnel(name, &erspan)?),
            Destination::SpanToNowhere => return None,
        };
        Some(MirrorTarget { session: name.to_owned(), destination, sampling })
    }

    /// Asks for the next of a session's ports; without one, the session is done.
    pub(super) fn bind_next(&mut self, session: String, mut slots: Slots, why: Why, out: &mut Vec<Output>) {
        let Some(held) = self.sessions.get(&session).map(|known| known.held.clone()) else { return };
        let Some(target) = held.target else { return };
        while let Some((port, side)) = slots.found.pop_front() {
            let sampler = self.objects.sampler_of(&port, side);
            if let Some(other) = sampler.filter(|sampler| Some(*sampler) != held.sampler) {
                // Facts 4 and 13.
                out.push(Output::Log(format!(
                    "Failed to bind session {session}: {port} has the sampler {other} already"
                )));
                match why {
                    Why::Activation => return self.not_activated(&session, out),
                    Why::Joining => continue,
                }
            }
            out.push(Output::Bind { port: port.clone(), side, target });
            self.work = Some(Work::Binding { session, asked: (port, side), rest: slots, why });
            return;
        }
        match (why, slots.missing) {
            (Why::Joining, _) => {}
            (Why::Activation, Some(missing)) => {
                out.push(Output::Log(format!("Failed to bind session {session}: there is no {missing}")));
                self.not_activated(&session, out);
            }
            (Why::Activation, None) => self.activated(&session, out),
        }
    }

    /// The hardware has answered.
    pub(super) fn bound(&mut self, refusal: Option<&str>, out: &mut Vec<Output>) {
        let Some(Work::Binding { session, asked: (port, side), rest, why }) = self.work.take() else { return };
        if let Some(refusal) = refusal {
            out.push(Output::Log(format!("Failed to bind session {session}: {refusal}")));
            if why == Why::Activation {
                return self.not_activated(&session, out);
            }
        } else if let Some(Held { mirror: Some(mirror), sampler, .. }) =
            self.sessions.get(&session).map(|known| &known.held)
        {
            let (mirror, sampler) = (*mirror, *sampler);
            self.objects.bind(&port, side, mirror, sampler, out);
        }
        self.bind_next(session, rest, why, out);
    }

    fn activated(&mut self, name: &str, out: &mut Vec<Output>) {
        let Some(session) = self.sessions.get_mut(name) else { return };
        session.active = true;
        out.push(Output::WriteState { session: name.to_owned(), fields: session.spec.row("active", &session.way) });
    }

    /// The session stays inactive. Its objects go if nothing refers to them; what has been bound stays bound (fact S15).
    fn not_activated(&mut self, name: &str, out: &mut Vec<Output>) {
        let held = self.sessions.get_mut(name).map(|session| std::mem::take(&mut session.held)).unwrap_or_default();
        for (kind, stays) in [
            ("sampler", held.sampler.is_some_and(|sampler| !self.objects.remove_sampler(sampler, out))),
            ("mirror session", held.mirror.is_some_and(|mirror| !self.objects.remove_mirror(mirror, out))),
        ] {
            if stays {
                out.push(Output::Log(format!("Failed to remove the {kind} of {name}: the object is in use")));
            }
        }
    }

    /// The session stops working and its row says so; the row's other fields go stale (fact M6). Says whether it could be taken out of the ASIC;
    /// where it could not, its own ports are unbound all the same and its row still says `active` (facts S16 to S18).
    pub(super) fn deactivate(&mut self, name: &str, out: &mut Vec<Output>) -> bool {
        let Some(session) = self.sessions.get(name).filter(|session| session.active) else { return true };
        let held = session.held.clone();
        let slots = session.spec.slots(&self.topology);
        for (port, side) in slots.found {
            // Whoever holds the binding now: it is gone (fact M5).
            self.unbind(port, side, out);
        }
        self.sflow.hasten();
        if let Some(missing) = slots.missing {
            out.push(Output::Log(format!("Failed to deactivate session {name}: there is no {missing}")));
            return false;
        }
        if let Some(sampler) = held.sampler {
            if !self.objects.remove_sampler(sampler, out) {
                out.push(Output::Log(format!("Failed to deactivate session {name}: its sampler is in use")));
                return false;
            }
            if let Some(session) = self.sessions.get_mut(name) {
                session.held.sampler = None;
            }
        }
        if held.mirror.is_some_and(|mirror| !self.objects.remove_mirror(mirror, out)) {
            out.push(Output::Log(format!("Failed to deactivate session {name}: its mirror session is in use")));
            return false;
        }
        if let Some(session) = self.sessions.get_mut(name) {
            session.held = Held::default();
            session.active = false;
        }
        let fields = vec![("status".to_owned(), "inactive".to_owned())];
        out.push(Output::WriteState { session: name.to_owned(), fields });
        true
    }

    pub(super) fn unbind(&mut self, port: String, side: PortSide, out: &mut Vec<Output>) {
        self.objects.unbind(&port, side, out);
        out.push(Output::Unbind { port, side });
    }
}
