//! The verdict for people to read: a table and one last line.

use core::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use comfy_table::{CellAlignment, Table, presets::UTF8_HORIZONTAL_ONLY};

use crate::judge::{Judged, Verdict};

/// Figures of a participant's summary that the table shows; of its last life, if it was killed.
const FIGURES: [&str; 3] = ["resent", "retrieved", "acknowledged"];

/// Prints the verdict; success only if all participants converged.
pub(crate) fn print(verdict: &Verdict) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", table(verdict))?;
    writeln!(out, "{}", last_line(verdict))?;
    out.flush()?;
    let all = verdict.converged() == verdict.participants.len();
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(verdict: &Verdict) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_HORIZONTAL_ONLY);
    let crashed = verdict.participants.iter().any(|judged| judged.crashes > 0);
    let mut heads = vec!["participant", "delivered"];
    heads.extend(crashed.then_some(["killed", "delivered again"]).into_iter().flatten());
    heads.extend(FIGURES);
    let figures = 1..heads.len();
    heads.push("log digest");
    table.set_header(heads);
    for judged in &verdict.participants {
        let figure = |name| judged.figures.get(name).cloned().unwrap_or_else(|| "-".into());
        let mut row = vec![judged.name.clone(), judged.delivered.to_string()];
        if crashed {
            row.extend([judged.crashes, judged.again].map(|count| count.to_string()));
        }
        row.extend(FIGURES.map(figure));
        row.push(judged.digest.map_or_else(|| "-".into(), |digest| digest.to_string()));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(figures.start).take(figures.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn last_line(verdict: &Verdict) -> String {
    let (converged, all) = (verdict.converged(), verdict.participants.len());
    let digest = verdict.participants.first().and_then(|first| first.digest);
    if let (true, Some(digest)) = (converged == all, digest) {
        let messages = verdict.messages;
        return format!("converged: {all}/{all} participants, {messages} messages, log {digest}");
    }
    let troubled = verdict.participants.iter().filter(|judged| !judged.problems.is_empty());
    let problems: Vec<_> = troubled.map(troubles).collect();
    format!("not converged: {converged}/{all} participants; {}", problems.join("; "))
}

fn troubles(judged: &Judged) -> String {
    format!("{} {}", judged.name, judged.problems.join(", "))
}
