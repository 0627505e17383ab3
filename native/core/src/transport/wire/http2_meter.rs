//! What the HTTP/2 library holds of response bodies, between the socket and whoever reads them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::credit::{ByteGauge, Credit};

/// RFC 9113 §4.1: length (3), type, flags, stream (4).
const FRAME_HEADER: usize = 9;
const DATA: u8 = 0;
const PADDED: u8 = 0x8;

/// Counts the payload of DATA frames as they come from the socket, and what is read of it.
///
/// What a dropped stream leaves unread is thrown away where nobody sees it: with every stream that ends the count falls
/// to what the others can hold at most.
#[derive(Debug)]
pub struct Http2Meter {
    stream_window: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    frames: Frames,
    held: Credit,
    streams: usize,
}

impl Http2Meter {
    pub fn new(gauge: &Arc<ByteGauge>, stream_window: u32) -> Self {
        Self {
            stream_window: stream_window as usize,
            state: Mutex::new(State {
                frames: Frames::default(),
                held: Credit::none(gauge),
                streams: 0,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin_stream(&self) {
        self.lock().streams += 1;
    }

    pub fn end_stream(&self) {
        let mut state = self.lock();
        state.streams = state.streams.saturating_sub(1);
        let most = state.streams.saturating_mul(self.stream_window);
        let beyond = state.held.bytes().saturating_sub(most);
        state.held.shrink(beyond);
    }

    /// Bytes as they came from the socket.
    pub fn read(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let data = state.frames.count(bytes);
        if data > 0 && state.streams > 0 {
            state.held.grow(data);
        }
    }

    /// Bytes of a body that were handed on.
    pub fn take(&self, bytes: usize) {
        self.lock().held.shrink(bytes);
    }
}

/// Where in the sequence of frames the connection is.
#[derive(Debug, Default)]
struct Frames {
    header: [u8; FRAME_HEADER],
    header_filled: usize,
    /// Of the frame's payload.
    left: usize,
    /// Of it, without padding.
    data_left: usize,
    awaits_pad_length: bool,
}

impl Frames {
    /// Bytes of body in `bytes`.
    fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut data = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                let taken = bytes.len().min(FRAME_HEADER - self.header_filled);
                self.header[self.header_filled..self.header_filled + taken].copy_from_slice(&bytes[..taken]);
                self.header_filled += taken;
                bytes = &bytes[taken..];
                if self.header_filled == FRAME_HEADER {
                    self.begin();
                }
                continue;
            }
            if self.awaits_pad_length {
                self.awaits_pad_length = false;
                self.left -= 1;
                self.data_left = self.left.saturating_sub(bytes[0] as usize);
                bytes = &bytes[1..];
                continue;
            }
            let taken = bytes.len().min(self.left);
            let body = taken.min(self.data_left);
            data += body;
            self.data_left -= body;
            self.left -= taken;
            bytes = &bytes[taken..];
        }
        data
    }

    fn begin(&mut self) {
        self.header_filled = 0;
        let [high, middle, low, kind, flags, ..] = self.header;
        self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
        let is_data = kind == DATA;
        self.awaits_pad_length = is_data && flags & PADDED != 0 && self.left > 0;
        self.data_left = if is_data { self.left } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.extend_from_slice(payload);
        frame
    }

    #[test]
    fn bodies_are_counted_whatever_pieces_they_come_in() {
        let mut bytes = frame(4, 0, &[0; 6]);
        bytes.extend(frame(DATA, 0, &[1; 300]));
        bytes.extend(frame(1, 0, &[2; 20]));
        bytes.extend(frame(DATA, PADDED, &[&[5][..], &[1; 10], &[0; 5]].concat()));
        bytes.extend(frame(DATA, 1, &[]));
        bytes.extend(frame(DATA, 1, b"end"));
        for size in [1, 2, 7, 9, 64, 1000] {
            let mut frames = Frames::default();
            let data: usize = bytes.chunks(size).map(|piece| frames.count(piece)).sum();
            assert_eq!(data, 313, "in pieces of {size}");
        }
    }

    #[test]
    fn what_a_dropped_stream_leaves_is_not_held_for_ever() {
        let gauge = Arc::new(ByteGauge::default());
        let meter = Http2Meter::new(&gauge, 100);
        meter.begin_stream();
        meter.begin_stream();
        meter.read(&frame(DATA, 0, &[0; 150]));
        meter.take(20);
        assert_eq!(gauge.held(), 130);
        meter.end_stream();
        assert_eq!(gauge.held(), 100, "what one stream can hold at most");
        meter.end_stream();
        assert_eq!(gauge.held(), 0);
        meter.begin_stream();
        meter.read(&frame(DATA, 0, &[0; 50]));
        drop(meter);
        assert_eq!(gauge.held(), 0);
    }
}
