use super::*;

fn at(unix_nano: u64) -> Result<TimedRequest, InputError> {
    Ok(TimedRequest { unix_nano, body: bytes::Bytes::new() })
}

#[test]
fn recordings_are_merged_by_time_and_an_error_comes_at_once() {
    let error = || Err(InputError { name: "b".into(), fault: "broken".into(), help: None });
    let merged = Merged::new(vec![vec![at(1), at(4), at(4)].into_iter(), vec![at(2), error(), at(3)].into_iter()]);
    let times: Vec<Option<u64>> = merged.map(|request| request.ok().map(|request| request.unix_nano)).collect();
    assert_eq!(times, [Some(1), Some(2), None, Some(3), Some(4), Some(4)]);
    assert!(Merged::new(vec![Vec::new().into_iter()]).next().is_none());
}
