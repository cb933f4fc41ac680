//! The engine, a member, or what is on the streams is not as it should be.

use spansieve::config;

use super::engine::{MEMBERS, entries, set_user};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_engine_each_decides_alone_and_comes_back_by_itself() {
    let Some(mut engine) = Engine::start() else { return };
    let daemons = fleet(&vec![config(&engine, ""); 2]).await;
    let all: Vec<&Daemon> = daemons.iter().collect();
    engine.kill();
    eventually("the engine is missed", || all.iter().all(|daemon| !is_up(daemon))).await;

    // Evidence is kept where it is, and ratios agree.
    let (failed, healthy, other) = (trace_id(false), trace_id(true), trace_id(false));
    send(all[0], vec![error(failed, "failed-0"), span(healthy, "healthy-0"), span(other, "other-0")]).await;
    send(all[1], vec![span(failed, "failed-1"), span(healthy, "healthy-1"), span(other, "other-1")]).await;
    settled(&all).await;
    let names = |kept: &Kept| kept.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&kept(&all)), ["failed-0", "healthy-0", "healthy-1"]);
    let alone = |daemon: &&Daemon| metric(&scrape(daemon), "spansieve_decided_traces_total", &["trigger=\"alone\""]);
    assert!(all.iter().all(|daemon| alone(daemon) >= 2.0));

    // An engine that has lost everything is enough to make the trace whole.
    engine.start_again();
    eventually("all are back", || all.iter().all(|daemon| is_up(daemon) && members(daemon, "same") == 2.0)).await;
    eventually("the trace is whole", || kept(&all).contains_key("failed-1")).await;
    assert_eq!(names(&kept(&all)), ["failed-0", "failed-1", "healthy-0", "healthy-1"]);
    for daemon in daemons {
        stop(daemon).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_with_other_policies_share_what_is_kept_on_evidence() {
    let Some(engine) = Engine::start() else { return };
    let other = config(&engine, "").replace("sampling_percentage: 5", "sampling_percentage: 6");
    let daemons = fleet(&[config(&engine, ""), config(&engine, ""), other]).await;
    let all: Vec<&Daemon> = daemons.iter().collect();
    assert_eq!(all.iter().map(|daemon| members(daemon, "other")).collect::<Vec<_>>(), [1.0, 1.0, 2.0]);
    let failed = trace_id(false);
    for (i, daemon) in all.iter().enumerate() {
        send(daemon, vec![span(failed, &format!("before-{i}"))]).await;
    }
    send(all[2], vec![error(failed, "failed")]).await;
    eventually("the trace is whole", || kept(&all).len() == 4).await;
    let kept = kept(&all);
    assert!(kept.values().all(|annotation| *annotation == ("errors".to_owned(), 1.0)), "{kept:?}");
    for daemon in daemons {
        stop(daemon).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_foreign_batches_on_the_streams_harm_nothing() {
    let Some(engine) = Engine::start() else { return };
    let daemons = fleet(&vec![config(&engine, ""); 2]).await;
    let all: Vec<&Daemon> = daemons.iter().collect();
    let mut client = engine.client().await;
    let listed = entries(&mut client).await;
    assert_eq!(listed.len(), 2);
    // They expire soon enough to be read.
    let now: Vec<u64> = redis::cmd("TIME").query_async(&mut client).await.unwrap();
    let odd: [&[u8]; 4] = [b"", b"hello", b"zzzzzzzzzzzzzzzz 1 1", b"\xff\xfe"];
    for entry in odd {
        let mut add = redis::cmd("ZADD");
        let () = add.arg(MEMBERS).arg((now[0] + 9) * 1_000).arg(entry).query_async(&mut client).await.unwrap();
    }
    let random: Vec<u8> = (0..5_000).map(|_| fastrand::u8(..)).collect();
    let foreign = [&[1][..], &[7; 24], &[19, 3], &[9; 18]].concat();
    for entry in &listed {
        let stream = format!("{{spansieve}}:to:{}", &entry[..16]);
        for (field, batch) in [("b", &random[..]), ("b", &[]), ("x", &[1]), ("b", &[1; 25]), ("b", &foreign)] {
            let mut add = redis::cmd("XADD");
            let () = add.arg(&stream).arg("*").arg(field).arg(batch).query_async(&mut client).await.unwrap();
        }
        let (mut add, odd) = (redis::cmd("XADD"), &b"\xff\xfe"[..]);
        let () = add.arg(&stream).arg("*").arg(odd).arg(odd).query_async(&mut client).await.unwrap();
    }
    let lost = |daemon: &Daemon| metric(&scrape(daemon), "spansieve_fleet_lost_messages_total", &["malformed"]);
    eventually("they are counted", || all.iter().all(|daemon| lost(daemon) >= 3.0)).await;
    let failed = trace_id(false);
    send(all[0], vec![span(failed, "0")]).await;
    send(all[1], vec![error(failed, "1")]).await;
    eventually("the trace is whole", || kept(&all).len() == 2).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let entries: Vec<Vec<u8>> =
        redis::cmd("ZRANGE").arg(MEMBERS).arg(0).arg(-1).query_async(&mut client).await.unwrap();
    // The empty one is removed.
    assert_eq!(entries.len(), listed.len() + odd.len() - 1, "members have read the others");
    assert_eq!(members(all[0], "same") + members(all[0], "other"), 2.0);
    for daemon in daemons {
        stop(daemon).await;
    }
}

/// The server refuses that one member reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_cannot_read_is_cut_off_alone_and_comes_back() {
    let Some(engine) = Engine::start() else { return };
    let mut client = engine.client().await;
    set_user(&mut client, "there", &[">secret", "~*", "+@all"]).await;
    let here = start(&config(&engine, "")).await;
    eventually("it is there", || is_up(&here)).await;
    let there = start(&config(&engine, ", username: there, password: secret")).await;
    meet(&[&here, &there]).await;
    set_user(&mut client, "there", &["-xread"]).await;
    eventually("the member hides", || !is_up(&there) && members(&here, "same") == 1.0).await;
    assert!(is_up(&here), "others are not concerned");
    set_user(&mut client, "there", &["+xread"]).await;
    eventually("it is back", || is_up(&there) && members(&here, "same") == 2.0).await;
    for daemon in [here, there] {
        stop(daemon).await;
    }
}

/// A key of another type is in the place of the stream of one member: batches are refused, and then it is a stream again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_another_program_has_replaced_is_made_anew() {
    let Some(engine) = Engine::start() else { return };
    let here = start(&config(&engine, "")).await;
    eventually("it is there", || is_up(&here)).await;
    let mut client = engine.client().await;
    let first = entries(&mut client).await;
    let there = start(&config(&engine, "")).await;
    meet(&[&here, &there]).await;
    let all = entries(&mut client).await;
    let other = all.iter().find(|entry| entry[..16] != first[0][..16]).unwrap();
    let stream = format!("{{spansieve}}:to:{}", &other[..16]);
    let () = redis::cmd("SET").arg(&stream).arg("not a stream").query_async(&mut client).await.unwrap();
    let failed = trace_id(false);
    send(&here, vec![error(failed, "here")]).await;
    send(&there, vec![span(failed, "there")]).await;
    eventually("the trace is whole", || kept(&[&here, &there]).len() == 2).await;
    eventually("all are there", || is_up(&there) && members(&here, "same") == 2.0).await;
    assert!(is_up(&here), "others are not concerned");
    for daemon in [here, there] {
        stop(daemon).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_needed_and_a_wrong_one_is_not_enough() {
    let Some(engine) = Engine::start_with(&["--requirepass", "right"]) else { return };
    let good = start(&config(&engine, ", password: right")).await;
    eventually("the password is right", || is_up(&good)).await;
    let bad = start(&config(&engine, ", password: wrong")).await;
    let none = start(&config(&engine, "")).await;
    let failed = trace_id(false);
    for daemon in [&bad, &none] {
        send(daemon, vec![error(failed, "failed")]).await;
        eventually("it decides alone", || support::store(daemon).holds(&id(failed))).await;
        assert!(!is_up(daemon));
    }
    assert_eq!(members(&good, "same"), 1.0);
    for daemon in [good, bad, none] {
        stop(daemon).await;
    }
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    for (fleet, expected) in [
        ("url: localhost", "`localhost` is not the URL of a Valkey or Redis"),
        ("url: 'http://localhost:6379'", "is not the URL of a Valkey or Redis"),
        ("url: 'redis://'", "is not a valid URL of a server"),
        ("url: 'redis://host:port'", "is not a valid URL of a server"),
        ("url: 'redis://:secret@host:6379'", "the URL has a user or a password"),
        ("url: 'redis://host:6379', iam: true", "an access token would be sent in plaintext"),
        ("url: 'rediss://host:6379', iam: true, password: x", "a token is the password"),
        ("name: 'a b'", "`a b` is not a valid name of a fleet"),
        ("grace: 1m", "0s to 10s"),
    ] {
        let problems = config::load(&format!("fleet: {{{fleet}}}\n"), &|_| None).err();
        let text = problems.map(|problems| problems.to_string()).unwrap_or_default();
        assert!(text.contains(expected), "{fleet}: {text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
