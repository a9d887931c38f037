//! Java: the jar, the main class or the module.

use super::script_name;

/// Options of the launcher whose value is the next word (`java --help`, "Java launcher options").
const WITH_VALUE: [&str; 14] = [
    "-cp",
    "-classpath",
    "--class-path",
    "-p",
    "--module-path",
    "--upgrade-module-path",
    "--add-modules",
    "--add-reads",
    "--add-exports",
    "--add-opens",
    "--limit-modules",
    "--patch-module",
    "--enable-native-access",
    "--source",
];

pub(super) fn name(arguments: &[&str]) -> Option<String> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "-jar" => return jar(words.next()?),
            // `module/class`: the class is a detail of the module.
            "-m" | "--module" => return module(words.next()?),
            option if WITH_VALUE.contains(&option) => {
                words.next();
            }
            option if option.starts_with("--module=") => return module(option.get("--module=".len()..)?),
            option if option.starts_with(['-', '@']) => {}
            source if source.ends_with(".java") => {
                return script_name(source.strip_suffix(".java")?);
            }
            class => return Some(class.replace('/', ".")).filter(|class| !class.is_empty()),
        }
    }
    None
}

fn module(value: &str) -> Option<String> {
    let module = value.split('/').next()?;
    (!module.is_empty()).then(|| module.to_owned())
}

/// The name without its version: `shop-api-1.4.2-SNAPSHOT.jar` is `shop-api` before and after an upgrade.
fn jar(path: &str) -> Option<String> {
    let name = script_name(path)?;
    let version = name
        .match_indices('-')
        .map(|(at, _)| at)
        .find(|at| *at > 0 && starts_version(name.get(at + 1..).unwrap_or_default()));
    Some(version.and_then(|at| name.get(..at)).unwrap_or(&name).to_owned())
}

fn starts_version(text: &str) -> bool {
    let digits = text.trim_start_matches(|first: char| first.is_ascii_digit());
    digits.len() < text.len() && (digits.is_empty() || digits.starts_with(['.', '-']))
}
