//! Looks after a running tap: does it still hang where it was hung?

use std::time::{Duration, Instant};

use crate::io::tap::TapError;

/// A tap is looked after this often, whatever the interval of its readings.
const INTERVAL: Duration = Duration::from_secs(1);
/// A kernel that cannot be asked is asked again after twice the time each time, but this often at the least.
const CEILING: Duration = Duration::from_secs(60);

/// What is known of one tap's place. A question that could not be asked is no answer: nothing is concluded from it.
pub(super) struct Vigil {
    netdev: String,
    /// When to look next; `None` once the tap is lost.
    next: Option<Instant>,
    /// Questions in a row that could not be asked.
    unasked: u32,
}

impl Vigil {
    pub(super) fn new(netdev: &str, now: Instant) -> Vigil {
        Vigil { netdev: netdev.to_owned(), next: Some(now + INTERVAL), unasked: 0 }
    }

    /// When to look next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Asks when it is time to; says once what became of the tap.
    pub(super) fn look(
        &mut self,
        now: Instant,
        ask: impl FnOnce() -> Result<Option<String>, TapError>,
    ) -> Option<String> {
        if self.next.is_none_or(|next| now < next) { None } else { self.look_now(now, ask) }
    }

    /// As [`Vigil::look`], at once: after this look, nobody looks any more.
    pub(super) fn look_now(
        &mut self,
        now: Instant,
        ask: impl FnOnce() -> Result<Option<String>, TapError>,
    ) -> Option<String> {
        self.next?;
        match ask() {
            Ok(None) => {
                if self.unasked > 0 {
                    tracing::info!(
                        netdev = self.netdev,
                        unasked = self.unasked,
                        "the tap hangs where it was hung; the kernel can be asked again"
                    );
                }
                self.unasked = 0;
                self.next = Some(now + INTERVAL);
                None
            }
            Ok(Some(what)) => {
                self.next = None;
                Some(format!("{what} while the job ran; the counts stop there"))
            }
            Err(error) => {
                if self.unasked == 0 {
                    tracing::warn!(netdev = self.netdev, %error, "not known whether the tap still counts; asked again");
                }
                self.unasked = self.unasked.saturating_add(1);
                let wait = INTERVAL.saturating_mul(2_u32.saturating_pow(self.unasked)).min(CEILING);
                self.next = Some(now + wait);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;

    use super::*;

    fn no_descriptor() -> Result<Option<String>, TapError> {
        Err(TapError::Netdev { netdev: "tap".to_owned(), source: io::Error::from_raw_os_error(libc::EMFILE) })
    }

    #[test]
    fn a_tap_is_looked_after_once_a_second_and_its_loss_is_said_once() {
        let start = Instant::now();
        let mut vigil = Vigil::new("tap", start);
        let asked = Cell::new(0);
        let mut look = |millis: u64, lost: bool| {
            vigil.look(start + Duration::from_millis(millis), || {
                asked.set(asked.get() + 1);
                Ok(lost.then(|| "the filter was removed".to_owned()))
            })
        };
        assert_eq!((0..30).filter_map(|tenth| look(tenth * 100, false)).count(), 0);
        assert_eq!(asked.get(), 2);
        let said = look(3_000, true);
        assert_eq!(said.as_deref(), Some("the filter was removed while the job ran; the counts stop there"));
        assert_eq!((look(4_000, true), look(10_000, true), asked.get()), (None, None, 3));
    }

    #[test]
    fn nothing_is_concluded_from_a_question_that_could_not_be_asked_and_it_is_asked_ever_more_seldom() {
        let start = Instant::now();
        let mut vigil = Vigil::new("tap", start);
        let mut asked = Vec::new();
        for second in 0..300 {
            let said = vigil.look(start + Duration::from_secs(second), || {
                asked.push(second);
                no_descriptor()
            });
            assert_eq!(said, None);
        }
        assert_eq!(asked, [1, 3, 7, 15, 31, 63, 123, 183, 243]);
        // And as often as before once there is an answer.
        let at = |second| start + Duration::from_secs(second);
        assert_eq!(vigil.look(at(303), || Ok(None)), None);
        assert!(vigil.look(at(304), || Ok(Some("it was removed".to_owned()))).is_some());
    }

    #[test]
    fn the_last_look_does_not_wait_for_its_time() {
        let start = Instant::now();
        let mut vigil = Vigil::new("tap", start);
        assert!(vigil.look_now(start, || Ok(Some("it was removed".to_owned()))).is_some());
        assert_eq!(vigil.look_now(start, || Ok(Some("it was removed".to_owned()))), None);
    }
}
