//! The engine is a cluster: the link follows the slot of the fleet.

use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use spansieve::fleet::link::News;
use spansieve_core::fleet::MemberId;
use tokio::time::{sleep, timeout};

use super::engine::{Engine, MEMBERS};
use super::link::{a_batch, a_reason, link, listed, next};

/// A node of a cluster.
struct Node {
    engine: Engine,
    client: MultiplexedConnection,
    id: String,
    _files: tempfile::TempDir,
}

impl Node {
    async fn start() -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let dir = files.path().to_str().unwrap();
        let engine = Engine::start_with(&["--cluster-enabled", "yes", "--dir", dir])?;
        let mut client = engine.client().await;
        let id: String = redis::cmd("CLUSTER").arg("MYID").query_async(&mut client).await.unwrap();
        Some(Node { engine, client, id, _files: files })
    }

    async fn run(&mut self, command: &str) {
        let mut words = command.split(' ');
        let mut run = redis::cmd(words.next().unwrap());
        for word in words {
            run.arg(word);
        }
        let _: redis::Value =
            run.query_async(&mut self.client).await.unwrap_or_else(|error| panic!("{command}: {error}"));
    }

    async fn is_ready(&mut self) -> bool {
        let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut self.client).await.unwrap();
        info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
    }
}

/// Starts two nodes, of which the first one has all slots.
async fn cluster() -> Option<[Node; 2]> {
    let (mut first, mut second) = (Node::start().await?, Node::start().await?);
    let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
    first.run(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
    first.run(&format!("CLUSTER MEET 127.0.0.1 {}", second.engine.port())).await;
    let ready = async {
        while !(first.is_ready().await && second.is_ready().await) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), ready).await.expect("the cluster is ready");
    Some([first, second])
}

fn one_of(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slot_of_the_fleet_is_followed_also_while_it_moves() {
    let Some([mut first, mut second]) = cluster().await else { return };
    // No node is asked for by name but the one that does not have the slot.
    let fleet = format!("url: '{}'", second.engine.url());
    let (mut here, mut there) = (link(&fleet, 1), link(&fleet, 2));
    listed(&mut here, 2).await;
    listed(&mut there, 2).await;
    assert!(here.send(MemberId(2), one_of("before")));
    assert_eq!(next(&mut there, a_batch).await, "before");

    let slot: u16 = redis::cmd("CLUSTER").arg("KEYSLOT").arg(MEMBERS).query_async(&mut first.client).await.unwrap();
    second.run(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", first.id)).await;
    first.run(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", second.id)).await;
    // Some keys are here, some there, and one comes into being on the way.
    let (mut third, mut sent) = (link(&fleet, 3), 0);
    let move_one = async |first: &mut Node| {
        let keys: Vec<String> =
            redis::cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(1).query_async(&mut first.client).await.unwrap();
        if let Some(key) = keys.first() {
            first.run(&format!("MIGRATE 127.0.0.1 {} {key} 0 1000", second.engine.port())).await;
        }
        keys.is_empty()
    };
    let no_break = |news: News| match news {
        News::Batch(batch) => Some(batch),
        News::Members(_) => None,
        News::Down(reason) => panic!("{reason}"),
    };
    for _ in 0..6 {
        for (link, to) in [(&here, 2), (&there, 3), (&third, 1)] {
            assert!(link.send(MemberId(to), one_of(&sent.to_string())));
        }
        for link in [&mut here, &mut there, &mut third] {
            assert_eq!(next(link, no_break).await, sent.to_string());
        }
        sent += 1;
        move_one(&mut first).await;
    }
    while !move_one(&mut first).await {}
    let owner = second.id.clone();
    second.run(&format!("CLUSTER SETSLOT {slot} NODE {owner}")).await;
    first.run(&format!("CLUSTER SETSLOT {slot} NODE {owner}")).await;
    for (link, to) in [(&here, 2), (&there, 3), (&third, 1)] {
        assert!(link.send(MemberId(to), one_of("after")));
    }
    for link in [&mut here, &mut there, &mut third] {
        assert_eq!(next(link, no_break).await, "after");
        listed(link, 3).await;
    }
    let refused = [&here, &there, &third].map(|link| link.take_refused() + link.take_broken());
    assert_eq!(refused, [0; 3]);
}

/// The node that has the slot is enough, once it is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_of_the_url_may_go_away() {
    let Some([first, mut second]) = cluster().await else { return };
    let mut here = link(&format!("url: '{}'", second.engine.url()), 1);
    listed(&mut here, 1).await;
    second.engine.kill();
    listed(&mut here, 1).await;
    let mut client = first.client.clone();
    let mut kill = redis::cmd("CLIENT");
    let _: redis::Value = kill.arg("KILL").arg("TYPE").arg("normal").query_async(&mut client).await.unwrap();
    let reason = next(&mut here, a_reason).await;
    assert!(!reason.is_empty());
    listed(&mut here, 1).await;
}
