//! Header fields as they stand on the wire: order, case and every value kept.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::CoreError;

/// Names and values, each ended by NUL but the last. HTTP allows NUL in neither. Bytes are latin1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderList {
    text: Vec<u8>,
}

impl HeaderList {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `name NUL value NUL name …`; empty for no field.
    pub fn from_text(text: Vec<u8>) -> Self {
        Self { text }
    }

    pub fn text(&self) -> &[u8] {
        &self.text
    }

    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub fn append(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        if !self.text.is_empty() {
            self.text.push(0);
        }
        self.text.extend_from_slice(name.as_ref());
        self.text.push(0);
        self.text.extend_from_slice(value.as_ref());
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut parts = self.text.split(|&byte| byte == 0);
        let is_empty = self.is_empty();
        std::iter::from_fn(move || {
            if is_empty {
                return None;
            }
            Some((parts.next()?, parts.next()?))
        })
    }

    /// The first value of `name`, whatever its case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let wanted = name.as_bytes();
        self.iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
    }

    /// Drops every field of these names, given in lower case.
    pub fn remove(&mut self, names: &[&str]) {
        let is_named = |field: &[u8]| names.iter().any(|name| field.eq_ignore_ascii_case(name.as_bytes()));
        if !self.iter().any(|(name, _)| is_named(name)) {
            return;
        }
        let mut rest = Self::new();
        for (name, value) in self.iter().filter(|(name, _)| !is_named(name)) {
            rest.append(name, value);
        }
        *self = rest;
    }

    /// Bytes as undici counts them against `maxHeaderSize`.
    pub fn size(&self) -> usize {
        if self.is_empty() {
            return 0;
        }
        // Four for each field, in which one separator stands, and one behind all but the last.
        let separators = memchr::memchr_iter(0, &self.text).count();
        self.text.len() + separators + 2
    }

    /// # Errors
    /// [`CoreError::InvalidArgument`] naming what is no header.
    pub fn to_map(&self) -> Result<HeaderMap, CoreError> {
        let mut map = HeaderMap::new();
        for (name, value) in self.iter() {
            let text = || String::from_utf8_lossy(name).into_owned();
            let name = HeaderName::from_bytes(name)
                .map_err(|_| CoreError::InvalidArgument(format!("invalid header key {}", text())))?;
            let value = HeaderValue::from_bytes(value)
                .map_err(|_| CoreError::InvalidArgument(format!("invalid {} header", text())))?;
            map.append(name, value);
        }
        Ok(map)
    }
}

impl From<&HeaderMap> for HeaderList {
    fn from(map: &HeaderMap) -> Self {
        let mut list = Self::new();
        for (name, value) in map {
            list.append(name, value);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_case_duplicates_and_bytes() {
        let mut list = HeaderList::new();
        list.append("X-A", "1");
        list.append("b", b"\xe9");
        list.append("x-a", "");
        assert_eq!(list.text(), b"X-A\x001\x00b\x00\xe9\x00x-a\x00");
        assert_eq!(list.get_all("x-A").collect::<Vec<_>>(), [b"1" as &[u8], b""]);
        assert_eq!(list.iter().count(), 3);
        assert_eq!(list.size(), 3 + 1 + 4 + 1 + 1 + 4 + 3 + 4);
        assert_eq!(list.to_map().unwrap().get_all("x-a").iter().count(), 2);
    }

    #[test]
    fn an_empty_list_has_no_field() {
        assert_eq!(HeaderList::new().iter().count(), 0);
        assert_eq!(HeaderList::new().get(""), None);
    }
}
