//! The link of a member to a real engine, which others write to as well.

use std::time::Duration;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use spansieve::fleet::engine::Engine as Client;
use spansieve::fleet::link::{Link, News};
use spansieve_core::fleet::MemberId;
use spansieve_core::sampling::ConfigMark;
use tokio::time::timeout;

use super::engine::{Engine, MEMBERS, entries, set_user, set_user_without};
use crate::support::{self, CONFIG, eventually};

/// Starts the link of a member, with settings of the section `fleet`.
pub(super) fn link(fleet: &str, number: u64) -> Link {
    let settings = support::settings(&format!("{CONFIG}fleet: {{{fleet}}}\n"));
    let engine = Client::new(&settings.fleet, None).unwrap();
    Link::start(engine, MemberId(number), ConfigMark(1))
}

/// Returns the next news for which `wanted` has a value.
pub(super) async fn next<T>(link: &mut Link, wanted: impl Fn(News) -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(link.news.recv().await.unwrap()) {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(20), found).await.expect("the news come")
}

/// Waits until the link lists so many members.
pub(super) async fn listed(link: &mut Link, members: usize) {
    let has = |news| matches!(news, News::Members(listed) if listed.len() == members).then_some(());
    next(link, has).await;
}

pub(super) fn a_batch(news: News) -> Option<Bytes> {
    if let News::Batch(batch) = news { Some(batch) } else { None }
}

pub(super) fn a_reason(news: News) -> Option<String> {
    if let News::Down(reason) = news { Some(reason) } else { None }
}

fn stream(number: u64) -> String {
    format!("{{spansieve}}:to:{number:016x}")
}

async fn run(client: &mut MultiplexedConnection, command: &mut redis::Cmd) {
    let _: redis::Value = command.query_async(client).await.unwrap();
}

async fn add(client: &mut MultiplexedConnection, place: &str, batch: &[u8]) {
    run(client, redis::cmd("XADD").arg(stream(1)).arg(place).arg("b").arg(batch)).await;
}

async fn output_bytes(client: &mut MultiplexedConnection) -> u64 {
    let info: String = redis::cmd("INFO").arg("stats").query_async(client).await.unwrap();
    let bytes = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:")).unwrap();
    bytes.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_write_takes_no_more_memory_than_the_largest_batches() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    let mut here = link(&format!("url: '{}'", engine.url()), 1);
    listed(&mut here, 1).await;
    let before = output_bytes(&mut client).await;
    add(&mut client, "*", &vec![1; 64 << 20]).await;
    assert!(next(&mut here, a_batch).await.is_empty(), "it counts as one that is not valid");
    let deleted = async {
        loop {
            let len: u64 = redis::cmd("XLEN").arg(stream(1)).query_async(&mut client).await.unwrap();
            if len == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), deleted).await.expect("the stream is deleted");
    // What the server has written fills the buffers of the sockets.
    let written = output_bytes(&mut client).await - before;
    assert!(written < 32 << 20, "{written}");
    add(&mut client, "*", b"a batch").await;
    assert_eq!(next(&mut here, a_batch).await, "a batch");

    // The list of members, too.
    let soon: Vec<u64> = redis::cmd("TIME").query_async(&mut client).await.unwrap();
    for at in 0..64_u8 {
        let entry = vec![at; 1 << 20];
        run(&mut client, redis::cmd("ZADD").arg(MEMBERS).arg(soon[0] * 1_000 + 9_000).arg(entry)).await;
    }
    let before = output_bytes(&mut client).await;
    listed(&mut here, 1).await;
    listed(&mut here, 1).await;
    let written = output_bytes(&mut client).await - before;
    assert!(written < 1 << 20, "{written}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_another_program_has_chosen_does_not_close_a_stream() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    let mut here = link(&format!("url: '{}'", engine.url()), 1);
    listed(&mut here, 1).await;
    add(&mut client, "18446744073709551615-18446744073709551615", b"the last").await;
    assert_eq!(next(&mut here, a_batch).await, "the last");
    let there = link(&format!("url: '{}'", engine.url()), 2);
    listed(&mut here, 2).await;
    assert!(there.send(MemberId(1), Bytes::from_static(b"hello")));
    assert_eq!(next(&mut here, a_batch).await, "hello");
    assert_eq!(there.take_refused(), 0);
}

/// What comes later has a place after it, until the stream is made anew. Then it would come before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_of_the_future_makes_no_member_deaf() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    let mut here = link(&format!("url: '{}'", engine.url()), 1);
    let there = link(&format!("url: '{}'", engine.url()), 2);
    listed(&mut here, 2).await;
    let now: Vec<u64> = redis::cmd("TIME").query_async(&mut client).await.unwrap();
    let place = |ahead_s: u64| format!("{}-0", (now[0] + ahead_s) * 1_000);
    add(&mut client, &place(30), b"a clock was set back").await;
    assert_eq!(next(&mut here, a_batch).await, "a clock was set back");
    assert!(there.send(MemberId(1), Bytes::from_static(b"after it")));
    assert_eq!(next(&mut here, a_batch).await, "after it");
    add(&mut client, &place(365 * 86_400), b"in a year").await;
    assert_eq!(next(&mut here, a_batch).await, "in a year");
    let deleted = async {
        while redis::cmd("XLEN").arg(stream(1)).query_async::<u64>(&mut client).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // A beat trims the stream, but leaves the last entry.
    timeout(Duration::from_secs(20), deleted).await.expect("the stream is deleted");
    assert!(there.send(MemberId(1), Bytes::from_static(b"hello")));
    assert_eq!(next(&mut here, a_batch).await, "hello");
}

/// A member that may not append any more is not listed, and what another program has at the key of the check harms nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_cannot_send_is_not_listed() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    set_user(&mut client, "here", &[">secret", "~*", "+@all"]).await;
    run(&mut client, redis::cmd("SET").arg("{spansieve}:to:nobody").arg("not a stream")).await;
    let mut here = link(&format!("url: '{}', username: here, password: secret", engine.url()), 1);
    listed(&mut here, 1).await;
    let mut there = link(&format!("url: '{}'", engine.url()), 2);
    listed(&mut there, 2).await;
    set_user(&mut client, "here", &["-xadd"]).await;
    let reason = next(&mut here, a_reason).await;
    assert!(reason.contains("the user needs the commands"), "{reason}");
    listed(&mut there, 1).await;
    set_user(&mut client, "here", &["+xadd"]).await;
    listed(&mut there, 2).await;
}

/// The place is taken, but its entry is not there any more, or the key is no stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_takes_no_entries_is_deleted_by_who_sends_to_it() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    let mut here = link(&format!("url: '{}'", engine.url()), 1);
    let there = link(&format!("url: '{}'", engine.url()), 2);
    listed(&mut here, 2).await;
    let last = "18446744073709551615-18446744073709551615";
    let mut close = redis::cmd("XADD");
    run(&mut client, close.arg(stream(1)).arg("MAXLEN").arg(0).arg(last).arg("b").arg("x")).await;
    assert!(there.send(MemberId(1), Bytes::from_static(b"refused")));
    let mut refused = 0;
    eventually("it is refused", || {
        refused += there.take_refused();
        refused == 1
    })
    .await;
    assert!(there.send(MemberId(1), Bytes::from_static(b"hello")));
    assert_eq!(next(&mut here, a_batch).await, "hello");

    // Nobody reads this one.
    run(&mut client, redis::cmd("SET").arg(stream(3)).arg("not a stream")).await;
    assert!(there.send(MemberId(3), Bytes::from_static(b"refused")));
    eventually("it is refused", || {
        refused += there.take_refused();
        refused == 2
    })
    .await;
    let is_there: bool = redis::cmd("EXISTS").arg(stream(3)).query_async(&mut client).await.unwrap();
    assert!(!is_there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_alone_deletes_what_is_in_the_place_of_its_stream() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    run(&mut client, redis::cmd("SET").arg(stream(1)).arg("not a stream")).await;
    let mut here = link(&format!("url: '{}'", engine.url()), 1);
    let reason = next(&mut here, a_reason).await;
    assert!(reason.contains("WRONGTYPE"), "{reason}");
    listed(&mut here, 1).await;
    add(&mut client, "*", b"hello").await;
    let hello = |news| a_batch(news).filter(|batch| !batch.is_empty());
    assert_eq!(next(&mut here, hello).await, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_never_expires_is_removed() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    let now: Vec<u64> = redis::cmd("TIME").query_async(&mut client).await.unwrap();
    for (number, expires) in [(7, 9_000_000_000_000_000), (8, (now[0] + 3_600) * 1_000)] {
        let entry = format!("{number:016x} {:016x} 1.0.0", 1);
        run(&mut client, redis::cmd("ZADD").arg(MEMBERS).arg(expires).arg(entry)).await;
    }
    let mut here = link(&format!("url: '{}'", engine.url()), 1);
    let members = next(&mut here, |news| if let News::Members(listed) = news { Some(listed) } else { None }).await;
    assert_eq!(members.iter().map(|facts| facts.id).collect::<Vec<_>>(), [MemberId(1)]);
}

/// Its sessions fail, at once or after a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_cannot_work_is_not_listed() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    for command in ["xtrim", "xadd", "zrem", "pexpire"] {
        set_user_without(&mut client, &format!("no-{command}"), command).await;
    }
    let as_user = |name: &str| format!("url: '{}', username: {name}, password: secret", engine.url());
    let links = [
        (link(&as_user("no-xadd"), 1), "the user needs the commands"),
        (link(&as_user("no-xtrim"), 2), "the user needs the commands"),
        (link(&as_user("no-zrem"), 3), "the user needs the commands"),
        (link(&as_user("no-pexpire"), 4), "the user needs the commands"),
    ];
    for (mut link, expected) in links {
        for _ in 0..2 {
            let reason = next(&mut link, a_reason).await;
            assert!(reason.contains(expected), "{expected}: {reason}");
        }
        let members = entries(&mut client).await;
        assert!(members.is_empty(), "{expected}: {members:?}");
    }
}

/// A server without memory refuses what would take some: its members decide alone, and come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_memory_lists_no_members() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    let mut here = link(&format!("url: '{}'", engine.url()), 1);
    listed(&mut here, 1).await;
    run(&mut client, redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("1kb")).await;
    let reason = next(&mut here, a_reason).await;
    assert!(reason.contains("OOM"), "{reason}");
    run(&mut client, redis::cmd("CONFIG").arg("SET").arg("maxmemory").arg("0")).await;
    listed(&mut here, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_a_call_without_an_answer_are_counted() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    let mut here = link(&format!("url: '{}'", engine.url()), 1);
    listed(&mut here, 1).await;
    run(&mut client, redis::cmd("CLIENT").arg("PAUSE").arg(5_000).arg("ALL")).await;
    for _ in 0..3 {
        assert!(here.send(MemberId(2), Bytes::from_static(b"lost")));
    }
    let mut broken = 0;
    // They may be in one call, or come after it.
    eventually("they are counted", || {
        broken += here.take_broken();
        broken >= 1
    })
    .await;
    assert!(broken <= 3);
}

/// News that nobody takes fill their queue: a member that leaves is removed from the list all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_leaves_also_while_its_news_wait() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    let mut here = link(&format!("url: '{}'", engine.url()), 1);
    listed(&mut here, 1).await;
    for _ in 0..100 {
        add(&mut client, "*", b"a batch").await;
    }
    eventually("the queue is full", || here.news.len() == here.news.max_capacity()).await;
    // The next beat waits for room.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    here.leave().await;
    let members = entries(&mut client).await;
    assert!(members.is_empty(), "{members:?}");
}
