//! A server that says what a test tells it to, byte by byte.

use std::io;

use sluice_core::Origin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

#[derive(Debug)]
pub struct RawServer {
    listener: TcpListener,
}

impl RawServer {
    pub fn bind() -> Self {
        Self::listen(TcpSocket::new_v4().unwrap())
    }

    /// With a send buffer that holds little, so that a client that does not read is felt soon.
    pub fn with_small_buffers() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(64 * 1024).unwrap();
        socket.set_recv_buffer_size(64 * 1024).unwrap();
        Self::listen(socket)
    }

    fn listen(socket: TcpSocket) -> Self {
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self {
            listener: socket.listen(1024).unwrap(),
        }
    }

    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub fn origin(&self) -> Origin {
        Origin::parse(&format!("http://127.0.0.1:{}", self.port())).unwrap()
    }

    pub fn https_origin(&self, host: &str) -> Origin {
        Origin::parse(&format!("https://{host}:{}", self.port())).unwrap()
    }

    pub async fn accept(&self) -> Connection {
        let (stream, _) = self.listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection {
            stream,
            ahead: Vec::new(),
        }
    }

    /// The next connection and the head of its first request.
    pub async fn request(&self) -> (Connection, Head) {
        let mut connection = self.accept().await;
        let head = connection.head().await;
        (connection, head)
    }

    /// Answers the next request with these bytes and leaves the connection open.
    pub async fn answer(&self, bytes: impl AsRef<[u8]>) -> Connection {
        let (mut connection, _) = self.request().await;
        connection.send(bytes).await;
        connection
    }
}

/// Request line and headers as they came.
#[derive(Debug)]
pub struct Head {
    pub text: String,
}

impl Head {
    pub fn request_line(&self) -> &str {
        self.text.lines().next().unwrap()
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    ahead: Vec<u8>,
}

impl Connection {
    /// Reads to the empty line.
    pub async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.ahead.split_off(end + 4);
                let head = std::mem::replace(&mut self.ahead, rest);
                return Head {
                    text: String::from_utf8(head).unwrap(),
                };
            }
            assert_ne!(
                self.stream.read_buf(&mut self.ahead).await.unwrap(),
                0,
                "closed within the head"
            );
        }
    }

    pub async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length {
            assert_ne!(
                self.stream.read_buf(&mut self.ahead).await.unwrap(),
                0,
                "closed within the body"
            );
        }
        let rest = self.ahead.split_off(length);
        std::mem::replace(&mut self.ahead, rest)
    }

    /// What comes of a body before the connection ends.
    pub async fn most_of_body(&mut self, length: usize) -> Vec<u8> {
        while self.ahead.len() < length && self.stream.read_buf(&mut self.ahead).await.is_ok_and(|read| read > 0) {}
        self.ahead.truncate(length);
        std::mem::take(&mut self.ahead)
    }

    /// A chunked body, decoded.
    pub async fn chunked_body(&mut self) -> Vec<u8> {
        let mut decoded = Vec::new();
        loop {
            let line = self.line().await;
            let length = usize::from_str_radix(&line, 16).unwrap();
            decoded.extend(self.body(length).await);
            assert_eq!(self.line().await, "", "a chunk ends with its line");
            if length == 0 {
                return decoded;
            }
        }
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let line = self.body(end + 2).await;
                return String::from_utf8(line[..end].to_vec()).unwrap();
            }
            assert_ne!(
                self.stream.read_buf(&mut self.ahead).await.unwrap(),
                0,
                "closed within a line"
            );
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Resolves when the client has gone: with what it sent before, if it closed or reset.
    pub async fn closed(&mut self) -> usize {
        let mut rest = Vec::new();
        loop {
            match self.stream.read_buf(&mut rest).await {
                Ok(0) => return rest.len(),
                Ok(_) => {}
                Err(error) => {
                    assert!(
                        matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
                        "{error}"
                    );
                    return rest.len();
                }
            }
        }
    }

    /// Closes with a RST.
    #[allow(deprecated, reason = "zero seconds never block")]
    pub fn reset(self) {
        self.stream.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}
