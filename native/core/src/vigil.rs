//! When a runtime's thread stays awake though it has nothing to do.
//!
//! A request on its own makes the thread sleep and wake twice, and waking a thread may cost more than all else that a
//! small request takes. So for a moment after each event the thread looks for the next one instead of sleeping. It does so
//! only while few requests are under way, and while looking has paid of late: one whose events are further apart sleeps.

use std::time::{Duration, Instant};

/// How long after the last event.
const WATCH: Duration = Duration::from_micros(100);
/// With more requests there is mostly something to do, and other threads need the processor.
const FEW: usize = 4;
/// Events that a vigil must catch to be worth its end, in which nothing comes.
const WORTH: u32 = 4;
/// Each vigil in a row that was not worth it doubles how many are left out before the next, up to this.
const MOST_SKIPPED: u32 = 64;

/// Decides; its owner looks, and counts the events.
#[derive(Debug, Default)]
pub struct Vigil {
    seen: u32,
    since: Option<Instant>,
    caught: u32,
    skip: u32,
    skipped: u32,
}

impl Vigil {
    /// After an event: whether to stay awake. `events` is how many there were so far.
    pub fn begin(&mut self, running: usize, events: u32, now: Instant) -> bool {
        if running > FEW {
            return false;
        }
        if self.skipped < self.skip {
            self.skipped += 1;
            return false;
        }
        self.skipped = 0;
        self.seen = events;
        self.since = Some(now);
        true
    }

    /// Whether to look once more.
    pub fn goes_on(&mut self, running: usize, events: u32, now: Instant) -> bool {
        if running > FEW {
            return false;
        }
        if events != self.seen {
            self.seen = events;
            self.since = Some(now);
            self.catch();
        }
        let is_over = self.since.is_none_or(|since| now.duration_since(since) > WATCH);
        if is_over {
            self.skip = if self.caught >= WORTH {
                0
            } else {
                (self.skip * 2 + 1).min(MOST_SKIPPED)
            };
            self.caught = 0;
        }
        !is_over
    }

    /// An event of another kind has come.
    pub fn catch(&mut self) {
        self.caught = self.caught.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATER: Duration = Duration::from_micros(101);

    #[test]
    fn goes_on_for_a_moment_after_each_event() {
        let mut vigil = Vigil::default();
        let start = Instant::now();
        assert!(vigil.begin(1, 7, start));
        assert!(vigil.goes_on(1, 7, start + WATCH));
        assert!(vigil.goes_on(1, 8, start + LATER), "an event");
        assert!(vigil.goes_on(1, 8, start + LATER + WATCH));
        assert!(!vigil.goes_on(1, 8, start + LATER + LATER));
    }

    #[test]
    fn sleeps_while_many_requests_run() {
        let mut vigil = Vigil::default();
        let now = Instant::now();
        assert!(!vigil.begin(FEW + 1, 0, now));
        assert!(vigil.begin(FEW, 0, now));
        assert!(!vigil.goes_on(FEW + 1, 0, now));
    }

    #[test]
    fn vigils_that_catch_nothing_become_rare() {
        let mut vigil = Vigil::default();
        let now = Instant::now();
        let mut kept = 0;
        for _ in 0..10_000 {
            if vigil.begin(1, 0, now) {
                kept += 1;
                assert!(!vigil.goes_on(1, 0, now + LATER));
            }
        }
        assert!(kept < 200, "{kept}");
    }

    #[test]
    fn one_that_caught_much_makes_the_next_begin_at_once() {
        let mut vigil = Vigil {
            skip: MOST_SKIPPED,
            skipped: MOST_SKIPPED,
            ..Vigil::default()
        };
        let now = Instant::now();
        assert!(vigil.begin(1, 0, now));
        for event in 1..=WORTH {
            assert!(vigil.goes_on(1, event, now));
        }
        assert!(!vigil.goes_on(1, WORTH, now + LATER));
        assert!(vigil.begin(1, WORTH, now));
    }
}
