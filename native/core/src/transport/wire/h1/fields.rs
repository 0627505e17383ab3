//! A section of fields: the lines of a head behind its first, or of trailers (RFC 9112 §5).

use super::malformed::Malformed;
use crate::header_list::HeaderList;

/// Fields that one section may have.
pub const MOST_FIELDS: usize = 512;
/// Fields for which there is room without an allocation.
const USUAL_FIELDS: usize = 48;

/// Finds the end of a section while its bytes come in: each byte is looked at once, however they are cut.
#[derive(Debug, Clone, Copy, Default)]
pub struct SectionScan {
    scanned: usize,
    line_start: usize,
}

impl SectionScan {
    /// Whether no byte was looked at yet.
    pub fn is_at_start(&self) -> bool {
        self.scanned == 0
    }

    /// The length of the section with the empty line that ends it, once it is there. Begins where the scan before it ended;
    /// `bytes` begins at the same place each time.
    ///
    /// # Errors
    /// For a line feed without its carriage return, which llhttp refuses and other parsers take for the end of a line: the
    /// two would read different fields.
    pub fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        while let Some(found) = memchr::memchr(b'\n', &bytes[self.scanned..]) {
            let line_feed = self.scanned + found;
            if line_feed == self.line_start || bytes[line_feed - 1] != b'\r' {
                return Err(Malformed::NO_CR);
            }
            let is_empty = line_feed == self.line_start + 1;
            self.scanned = line_feed + 1;
            self.line_start = self.scanned;
            if is_empty {
                return Ok(Some(self.scanned));
            }
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

/// Reads a whole section, the empty line included, field by field in the order sent; `note` sees each name and value.
///
/// Names are tokens, followed by their colon at once; values have no control characters but tabs. Blanks before a value are
/// dropped, those behind it stay, as undici leaves them.
pub fn read_fields(section: &[u8], note: impl FnMut(&[u8], &[u8])) -> Result<HeaderList, Malformed> {
    let mut storage = [httparse::EMPTY_HEADER; USUAL_FIELDS];
    match httparse::parse_headers(section, &mut storage) {
        Err(httparse::Error::TooManyHeaders) => read_many_fields(section, note),
        parsed => collect(section, parsed, note),
    }
}

#[cold]
fn read_many_fields(section: &[u8], note: impl FnMut(&[u8], &[u8])) -> Result<HeaderList, Malformed> {
    let mut storage = vec![httparse::EMPTY_HEADER; MOST_FIELDS];
    collect(section, httparse::parse_headers(section, &mut storage), note)
}

type Parsed<'h, 'b> = httparse::Result<(usize, &'h [httparse::Header<'b>])>;

fn collect(
    section: &[u8],
    parsed: Parsed<'_, '_>,
    mut note: impl FnMut(&[u8], &[u8]),
) -> Result<HeaderList, Malformed> {
    let fields = match parsed {
        Ok(httparse::Status::Complete((_, fields))) => fields,
        // A section that is whole ends with its empty line.
        Ok(httparse::Status::Partial) => return Err(Malformed::FIELD_NAME),
        Err(error) => return Err(explain(section, error)),
    };
    let mut text = Vec::with_capacity(section.len());
    for field in fields {
        let value = raw_value(section, field.name);
        if !text.is_empty() {
            text.push(0);
        }
        text.extend_from_slice(field.name.as_bytes());
        text.push(0);
        text.extend_from_slice(value);
        note(field.name.as_bytes(), value);
    }
    Ok(HeaderList::from_text(text))
}

fn explain(section: &[u8], error: httparse::Error) -> Malformed {
    let is_folded = || {
        let mut lines = section.split(|&byte| byte == b'\n');
        lines.any(|line| line.starts_with(b" ") || line.starts_with(b"\t"))
    };
    match error {
        httparse::Error::TooManyHeaders => Malformed::TooLarge,
        httparse::Error::HeaderValue => Malformed::FIELD_VALUE,
        httparse::Error::NewLine => Malformed::NO_LF,
        _ if is_folded() => Malformed::FOLDED,
        _ => Malformed::FIELD_NAME,
    }
}

/// The value of the field of this name, which is a part of `section`, with the blanks at its end.
fn raw_value<'b>(section: &'b [u8], name: &str) -> &'b [u8] {
    let start = name.as_ptr() as usize - section.as_ptr() as usize + name.len() + 1;
    let line = &section[start..];
    let end = memchr::memchr(b'\r', line).unwrap_or(line.len());
    let line = &line[..end];
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &line[blanks..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(section: &str) -> Result<Vec<u8>, Malformed> {
        read_fields(section.as_bytes(), |_, _| {}).map(|fields| fields.text().to_vec())
    }

    #[test]
    fn fields_keep_their_order_their_case_their_duplicates_and_blanks_behind_values() {
        let text = read("X-A: 1\r\nset-Cookie:a\r\nX-a:\t2 \r\nEmpty:\r\nBlank: \r\n\r\n").unwrap();
        assert_eq!(
            text,
            b"X-A\x001\x00set-Cookie\x00a\x00X-a\x002 \x00Empty\x00\x00Blank\x00"
        );
        assert_eq!(read("\r\n").unwrap(), b"");
        let latin1 = read_fields(b"a: \xe4\xff\r\n\r\n", |_, _| {}).unwrap();
        assert_eq!(latin1.text(), b"a\x00\xe4\xff");
    }

    #[test]
    fn what_llhttp_refuses_is_refused_by_its_name() {
        for (section, expected) in [
            ("a: b\r\n c\r\n\r\n", Malformed::FOLDED),
            (" a: b\r\n\r\n", Malformed::FOLDED),
            ("a : b\r\n\r\n", Malformed::FIELD_NAME),
            ("a b: c\r\n\r\n", Malformed::FIELD_NAME),
            ("abc\r\n\r\n", Malformed::FIELD_NAME),
            (": b\r\n\r\n", Malformed::FIELD_NAME),
            ("\u{e4}: b\r\n\r\n", Malformed::FIELD_NAME),
            ("a: b\0c\r\n\r\n", Malformed::FIELD_VALUE),
            ("a: b\u{1}c\r\n\r\n", Malformed::FIELD_VALUE),
            ("a: b\u{7f}c\r\n\r\n", Malformed::FIELD_VALUE),
        ] {
            assert_eq!(read(section), Err(expected), "{section:?}");
        }
        assert!(read("a: b\rc\r\n\r\n").is_err());
    }

    #[test]
    fn there_are_at_most_512_fields() {
        let section = |count: usize| format!("{}\r\n", "a: b\r\n".repeat(count));
        assert!(read(&section(MOST_FIELDS)).is_ok());
        assert_eq!(read(&section(MOST_FIELDS + 1)), Err(Malformed::TooLarge));
    }

    #[test]
    fn the_end_of_a_section_is_found_however_it_is_cut() {
        let section = b"a: b\r\nc: d\r\n\r\nrest\n";
        for first in 0..section.len() {
            let mut scan = SectionScan::default();
            let early = scan.find_end(&section[..first]).unwrap();
            assert_eq!(early, (first >= 14).then_some(14), "{first}");
            if early.is_none() {
                assert_eq!(scan.find_end(section), Ok(Some(14)), "{first}");
            }
        }
        assert_eq!(SectionScan::default().find_end(b"\r\n"), Ok(Some(2)));
        for bare in ["a: b\nc", "\n", "a: b\r\n\n"] {
            assert_eq!(
                SectionScan::default().find_end(bare.as_bytes()),
                Err(Malformed::NO_CR),
                "{bare:?}"
            );
        }
    }
}
