//! The responses of one connection, out of its bytes: no socket, no clock.

use bytes::{Bytes, BytesMut};
use http::Method;

use super::chunked::{Chunk, ChunkedDecoder};
use super::framing::{BodyFraming, Facts};
use super::head::HeadReader;
use super::malformed::Malformed;
use crate::header_list::HeaderList;
use crate::response::ResponseStart;

/// The response to one request while it comes in.
///
/// ```text
///         1xx                     ┌─ Length ──┐
///        ┌───┐                    ├─ Chunked ─┤
///        ▼   │   final head       │           │
///  Head ─┴───┴────────────────────┼───────────┼──► Ended
///        │                        └ UntilClose┘ (end of input)
///        └─ 101, or CONNECT granted ─────────────► Switched
/// ```
#[derive(Debug)]
pub struct ResponseDecoder {
    method: Method,
    most_trailers: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    Head(HeadReader),
    /// Bytes of the body that are still to come.
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
    Ended,
    Switched,
}

/// What decoding has found next.
#[derive(Debug)]
pub enum Decoded {
    /// More bytes are needed.
    Pending,
    /// A 1xx response (RFC 9110 §15.2); the final one follows.
    Informational(ResponseStart),
    Head(ResponseHead),
    /// Some of the body, never empty.
    Data(Bytes),
    /// The response is whole. What is left of the input is not its own.
    End(HeaderList),
}

/// The head of the final response.
#[derive(Debug)]
pub struct ResponseHead {
    pub start: ResponseStart,
    pub framing: BodyFraming,
    pub facts: Facts,
    /// Whether the server keeps the connection open behind the body.
    pub keeps_connection: bool,
}

/// Why a response that ends here is not whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Not a byte of a head has come since the request was sent, or since an informational response.
    BeforeHead,
    InHead,
    InBody,
}

impl ResponseDecoder {
    /// `method` is the request's; `most_trailers` the bytes that its trailers may have.
    pub fn new(method: Method, most_trailers: usize) -> Self {
        Self {
            method,
            most_trailers,
            state: State::Head(HeadReader::default()),
        }
    }

    /// Takes what it understands off the front of `input`. An error is final: where the next message begins is unknown.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Malformed> {
        match &mut self.state {
            State::Head(reader) => match reader.read(input)? {
                None => Ok(Decoded::Pending),
                Some((start, facts)) => self.begin(start, facts),
            },
            State::Length(left) => {
                if input.is_empty() {
                    return Ok(Decoded::Pending);
                }
                let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                self.skip(here as u64);
                Ok(Decoded::Data(input.split_to(here).freeze()))
            }
            State::Chunked(chunked) => Ok(match chunked.decode(input)? {
                Chunk::Pending => Decoded::Pending,
                Chunk::Data(data) => Decoded::Data(data),
                Chunk::End(trailers) => {
                    self.state = State::Ended;
                    Decoded::End(trailers)
                }
            }),
            State::UntilClose if input.is_empty() => Ok(Decoded::Pending),
            State::UntilClose => Ok(Decoded::Data(input.split().freeze())),
            State::Ended => Ok(Decoded::End(HeaderList::new())),
            State::Switched => Ok(Decoded::Pending),
        }
    }

    fn begin(&mut self, start: ResponseStart, facts: Facts) -> Result<Decoded, Malformed> {
        let framing = facts.framing(&self.method, start.version, start.status)?;
        if start.status < 200 && framing != BodyFraming::Switched {
            self.state = State::Head(HeadReader::default());
            return Ok(Decoded::Informational(start));
        }
        self.state = match framing {
            BodyFraming::Empty => State::Ended,
            BodyFraming::Length(length) => State::Length(length),
            BodyFraming::Chunked => State::Chunked(ChunkedDecoder::new(self.most_trailers)),
            BodyFraming::UntilClose => State::UntilClose,
            BodyFraming::Switched => State::Switched,
        };
        Ok(Decoded::Head(ResponseHead {
            keeps_connection: facts.keeps_connection(start.version, start.status, framing),
            start,
            framing,
            facts,
        }))
    }

    /// Bytes of a body of known length, or of one chunk, that come next, so that they can be read past the decoder.
    pub fn left(&self) -> u64 {
        match &self.state {
            State::Length(left) => *left,
            State::Chunked(chunked) => chunked.left_of_chunk(),
            _ => 0,
        }
    }

    /// So many of the bytes of a body of known length were read past the decoder.
    pub fn skip(&mut self, bytes: u64) {
        if let State::Length(left) = &mut self.state {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.state = State::Ended;
            }
        }
    }

    /// Whether nothing more belongs to the response.
    pub fn is_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// The server has closed its side, with what it sent decoded.
    ///
    /// # Errors
    /// Says where it has cut the response.
    pub fn end_of_input(&mut self, input: &BytesMut) -> Result<(), Cut> {
        match &self.state {
            State::Ended | State::Switched => Ok(()),
            State::UntilClose => {
                self.state = State::Ended;
                Ok(())
            }
            State::Head(reader) if reader.is_at_start(input) => Err(Cut::BeforeHead),
            State::Head(_) => Err(Cut::InHead),
            State::Length(_) | State::Chunked(_) => Err(Cut::InBody),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// What a caller sees of a response, whatever the pieces that it came in.
    #[derive(Debug, Default, PartialEq, Eq)]
    pub struct Seen {
        informational: Vec<u16>,
        pub head: Option<(u16, Vec<u8>, bool)>,
        pub body: Vec<u8>,
        trailers: Option<Vec<u8>>,
        rest: Vec<u8>,
        pub cut: Option<Cut>,
        pub fault: Option<Malformed>,
    }

    pub fn see(method: Method, mut pieces: impl Iterator<Item = Vec<u8>>) -> Seen {
        let mut decoder = ResponseDecoder::new(method, 1000);
        let mut input = BytesMut::new();
        let mut seen = Seen::default();
        loop {
            match decoder.decode(&mut input) {
                Err(fault) => {
                    seen.fault = Some(fault);
                    return seen;
                }
                Ok(Decoded::Informational(start)) => seen.informational.push(start.status),
                Ok(Decoded::Head(head)) => {
                    let text = head.start.headers.text().to_vec();
                    seen.head = Some((head.start.status, text, head.keeps_connection));
                    if head.framing == BodyFraming::Switched {
                        seen.rest = input.iter().copied().chain(pieces.flatten()).collect();
                        return seen;
                    }
                }
                Ok(Decoded::Data(data)) => seen.body.extend_from_slice(&data),
                Ok(Decoded::End(trailers)) => {
                    seen.trailers = Some(trailers.text().to_vec());
                    seen.rest = input.iter().copied().chain(pieces.flatten()).collect();
                    return seen;
                }
                Ok(Decoded::Pending) => match pieces.next() {
                    Some(piece) => input.extend_from_slice(&piece),
                    None => {
                        match decoder.end_of_input(&input) {
                            Ok(()) => seen.trailers = Some(Vec::new()),
                            Err(cut) => seen.cut = Some(cut),
                        }
                        return seen;
                    }
                },
            }
        }
    }

    fn whole(response: &[u8]) -> Seen {
        see(Method::GET, std::iter::once(response.to_vec()))
    }

    pub const CORPUS: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\nX-T: 1\r\n\r\nrest",
        b"\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 199 x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\nraw bytes\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort",
    ];

    #[test]
    fn each_framing_ends_where_it_should() {
        let seen = whole(CORPUS[0]);
        assert_eq!(
            (seen.body.as_slice(), seen.rest.as_slice()),
            (b"hello" as &[u8], b"HTTP/1.1 200 OK\r\n" as &[u8])
        );
        let seen = whole(CORPUS[1]);
        assert_eq!(seen.trailers.as_deref(), Some(b"X-T\x001" as &[u8]));
        assert_eq!(
            (seen.body.as_slice(), seen.rest.as_slice()),
            (b"hello" as &[u8], b"rest" as &[u8])
        );
        let seen = whole(CORPUS[2]);
        assert_eq!((seen.informational, seen.head.unwrap().0), (vec![103, 199], 204));
        let seen = whole(CORPUS[3]);
        assert_eq!(
            (seen.body.as_slice(), seen.trailers),
            (b"until the end" as &[u8], Some(Vec::new()))
        );
        assert_eq!(whole(CORPUS[4]).rest, b"raw bytes\n");
        // A stray line break is the next head's to drop.
        assert_eq!(whole(CORPUS[5]).rest, b"\r\n");
    }

    #[test]
    fn an_end_says_what_it_cuts() {
        for (response, expected) in [
            ("", Cut::BeforeHead),
            ("\r\n", Cut::BeforeHead),
            ("HTTP/1.1 103 E\r\n\r\n", Cut::BeforeHead),
            ("HT", Cut::InHead),
            ("HTTP/1.1 200 OK\r\ncontent-le", Cut::InHead),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", Cut::InBody),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nshort",
                Cut::InBody,
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
                Cut::InBody,
            ),
        ] {
            assert_eq!(whole(response.as_bytes()).cut, Some(expected), "{response:?}");
        }
    }

    #[test]
    fn what_is_read_past_the_decoder_counts() {
        let mut decoder = ResponseDecoder::new(Method::GET, 1000);
        let mut input = BytesMut::from("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab");
        assert!(matches!(decoder.decode(&mut input), Ok(Decoded::Head(_))));
        assert!(matches!(decoder.decode(&mut input), Ok(Decoded::Data(data)) if data == "ab"));
        assert_eq!(decoder.left(), 8);
        decoder.skip(5);
        assert_eq!((decoder.left(), decoder.is_ended()), (3, false));
        decoder.skip(3);
        assert!(decoder.is_ended());
    }

    /// Numbers that are the same in every run.
    pub struct Random(pub u64);

    impl Random {
        pub fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 % limit as u64).unwrap()
        }
    }

    /// Pieces of random sizes, the most of which are small.
    fn cut(bytes: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = 1 + random.below(20);
            let size = (1 + random.below(most)).min(rest.len());
            pieces.push(rest[..size].to_vec());
            rest = &rest[size..];
        }
        pieces
    }

    pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
        const ODD: &[u8] = b"\r\n\0 :;,\t\x7f\xff0123456789abcfHTTP/1.\"\\=+-";
        for _ in 0..random.below(4) {
            let at = random.below(bytes.len().max(1));
            if bytes.is_empty() {
                return;
            }
            let odd = ODD[random.below(ODD.len())];
            match random.below(4) {
                0 => bytes[at] = odd,
                1 => bytes.insert(at, odd),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
    }

    #[test]
    fn any_cut_of_the_same_bytes_gives_the_same_response() {
        let mut random = Random(0x5eed);
        let cases = if std::env::var_os("SLUICE_FUZZ_CASES").is_some() {
            10_000_000
        } else {
            20_000
        };
        for case in 0..cases {
            let mut response = CORPUS[random.below(CORPUS.len())].to_vec();
            mutate(&mut response, &mut random);
            let method = [Method::GET, Method::HEAD, Method::CONNECT][random.below(8).min(2)].clone();
            let at_once = see(method.clone(), std::iter::once(response.clone()));
            let in_pieces = see(method, cut(&response, &mut random).into_iter());
            if at_once.fault.is_some() || in_pieces.fault.is_some() {
                // Of a response that is refused, what was delivered before may differ; that it is refused may not.
                assert_eq!(
                    at_once.fault,
                    in_pieces.fault,
                    "case {case}: {:?}",
                    String::from_utf8_lossy(&response)
                );
            } else {
                assert_eq!(
                    at_once,
                    in_pieces,
                    "case {case}: {:?}",
                    String::from_utf8_lossy(&response)
                );
            }
        }
    }
}
