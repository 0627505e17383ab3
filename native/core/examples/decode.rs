//! What it costs to undo a content coding on the runtime's thread, and what it costs to go to another: the figures
//! behind `LARGE_INPUT` in `decode.rs`. Linux, on a calm machine:
//!
//! ```sh
//! cargo run --release -p sluice-core --example decode
//! ```
//!
//! A row is a piece of so many encoded bytes. *inline* is how long the runtime's thread decodes it, and does nothing else;
//! *beside* how long it takes by way of another thread; *thread* what that costs the runtime's thread in CPU.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::time::{Duration, Instant};

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{
    BrotliDecoder, BrotliEncoder, DecodeV2, EncodeV2, GzipDecoder, GzipEncoder, ZstdDecoder, ZstdEncoder,
};

const KIB: usize = 1024;
/// As in `decode.rs`.
const STEP: usize = 64 * KIB;
const LARGE_STEP: usize = 256 * KIB;
/// The median of so many runs counts.
const RUNS: usize = 41;

type Decoder = Box<dyn DecodeV2 + Send>;

/// Lines of JSON, as services send them.
fn text(length: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(length + 200);
    let mut seed = 1_u64;
    for id in 0_u32.. {
        if text.len() >= length {
            break;
        }
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (price, name) = ((seed >> 40) % 100_000, (seed >> 20) % 9_973);
        text.extend_from_slice(
            format!("{{\"id\":{id},\"name\":\"article {name}\",\"price\":{price},\"tags\":[\"new\",\"sale\"],\"stock\":true}}\n")
                .as_bytes(),
        );
    }
    text.truncate(length);
    text
}

fn encode(coding: &str, data: &[u8]) -> Vec<u8> {
    let mut encoder: Box<dyn EncodeV2> = match coding {
        "gzip" => Box::new(GzipEncoder::new(Level::Default.into())),
        "br" => Box::new(BrotliEncoder::new(EncoderParams::default().quality(Level::Precise(4)))),
        _ => Box::new(ZstdEncoder::new(3)),
    };
    let mut buffer = vec![0; data.len() + STEP];
    let mut out = WriteBuffer::new_initialized(&mut buffer);
    let mut input = PartialBuffer::new(data);
    while !input.unwritten().is_empty() {
        encoder.encode(&mut input, &mut out).unwrap();
    }
    while !encoder.finish(&mut out).unwrap() {}
    out.written().to_vec()
}

fn decoder(coding: &str) -> Decoder {
    match coding {
        "gzip" => Box::new(GzipDecoder::new()),
        "br" => Box::new(BrotliDecoder::new()),
        _ => Box::new(ZstdDecoder::new()),
    }
}

/// One step of at most `limit` bytes; how many were taken and given. Without input it gives what is left of the last.
fn step(decoder: &mut Decoder, piece: &[u8], limit: usize) -> (usize, usize) {
    let mut buffer = vec![0; limit];
    let mut out = WriteBuffer::new_initialized(&mut buffer);
    let mut input = PartialBuffer::new(piece);
    if piece.is_empty() {
        decoder.flush(&mut out).unwrap();
    } else {
        decoder.decode(&mut input, &mut out).unwrap();
    }
    (input.written_len(), out.written_len())
}

fn inline(mut decoder: Decoder, piece: &[u8]) -> usize {
    let (mut at, mut given) = (0, 0);
    loop {
        let (taken, length) = step(&mut decoder, &piece[at..], STEP);
        at += taken;
        given += length;
        if at == piece.len() && length < STEP {
            return given;
        }
    }
}

async fn beside(mut decoder: Decoder, piece: &bytes::Bytes) {
    let mut at = 0;
    loop {
        let rest = piece.slice(at..);
        let (back, taken, length) = tokio::task::spawn_blocking(move || {
            let (taken, length) = step(&mut decoder, &rest, LARGE_STEP);
            (decoder, taken, length)
        })
        .await
        .unwrap();
        decoder = back;
        at += taken;
        if at == piece.len() && length < LARGE_STEP {
            return;
        }
    }
}

/// CPU time of this thread.
fn cpu() -> Duration {
    // The kernel brings the figure up to date when a thread gives way.
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort_unstable();
    times[times.len() / 2].as_micros()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    println!("coding  encoded KiB  decoded KiB  inline µs  beside µs  thread µs  lost %");
    for coding in ["gzip", "br", "zstd"] {
        let encoded = bytes::Bytes::from(encode(coding, &text(24 * 1024 * KIB)));
        for size in [8, 16, 32, 64, 128, 256, 512, 1024] {
            let piece = encoded.slice(..(size * KIB).min(encoded.len()));
            let given = inline(decoder(coding), &piece);
            let (mut on, mut off, mut thread) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..RUNS {
                let fresh = decoder(coding);
                let start = Instant::now();
                inline(fresh, &piece);
                on.push(start.elapsed());
                let fresh = decoder(coding);
                let (start, before) = (Instant::now(), cpu());
                runtime.block_on(beside(fresh, &piece));
                off.push(start.elapsed());
                thread.push(cpu().saturating_sub(before));
            }
            let (on, off, thread) = (median(on), median(off), median(thread));
            let lost =
                (i128::try_from(off).unwrap() - i128::try_from(on).unwrap()) * 100 / i128::try_from(on.max(1)).unwrap();
            println!(
                "{coding:6}  {:11}  {:11}  {on:9}  {off:9}  {thread:9}  {lost:6}",
                piece.len() / KIB,
                given / KIB
            );
        }
    }
}
