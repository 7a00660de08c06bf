//! The program itself, from the command line to the JSON file.

use std::path::Path;
use std::process::{Command, Output};

fn program(arguments: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_sds-compare"));
    program.args(arguments);
    program
}

fn compare(arguments: &[&str]) -> Output {
    program(&["spsc"]).args(arguments).output().expect("the program starts")
}

/// A single short round of the protocol's rows; what it prints.
fn sds(arguments: &[&str]) -> Result<String, String> {
    run(program(&["sds", "--quick", "--rounds", "1"]).args(arguments))
}

fn run(program: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = program.output().expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    if status.success() { Ok(text(stdout)) } else { Err(text(stderr)) }
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("text").to_owned()
}

#[test]
fn a_quick_round_of_two_rows_prints_ratios_and_writes_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("spsc.json");
    let output = compare(&[
        "--quick",
        "--rounds",
        "1",
        "--only",
        "one_thread",
        "--json",
        path.to_str().unwrap(),
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        text.contains("sds-spsc A") && text.contains("rtrb") && text.contains("ratio"),
        "{text}"
    );

    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row["row"].as_str().unwrap()).collect();
    assert_eq!(ids, ["one_thread_u64", "one_thread_64b"]);
    for row in rows {
        assert!(row["ratio"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["probe_ns"].as_f64().unwrap() > 0.0, "{row}");
    }
}

#[test]
fn wrong_arguments_are_named() {
    let refused = |arguments: &[&str]| {
        let output = compare(arguments);
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(
        refused(&["--only", "three"])
            .contains("no row's id starts with `three`; the rows are one_thread_u64, ")
    );
    assert!(refused(&["--rounds", "0"]).contains("--rounds"));
    let error = refused(&["--only", "burst", "--json", "/no/such/folder/file.json"]);
    assert!(error.contains("cannot write /no/such/folder/file.json"), "{error}");
}

#[test]
fn rows_of_the_protocol_print_their_marks_and_write_json() {
    let folder = tempfile::tempdir().unwrap();
    let json = path(folder.path(), "sds.json");
    let text = sds(&["--only", "allocs", "--json", &json]).unwrap();
    assert!(text.contains("allocs_receive: ") && text.contains("ratio ≤ 1: "), "{text}");

    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row["row"].as_str().unwrap()).collect();
    assert_eq!(ids, ["allocs_receive", "allocs_publish"]);
    for row in rows {
        assert_eq!(row["reference_name"], "mark");
        let [value, reference, ratio] =
            ["value", "reference", "ratio"].map(|field| row[field].as_f64().unwrap());
        assert!(value > 0.0 && (ratio - value / reference).abs() < 1e-9, "{row}");
    }
}

#[test]
fn a_floor_is_printed_item_by_item() {
    let text = sds(&["--only", "publish_full"]).unwrap();
    assert_eq!(text.matches("    floor: ").count(), 6, "{text}");
}

#[test]
fn every_driver_passes_messages() {
    let text = sds(&["--only", "driver"]).unwrap();
    for driver in ["driver_smol: ", "driver_tokio: ", "driver_event_loop: "] {
        assert!(text.contains(driver), "{text}");
    }
}

#[test]
fn a_stream_file_is_written_and_received_beside_a_peer() {
    let folder = tempfile::tempdir().unwrap();
    let stream = path(folder.path(), "stream");
    let recipe = ["--count", "300", "--late", "20", "--dialect", "lip109", "--payload", "7"];
    sds(&[&["--write-stream", &stream], &recipe[..]].concat()).unwrap();
    let text = sds(&["--stream", &stream, "--only", "receive_stream"]).unwrap();
    assert!(text.contains("receive_stream: "), "{text}");

    let peer = "test $(wc -c < {}) = $(wc -c < {}) && echo 0.5";
    let json = path(folder.path(), "peer.json");
    let row = ["--only", "peer_stream", "--json", &json];
    sds(&[&["--stream", &stream, "--peer", peer], &row[..]].concat()).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(json["rows"][0]["reference"], 600.0);
    assert_eq!(json["rows"][0]["reference_name"], peer);
}

#[test]
fn without_node_its_rows_are_left_out_and_the_reason_is_said() {
    let text = run(program(&["sds", "--rounds", "1", "--only", "js_"]).env("PATH", "")).unwrap();
    assert!(text.contains("js_send was left out: there is no Node"), "{text}");
    assert!(text.ends_with("0 of 0 marks met\n"), "{text}");
}

#[test]
fn what_is_wrong_with_the_arguments_of_sds_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let stream = path(folder.path(), "stream");
    std::fs::write(&stream, [255, 0, 0, 0, 1]).unwrap();
    let error = sds(&["--stream", &stream]).unwrap_err();
    assert!(error.contains("message 1 claims 255 bytes, and the file has 1 left"), "{error}");
    let error = sds(&["--only", "three"]).unwrap_err();
    assert!(error.contains("`three`; the rows are receive_in_order, "), "{error}");
    let error = sds(&["--only", "peer", "--peer", "false"]).unwrap_err();
    assert!(error.contains("row peer_in_order: the peer `false` failed"), "{error}");
    assert!(sds(&["--count", "3"]).unwrap_err().contains("--write-stream"));
}
