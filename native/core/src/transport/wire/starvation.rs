//! Notices that requests wait for a connection while responses that have come hold every one of them. Whether somebody
//! reads those is the embedder's to find out.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::pool::Pool;

/// Between two looks, while requests wait. Nobody looks while none does.
const LOOK: Duration = Duration::from_millis(20);
/// How soon the same is told again.
const REMIND: Duration = Duration::from_millis(100);

/// A number for a pool, which no other of the process has.
pub fn next_pool() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
}

/// Counts the responses of a pool that are past their head and hold a connection, or a stream of one.
#[derive(Debug, Clone, Default)]
pub struct Bodies(Arc<AtomicUsize>);

impl Bodies {
    pub fn begin(&self) -> HeldByBody {
        self.0.fetch_add(1, Ordering::Relaxed);
        HeldByBody(Arc::clone(&self.0))
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of [`Bodies`]; counted until it is dropped.
#[derive(Debug)]
pub struct HeldByBody(Arc<AtomicUsize>);

impl Drop for HeldByBody {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a look at the pool has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Supply {
    /// Requests without a connection.
    pub waiting: usize,
    /// Connections, or streams, that are taken: all that there may be, if any request waits.
    pub taken: usize,
    /// Those of them that have become a response's.
    pub held: usize,
}

impl Supply {
    fn is_starved(self) -> bool {
        self.waiting > 0 && self.held > 0 && self.held >= self.taken
    }
}

/// What is to be told after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// With the number of the round, which ends when a request that waited gets a connection.
    Starved(Supply, u32),
    /// It is no longer so.
    Over,
}

/// The state of one pool's watch.
#[derive(Debug, Default)]
pub struct Watch {
    is_on: bool,
    round: u32,
    /// The round that was told last, and when.
    told: Option<(u32, Instant)>,
}

impl Watch {
    /// A request begins to wait; true where nobody watches yet.
    pub fn switch_on(&mut self) -> bool {
        !std::mem::replace(&mut self.is_on, true)
    }

    /// A request that waited has got a connection.
    pub fn feed(&mut self) {
        self.round = self.round.wrapping_add(1);
    }

    /// Whether the end of it has to be told.
    pub fn was_told(&self) -> bool {
        self.told.is_some()
    }

    fn look(&mut self, supply: Supply, now: Instant) -> Option<News> {
        self.is_on = supply.waiting > 0;
        if !supply.is_starved() {
            return self.told.take().map(|_| News::Over);
        }
        let is_known = |&(round, at): &(u32, Instant)| round == self.round && now < at + REMIND;
        if self.told.as_ref().is_some_and(is_known) {
            return None;
        }
        self.told = Some((self.round, now));
        Some(News::Starved(supply, self.round))
    }
}

/// Looks at the pool until no request waits.
pub async fn watch(pool: Weak<Pool>) {
    loop {
        let Some(pool) = pool.upgrade() else { return };
        let (news, goes_on) = pool.with_watch(|watch, supply| (watch.look(supply, Instant::now()), watch.is_on));
        if let Some(news) = news {
            pool.tell_starvation(news);
        }
        drop(pool);
        if !goes_on {
            return;
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(waiting: usize, taken: usize, held: usize) -> Supply {
        Supply { waiting, taken, held }
    }

    #[test]
    fn is_told_at_once_again_after_a_while_and_once_when_it_is_over() {
        let mut watch = Watch::default();
        let start = Instant::now();
        assert_eq!(watch.look(supply(1, 2, 1), start), None, "a head is still awaited");
        let starved = supply(1, 2, 2);
        assert_eq!(watch.look(starved, start), Some(News::Starved(starved, 0)));
        assert_eq!(watch.look(starved, start + LOOK), None);
        assert_eq!(watch.look(starved, start + REMIND), Some(News::Starved(starved, 0)));
        watch.feed();
        assert_eq!(
            watch.look(starved, start + REMIND + LOOK),
            Some(News::Starved(starved, 1)),
            "others hold the connections now"
        );
        assert_eq!(watch.look(supply(0, 2, 2), start + REMIND + LOOK), Some(News::Over));
        assert_eq!(watch.look(supply(0, 2, 2), start + REMIND + LOOK), None);
        assert!(watch.switch_on(), "nobody watches a pool where nobody waits");
    }
}
