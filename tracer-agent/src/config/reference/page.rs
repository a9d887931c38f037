//! The page and the schema in `docs`, which are made of the table of settings.

use std::{env, fmt::Write as _, fs, path::Path};

use super::schema;
use crate::config::settings::{CONFIG, SETTINGS};

/// The pages that are made of the table are those that are in the repository; `UPDATE_DOCS=1` writes them.
#[test]
fn the_pages_of_the_documentation_are_those_of_the_table() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let schema = format!("{:#}\n", schema());
    for (name, text) in [
        ("configuration.md", page()),
        ("configuration.schema.json", schema),
    ] {
        let file = docs.join(name);
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&file, &text).unwrap();
        }
        assert!(
            fs::read_to_string(&file).unwrap() == text,
            "docs/{name} is out of date: UPDATE_DOCS=1 cargo test -p tracer-agent --lib config::reference"
        );
    }
}

/// The page of the documentation that lists all settings.
fn page() -> String {
    let mut text = String::from(
        "# Settings\n\n\
         Every setting is a flag, a variable and a key of the YAML file that `--config FILE` (or `TRACER_CONFIG`) names. A flag is stronger than\n\
         a variable, and a variable than the file; the stronger replaces the weaker whole. Where a setting repeats, a variable holds a list with\n\
         commas, and the file a list. An unknown key is an error that names its line and the nearest key.\n\n\
         \x20   tracer-agent config default      a file with every key in it, as it is where nothing is said\n\
         \x20   tracer-agent config check        whether what is said can be used\n\
         \x20   tracer-agent config show         what is in force, and who said it\n\
         \x20   tracer-agent config schema       the JSON Schema of the file, for editors\n\n\
         They take the options of `run`: `tracer-agent config show --config agent.yaml --port 80`.\n\n\
         `run` reads the file again when it has changed, and on SIGHUP. What is selected, `instrumented`, `route`, `learn_routes`, `privacy`, `capture_header`,\n\
         `sampler`, `sample`, `tail`, `export`, `queue_dir`, `queue_size`, `queue_age`, `metrics` and `log_level` count from then on, for processes that run too; everything else counts\n\
         at the next start, and the log says so. A process keeps what it is: what is selected no more is traced until it ends, or is excluded. A file that cannot be used changes nothing.\n\n\
         A destination that stays keeps what waits for it. One that is named no more has 5 s for what it has; the rest is counted as lost, or stays on disk, and the log says how much. One whose\n\
         `queue_size` or endpoints change takes up what it had on disk. One that cannot be opened is told, and what it is handed is counted as lost. Other rules of `tail` decide of what is held too; without any, what is\n\
         held is decided by those there were. `metrics` counts at once where the agent was started with some: else it counts nothing, and has the kernel leave out what callers do not sample.\n\n\
         | flag | key | variable | default | |\n| --- | --- | --- | --- | --- |\n",
    );
    for setting in [&CONFIG].into_iter().chain(SETTINGS) {
        let flag = match setting.value {
            Some(value) => format!("`--{} {value}`", setting.name),
            None => format!("`--{}`", setting.name),
        };
        let key = if *setting == CONFIG {
            String::new()
        } else {
            format!(
                "`{}`{}",
                setting.key(),
                if setting.repeats { ", a list" } else { "" }
            )
        };
        let default = match setting.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let help = setting.help.replace('|', "\\|");
        let _ = writeln!(
            text,
            "| {flag} | {key} | `{}` | {default} | {help} |",
            setting.variable()
        );
    }
    text
}
