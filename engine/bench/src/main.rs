//! `hookwright-bench`: measures the real binary, each figure beside a floor or a rival measured in the same run.
//! Nothing here is a test: a missed target is printed, never asserted, because another machine or a busy one gives other figures.
//!
//! ```text
//! cargo run --profile dist -p hookwright-bench -- all
//! ```

mod binary;
mod chromium;
mod figure;
mod handler;
mod load;
mod machine;
mod process;
mod report;
mod rival;
mod sample;
mod stock;
mod talker;
mod visitor;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::task::LocalSet;

use figure::{Bench, FIGURES};
use report::{Report, Section};

/// The word before which nothing is set up: the handler of the proxy's figure.
const HANDLER: &str = "serve-handler";

/// The same of the stage behind the log's figure.
const TALKER: &str = "write-lines";

/// Measures Hookwright, each figure beside a floor or a rival measured in the same run.
#[derive(Parser)]
#[command(name = "hookwright-bench", version)]
struct Arguments {
    /// Figures by name; `all` for every one, `list` to see their names.
    #[arg(required = true, value_name = "FIGURE")]
    figures: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// A tenth of everything: to see that it works, not to quote.
    #[arg(long)]
    quick: bool,
    /// The `hookwright` binary to measure; left out: the one beside this program, built with the same profile.
    #[arg(long)]
    binary: Option<PathBuf>,
}

fn main() -> ExitCode {
    let ended = match std::env::args().nth(1).as_deref() {
        Some(HANDLER) => handler::main().map(|()| true),
        Some(TALKER) => talker::main().map(|()| true),
        _ => bench(),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every figure could be measured; missed targets do not count.
fn bench() -> Result<bool> {
    // A provider that is installed already is as good as ours.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments = Arguments::parse();
    if arguments.figures.iter().any(|name| name == "list") {
        for (name, about) in FIGURES {
            println!("{name:10} {about}");
        }
        return Ok(true);
    }
    let chosen = choose(&arguments.figures)?;
    let bench = Bench {
        binary: binary::find(arguments.binary)?,
        own: std::env::current_exe().context("cannot find the own binary, which is the proxy's handler")?,
        quick: arguments.quick,
    };
    let runtime = tokio::runtime::Runtime::new().context("cannot start")?;
    let mut report = Report { machine: machine::describe(&bench), sections: Vec::new() };
    if !arguments.json {
        print!("{report}");
    }
    for (name, about) in chosen {
        eprintln!("measuring {name} …");
        let section = LocalSet::new().block_on(&runtime, measure(bench.clone(), (name, about)));
        if !arguments.json {
            println!("\n{section}");
        }
        report.sections.push(section);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        println!("{}", report.verdict());
    }
    Ok(report.sections.iter().all(|section| section.broken.is_none()))
}

fn choose(names: &[String]) -> Result<Vec<(&'static str, &'static str)>> {
    if names.iter().any(|name| name == "all") {
        return Ok(FIGURES.to_vec());
    }
    let find = |name: &String| {
        let found = FIGURES.iter().find(|(known, _)| known == name).copied();
        found.with_context(|| format!("there is no figure `{name}`; `hookwright-bench list` names them all"))
    };
    names.iter().map(find).collect()
}

/// Measures one figure. The test kit panics with what went wrong; a figure that breaks must not take the others with it.
async fn measure(bench: Bench, (name, about): (&'static str, &'static str)) -> Section {
    let began = Instant::now();
    let measured = tokio::task::spawn_local(async move {
        let mut section = Section::new(name, about);
        let ended = figure::measure(name, &bench, &mut section).await;
        section.broken = ended.err().map(|error| format!("{error:#}"));
        section
    });
    let mut section = measured.await.unwrap_or_else(|failure| {
        let mut section = Section::new(name, about);
        section.broken = Some(failure.to_string());
        section
    });
    section.seconds = began.elapsed().as_secs_f64();
    section
}
