//! The program itself, from the command line to the JSON file.

use std::process::{Command, Output};

fn compare(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sds-compare"))
        .arg("spsc")
        .args(arguments)
        .output()
        .expect("the program starts")
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
