//! The proxies that the settings of macOS and Windows name; other systems have none but the environment's.

use crate::error::CoreError;
use crate::proxy::ProxyUrls;
use crate::proxy_url::ProxySetting;

/// What the settings say, as they say it.
#[derive(Debug, Default, PartialEq, Eq)]
struct SystemProxies {
    http: String,
    https: String,
    /// Where the two above are none.
    socks: String,
    /// What is reached without, as `NO_PROXY` lists it.
    none: String,
    /// A script decides (PAC).
    has_script: bool,
}

/// Adds the system's settings where the environment says nothing.
///
/// # Errors
/// [`CoreError::InvalidArgument`] for settings that cannot be followed: what they send through a proxy must not go
/// directly.
pub fn add_system(urls: ProxyUrls) -> Result<ProxyUrls, CoreError> {
    merge(urls, read())
}

fn merge(mut urls: ProxyUrls, system: SystemProxies) -> Result<ProxyUrls, CoreError> {
    if !urls.all.value.is_empty() {
        return Ok(urls);
    }
    let mut added = false;
    for (own, value, scheme) in [
        (&mut urls.http, &system.http, "http"),
        (&mut urls.https, &system.https, "https"),
    ] {
        if !own.value.is_empty() {
            continue;
        }
        let value = if value.is_empty() { &system.socks } else { value };
        if value.is_empty() && system.has_script {
            return Err(CoreError::InvalidArgument(format!(
                "the system's proxy for {scheme}: is chosen by a script (PAC), which is not run here"
            )));
        }
        added |= !value.is_empty();
        *own = ProxySetting {
            name: format!("proxy of the system for {scheme}"),
            value: value.clone(),
        };
    }
    if added && urls.none.is_empty() {
        urls.none = system.none;
    }
    Ok(urls)
}

/// Settings leave the scheme out, and may leave out the port.
#[cfg(any(windows, target_os = "macos", test))]
fn with_scheme(value: &str, scheme: &str) -> String {
    if value.contains("://") {
        value.to_owned()
    } else {
        format!("{scheme}://{value}")
    }
}

#[cfg(not(any(windows, target_os = "macos")))]
fn read() -> SystemProxies {
    SystemProxies::default()
}

#[cfg(windows)]
fn read() -> SystemProxies {
    let path = "Software\\Microsoft\\Windows\\CurrentVersion\\Internet Settings";
    let Ok(settings) = windows_registry::CURRENT_USER.open(path) else {
        return SystemProxies::default();
    };
    let text = |name| settings.get_string(name).unwrap_or_default();
    let mut system = if settings.get_u32("ProxyEnable").unwrap_or(0) == 0 {
        SystemProxies::default()
    } else {
        of_windows(&text("ProxyServer"), &text("ProxyOverride"))
    };
    system.has_script = !text("AutoConfigURL").is_empty();
    system
}

/// `ProxyServer` is `host:port`, or `http=host:port;https=host:port;socks=host:port`.
#[cfg(any(windows, test))]
fn of_windows(server: &str, overridden: &str) -> SystemProxies {
    let mut system = SystemProxies {
        none: overridden.split(';').map(windows_entry).collect::<Vec<_>>().join(","),
        ..SystemProxies::default()
    };
    for part in server.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            None => {
                system.http = with_scheme(part, "http");
                system.https.clone_from(&system.http);
            }
            Some(("http", value)) => system.http = with_scheme(value, "http"),
            Some(("https", value)) => system.https = with_scheme(value, "http"),
            Some(("socks", value)) => system.socks = with_scheme(value, "socks4"),
            // Of other protocols.
            Some(_) => {}
        }
    }
    system
}

/// `10.*` is a network.
#[cfg(any(windows, test))]
fn windows_entry(entry: &str) -> String {
    let entry = entry.trim();
    let numbers: Vec<&str> = entry.split('.').take_while(|part| *part != "*").collect();
    let is_network = entry.ends_with(".*")
        && (1..=3).contains(&numbers.len())
        && entry.split('.').skip(numbers.len()).all(|part| part == "*")
        && numbers.iter().all(|number| number.parse::<u8>().is_ok());
    if !is_network {
        return entry.to_owned();
    }
    let mut octets = numbers.clone();
    octets.resize(4, "0");
    format!("{}/{}", octets.join("."), numbers.len() * 8)
}

#[cfg(target_os = "macos")]
fn read() -> SystemProxies {
    use system_configuration::core_foundation::number::CFNumber;
    use system_configuration::core_foundation::string::CFString;
    use system_configuration::dynamic_store::SCDynamicStoreBuilder;

    let Some(settings) = SCDynamicStoreBuilder::new("sluice")
        .build()
        .and_then(|store| store.get_proxies())
    else {
        return SystemProxies::default();
    };
    // The names are those of SCSchemaDefinitions.h.
    let number = |name: &str| -> Option<i32> { settings.find(CFString::new(name))?.downcast::<CFNumber>()?.to_i32() };
    let text = |name: &str| -> Option<String> {
        Some(settings.find(CFString::new(name))?.downcast::<CFString>()?.to_string())
    };
    let server = |kind: &str, scheme: &str| -> String {
        if number(&format!("{kind}Enable")) != Some(1) {
            return String::new();
        }
        let host = text(&format!("{kind}Proxy")).unwrap_or_default();
        match number(&format!("{kind}Port")) {
            Some(port) => with_scheme(&format!("{host}:{port}"), scheme),
            None => with_scheme(&host, scheme),
        }
    };
    SystemProxies {
        http: server("HTTP", "http"),
        https: server("HTTPS", "http"),
        socks: server("SOCKS", "socks5h"),
        none: String::new(),
        has_script: number("ProxyAutoConfigEnable") == Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_names_one_proxy_or_one_for_each_protocol() {
        let one = of_windows("p.test:3128", "<local>;10.*;192.168.1.*;*.in.test;a.*");
        assert_eq!(
            (one.http.as_str(), one.https.as_str()),
            ("http://p.test:3128", "http://p.test:3128")
        );
        assert_eq!(one.none, "<local>,10.0.0.0/8,192.168.1.0/24,*.in.test,a.*");
        let each = of_windows("http=a.test:1;https=b.test;ftp=c.test:2;socks=d.test:3", "");
        assert_eq!(each.http, "http://a.test:1");
        assert_eq!(each.https, "http://b.test");
        assert_eq!(each.socks, "socks4://d.test:3");
    }

    fn system(http: &str, https: &str, socks: &str) -> SystemProxies {
        SystemProxies {
            http: http.into(),
            https: https.into(),
            socks: socks.into(),
            none: "in.test".into(),
            has_script: false,
        }
    }

    #[test]
    fn the_environment_stands_before_the_system() {
        let all = ProxyUrls {
            all: "http://env".into(),
            ..ProxyUrls::default()
        };
        let merged = merge(all, system("http://s", "http://s", "")).unwrap();
        assert_eq!((merged.http.value.as_str(), merged.none.as_str()), ("", ""));
        let http = ProxyUrls {
            http: "http://env".into(),
            none: "own.test".into(),
            ..ProxyUrls::default()
        };
        let merged = merge(http, system("http://s", "", "socks4://s")).unwrap();
        assert_eq!(
            (
                merged.http.value.as_str(),
                merged.https.value.as_str(),
                merged.none.as_str()
            ),
            ("http://env", "socks4://s", "own.test")
        );
        let merged = merge(ProxyUrls::default(), system("http://s", "", "")).unwrap();
        assert_eq!(
            (merged.http.value.as_str(), merged.none.as_str()),
            ("http://s", "in.test")
        );
    }

    #[test]
    fn settings_that_cannot_be_followed_are_errors() {
        let script = || SystemProxies {
            has_script: true,
            ..SystemProxies::default()
        };
        assert!(merge(ProxyUrls::default(), script()).is_err());
        let both = ProxyUrls {
            http: "http://env".into(),
            https: "http://env".into(),
            ..ProxyUrls::default()
        };
        assert!(merge(both, script()).is_ok());
        let urls = merge(ProxyUrls::default(), system("http://bad host", "", "")).unwrap();
        let error = crate::proxy::ProxyRules::new(urls).unwrap_err().to_string();
        assert!(error.starts_with("invalid proxy of the system for http: "), "{error}");
    }
}
