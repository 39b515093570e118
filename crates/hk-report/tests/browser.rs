//! The HTML report in a real browser: nothing is wider than the window, no drawing leaves its box, no script
//! complains.

mod common;

use common::samples;
use hk_report::{Report, to_html};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Measures the page and writes what it found into the title, which the browser prints.
const PROBE: &str = include_str!("browser/probe.js");
const PATIENCE: Duration = Duration::from_secs(60);

/// Loads a page in a window of that width, runs the probe in it, and gives what it measured.
fn measured(report: &Report, width: u32) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("report.html");
    // The window of a browser has a least width, the frame in it has none.
    let inner = to_html(report).replace("</body>", &format!("<script>{PROBE}</script></body>"));
    let frame = format!(
        "<!DOCTYPE html><title>waiting</title>\
         <iframe src=\"inner.html\" style=\"width:{width}px;height:900px;border:0\"></iframe>\
         <script>addEventListener('message', (event) => {{ document.title = event.data; }})</script>"
    );
    std::fs::write(folder.path().join("inner.html"), inner).unwrap();
    std::fs::write(&page, frame).unwrap();
    let (stdout, stderr) = run(folder.path(), &page);
    let complaints: Vec<&str> = stderr.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let title = stdout.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    let title = title.expect(&stderr).0.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    serde_json::from_str(&title).unwrap_or_else(|e| panic!("{e}: {title}\n{stderr}"))
}

fn run(folder: &Path, page: &Path) -> (String, String) {
    let output = |name: &str| std::fs::File::create(folder.join(name)).unwrap();
    let mut child = Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .args(["--enable-logging=stderr", "--window-size=1400,1000", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .stdout(output("stdout"))
        .stderr(output("stderr"))
        .spawn()
        .unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the browser took longer than {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let read = |name: &str| String::from_utf8_lossy(&std::fs::read(folder.join(name)).unwrap()).into_owned();
    (read("stdout"), read("stderr"))
}

#[test]
fn pages_fit_wide_and_narrow_windows_in_chromium() {
    if Command::new("chromium").arg("--version").output().is_err() {
        eprintln!("skipped: chromium is not there; apt-get install chromium");
        return;
    }
    for width in [1280, 360] {
        let all = samples::with_everything();
        let seen = measured(&all, width);
        assert_eq!(seen["width"], width);
        assert_eq!(seen["errors"], serde_json::json!([]), "at {width}");
        assert_eq!(seen["findings"], all.findings.len());
        let with_life = all.findings.iter().filter(|finding| finding.life.is_some()).count();
        let with_block = all.findings.iter().filter(|finding| finding.block.is_some()).count();
        assert_eq!((&seen["timelines"], &seen["pages"]), (&with_life.into(), &with_block.into()));
        let clean = measured(&samples::without_findings(), width);
        assert_eq!((&clean["errors"], &clean["findings"]), (&serde_json::json!([]), &0.into()));
    }
}
