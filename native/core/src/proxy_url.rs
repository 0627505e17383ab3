//! The value that names a proxy: one reading of it for options, the environment and the system's settings.

use std::fmt;

use percent_encoding::percent_decode_str;
use rustls::pki_types::ServerName;
use url::{Host, Url};

use crate::error::CoreError;
use crate::origin::Origin;
use crate::proxy::ProxyProtocol;

/// A value and where it comes from; an empty value is none.
#[derive(Clone, Default)]
pub struct ProxySetting {
    /// What an error calls it: an option, or a variable of the environment.
    pub name: String,
    pub value: String,
}

/// The value may hold a password.
impl fmt::Debug for ProxySetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxySetting")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<T: Into<String>> From<T> for ProxySetting {
    fn from(value: T) -> Self {
        Self {
            name: "proxy".into(),
            value: value.into(),
        }
    }
}

/// A value that was read.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    pub protocol: ProxyProtocol,
    pub origin: Origin,
    /// User and password, decoded.
    pub credentials: Option<(String, String)>,
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyUrl")
            .field("protocol", &self.protocol)
            .field("origin", &self.origin.as_str())
            .finish_non_exhaustive()
    }
}

/// A scheme of proxies: its protocol, the scheme of the proxy's own origin, and its port.
struct Scheme {
    name: &'static str,
    protocol: ProxyProtocol,
    origin: &'static str,
    port: u16,
}

const fn scheme(name: &'static str, protocol: ProxyProtocol, origin: &'static str, port: u16) -> Scheme {
    Scheme {
        name,
        protocol,
        origin,
        port,
    }
}

const SCHEMES: [Scheme; 7] = [
    scheme("http", ProxyProtocol::Http, "http", 80),
    scheme("https", ProxyProtocol::Http, "https", 443),
    scheme("socks4", ProxyProtocol::Socks4 { resolves: true }, "http", 1080),
    scheme("socks4a", ProxyProtocol::Socks4 { resolves: false }, "http", 1080),
    scheme("socks5", ProxyProtocol::Socks5 { resolves: true }, "http", 1080),
    scheme("socks5h", ProxyProtocol::Socks5 { resolves: false }, "http", 1080),
    // undici's name for SOCKS5 whose names the proxy looks up.
    scheme("socks", ProxyProtocol::Socks5 { resolves: false }, "http", 1080),
];

const NO_URL: &str = "it is no URL and no host:port";

/// Bytes of user and password: RFC 1929 §2 has one byte for the length of each.
const MAX_SOCKS_WORD: usize = 255;

impl ProxyUrl {
    /// Reads `scheme://[user[:password]@]host[:port]`, or without a scheme `[user[:password]@]host:port`, which is a
    /// proxy of HTTP; `None` for no value.
    ///
    /// # Errors
    /// [`CoreError::InvalidArgument`], which names the setting and repeats nothing of its value but the scheme.
    pub fn parse(setting: &ProxySetting) -> Result<Option<Self>, CoreError> {
        if setting.value.is_empty() {
            return Ok(None);
        }
        read(&setting.value)
            .map(Some)
            .map_err(|reason| CoreError::InvalidArgument(format!("invalid {}: {reason}", setting.name)))
    }
}

fn read(value: &str) -> Result<ProxyUrl, String> {
    // A URL parser would leave some out.
    if value.contains(char::is_control) {
        return Err("it has a control character".into());
    }
    let text = value.trim_matches(' ');
    let (scheme, rest) = match text.split_once("://") {
        Some((name, rest)) if is_scheme(name) => (Some(find_scheme(name)?), rest),
        _ => (None, text),
    };
    let is_bare = scheme.is_none();
    let scheme = scheme.unwrap_or(&SCHEMES[0]);
    // A URL parser takes a backslash for a slash, and passes over slashes before a host.
    if rest.is_empty() || rest.starts_with('/') {
        return Err("it names no host".into());
    }
    if rest.contains('\\') {
        return Err("it has a backslash".into());
    }
    // A port that is the default of one of the two is not that of the other.
    let as_url = |scheme: &str| Url::parse(&format!("{scheme}://{rest}")).map_err(|error| error.to_string());
    let url = as_url("http")?;
    let port = url.port().or(as_url("https")?.port());
    // Where one follows, a character of the user or the password has ended the host too early.
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(if is_bare {
            NO_URL.into()
        } else {
            "it has a path; in user and password /, ? and # are percent-encoded".into()
        });
    }
    let host = read_host(&url)?;
    if is_bare {
        if port.is_none() {
            return Err(NO_URL.into());
        }
        if find_scheme(&host).is_ok() {
            return Err("its scheme is not followed by //".into());
        }
    }
    if port == Some(0) {
        return Err("there is no port 0".into());
    }
    let port = port.unwrap_or(scheme.port);
    let origin = Origin::parse(&format!("{}://{host}:{port}", scheme.origin)).ok_or("it names no host")?;
    Ok(ProxyUrl {
        protocol: scheme.protocol,
        origin,
        credentials: read_credentials(&url, scheme.protocol)?,
    })
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn find_scheme(name: &str) -> Result<&'static Scheme, String> {
    SCHEMES
        .iter()
        .find(|scheme| scheme.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("no proxy speaks {}:", name.to_ascii_lowercase()))
}

fn read_host(url: &Url) -> Result<String, String> {
    match url.host() {
        Some(Host::Domain(name)) => {
            let is_label =
                |label: &str| !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
            // TLS with the proxy would find out later that a certificate can have no such name.
            if !name.strip_suffix('.').unwrap_or(name).split('.').all(is_label) || ServerName::try_from(name).is_err() {
                return Err("its host is no name and no address".into());
            }
            Ok(name.to_owned())
        }
        Some(address) => Ok(address.to_string()),
        None => Err("it names no host".into()),
    }
}

fn read_credentials(url: &Url, protocol: ProxyProtocol) -> Result<Option<(String, String)>, String> {
    if url.username().is_empty() && url.password().is_none_or(str::is_empty) {
        return Ok(None);
    }
    let user = decode(url.username())?;
    let password = decode(url.password().unwrap_or_default())?;
    let (version, limited): (u8, &[_]) = match protocol {
        ProxyProtocol::Http => (0, &[]),
        // Which has no password.
        ProxyProtocol::Socks4 { .. } => (4, &[(&user, "user")]),
        ProxyProtocol::Socks5 { .. } => (5, &[(&user, "user"), (&password, "password")]),
    };
    for (word, what) in limited {
        if word.is_empty() || word.len() > MAX_SOCKS_WORD {
            return Err(format!("SOCKS{version} takes a {what} of 1 to {MAX_SOCKS_WORD} bytes"));
        }
    }
    Ok(Some((user, password)))
}

/// What RFC 7617 §2 forbids for HTTP, and what would end a field of SOCKS4.
fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| "its user or password is no UTF-8")?;
    if decoded.contains(char::is_control) {
        return Err("its user or password has a control character".into());
    }
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<ProxyUrl, String> {
        let setting = ProxySetting {
            name: "HTTPS_PROXY".into(),
            value: value.into(),
        };
        match ProxyUrl::parse(&setting) {
            Ok(Some(url)) => Ok(url),
            Ok(None) => panic!("{value:?} is no proxy and no error"),
            Err(error) => Err(error.to_string()),
        }
    }

    /// `origin user password`
    fn told(value: &str) -> String {
        let url = parse(value).unwrap();
        let (user, password) = url.credentials.unwrap_or_default();
        format!("{} {user} {password}", url.origin.as_str())
    }

    #[test]
    fn a_proxy_is_read_in_every_form_that_curl_takes() {
        for (value, wanted) in [
            ("http://h", "http://h:80  "),
            ("HTTP://H:80/", "http://h:80  "),
            (" https://h ", "https://h:443  "),
            ("https://h:80", "https://h:80  "),
            ("socks://h", "http://h:1080  "),
            ("socks5://h:80", "http://h:80  "),
            ("socks5h://h:443", "http://h:443  "),
            ("socks4a://me@[::1]", "http://[::1]:1080 me "),
            ("h:8080", "http://h:8080  "),
            ("h:80", "http://h:80  "),
            ("me:pw@h:8080", "http://h:8080 me pw"),
            ("[::1]:8080", "http://[::1]:8080  "),
            ("http://bücher.test", "http://xn--bcher-kva.test:80  "),
            ("socks5://BÜCHER.test", "http://xn--bcher-kva.test:1080  "),
            ("http://@h", "http://h:80  "),
            ("http://:@h", "http://h:80  "),
            ("http://:pw@h", "http://h:80  pw"),
        ] {
            assert_eq!(told(value), wanted, "{value}");
        }
        assert_eq!(
            parse("socks://h").unwrap().protocol,
            ProxyProtocol::Socks5 { resolves: false }
        );
    }

    #[test]
    fn user_and_password_are_what_was_written() {
        for (userinfo, wanted) in [
            ("me:p@ss", "me p@ss"),
            ("me:p ss", "me p ss"),
            ("me:p\"ss", "me p\"ss"),
            ("me:pä%C3%A4", "me pää"),
            ("me:p:s:s", "me p:s:s"),
            ("m%40e:p%2Fs%3Fs%23", "m@e p/s?s#"),
            ("me:100%", "me 100%"),
            ("me:[p]{s}<s>^`|", "me [p]{s}<s>^`|"),
        ] {
            for scheme in ["http", "https", "socks5", "socks4"] {
                let found = told(&format!("{scheme}://{userinfo}@h:9"));
                assert_eq!(
                    found,
                    format!("http://h:9 {wanted}").replacen(
                        "http",
                        if scheme == "https" { "https" } else { "http" },
                        1
                    )
                );
            }
        }
    }

    #[test]
    fn what_is_no_proxy_is_an_error_that_names_its_setting_and_no_secret() {
        for value in [
            " ",
            "SECRET",
            "http:h:1",
            "http:8080",
            "http//h:1",
            "http:/h:1",
            "http://",
            "http:///h:1",
            "http:\\\\h:1",
            "htttp://me:SECRET@h",
            "ftp://me:SECRET@h",
            "://h:1",
            "::::",
            ":1",
            "http://:1",
            "http://me:SECRET@",
            "http://me:SECRET@h:99999",
            "http://me:SECRET@h:0",
            "http://me:SECRET@h:x",
            "http://me:SECRET@my host:1",
            "http://me:SECRET@my{proxy}:1",
            "http://me:SECRET@my*proxy:1",
            "http://me:SECRET@..:1",
            "http://me:SECRET@.test:1",
            "http://me:SECRET@a..test:1",
            "http://me:SECRET@[::1",
            "http://me:SECRET@[h]:1",
            "http://me:1/SECRET@h:1",
            "http://me#1:SECRET@h:1",
            "http://me?1:SECRET@h:1",
            "http://domain\\me:SECRET@h:1",
            "http://http://me:SECRET@h:1",
            "http://me:SECRET@h/proxy.pac",
            "http://me:SECRET@h\n",
            "http://me:SEC\tRET@h",
            "http://me:SECRET%0d%0a@h",
            "http://me:SECRET%00@h",
            "http://me:SECRET%ff@h",
            "socks5://SECRET@h",
            "socks5://:SECRET@h",
            "socks4://:SECRET@h",
            "me:SECRET@h",
            "user:SECRET://@h:1",
        ] {
            let error = parse(value).expect_err(value);
            assert!(error.starts_with("invalid HTTPS_PROXY: "), "{value}: {error}");
            assert!(!error.contains("SECRET"), "{value}: {error}");
        }
        let long = "x".repeat(256);
        parse(&format!("socks5://{long}:x@h")).expect_err("too long for SOCKS5");
        parse(&format!("http://{long}:x@h")).unwrap();
    }

    /// A small generator that is the same everywhere (Vigna, SplitMix64).
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        }

        fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
            let index = self.next() as usize % list.len();
            &list[index]
        }
    }

    /// Each character encoded at random, and always where a URL has another use for it.
    fn written(random: &mut Random, text: &str, reserved: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            if reserved.contains(c) || c == '%' || random.next().is_multiple_of(4) {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    out.push_str(&format!("%{byte:02x}"));
                }
            } else {
                out.push(c);
            }
        }
        out
    }

    #[test]
    fn what_was_put_together_is_what_is_read() {
        const LETTERS: [&str; 22] = [
            "a", "Z", "7", "@", ":", "/", "?", "#", "%", "\\", " ", "\"", "ä", "€", "😀", "[", "]", "{", "|", "^", "=",
            "+",
        ];
        for seed in 0..4_000 {
            let mut random = Random(seed);
            let mut word = || -> String { (0..1 + random.next() % 8).map(|_| *random.of(&LETTERS)).collect() };
            let (user, password) = (word(), word());
            let host = *random.of(&["h.test", "127.0.0.1", "[::1]", "xn--bcher-kva.test", "a-b.test."]);
            let port = 1 + (random.next() % 65_535) as u16;
            let scheme = random.of(&SCHEMES);
            let user_text = written(&mut random, &user, "/?#\\:");
            let password_text = written(&mut random, &password, "/?#\\");
            let value = format!("{}://{user_text}:{password_text}@{host}:{port}", scheme.name);
            let found = parse(&value).unwrap_or_else(|error| panic!("seed {seed}: {value}: {error}"));
            let wanted = ProxyUrl {
                protocol: scheme.protocol,
                origin: Origin::parse(&format!("{}://{host}:{port}", scheme.origin)).unwrap(),
                credentials: Some((user, password)),
            };
            assert!(found == wanted, "seed {seed}: {value}");
        }
    }
}
