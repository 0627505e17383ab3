//! HTTP/1.1 as a client speaks it.
//!
//! `send` writes a request (`request_writer`, of `segments`) and reads the head of its response (`response_reader`); `body`
//! reads the rest when it is polled; `upload_rest` writes what is left of a request whose response has begun. No task
//! drives a connection: `state` says who may read and write it, and `line` is the right to it, which closes it when it is
//! dropped. An idle connection has neither buffer nor task until its pool has it watched (`watch`, `idle_socket`).
//!
//! Beneath them bytes become responses without sockets: `decoder` is the response to one request, made of `head` (with `fields` and `framing`) and of `chunked`. It is as strict
//! as llhttp, on which undici and Node stand, and says what is wrong in llhttp's words (`malformed`). Where the two differ:
//!
//! | bytes of the server | llhttp | here | clause |
//! |---|---|---|---|
//! | a version other than 1.0 and 1.1 (0.9, 2.0) | taken | `HPE_INVALID_VERSION` | RFC 9112 §2.3 |
//! | a status below 100 | taken, undici then fails | `HPE_INVALID_STATUS` | RFC 9110 §15 |
//! | NUL or CR in a reason phrase | NUL is taken | `HPE_INVALID_STATUS` | RFC 9112 §4 |
//! | blanks behind a content-length | taken, undici then fails | the number | RFC 9110 §5.5 |
//! | transfer-encoding in HTTP/1.0 | taken | `HPE_INVALID_TRANSFER_ENCODING` | RFC 9112 §6.1 |
//! | more than 512 fields | taken | `UND_ERR_HEADERS_OVERFLOW` | RFC 9110 §5.4 |
//!
//! Leniencies of both: empty lines before a head, a missing reason phrase, latin1 in values, quoted chunk extensions.

#[cfg(test)]
mod beside_hyper;
mod body;
mod chunked;
mod decoder;
mod exchange;
mod fields;
mod framing;
mod head;
mod idle_socket;
mod informational;
mod line;
mod malformed;
mod request_writer;
mod response_reader;
mod segments;
mod send;
mod state;
mod tunnel_stream;
mod upload_rest;
mod watch;

pub use self::body::H1Body;
pub use self::exchange::Exchange;
pub use self::head::HeadReader;
pub use self::line::Line;
pub use self::malformed::Malformed;
pub use self::send::send;
pub use self::state::Course;
pub use self::tunnel_stream::TunnelStream;
