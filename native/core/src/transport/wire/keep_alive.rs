//! How long an idle connection is kept.

use std::time::Duration;

/// undici's `keepAliveTimeout`, `keepAliveMaxTimeout` and `keepAliveTimeoutThreshold`.
#[derive(Debug, Clone, Copy)]
pub struct KeepAlive {
    /// Without a hint of the server; `None` keeps no connection.
    pub timeout: Option<Duration>,
    /// The most that a server's hint can ask for.
    pub max_timeout: Duration,
    /// Taken off a hint, so that the server does not close first.
    pub threshold: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            timeout: Some(Duration::from_secs(4)),
            max_timeout: Duration::from_secs(600),
            threshold: Duration::from_secs(2),
        }
    }
}

impl KeepAlive {
    /// How long the connection of this response may idle; `None`: not at all.
    pub fn after(&self, hint: Option<Duration>) -> Option<Duration> {
        let own = self.timeout?;
        match hint {
            None => Some(own),
            Some(hint) => {
                let left = hint
                    .min(self.max_timeout.saturating_add(self.threshold))
                    .checked_sub(self.threshold)?;
                (!left.is_zero()).then_some(left.min(self.max_timeout))
            }
        }
    }
}

/// `timeout=5, max=100` → 5 s.
pub fn hint(value: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?;
    text.split(',').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        let seconds = name
            .trim()
            .eq_ignore_ascii_case("timeout")
            .then(|| value.trim().parse().ok())??;
        Some(Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(value: Option<&str>) -> Option<u64> {
        let hint = value.and_then(|value| hint(value.as_bytes()));
        KeepAlive::default().after(hint).map(|time| time.as_secs())
    }

    #[test]
    fn a_hint_less_the_threshold_replaces_the_timeout_up_to_the_maximum() {
        assert_eq!(after(None), Some(4));
        assert_eq!(after(Some("timeout=30, max=5")), Some(28));
        assert_eq!(after(Some("timeout=100000")), Some(600));
        assert_eq!(after(Some("timeout=2")), None);
        assert_eq!(after(Some("timeout=0")), None);
        assert_eq!(after(Some("max=5")), Some(4));
    }
}
