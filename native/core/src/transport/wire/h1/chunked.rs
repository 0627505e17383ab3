//! The chunked transfer coding (RFC 9112 §7.1), as strict as llhttp.

use bytes::{Buf, Bytes, BytesMut};

use super::fields::{SectionScan, read_fields};
use super::malformed::Malformed;
use crate::header_list::HeaderList;

/// Bytes of the line that announces one chunk; what is not its size are extensions, which nobody reads.
const MOST_LINE: usize = 16 * 1024;

/// One chunked body while it comes in.
///
/// ```text
///  ┌────────────────────────────────────────────┐
///  ▼             size > 0                       │ CRLF
/// Size ──────────────────────────► Data ──► AfterData
///  │ size = 0
///  ▼
/// Trailers ── empty line ──► Ended
/// ```
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    most_trailers: usize,
}

#[derive(Debug)]
enum State {
    Size(SizeLine),
    Data(u64),
    /// The line break behind a chunk's data; whether its carriage return has come.
    AfterData(bool),
    Trailers(SectionScan),
    Ended,
}

/// What decoding has found next.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// More bytes are needed.
    Pending,
    /// Some of a chunk's data, never empty.
    Data(Bytes),
    /// The body is whole; what is left of the input is not its own.
    End(HeaderList),
}

impl ChunkedDecoder {
    /// `most_trailers`: bytes that the trailer section may have.
    pub fn new(most_trailers: usize) -> Self {
        Self {
            state: State::Size(SizeLine::default()),
            most_trailers,
        }
    }

    /// Takes what it understands off the front of `input`.
    pub fn decode(&mut self, input: &mut BytesMut) -> Result<Chunk, Malformed> {
        loop {
            match &mut self.state {
                State::Size(line) => match line.read(input)? {
                    None => return Ok(Chunk::Pending),
                    Some(0) => self.state = State::Trailers(SectionScan::default()),
                    Some(size) => self.state = State::Data(size),
                },
                State::Data(left) => {
                    if input.is_empty() {
                        return Ok(Chunk::Pending);
                    }
                    let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                    *left -= here as u64;
                    if *left == 0 {
                        self.state = State::AfterData(false);
                    }
                    return Ok(Chunk::Data(input.split_to(here).freeze()));
                }
                State::AfterData(has_carriage_return) => {
                    let Some(&byte) = input.first() else {
                        return Ok(Chunk::Pending);
                    };
                    match (byte, *has_carriage_return) {
                        (b'\r', false) => *has_carriage_return = true,
                        (b'\n', true) => self.state = State::Size(SizeLine::default()),
                        _ => return Err(Malformed::CHUNK_END),
                    }
                    input.advance(1);
                }
                State::Trailers(scan) => {
                    let Some(length) = scan.find_end(input)? else {
                        if input.len() > self.most_trailers {
                            return Err(Malformed::TooLarge);
                        }
                        return Ok(Chunk::Pending);
                    };
                    if length > self.most_trailers {
                        return Err(Malformed::TooLarge);
                    }
                    let trailers = read_trailers(&input.split_to(length))?;
                    self.state = State::Ended;
                    return Ok(Chunk::End(trailers));
                }
                State::Ended => return Ok(Chunk::End(HeaderList::new())),
            }
        }
    }

    /// Bytes of the present chunk that are still to come, where they are known and nothing else comes before them.
    pub fn left_of_chunk(&self) -> u64 {
        match self.state {
            State::Data(left) => left,
            _ => 0,
        }
    }
}

fn read_trailers(section: &[u8]) -> Result<HeaderList, Malformed> {
    let mut fault = None;
    let trailers = read_fields(section, |name, _| {
        // It would frame a message that is over already (RFC 9110 §6.5.1), and llhttp refuses it.
        if name.eq_ignore_ascii_case(b"content-length") {
            fault = Some(Malformed::LENGTH_WITH_ENCODING);
        }
    })?;
    fault.map_or(Ok(trailers), Err)
}

/// The line that announces a chunk: its size, and extensions.
#[derive(Debug, Default)]
struct SizeLine {
    size: u64,
    length: usize,
    part: Part,
}

/// Where in the line the next byte stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    FirstDigit,
    Digits,
    /// The name of an extension; whether it has a character.
    Name(bool),
    /// The value of an extension that is a token.
    Value,
    Quoted,
    /// A backslash has come inside quotes.
    Escaped,
    /// Quotes have closed.
    Closed,
    LineFeed,
}

impl SizeLine {
    /// The size, once the whole line is there.
    fn read(&mut self, input: &mut BytesMut) -> Result<Option<u64>, Malformed> {
        let mut taken = 0;
        for &byte in input.iter() {
            taken += 1;
            self.part = self.next(byte)?;
            if self.part == Part::LineFeed && byte == b'\n' {
                input.advance(taken);
                return Ok(Some(self.size));
            }
            self.length += 1;
            if self.length > MOST_LINE {
                return Err(Malformed::CHUNK_EXTENSIONS_OVERFLOW);
            }
        }
        input.clear();
        Ok(None)
    }

    fn next(&mut self, byte: u8) -> Result<Part, Malformed> {
        Ok(match (self.part, byte) {
            (Part::LineFeed, b'\n') => Part::LineFeed,
            (Part::LineFeed, _) => return Err(Malformed::NO_LF),
            (Part::FirstDigit | Part::Digits, digit) if digit.is_ascii_hexdigit() => {
                let value = char::from(digit).to_digit(16).map_or(0, u64::from);
                if self.size >> 60 != 0 {
                    return Err(Malformed::CHUNK_SIZE_OVERFLOW);
                }
                self.size = self.size << 4 | value;
                Part::Digits
            }
            (Part::FirstDigit, _) => return Err(Malformed::CHUNK_SIZE),
            (_, b'\n') => return Err(Malformed::NO_CR),
            (Part::Digits | Part::Name(true) | Part::Value | Part::Closed, b'\r') => Part::LineFeed,
            (Part::Digits | Part::Name(true) | Part::Value | Part::Closed, b';') => Part::Name(false),
            (Part::Digits, _) => return Err(Malformed::CHUNK_SIZE),
            (Part::Name(true), b'=') => Part::Value,
            (Part::Name(_), byte) if is_token(byte) => Part::Name(true),
            (Part::Value, b'"') => Part::Quoted,
            (Part::Value, byte) if is_token(byte) => Part::Value,
            (Part::Quoted, b'"') => Part::Closed,
            (Part::Quoted, b'\\') => Part::Escaped,
            (Part::Quoted | Part::Escaped, b'\t' | b' '..=b'~' | 0x80..) => Part::Quoted,
            _ => return Err(Malformed::CHUNK_EXTENSION),
        })
    }
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 1000;

    type Whole = (Vec<u8>, Option<HeaderList>, Vec<u8>);

    /// Everything that comes of `body`, given in pieces of `size` bytes: the data, the trailers, what is left.
    fn decode(body: &[u8], size: usize) -> Result<Whole, Malformed> {
        let mut decoder = ChunkedDecoder::new(MOST);
        let mut input = BytesMut::new();
        let mut data = Vec::new();
        let mut pieces = body.chunks(size);
        loop {
            match decoder.decode(&mut input)? {
                Chunk::Data(piece) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(&piece);
                }
                Chunk::End(trailers) => {
                    let rest: Vec<u8> = input.iter().copied().chain(pieces.flatten().copied()).collect();
                    return Ok((data, Some(trailers), rest));
                }
                Chunk::Pending => match pieces.next() {
                    Some(piece) => input.extend_from_slice(piece),
                    None => return Ok((data, None, Vec::new())),
                },
            }
        }
    }

    #[test]
    fn a_body_is_the_same_however_it_is_cut() {
        let body = b"5\r\nhello\r\n0006;a=b;c;d=\"e \\\"f\"\r\n world\r\n0;x\r\nX-Sum: 1\r\nx-sum:  2 \r\n\r\nHTTP/1.1";
        for size in 1..body.len() {
            let (data, trailers, rest) = decode(body, size).unwrap();
            assert_eq!(data, b"hello world", "{size}");
            assert_eq!(trailers.unwrap().text(), b"X-Sum\x001\x00x-sum\x002 ", "{size}");
            assert_eq!(rest, b"HTTP/1.1", "{size}");
        }
    }

    #[test]
    fn what_llhttp_refuses_is_refused_by_its_name() {
        for (body, expected) in [
            ("x\r\n", Malformed::CHUNK_SIZE),
            ("\r\nhello", Malformed::CHUNK_SIZE),
            (" 5\r\n", Malformed::CHUNK_SIZE),
            ("5 \r\n", Malformed::CHUNK_SIZE),
            ("5 ;a=b\r\n", Malformed::CHUNK_SIZE),
            ("+5\r\n", Malformed::CHUNK_SIZE),
            ("0x5\r\n", Malformed::CHUNK_SIZE),
            ("5\nhello", Malformed::NO_CR),
            ("5;a=b\nhello", Malformed::NO_CR),
            ("5\rhello", Malformed::NO_LF),
            ("fffffffffffffffff\r\n", Malformed::CHUNK_SIZE_OVERFLOW),
            ("5;\r\n", Malformed::CHUNK_EXTENSION),
            ("5; a=b\r\n", Malformed::CHUNK_EXTENSION),
            ("5;a=\u{1}\r\n", Malformed::CHUNK_EXTENSION),
            ("5;a=\"b\u{1}\"\r\n", Malformed::CHUNK_EXTENSION),
            ("5\r\nhello\n", Malformed::CHUNK_END),
            ("5\r\nhelloX", Malformed::CHUNK_END),
            ("5\r\nhello\rX", Malformed::CHUNK_END),
            ("0\n", Malformed::NO_CR),
            ("0\r\n\n", Malformed::NO_CR),
            ("0\r\na: 1\n", Malformed::NO_CR),
            ("0\r\na: 1\r\n b\r\n\r\n", Malformed::FOLDED),
            ("0\r\nbad name: 1\r\n\r\n", Malformed::FIELD_NAME),
            ("0\r\nContent-Length: 9\r\n\r\n", Malformed::LENGTH_WITH_ENCODING),
        ] {
            for size in [1, 2, 100] {
                assert_eq!(
                    decode(body.as_bytes(), size).unwrap_err(),
                    expected,
                    "{body:?} by {size}"
                );
            }
        }
    }

    #[test]
    fn a_size_has_64_bits_and_any_number_of_zeros_before_it() {
        let mut decoder = ChunkedDecoder::new(MOST);
        let mut input = BytesMut::from("00000000000000000000ffffffffffffffff\r\nx");
        assert_eq!(decoder.decode(&mut input), Ok(Chunk::Data(Bytes::from_static(b"x"))));
        assert_eq!(decoder.left_of_chunk(), u64::MAX - 1);
    }

    #[test]
    fn extensions_and_trailers_have_an_end() {
        let long = format!("5;{}", "a".repeat(MOST_LINE));
        assert_eq!(
            decode(long.as_bytes(), 999).unwrap_err(),
            Malformed::CHUNK_EXTENSIONS_OVERFLOW
        );
        for trailers in [
            "a: b\r\n".repeat(MOST),
            "a".repeat(2 * MOST),
            format!("{}\r\n", "a: b\r\n".repeat(MOST)),
        ] {
            let body = format!("0\r\n{trailers}");
            assert_eq!(decode(body.as_bytes(), 64).unwrap_err(), Malformed::TooLarge);
            assert_eq!(decode(body.as_bytes(), body.len()).unwrap_err(), Malformed::TooLarge);
        }
    }

    #[test]
    fn a_body_that_is_cut_has_no_end() {
        let body = b"5\r\nhello\r\n0\r\n\r\n";
        for length in 0..body.len() {
            assert_eq!(decode(&body[..length], 3).unwrap().1, None, "{length}");
        }
    }
}
