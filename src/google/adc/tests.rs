use super::*;
use crate::google::testing::variables;

#[test]
fn credentials_are_located_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().to_str().unwrap();
    let gcloud = directory.path().join(GCLOUD_FILE);
    let [key, host] = [("GOOGLE_APPLICATION_CREDENTIALS", "/k.json"), ("GCE_METADATA_HOST", "h:1")];
    let located = |set: &[(&str, &str)]| Adc::locate(&variables(set)).explain("this");

    assert_eq!(located(&[key, ("HOME", home), host]), "/k.json (GOOGLE_APPLICATION_CREDENTIALS): this");
    let nowhere = format!(
        "GOOGLE_APPLICATION_CREDENTIALS is not set; {} of gcloud does not exist; metadata server h:1: this",
        gcloud.display()
    );
    assert_eq!(located(&[("HOME", home), host]), nowhere);
    assert_eq!(
        located(&[]),
        "GOOGLE_APPLICATION_CREDENTIALS is not set; HOME is not set, so there is no file of gcloud; \
         metadata server metadata.google.internal: this"
    );
    std::fs::create_dir_all(gcloud.parent().unwrap()).unwrap();
    std::fs::write(&gcloud, "{}").unwrap();
    let expected = format!("GOOGLE_APPLICATION_CREDENTIALS is not set; {} (gcloud): this", gcloud.display());
    assert_eq!(located(&[("HOME", home), host]), expected);
    assert_eq!(Adc::locate(&variables(&[("HOME", home)])).file(), Some(Ok(AdcFile::default())));
}

#[test]
fn a_file_names_its_account_and_its_projects() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let url = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@p.test:generateAccessToken";
    // Each case: the file, and the account, the project and the quota project in it.
    let cases = [
        (r#"{"type": "service_account", "client_email": "k@p", "project_id": "p"}"#.to_owned(), "k@p", "p", ""),
        (r#"{"type": "authorized_user", "client_id": "x", "quota_project_id": "q"}"#.to_owned(), "", "", "q"),
        (
            format!(r#"{{"type": "external_account", "service_account_impersonation_url": "{url}"}}"#),
            "a@p.test",
            "",
            "",
        ),
        (r#"{"type": "external_account", "audience": "//iam"}"#.to_owned(), "", "", ""),
        (
            format!(
                r#"{{"type": "impersonated_service_account", "service_account_impersonation_url": "{url}",
                    "quota_project_id": "q", "source_credentials": {{"client_email": "source@p"}}}}"#
            ),
            "a@p.test",
            "",
            "q",
        ),
        (r#"{"project_id": "", "client_email": 5, "service_account_impersonation_url": "/x"}"#.to_owned(), "", "", ""),
    ];
    let adc = Adc::locate(&variables(&[("GOOGLE_APPLICATION_CREDENTIALS", path)]));
    for (text, account, project, quota_project) in cases {
        std::fs::write(path, &text).unwrap();
        let some = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        let expected = AdcFile { account: some(account), project: some(project), quota_project: some(quota_project) };
        assert_eq!(adc.file(), Some(Ok(expected)), "{text}");
    }
    std::fs::write(path, "no json").unwrap();
    assert!(adc.file().unwrap().unwrap_err().contains("expected"));
    let missing = Adc::locate(&variables(&[("GOOGLE_APPLICATION_CREDENTIALS", "")]));
    assert!(missing.file().unwrap().unwrap_err().contains("No such file"));
}

#[test]
fn a_credentials_file_must_be_a_regular_file_of_limited_size() {
    let directory = tempfile::tempdir().unwrap();
    let [pipe, large] = ["pipe", "large"].map(|name| directory.path().join(name));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::write(&large, vec![b' '; FILE_BYTES_MAX + 1]).unwrap();
    for (path, found) in [(pipe, "not a regular file"), (large, "more than")] {
        let adc = Adc::locate(&variables(&[("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().unwrap())]));
        assert!(adc.file().unwrap().unwrap_err().contains(found));
        assert!(adc.check_file().unwrap_err().to_string().contains(found));
    }
}
