//! Passes the commit for `--version` to the compiler: `SPANSIEVE_COMMIT` if it is set, else the commit of the git
//! checkout, else `unknown`.

fn main() {
    println!("cargo::rerun-if-env-changed=SPANSIEVE_COMMIT");
    // This file gets a line with each commit. Cargo would run this script in every build if the path did not exist.
    if std::path::Path::new(".git/logs/HEAD").exists() {
        println!("cargo::rerun-if-changed=.git/logs/HEAD");
    }
    let output = std::process::Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let checkout = output.ok().filter(|o| o.status.success()).and_then(|o| String::from_utf8(o.stdout).ok());
    let commit = std::env::var("SPANSIEVE_COMMIT").ok().or(checkout);
    println!("cargo::rustc-env=SPANSIEVE_COMMIT={}", commit.as_deref().unwrap_or("unknown").trim());
}
