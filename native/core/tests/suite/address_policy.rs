//! Addresses that may not be connected to, over both engines.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sluice_core::{AddressPolicy, Agent, AgentConfig, CoreError, Embedder, Origin};
use sluice_test_macros::both_engines;

use crate::support::raw_server::RawServer;
use crate::support::{agent_with, get, recorder};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn agent(policy: AddressPolicy, hosts: &[(&str, &[&str])]) -> Agent {
    let mut config = AgentConfig::default();
    config.transport.dns.policy = policy;
    for (host, addresses) in hosts {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        config.transport.dns.hosts.insert((*host).to_owned(), addresses);
    }
    agent_with(config)
}

fn denying(networks: &[&str]) -> AddressPolicy {
    AddressPolicy::Networks {
        allow: Vec::new(),
        deny: networks
            .iter()
            .map(|text| AddressPolicy::parse_network(text).unwrap())
            .collect(),
    }
}

async fn ask(agent: &Agent, host: &str, server: &RawServer) -> Result<Vec<u8>, CoreError> {
    let (handler, mut events) = recorder();
    let origin = Origin::parse(&format!("http://{host}:{}", server.port())).unwrap();
    agent.dispatch(get(&origin), handler);
    tokio::select! {
        outcome = events.finish() => outcome.end.map(|_| outcome.body),
        _connection = server.answer(OK) => {
            let outcome = events.finish().await;
            outcome.end.map(|_| outcome.body)
        }
    }
}

#[both_engines]
async fn a_denied_address_is_named_with_its_host() {
    let server = RawServer::bind();
    let agent = agent(denying(&["127.0.0.0/8"]), &[("inside.test", &["127.0.0.1"])]);
    for host in ["127.0.0.1", "inside.test", "[::ffff:127.0.0.1]"] {
        let error = ask(&agent, host, &server).await.unwrap_err();
        assert_eq!(error.error_code(), "ERR_ADDRESS_NOT_ALLOWED");
        let CoreError::AddressNotAllowed { host: named, address } = error else {
            panic!("{error:?}")
        };
        assert_eq!(
            (named.as_str(), address.as_str()),
            (host.trim_matches(['[', ']']), "127.0.0.1")
        );
    }
}

#[both_engines]
async fn an_allowed_address_of_several_is_connected_to() {
    let server = RawServer::bind();
    let agent = agent(denying(&["127.0.0.2"]), &[("two.test", &["127.0.0.2", "127.0.0.1"])]);
    assert_eq!(ask(&agent, "two.test", &server).await.unwrap(), b"ok");
}

/// Allows what is even.
#[derive(Debug)]
struct Even;

impl Embedder for Even {
    fn lookup(&self, _: &str) -> BoxFuture<'static, Result<Vec<IpAddr>, CoreError>> {
        std::future::ready(Ok(vec![[127, 0, 0, 1].into()])).boxed()
    }

    fn allows(&self, addresses: &[IpAddr], _: &str) -> BoxFuture<'static, Vec<bool>> {
        let is_even = |address: &IpAddr| matches!(address, IpAddr::V4(address) if address.octets()[3] % 2 == 0);
        std::future::ready(addresses.iter().map(is_even).collect()).boxed()
    }

    fn roots(&self) -> BoxFuture<'static, Option<String>> {
        std::future::ready(None).boxed()
    }
}

#[both_engines]
async fn the_embedder_decides_where_it_is_asked() {
    let server = RawServer::bind();
    let agent = agent(AddressPolicy::Ask(Arc::new(Even)), &[("odd.test", &["127.0.0.1"])]);
    for host in ["odd.test", "127.0.0.3"] {
        let error = ask(&agent, host, &server).await.unwrap_err();
        assert_eq!(error.error_code(), "ERR_ADDRESS_NOT_ALLOWED", "{host}");
    }
}
