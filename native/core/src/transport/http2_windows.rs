//! The flow-control windows of HTTP/2, and how many streams have room in them.

use super::TransportConfig;

/// RFC 9113 §6.9.1.
const MAX_WINDOW: u32 = (1 << 31) - 1;
/// What a connection has before anybody says otherwise (RFC 9113 §6.9.2).
const INITIAL_WINDOW: u32 = 65_535;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http2Windows {
    /// Bytes that one stream may send ahead.
    pub stream: u32,
    /// Bytes that all streams of a connection may.
    pub connection: u32,
    /// Streams at once on a connection.
    pub streams: usize,
}

impl Http2Windows {
    /// No connection may fetch ahead more than its agent may hold. Unless the caller has said how much that is, each of
    /// its streams has room for a whole window in it: however many nobody reads, the others go on.
    pub fn within_budget(config: &TransportConfig) -> Self {
        let budget = u32::try_from(config.gauge.limit()).unwrap_or(MAX_WINDOW);
        let most = budget.clamp(INITIAL_WINDOW, MAX_WINDOW);
        let stream = config.http2_stream_window.min(most);
        let Some(given) = config.http2_connection_window else {
            let connection = of_all(stream, config.http2_max_streams).min(most);
            let room = (connection / stream.max(1)) as usize;
            return Self {
                stream,
                connection: connection.max(INITIAL_WINDOW),
                streams: config.http2_max_streams.min(room.max(1)),
            };
        };
        Self {
            stream,
            connection: given.min(most),
            streams: config.http2_max_streams,
        }
    }

    /// For an engine that neither counts what a connection holds nor can be told how many streams it may have.
    pub fn without_budget(config: &TransportConfig) -> Self {
        let stream = config.http2_stream_window;
        let streams = config.http2_max_streams;
        Self {
            stream,
            connection: config
                .http2_connection_window
                .unwrap_or_else(|| of_all(stream, streams.saturating_add(1))),
            streams,
        }
    }
}

fn of_all(stream: u32, streams: usize) -> u32 {
    u32::try_from(streams)
        .unwrap_or(u32::MAX)
        .saturating_mul(stream)
        .min(MAX_WINDOW)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::credit::ByteGauge;

    const MIB: usize = 1024 * 1024;

    fn windows(budget: usize, configure: impl FnOnce(&mut TransportConfig)) -> Http2Windows {
        let mut config = TransportConfig {
            gauge: Arc::new(ByteGauge::new(budget)),
            ..TransportConfig::default()
        };
        configure(&mut config);
        Http2Windows::within_budget(&config)
    }

    #[test]
    fn every_stream_has_room_and_all_together_are_within_the_budget() {
        for budget in [1, 64 * 1024, MIB, 10 * MIB, 64 * MIB, 1024 * MIB, usize::MAX] {
            for max_streams in [1, 2, 100, 10_000, usize::MAX] {
                let windows = windows(budget, |config| config.http2_max_streams = max_streams);
                let all = windows.streams as u64 * u64::from(windows.stream);
                assert!(all <= u64::from(windows.connection), "{windows:?}");
                assert!(
                    windows.connection as usize <= budget.max(INITIAL_WINDOW as usize),
                    "{windows:?}"
                );
                assert!((1..=max_streams).contains(&windows.streams), "{windows:?}");
            }
        }
    }

    #[test]
    fn a_window_of_the_callers_is_taken_as_far_as_the_budget_goes() {
        let given = |window| move |config: &mut TransportConfig| config.http2_connection_window = Some(window);
        assert_eq!(windows(64 * MIB, given(512 * 1024)).connection, 512 * 1024);
        assert_eq!(windows(64 * MIB, given(512 * 1024)).streams, 100);
        assert_eq!(windows(MIB, given(64 * 1024 * 1024)).connection, 1024 * 1024);
    }

    #[test]
    fn without_a_budget_one_stream_more_than_all_has_room() {
        let windows = Http2Windows::without_budget(&TransportConfig::default());
        assert!(u64::from(windows.connection) >= (windows.streams as u64 + 1) * u64::from(windows.stream));
    }
}
