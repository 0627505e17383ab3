//! From addresses to a connected socket.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;

use super::stream::Stream;
use crate::error::{CoreError, SystemError};
use crate::transport::failure::system_error;

/// What is done to every socket.
#[derive(Debug, Clone)]
pub struct SocketOptions {
    pub local_address: Option<IpAddr>,
    /// Connects to this unix socket instead of the origin's host.
    pub socket_path: Option<PathBuf>,
    /// Tries the addresses of both families; only the first address otherwise.
    pub auto_select_family: bool,
    /// How long one address is tried before the next is tried beside it (RFC 8305 §5).
    pub attempt_delay: Duration,
    /// TCP keep-alive probes after so much silence; `None` sends none.
    pub keep_alive: Option<Duration>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            local_address: None,
            socket_path: None,
            auto_select_family: true,
            attempt_delay: Duration::from_millis(250),
            keep_alive: Some(Duration::from_secs(60)),
        }
    }
}

impl SocketOptions {
    /// Connects to the first of a host's addresses that answers (RFC 8305).
    ///
    /// # Errors
    /// Those of `connect`, one per address tried.
    pub async fn connect_tcp(&self, addresses: Vec<SocketAddr>, port: u16) -> Result<TcpStream, CoreError> {
        let mut addresses = interleave(addresses);
        for address in &mut addresses {
            address.set_port(port);
        }
        let count = if self.auto_select_family { addresses.len() } else { 1 };
        self.race(&addresses[..count.min(addresses.len())]).await
    }

    /// One address after the other, the next as soon as the one before has failed or has taken too long.
    async fn race(&self, addresses: &[SocketAddr]) -> Result<TcpStream, CoreError> {
        let mut attempts = FuturesUnordered::new();
        let mut left = addresses.iter();
        let mut errors: Vec<SystemError> = Vec::new();
        loop {
            if let Some(address) = left.next() {
                attempts.push(self.connect(*address));
            }
            let has_more = left.len() > 0;
            tokio::select! {
                Some(attempt) = attempts.next() => match attempt {
                    Ok(stream) => return Ok(stream),
                    Err(error) => errors.push(error),
                },
                () = sleep(self.attempt_delay), if has_more => {}
            }
            if attempts.is_empty() && left.len() == 0 {
                return Err(CoreError::connects(errors));
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> Result<TcpStream, SystemError> {
        let failed = |error: io::Error| system_error(&error, "connect", Some(address));
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }
        .map_err(failed)?;
        if let Some(local) = self.local_address {
            socket
                .bind(SocketAddr::new(local, 0))
                .map_err(|error| system_error(&error, "bind", Some(SocketAddr::new(local, 0))))?;
        }
        let stream = socket.connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        if let Some(delay) = self.keep_alive {
            // Without it a dead peer is found later; no reason to fail.
            let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(delay));
        }
        Ok(stream)
    }
}

#[cfg(unix)]
pub async fn connect_unix(path: &std::path::Path) -> Result<Stream, CoreError> {
    let connected = tokio::net::UnixStream::connect(path).await;
    connected.map(Stream::Unix).map_err(|error| {
        let mut error = system_error(&error, "connect", None);
        error.address = Some(path.to_string_lossy().into_owned());
        CoreError::System(error)
    })
}

#[cfg(not(unix))]
pub async fn connect_unix(_: &std::path::Path) -> Result<Stream, CoreError> {
    Err(CoreError::NotSupported(
        "socketPath is not supported on this platform".into(),
    ))
}

/// The family of the first address, then the other, in turns (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else {
        return addresses;
    };
    let (preferred, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv4() == first);
    let mut mixed = Vec::with_capacity(preferred.len() + other.len());
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        let pair = [preferred.next(), other.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_from_the_first() {
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let given = ["[::1]:1", "[::2]:1", "1.1.1.1:1", "[::3]:1"].map(parse).to_vec();
        let wanted = ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].map(parse).to_vec();
        assert_eq!(interleave(given), wanted);
    }

    #[tokio::test]
    async fn sockets_never_wait_to_fill_a_segment_and_probe_their_peer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        for keep_alive in [Some(Duration::from_secs(7)), None] {
            let options = SocketOptions {
                keep_alive,
                local_address: "127.0.0.3".parse().ok(),
                ..SocketOptions::default()
            };
            let stream = options.connect_tcp(vec![here], here.port()).await.unwrap();
            assert!(stream.nodelay().unwrap());
            assert_eq!(stream.local_addr().unwrap().ip().to_string(), "127.0.0.3");
            let socket = SockRef::from(&stream);
            assert_eq!(socket.keepalive().unwrap(), keep_alive.is_some());
            if let Some(delay) = keep_alive {
                assert_eq!(socket.tcp_keepalive_time().unwrap(), delay);
            }
        }
    }
}
