//! What a scenario file may not say although each of its words is known.

use std::collections::BTreeSet;

use super::step::{Fact, FileStep, Target};
use super::{Monitor, OneOrMany, RuntimeKind, Scenario, Step, options, placeholder};

/// Where to point at.
pub(super) enum Place {
    Step(usize),
    /// A piece of the file's text.
    Text(String),
}

pub(super) struct Fault {
    pub place: Place,
    pub reason: String,
}

impl Scenario {
    pub(super) fn check(&self) -> Result<(), Fault> {
        self.check_keys()?;
        for (name, monitor) in self.monitors() {
            self.check_monitor(name, monitor)?;
        }
        self.check_steps()
    }

    fn monitors(&self) -> impl Iterator<Item = (&str, &Monitor)> {
        let others = self.data.exec.iter().chain(&self.data.create);
        std::iter::once(("main", &self.data.monitor))
            .chain(others.map(|(name, monitor)| (name.as_str(), monitor)))
    }

    fn check_keys(&self) -> Result<(), Fault> {
        let data = &self.data;
        if data.why.trim().is_empty() {
            return Err(fault("why", "`why` must say what the scenario is for"));
        }
        if data.no_container.as_ref().is_some_and(|why| why.trim().is_empty()) {
            return Err(fault("no_container", "`no_container` must say why none runs"));
        }
        if let Some(rule) = data.rules.iter().find(|rule| !is_rule(rule)) {
            return Err(fault(rule, format!("`{rule}` is no rule: `rules` are like LOG-12")));
        }
        if data.runtimes.is_empty() {
            return Err(fault("runtimes", "`runtimes` is empty"));
        }
        let standin = data.runtimes.contains(&RuntimeKind::Standin);
        if standin && data.runtimes.len() > 1 {
            return Err(fault("runtimes", "the stand-in runtime cannot be mixed with real ones"));
        }
        if standin != data.standin.is_some() {
            return Err(fault(
                "standin",
                "`runtimes = [\"standin\"]` and its script `[standin]` belong together",
            ));
        }
        if !(0.1..=120.0).contains(&data.deadline) {
            return Err(fault("deadline", "`deadline` is in seconds, from 0.1 to 120"));
        }
        for name in data.exec.keys() {
            if name == "main" || data.create.contains_key(name) {
                return Err(fault(name, format!("the name `{name}` is used twice")));
            }
        }
        for text in data.container.argv.iter().chain(&data.container.env) {
            self.placeholders(text)?;
        }
        for mount in &data.mounts {
            self.placeholders(&mount.at)?;
        }
        for excuse in data.ignore.iter().chain(&data.unordered).chain(&data.joined) {
            if excuse.why.trim().is_empty() {
                return Err(fault(&excuse.path, "a reason is missing: `why`"));
            }
        }
        for expect in &data.expect {
            let tests = [
                expect.is.is_some(),
                expect.has.is_some(),
                expect.lacks.is_some(),
                expect.glob.is_some(),
                expect.one_of.is_some(),
                expect.absent.is_some(),
                expect.count.is_some(),
                expect.at_least.is_some() || expect.at_most.is_some(),
            ];
            if tests.iter().filter(|t| **t).count() != 1 {
                return Err(fault(&expect.path, "an `expect` needs exactly one test"));
            }
        }
        Ok(())
    }

    fn check_monitor(&self, name: &str, monitor: &Monitor) -> Result<(), Fault> {
        let exec = self.is_exec(name);
        if !exec && (!monitor.process.is_empty() || monitor.spec.is_some()) {
            return Err(fault("process", "`process` and `spec` belong to exec sessions"));
        }
        if !exec && (monitor.tty || monitor.stdin) {
            return Err(fault("[monitor]", "`tty` and `stdin` belong into [container]"));
        }
        if exec && monitor.process.is_empty() == monitor.spec.is_none() {
            return Err(fault(name, "an exec session needs either `process` or `spec`"));
        }
        let one_sided = monitor.args.is_empty() && monitor.without.is_empty();
        if monitor.argv.is_some() && !one_sided {
            return Err(fault("argv", "`argv` is the whole command line: no `args`, no `without`"));
        }
        let log: &[String] = match &monitor.log {
            None => &[],
            Some(OneOrMany::One(one)) => std::slice::from_ref(one),
            Some(OneOrMany::Many(many)) => many,
        };
        let words = monitor.args.iter().chain(monitor.argv.iter().flatten()).chain(log);
        for text in words.chain(monitor.env.values()).chain(&monitor.cwd) {
            self.placeholders(text)?;
        }
        for option in &monitor.without {
            if !options::knows_option(option) {
                return Err(fault(option, format!("`without`: no option `{option}`")));
            }
        }
        if let Some(umask) = &monitor.umask {
            if u32::from_str_radix(umask, 8).is_err() {
                return Err(fault("umask", "`umask` is an octal number in quotes"));
            }
        }
        for signal in monitor.ignore_signals.iter().chain(&monitor.block_signals) {
            if signal.parse::<nix::sys::signal::Signal>().is_err() {
                return Err(fault(signal, format!("unknown signal `{signal}`")));
            }
        }
        for extra in &monitor.fds {
            if !(3..30).contains(&extra.fd) {
                return Err(fault("fds", "an inherited descriptor has a number from 3 to 29"));
            }
        }
        Ok(())
    }

    fn placeholders(&self, text: &str) -> Result<(), Fault> {
        placeholder::check(text, false).map_err(|reason| fault(text, reason))
    }

    fn check_steps(&self) -> Result<(), Fault> {
        let mut state = Played::default();
        for (index, line) in self.steps.iter().enumerate() {
            self.check_step(&line.step, &mut state).map_err(|reason| Fault {
                place: Place::Step(index),
                reason: format!("{reason}: `{}`", line.text),
            })?;
        }
        if state.launched.is_empty() {
            return Err(fault("steps", "no step starts a monitor"));
        }
        Ok(())
    }

    fn check_step(&self, step: &Step, state: &mut Played) -> Result<(), String> {
        match step {
            Step::Launch(name) | Step::Create(name) => self.launch(name, state),
            Step::Run => self.launch("main", state),
            Step::Exec(name) => {
                if !self.is_exec(name) {
                    return Err(format!("there is no [exec.{name}]"));
                }
                self.launch(name, state)
            }
            Step::Release(name) | Step::CloseStart(name) | Step::CloseSync(name) => {
                state.needs_launched(name)
            }
            Step::Attach { client, monitor } => {
                state.needs_launched(monitor)?;
                if !state.clients.insert(client.clone()) {
                    return Err(format!("client `{client}` is attached already"));
                }
                Ok(())
            }
            Step::Send { client, .. }
            | Step::HalfClose(client)
            | Step::Pause(client)
            | Step::Resume(client) => state.needs_client(client),
            Step::HangUp(client) => {
                state.needs_client(client)?;
                state.gone.insert(client.clone());
                Ok(())
            }
            Step::Fifo { monitor, .. } | Step::Notify { monitor, .. } => {
                state.needs_launched(monitor)
            }
            Step::Signal { target, .. } => match target {
                Target::Monitor(name) | Target::Launched(name) | Target::Container(name) => {
                    state.needs_launched(name)
                }
                Target::Runtime => Ok(()),
            },
            Step::Wait { fact, .. } => self.check_fact(fact, state),
            Step::File(file) => live_placeholders(file.texts()),
            Step::Runtime(words) => live_placeholders(words.iter().map(String::as_str)),
            Step::StartContainer | Step::HostNotify(_) | Step::Look(_) => Ok(()),
        }
    }

    fn launch(&self, name: &str, state: &mut Played) -> Result<(), String> {
        if self.monitor(name).is_none() {
            return Err(format!("there is no monitor `{name}`"));
        }
        if !state.launched.insert(name.to_string()) {
            return Err(format!("monitor `{name}` is started already"));
        }
        Ok(())
    }

    fn check_fact(&self, fact: &Fact, state: &Played) -> Result<(), String> {
        match fact {
            Fact::Output { client, .. } | Fact::ClientEnd(client) => state.known_client(client),
            Fact::Report { monitor, .. }
            | Fact::AttachReport(monitor)
            | Fact::LaunchEnd(monitor)
            | Fact::Stderr { monitor, .. }
            | Fact::MonitorGone(monitor)
            | Fact::MonitorIdle(monitor)
            | Fact::MonitorStopped(monitor)
            | Fact::Container { monitor, .. } => state.needs_launched(monitor),
            Fact::FileExists(path) | Fact::FileGone(path) | Fact::FileHas { path, .. } => {
                live_placeholders(std::iter::once(path.as_str()))
            }
            Fact::ExitCommand(_)
            | Fact::RuntimeCalls(_)
            | Fact::Journal(_)
            | Fact::Syslog(_)
            | Fact::HostNotify(_) => Ok(()),
        }
    }
}

impl FileStep {
    /// The paths and targets in it.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let (one, two) = match self {
            Self::Write { path, .. }
            | Self::Append { path, .. }
            | Self::Remove(path)
            | Self::MakeDir(path)
            | Self::Mode { path, .. }
            | Self::Truncate(path)
            | Self::Fill(path) => (path, None),
            Self::Rename { from, to } => (from, Some(to)),
            Self::Symlink { target, path } => (target, Some(path)),
        };
        std::iter::once(one.as_str()).chain(two.map(String::as_str))
    }
}

/// What has happened before a step.
#[derive(Default)]
struct Played {
    launched: BTreeSet<String>,
    clients: BTreeSet<String>,
    gone: BTreeSet<String>,
}

impl Played {
    fn needs_launched(&self, name: &str) -> Result<(), String> {
        if self.launched.contains(name) {
            return Ok(());
        }
        Err(format!("monitor `{name}` is not started before this step"))
    }

    fn known_client(&self, name: &str) -> Result<(), String> {
        if self.clients.contains(name) {
            return Ok(());
        }
        Err(format!("no client `{name}` is attached before this step"))
    }

    fn needs_client(&self, name: &str) -> Result<(), String> {
        self.known_client(name)?;
        if self.gone.contains(name) {
            return Err(format!("client `{name}` has hung up before this step"));
        }
        Ok(())
    }
}

fn live_placeholders<'a>(texts: impl Iterator<Item = &'a str>) -> Result<(), String> {
    for text in texts {
        placeholder::check(text, true)?;
    }
    Ok(())
}

/// Capitals, a minus and a number, as in the headings of `docs/specification`.
fn is_rule(text: &str) -> bool {
    let Some((chapter, number)) = text.split_once('-') else { return false };
    let (mut letters, mut digits) = (chapter.chars(), number.chars());
    !chapter.is_empty()
        && !number.is_empty()
        && letters.all(|c| c.is_ascii_uppercase())
        && digits.all(|c| c.is_ascii_digit())
}

fn fault(text: &str, reason: impl Into<String>) -> Fault {
    Fault { place: Place::Text(text.to_string()), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn refusal(text: &str) -> String {
        let path = Path::new("fixtures/scenarios/area/name.toml");
        Scenario::parse(path, text).unwrap_err().to_string()
    }

    #[test]
    fn a_small_scenario_needs_little() {
        let text = "why = \"x\"\ncontainer = [\"sh\", \"-c\", \"exit 3\"]\nsteps = [\"run\", \"wait exit\"]\n";
        let scenario = Scenario::parse(Path::new("s/lifecycle/exits.toml"), text).unwrap();
        assert_eq!(scenario.name, "lifecycle/exits");
        assert_eq!(scenario.data.runtimes.len(), 2);
    }

    #[test]
    fn refuses_with_file_line_and_reason() {
        for (text, expected) in [
            ("why = \"x\"\nnope = 1\nsteps = []\n", "name.toml:2: unknown field `nope`"),
            (
                "why = \"x\"\nsteps = [\"run\"]\ncompare = [\"unmet\"]\n",
                "name.toml:3: unknown field `compare`",
            ),
            ("why = \"x\"\nsteps = [\n\"run\",\n\"fly\"]\n", "name.toml:4: unknown step `fly`"),
            (
                "why = \"x\"\nsteps = [\"run\",\n\"send a x\"]\n",
                "name.toml:3: no client `a` is attached before this step",
            ),
            (
                "why = \"x\"\nsteps = [\"run\"]\n[monitor]\nargs = [\"{nope}\"]\n",
                "name.toml:4: unknown placeholder `{nope}`",
            ),
            ("why = \"x\"\nsteps = [\"exec one\"]\n", "name.toml:2: there is no [exec.one]"),
            (
                "why = \"x\"\nrules = [\"LOG-1\", \"log 2\"]\nsteps = [\"run\"]\n",
                "name.toml:2: `log 2` is no rule",
            ),
            ("why = \"x\"\nsteps = []\n", "name.toml:2: no step starts a monitor"),
            ("why = \"x\"\nruntimes = [\"standin\"]\nsteps = [\"run\"]\n", "belong together"),
        ] {
            let said = refusal(text);
            assert!(said.contains(expected), "{said}\nlacks\n{expected}");
        }
    }
}
