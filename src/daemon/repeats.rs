//! Which lines of the log are said and which are only counted: trouble that lasts is one line a minute, however often it is met, and a flood of
//! different lines from one place of the program is some of them and a number. Pure: time comes in as a value.

use std::collections::HashMap;
use std::time::Duration;

/// A line that was said is counted for this long before it is said again, with the number.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Lines from one place of the program that are said in one window.
pub const FROM_ONE_PLACE: u32 = 60;
/// Different lines that are remembered at the most; of others, only those from the same place are counted.
const LINES: usize = 256;

/// Where in the program a line comes from.
pub type Place = usize;

/// How often something was said and left out.
#[derive(Clone, Copy, Debug)]
struct Tally {
    since: Duration,
    said: u32,
    left_out: u64,
}

impl Tally {
    fn is_over(&self, now: Duration) -> bool {
        self.since + WINDOW <= now
    }
}

/// A line of which more were left out, with what goes in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<K> {
    /// How serious it is.
    pub kind: K,
    /// The whole text.
    pub text: String,
}

/// The lines of the last minute.
#[derive(Debug)]
pub struct Repeats<K> {
    lines: HashMap<(Place, String), (K, Tally)>,
    places: HashMap<Place, (K, Tally)>,
}

impl<K> Default for Repeats<K> {
    fn default() -> Repeats<K> {
        Repeats { lines: HashMap::new(), places: HashMap::new() }
    }
}

impl<K: Copy> Repeats<K> {
    /// Whether a line is said. `is_trouble`: saying it again within the window would say nothing new.
    pub fn admit(&mut self, place: Place, kind: K, is_trouble: bool, text: &str, now: Duration) -> bool {
        let fresh = Tally { since: now, said: 0, left_out: 0 };
        if is_trouble {
            let key = (place, text.to_owned());
            if let Some((_, tally)) = self.lines.get_mut(&key) {
                tally.left_out += 1;
                return false;
            }
            if self.lines.len() < LINES {
                self.lines.insert(key, (kind, fresh));
            }
        }
        let (_, tally) = self.places.entry(place).or_insert((kind, fresh));
        if tally.said < FROM_ONE_PLACE {
            tally.said += 1;
            return true;
        }
        tally.left_out += 1;
        false
    }

    /// Forgets what is over, and says how much was left out of it.
    pub fn over(&mut self, now: Duration) -> Vec<Line<K>> {
        let mut said = Vec::new();
        self.lines.retain(|(_, text), (kind, tally)| {
            let over = tally.is_over(now);
            if over && tally.left_out > 0 {
                let text = format!("{text} (and {} more in the last minute)", tally.left_out);
                said.push(Line { kind: *kind, text });
            }
            !over
        });
        self.places.retain(|_, (kind, tally)| {
            let over = tally.is_over(now);
            if over && tally.left_out > 0 {
                let text = format!(
                    "{} more lines like the {} of a minute ago were left out: there is too much to say",
                    tally.left_out, tally.said
                );
                said.push(Line { kind: *kind, text });
            }
            !over
        });
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn trouble_that_lasts_is_one_line_a_minute_and_a_number() {
        let mut repeats = Repeats::default();
        let mut said = 0;
        for second in 0..60 {
            said += u32::from(repeats.admit(1, 'w', true, "Redis is away", secs(second)));
            assert_eq!(repeats.over(secs(second)), []);
        }
        assert_eq!(said, 1);
        let text = "Redis is away (and 59 more in the last minute)".to_owned();
        assert_eq!(repeats.over(secs(60)), [Line { kind: 'w', text }]);
        assert!(repeats.admit(1, 'w', true, "Redis is away", secs(61)));
    }

    #[test]
    fn a_line_that_says_something_else_or_comes_once_a_minute_is_always_said() {
        let mut repeats = Repeats::default();
        assert!(repeats.admit(1, 'w', true, "a", secs(0)) && repeats.admit(1, 'w', true, "b", secs(0)));
        assert!(repeats.admit(2, 'w', true, "a", secs(0)));
        // The course of things may repeat itself: the second job of the name started, too.
        assert!(repeats.admit(3, 'i', false, "job a started", secs(0)));
        assert!(repeats.admit(3, 'i', false, "job a started", secs(1)));
        assert_eq!(repeats.over(secs(60)), []);
        assert!(repeats.admit(1, 'w', true, "a", secs(60)));
    }

    #[test]
    fn a_flood_of_different_lines_from_one_place_is_sixty_and_a_number_in_bounded_memory() {
        let mut repeats = Repeats::default();
        let said = (0..100_000).filter(|n| repeats.admit(7, 'w', true, &format!("job {n} refused"), secs(1))).count();
        assert_eq!((said, repeats.lines.len(), repeats.places.len()), (60, LINES, 1));
        assert!(repeats.admit(8, 'w', true, "something else", secs(2)));
        let text = "99940 more lines like the 60 of a minute ago were left out: there is too much to say".to_owned();
        assert_eq!(repeats.over(secs(61)), [Line { kind: 'w', text }]);
        assert!(repeats.admit(7, 'w', true, "job x refused", secs(61)));
    }
}
