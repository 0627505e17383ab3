//! Redirects (Fetch §4.4, "HTTP-redirect fetch"), above the engines.

use std::borrow::Cow;

use http::Method;
use url::{Position, Url};

use crate::error::CoreError;
use crate::header_list::HeaderList;
use crate::origin::Origin;
use crate::request::{DispatchOptions, RequestBody};
use crate::response::{RedirectedTo, ResponseStart};

/// What a redirect response becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectPolicy {
    /// The response to another request, at most [`MOST_HOPS`] times.
    Follow,
    /// An ordinary response.
    Manual,
    /// [`CoreError::Redirect`].
    Error,
}

const MOST_HOPS: u8 = 20;
/// Bytes of a URL that a redirect leads to, as it is sent: a relative one adds to the URL before it, and escaping makes
/// nine bytes of one.
const MOST_URL: usize = 64 * 1024;
/// Characters of a location that an error shows.
const SHOWN: usize = 200;
/// Fetch, "request-body-header name".
const BODY_HEADERS: [&str; 5] = [
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
    "content-length",
];
/// Not for another origin to see.
const ORIGIN_HEADERS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "host"];
/// Ports that Fetch §2.9 blocks.
const BLOCKED_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
];

/// Fetch, "redirect status".
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The redirects of one request: what it was, and where it stands.
#[derive(Debug)]
pub struct Redirects {
    origin: Origin,
    method: Method,
    target: String,
    host: Option<String>,
    headers: HeaderList,
    /// `None` where its source was read.
    body: Option<RequestBody>,
    hops: u8,
    is_cross_origin: bool,
}

impl Redirects {
    pub fn new(options: &DispatchOptions) -> Self {
        Self {
            origin: options.origin.clone(),
            method: options.method.clone(),
            target: options.target.clone(),
            host: options.host.clone(),
            headers: options.headers.clone(),
            body: options.body.again(),
            hops: 0,
            is_cross_origin: false,
        }
    }

    /// Turns `options` into the next request, whose body it returns; `None` for a response that leads nowhere.
    ///
    /// # Errors
    /// [`CoreError::Redirect`] for what Fetch makes a network error.
    pub fn follow(
        &mut self,
        response: &ResponseStart,
        options: &mut DispatchOptions,
    ) -> Result<Option<RequestBody>, CoreError> {
        let status = response.status;
        if !is_redirect(status) {
            return Ok(None);
        }
        let Some(location) = location(&response.headers) else {
            return Ok(None);
        };
        let url = self.resolve(&location)?;
        let sent = &url[..Position::AfterQuery];
        if sent.len() > MOST_URL {
            return Err(self.error(&format!(
                "the redirect's URL is longer than {MOST_URL} bytes: {}",
                shown(&url)
            )));
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(self.error(&format!("the redirect to {} has no HTTP(S) scheme", shown(&url))));
        }
        if self.hops == MOST_HOPS {
            return Err(self.error(&format!("redirect count exceeded ({MOST_HOPS})")));
        }
        self.hops += 1;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.error("the redirect's URL must not include credentials"));
        }
        if url.port().is_some_and(|port| BLOCKED_PORTS.contains(&port)) {
            return Err(self.error(&format!("bad port in the redirect to {}", shown(&url))));
        }
        if status != 303 && self.body.is_none() {
            return Err(self.error(&format!(
                "a {status} redirect asks for the request body again, whose stream was read"
            )));
        }
        self.rewrite_method(status);
        let Some(origin) = Origin::parse(&url.origin().ascii_serialization()) else {
            return Err(self.error("invalid location: it has no origin"));
        };
        if origin != self.origin {
            self.is_cross_origin = true;
            self.headers.remove(&ORIGIN_HEADERS);
            self.host = None;
        }
        self.origin = origin;
        self.target = target_of(&url);
        options.origin = self.origin.clone();
        options.method = self.method.clone();
        options.target.clone_from(&self.target);
        options.host.clone_from(&self.host);
        options.headers = self.headers.clone();
        Ok(Some(
            self.body.as_ref().and_then(RequestBody::again).unwrap_or_default(),
        ))
    }

    /// Where the request went; `None` where it was sent to.
    pub fn target(&self) -> Option<RedirectedTo> {
        (self.hops > 0).then(|| RedirectedTo {
            url: format!("{}{}", self.origin.as_str(), self.target),
            is_cross_origin: self.is_cross_origin,
        })
    }

    fn resolve(&self, location: &str) -> Result<Url, CoreError> {
        Url::parse(&format!("{}{}", self.origin.as_str(), self.target))
            .and_then(|base| base.join(&with_two_slashes(location)))
            .map_err(|error| self.error(&format!("invalid location: {error}")))
    }

    fn rewrite_method(&mut self, status: u16) {
        let becomes_get = match status {
            301 | 302 => self.method == Method::POST,
            303 => self.method != Method::GET && self.method != Method::HEAD,
            _ => false,
        };
        if becomes_get {
            self.method = Method::GET;
            self.body = Some(RequestBody::Empty);
            self.headers.remove(&BODY_HEADERS);
        }
    }

    fn error(&self, text: &str) -> CoreError {
        CoreError::Redirect(text.to_owned())
    }
}

/// URL Standard, "special authority ignore slashes state", which the crate does not enter from a relative URL.
fn with_two_slashes(location: &str) -> Cow<'_, str> {
    let text = location.trim_matches(|c| c <= ' ').replace('\t', "");
    let rest = text.trim_start_matches(['/', '\\']);
    if text.len() - rest.len() > 2 {
        format!("//{rest}").into()
    } else {
        location.into()
    }
}

/// Path and query. The URL Standard has had `^` in its path percent-encode set since 2024, the crate has not yet.
fn target_of(url: &Url) -> String {
    let path = url.path().replace('^', "%5E");
    match url.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

/// Scheme, host and port: credentials, and tokens in path and query, are for nobody's log.
fn shown(url: &Url) -> String {
    let whole = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
        (Some(host), None) => format!("{}://{host}", url.scheme()),
        (None, _) => format!("{}:", url.scheme()),
    };
    match whole.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}\u{2026}", &whole[..end]),
        None => whole,
    }
}

/// `redirect: 'error'` met a redirect.
pub fn unexpected_redirect(status: u16) -> CoreError {
    CoreError::Redirect(format!("unexpected redirect ({status})"))
}

/// Bytes beyond ASCII are UTF-8 (Fetch, "location URL"); several fields read as one.
fn location(headers: &HeaderList) -> Option<String> {
    let values: Vec<_> = headers
        .get_all("location")
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}
