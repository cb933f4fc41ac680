use super::*;

#[test]
fn an_entry_is_read_as_it_was_written_and_those_of_others_are_left_out() {
    let facts = MemberFacts { id: MemberId(7), config: ConfigMark(u64::MAX) };
    assert_eq!(Entry::read(&Entry::new(facts).0), Some(facts));
    for text in ["", "hello", "0000000000000007", "0000000000000007 x 1", "7 7 7"] {
        assert_eq!(Entry::read(text), None, "{text}");
    }
}

#[test]
fn a_server_that_lacks_commands_is_refused() {
    for (version, is_good) in [
        ("7.0.15", true),
        ("6.2.0", true),
        ("8.1", true),
        ("6.0.16", false),
        ("5.0", false),
        ("", false),
        ("x.y", false),
    ] {
        let info = format!("# Server\r\nredis_version:{version}\r\nos:Linux\r\n");
        assert_eq!(check_version(&info).is_ok(), is_good, "{version}");
    }
    assert_eq!(
        check_version("nothing").unwrap_err().to_string(),
        "the server is version unknown; a fleet needs Valkey, or Redis from 6.2 on"
    );
}
