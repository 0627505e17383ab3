//! Content codings are undone for `fetch`, and for nobody else.

use compression_codecs::brotli::params::EncoderParams;
use compression_codecs::core::Level;
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::{BrotliEncoder, DeflateEncoder, EncodeV2, GzipEncoder, ZlibEncoder, ZstdEncoder};
use sluice_core::{CoreError, DispatchOptions, FetchOptions, Method};
use sluice_test_macros::{both_engines, on_wire};

use crate::support::raw_server::RawServer;
use crate::support::{Outcome, agent, get, pattern, recorder};

fn encode(coding: &str, data: &[u8]) -> Vec<u8> {
    let mut encoder: Box<dyn EncodeV2> = match coding {
        "gzip" => Box::new(GzipEncoder::new(Level::Default.into())),
        "zlib" => Box::new(ZlibEncoder::new(Level::Default.into())),
        "raw" => Box::new(DeflateEncoder::new(Level::Default.into())),
        "br" => Box::new(BrotliEncoder::new(EncoderParams::default().quality(Level::Precise(4)))),
        "zstd" => Box::new(ZstdEncoder::new(3)),
        other => panic!("{other}"),
    };
    let mut buffer = vec![0; data.len() + 64 * 1024];
    let mut out = WriteBuffer::new_initialized(&mut buffer);
    let mut input = PartialBuffer::new(data);
    while !input.unwritten().is_empty() {
        encoder.encode(&mut input, &mut out).unwrap();
    }
    while !encoder.finish(&mut out).unwrap() {}
    out.written().to_vec()
}

fn fetch(server: &RawServer, method: Method) -> DispatchOptions {
    DispatchOptions {
        fetch: Some(FetchOptions::default()),
        ..DispatchOptions::new(server.origin(), method, "/")
    }
}

async fn receive(options: DispatchOptions, server: &RawServer, head: &str, body: &[u8]) -> Outcome {
    let (handler, mut events) = recorder();
    agent().dispatch(options, handler);
    let (mut connection, _) = server.request().await;
    let head = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
    let answer = [head.as_bytes(), body].concat();
    let (outcome, ()) = tokio::join!(events.finish(), connection.send(answer));
    outcome
}

async fn decoded(coding: &str, body: &[u8]) -> Outcome {
    let server = RawServer::bind();
    let head = format!("200 OK\r\ncontent-encoding: {coding}");
    receive(fetch(&server, Method::GET), &server, &head, body).await
}

#[on_wire]
async fn every_coding_is_undone_small_and_large() {
    for (name, coding) in [
        ("gzip", "gzip"),
        ("X-GZip", "gzip"),
        ("deflate", "zlib"),
        ("Deflate", "raw"),
        ("BR", "br"),
        ("zstd", "zstd"),
    ] {
        for length in [0, 1, 5000, 3 * 1024 * 1024] {
            let data = pattern(0, length);
            let outcome = decoded(name, &encode(coding, &data)).await;
            outcome.end.as_ref().unwrap();
            assert!(outcome.body == data, "{name} of {length} bytes");
            assert_eq!(outcome.header("content-encoding"), name);
            assert_eq!(
                outcome.head().content_length,
                None,
                "the length on the wire is not the body's"
            );
        }
    }
}

#[on_wire]
async fn what_does_not_compress_is_decoded_beside_the_io_thread() {
    let mut data = pattern(0, 2 * 1024 * 1024);
    let mut state = 1_u32;
    for byte in &mut data {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    for coding in ["gzip", "br", "zstd"] {
        let outcome = decoded(coding, &encode(coding, &data)).await;
        outcome.end.as_ref().unwrap();
        assert!(outcome.body == data, "{coding}");
    }
}

#[on_wire]
async fn codings_are_undone_in_reverse_order() {
    let data = pattern(0, 300_000);
    let twice = encode("br", &encode("gzip", &data));
    assert!(decoded("gzip, br", &twice).await.body == data);
    let server = RawServer::bind();
    let head = "200 OK\r\ncontent-encoding: gzip\r\ncontent-encoding: br";
    let outcome = receive(fetch(&server, Method::GET), &server, head, &twice).await;
    assert!(outcome.body == data, "two fields");
    let outcome = decoded("gzip,gzip,gzip,gzip,gzip,gzip", b"").await;
    assert_eq!(outcome.end.unwrap_err().error_code(), "Z_DATA_ERROR");
}

#[on_wire]
async fn an_unknown_coding_leaves_the_body_as_it_is() {
    for coding in ["identity", "gzip, secret", "compress", ""] {
        assert_eq!(decoded(coding, b"as it is").await.body, b"as it is", "{coding}");
    }
}

#[on_wire]
async fn members_are_joined_and_padding_is_dropped() {
    let mut body = encode("gzip", b"one ");
    body.extend(encode("gzip", b"two"));
    body.extend([0; 7]);
    assert_eq!(decoded("gzip", &body).await.body, b"one two");
    let mut body = encode("zstd", b"one ");
    body.extend(encode("zstd", b"two"));
    assert_eq!(decoded("zstd", &body).await.body, b"one two");
}

#[on_wire]
async fn bad_data_and_an_early_end_are_errors() {
    for (name, coding) in [
        ("gzip", "gzip"),
        ("deflate", "zlib"),
        ("deflate", "raw"),
        ("br", "br"),
        ("zstd", "zstd"),
    ] {
        let mut body = encode(coding, &pattern(0, 100_000));
        let cut = decoded(name, &body[..body.len() - 1]).await;
        assert_eq!(cut.end.unwrap_err().error_code(), "Z_BUF_ERROR", "{coding} cut short");
        body[0] = 0xff;
        body[1] ^= 0xff;
        match decoded(name, &body).await.end {
            Err(CoreError::Decode { .. }) => {}
            other => panic!("{coding}: {other:?}"),
        }
    }
    let outcome = decoded("gzip", b"no gzip at all").await;
    assert_eq!(outcome.end.unwrap_err().error_code(), "Z_DATA_ERROR");
}

#[on_wire]
async fn no_data_is_an_empty_body() {
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let outcome = decoded(coding, b"").await;
        assert!(outcome.end.is_ok() && outcome.body.is_empty(), "{coding}");
    }
}

#[both_engines]
async fn a_response_without_a_body_is_not_decoded() {
    let server = RawServer::bind();
    let (handler, mut events) = recorder();
    agent().dispatch(fetch(&server, Method::HEAD), handler);
    let head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 50\r\n\r\n";
    let _connection = server.answer(head).await;
    assert!(events.finish().await.end.is_ok());
    for status in ["204 No Content", "304 Not Modified"] {
        let (handler, mut events) = recorder();
        agent().dispatch(fetch(&server, Method::GET), handler);
        let head = format!("HTTP/1.1 {status}\r\ncontent-encoding: gzip\r\n\r\n");
        let _connection = server.answer(head).await;
        assert!(events.finish().await.end.is_ok(), "{status}");
    }
}

#[both_engines]
async fn trailers_follow_the_decoded_end() {
    let server = RawServer::bind();
    let (handler, mut events) = recorder();
    agent().dispatch(fetch(&server, Method::GET), handler);
    let (mut connection, _) = server.request().await;
    let body = encode("gzip", b"hello");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
        body.len()
    );
    connection
        .send([head.as_bytes(), &body, b"\r\n0\r\nx-t: 1\r\n\r\n"].concat())
        .await;
    let outcome = events.finish().await;
    assert_eq!(outcome.body, b"hello");
    assert_eq!(outcome.end.unwrap()["x-t"], "1");
}

#[on_wire]
async fn decoded_bytes_and_their_ratio_have_limits() {
    let zeros = vec![0; 4 * 1024 * 1024];
    let bomb = encode("gzip", &zeros);
    let limits = [
        (Some(1_000_000), None, "SLUICE_ERR_DECODED_SIZE"),
        (None, Some(50.0), "SLUICE_ERR_COMPRESSION_RATIO"),
    ];
    for (max_decoded_size, max_compression_ratio, code) in limits {
        let server = RawServer::bind();
        let mut options = fetch(&server, Method::GET);
        options.fetch = Some(FetchOptions {
            max_decoded_size,
            max_compression_ratio,
            ..FetchOptions::default()
        });
        let outcome = receive(options, &server, "200 OK\r\ncontent-encoding: gzip", &bomb).await;
        assert_eq!(outcome.end.unwrap_err().error_code(), code);
        assert!(outcome.body.len() <= 1_000_000, "{}", outcome.body.len());
    }
    let server = RawServer::bind();
    let mut options = fetch(&server, Method::GET);
    options.max_response_size = Some(bomb.len() as u64);
    let outcome = receive(options, &server, "200 OK\r\ncontent-encoding: gzip", &bomb).await;
    assert!(
        outcome.end.is_ok() && outcome.body.len() == zeros.len(),
        "the wire's limit is the wire's"
    );
}

#[on_wire]
async fn a_bomb_comes_in_small_frames() {
    let bomb = encode("gzip", &vec![0; 16 * 1024 * 1024]);
    let outcome = decoded("gzip", &bomb).await;
    assert_eq!(outcome.body.len(), 16 * 1024 * 1024);
    assert!(outcome.frames >= 64, "{} frames", outcome.frames);
}

#[both_engines]
async fn what_is_understood_is_announced_by_scheme_unless_the_caller_did() {
    for (given, expected) in [
        (None, "accept-encoding: gzip, deflate\r\n"),
        (Some(("Accept-Encoding", "br")), "ncoding: br\r\n"),
        (Some(("Range", "bytes=0-1")), "accept-encoding: identity\r\n"),
    ] {
        let server = RawServer::bind();
        let mut options = fetch(&server, Method::GET);
        if let Some((name, value)) = given {
            options.headers.append(name, value);
        }
        let (handler, _events) = recorder();
        let controller = agent().dispatch(options, handler);
        let (_, head) = server.request().await;
        assert!(head.text.contains(expected), "{}", head.text);
        assert_eq!(head.text.to_lowercase().matches("accept-encoding").count(), 1);
        controller.abort();
    }
}

#[both_engines]
async fn a_dispatch_gets_what_the_wire_brings() {
    let body = encode("gzip", b"hello");
    let server = RawServer::bind();
    let outcome = receive(
        get(&server.origin()),
        &server,
        "200 OK\r\ncontent-encoding: gzip",
        &body,
    )
    .await;
    assert_eq!(outcome.body, body);
}
