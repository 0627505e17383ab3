//! Names: who is asked, how often, and in which order addresses are tried.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluice_core::{Agent, AgentConfig, CoreError, Embedder, Origin};
use sluice_test_macros::{both_engines, on_wire};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;

use crate::support::raw_server::RawServer;
use crate::support::{FAR, SHORT, agent_with, get, recorder, settle};

const LAST: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

/// Says where everything is, once the gate is open, and counts the questions.
#[derive(Debug)]
struct Names {
    asked: AtomicUsize,
    gate: Arc<Semaphore>,
}

impl Names {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            asked: AtomicUsize::new(0),
            gate: Arc::new(Semaphore::new(permits)),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Embedder for Names {
    fn lookup(&self, host: &str) -> BoxFuture<'static, Result<Vec<IpAddr>, CoreError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = match host {
            "nobody.test" => Ok(Vec::new()),
            _ => Ok(vec![[127, 0, 0, 1].into()]),
        };
        let gate = Arc::clone(&self.gate);
        async move {
            gate.acquire().await.unwrap().forget();
            answer
        }
        .boxed()
    }

    fn allows(&self, addresses: &[IpAddr], _: &str) -> BoxFuture<'static, Vec<bool>> {
        std::future::ready(vec![true; addresses.len()]).boxed()
    }

    fn roots(&self) -> BoxFuture<'static, Option<String>> {
        std::future::ready(None).boxed()
    }
}

fn agent(names: &Arc<Names>, cache: Duration) -> Agent {
    let mut config = AgentConfig::default();
    let names: Arc<dyn Embedder> = Arc::clone(names) as _;
    config.transport.dns.lookup = Some(names);
    config.transport.dns.cache = cache;
    agent_with(config)
}

fn named(host: &str, server: &RawServer) -> Origin {
    Origin::parse(&format!("http://{host}:{}", server.port())).unwrap()
}

async fn ask(agent: &Agent, server: &RawServer) {
    let (handler, mut events) = recorder();
    agent.dispatch(get(&named("a.test", server)), handler);
    drop(server.answer(LAST).await);
    assert_eq!(events.finish().await.body, b"ok");
}

#[both_engines]
async fn every_connection_asks_unless_answers_are_kept() {
    for (cache, lookups) in [(Duration::ZERO, 3), (FAR, 1)] {
        let server = RawServer::bind();
        let names = Names::new(3);
        let agent = agent(&names, cache);
        for _ in 0..3 {
            ask(&agent, &server).await;
        }
        assert_eq!(names.asked(), lookups);
    }
}

#[both_engines]
async fn those_who_ask_together_share_the_answer() {
    let server = RawServer::bind();
    let names = Names::new(0);
    let agent = agent(&names, Duration::ZERO);
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let (handler, events) = recorder();
        agent.dispatch(get(&named("a.test", &server)), handler);
        waiting.push(events);
    }
    settle().await;
    names.gate.add_permits(5);
    for _ in 0..5 {
        drop(server.answer(LAST).await);
    }
    for mut events in waiting {
        assert_eq!(events.finish().await.body, b"ok");
    }
    assert_eq!(names.asked(), 1);
}

#[both_engines]
async fn no_address_at_all_is_enotfound() {
    let server = RawServer::bind();
    let agent = agent(&Names::new(1), FAR);
    let (handler, mut events) = recorder();
    agent.dispatch(get(&named("nobody.test", &server)), handler);
    let error = events.error().await;
    assert_eq!(error.to_string(), "getaddrinfo ENOTFOUND nobody.test");
}

/// An address that answers no SYN: its queue of connections is full.
struct Silent {
    _listener: tokio::net::TcpListener,
    _queued: Vec<tokio::net::TcpStream>,
}

impl Silent {
    async fn at(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(1).unwrap();
        let mut queued = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(SHORT, tokio::net::TcpStream::connect(address)).await {
            queued.push(stream);
        }
        Self {
            _listener: listener,
            _queued: queued,
        }
    }
}

fn racing(delay: Duration, limit: Option<Duration>) -> Agent {
    let mut config = AgentConfig::default();
    config.transport.socket.attempt_delay = delay;
    config.transport.connect_timeout = limit;
    let addresses = ["127.0.0.2", "127.0.0.1"].map(|address| address.parse().unwrap());
    config.transport.dns.hosts.insert("two.test".into(), addresses.to_vec());
    agent_with(config)
}

#[on_wire]
async fn a_silent_address_is_overtaken_after_the_delay_and_not_before() {
    let server = RawServer::bind();
    let _silent = Silent::at(SocketAddr::new([127, 0, 0, 2].into(), server.port())).await;
    let (handler, mut events) = recorder();
    racing(Duration::from_millis(5), None).dispatch(get(&named("two.test", &server)), handler);
    drop(server.answer(LAST).await);
    assert_eq!(events.finish().await.body, b"ok");

    let (handler, mut events) = recorder();
    racing(FAR, Some(SHORT)).dispatch(get(&named("two.test", &server)), handler);
    assert_eq!(events.error().await.error_code(), "UND_ERR_CONNECT_TIMEOUT");
}
