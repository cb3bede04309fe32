//! What each step does.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};

use super::launch::{self, Running};
use super::problem::Problem;
use super::{Bound, Driver, pid};
use crate::observe::clients::Client;
use crate::observe::records;
use crate::observe::streams::Stream;
use crate::scenario::placeholder::expand;
use crate::scenario::step::{ContainerState, Fact, Fifo, FileStep, Switch, Target};
use crate::scenario::{Caller, RuntimeKind, Step};
use crate::text::escape;
use crate::world::{argv, bundle, paths};

type Done = Result<Result<(), Problem>>;

impl Driver<'_> {
    pub(super) fn act(&mut self, step: &Step) -> Done {
        match step {
            Step::Launch(name) => self.launch(name)?,
            Step::Release(name) => return self.release(name),
            Step::CloseStart(name) => self.running(name)?.start = None,
            Step::CloseSync(name) => {
                if let Some(sync) = &mut self.running(name)?.sync {
                    sync.close();
                }
            }
            Step::Create(name) => return self.create(name),
            Step::StartContainer => return self.start_container(),
            Step::Run => {
                if let Err(problem) = self.create("main")? {
                    return Ok(Err(problem));
                }
                return self.start_container();
            }
            Step::Exec(name) => return self.exec(name),
            Step::Attach { client, monitor } => self.attach(client, monitor)?,
            Step::Send { client, bytes, up_to } => return self.send(client, bytes, *up_to),
            Step::HalfClose(client) => {
                return Ok(self.client(client)?.half_close().map_err(Problem::from));
            }
            Step::Pause(client) => self.client(client)?.set_paused(true),
            Step::Resume(client) => self.client(client)?.set_paused(false),
            Step::HangUp(client) => {
                self.pump()?;
                self.client(client)?.hang_up();
            }
            Step::Fifo { fifo, monitor, bytes } => {
                let name = if *fifo == Fifo::Ctl { "ctl" } else { "winsz" };
                let path = format!("{}/{name}", self.bundle_of(monitor)?);
                return Ok(launch::write_fifo(&path, bytes).map_err(Problem::from));
            }
            Step::Signal { target, signal } => return self.signal(target, signal),
            Step::Wait { fact, up_to } => return self.wait(fact, *up_to),
            Step::File(file) => return self.file(file),
            Step::Notify { monitor, bytes } => {
                let path = format!("{}/notify/notify.sock", self.bundle_of(monitor)?);
                let sent = UnixDatagram::unbound().and_then(|s| s.send_to(bytes, path));
                return Ok(sent.map(drop).map_err(Problem::from));
            }
            Step::HostNotify(Switch::On) => self.notify.reopen()?,
            Step::HostNotify(Switch::Off) => self.notify.close(),
            Step::Runtime(words) => {
                let words = words.iter().map(|w| self.fill(w)).collect::<Result<Vec<_>>>()?;
                return self.call_runtime(&words, Quiet::Never);
            }
            Step::Look(moment) => self.look_around(moment)?,
        }
        Ok(Ok(()))
    }

    fn running(&mut self, name: &str) -> Result<&mut Running> {
        self.monitors.get_mut(name).ok_or_else(|| anyhow!("monitor `{name}` was not started"))
    }

    fn client(&mut self, name: &str) -> Result<&mut Client> {
        self.clients.get_mut(name).ok_or_else(|| anyhow!("no client `{name}`"))
    }

    /// The directory of a monitor's attach socket and control files.
    fn bundle_of(&self, name: &str) -> Result<String> {
        let running = self.monitors.get(name).ok_or_else(|| anyhow!("no monitor `{name}`"))?;
        running.call.values.get("session_bundle").cloned().context("no bundle")
    }

    /// Replaces placeholders, also those known only while it runs.
    pub(super) fn fill(&self, text: &str) -> Result<String> {
        let mut values = paths::placeholders(self.runtime, &self.world.cid, &self.world.cid, None);
        let main = self.monitors.get("main");
        let number = |pid: Option<i32>| pid.map_or_else(|| "0".to_string(), |p| p.to_string());
        values.insert("monitor_pid", number(main.and_then(|m| m.pid)));
        values.insert("container_pid", number(self.container_pid("main")));
        expand(text, &values).map_err(anyhow::Error::msg)
    }

    fn launch(&mut self, name: &str) -> Result<()> {
        if self.scenario.is_exec(name) {
            self.prepare_session(name)?;
        }
        let running = Running::start(self.scenario, name, self.runtime)?;
        self.monitors.insert(name.to_string(), running);
        Ok(())
    }

    fn prepare_session(&mut self, name: &str) -> Result<()> {
        let call = argv::call(self.scenario, name, self.runtime).map_err(anyhow::Error::msg)?;
        bundle::prepare_session(self.scenario, name, &call.values)?;
        let caller = self.scenario.monitor(name).and_then(|m| m.caller).unwrap_or_default();
        if caller == Caller::Crio {
            // CRI-O makes the pid file itself, empty, to have a name for it.
            fs::write(call.values.get("pidfile").context("no pid file")?, "")?;
        }
        let bundle = paths::session_bundle(name);
        self.watch.pump();
        self.watch.add(name, Path::new(&bundle))?;
        self.watch.add(&format!("{name}/exit"), Path::new(&format!("{bundle}/exit")))?;
        if let Some(persist) = call.values.get("persist_dir") {
            self.watch.add(&format!("{name}/persist"), Path::new(persist))?;
        }
        Ok(())
    }

    fn release(&mut self, name: &str) -> Done {
        let Some(start) = &self.running(name)?.start else {
            return Ok(Err(Problem::Failed("no start pipe".into())));
        };
        // The monitor may have refused its command line and left: the report shows it.
        match launch::release(start.as_fd()) {
            Ok(()) | Err(Errno::EPIPE) => Ok(Ok(())),
            Err(errno) => Ok(Err(errno.into())),
        }
    }

    /// Launches a monitor and waits until it has reported, or can report no more.
    fn create(&mut self, name: &str) -> Done {
        self.launch(name)?;
        if self.running(name)?.start.is_some() {
            if let Err(problem) = self.release(name)? {
                return Ok(Err(problem));
            }
        }
        if let Err(Problem::Deadline) = self.wait_reported(name)? {
            return Ok(Err(Problem::Deadline));
        }
        // A created container waits for its start: only then does everything stand still.
        let waiting = self.runtime != RuntimeKind::Standin
            && self.container_is(name, ContainerState::Running)
            && !self.is_gone(name);
        if waiting {
            self.look_around(if name == "main" { "created" } else { name })?;
        }
        Ok(Ok(()))
    }

    fn wait_reported(&mut self, name: &str) -> Done {
        let daemonises = self.running(name)?.call.daemonises;
        if daemonises {
            if let Err(problem) = self.wait(&Fact::LaunchEnd(name.to_string()), None)? {
                return Ok(Err(problem));
            }
        }
        let reported = if self.running(name)?.sync.is_some() {
            self.wait(&Fact::Report { monitor: name.to_string(), count: 1 }, None)?
        } else {
            let running = self.running(name)?;
            let pidfile = running.call.values.get("pidfile").cloned().unwrap_or_default();
            let fact = if running.call.daemonises || !self.scenario.is_exec(name) {
                Fact::FileExists(pidfile)
            } else {
                Fact::MonitorGone(name.to_string())
            };
            self.wait(&fact, None)?
        };
        self.settle()?;
        // A container of its own waits for its start; everything else runs by now.
        if self.runtime == RuntimeKind::Standin || self.scenario.is_exec(name) {
            self.running(name)?.started();
        }
        Ok(reported)
    }

    /// An exec session as its caller makes it, up to the report of its pid.
    fn exec(&mut self, name: &str) -> Done {
        self.launch(name)?;
        let (has_start, has_attach) = {
            let running = self.running(name)?;
            (running.start.is_some(), running.attach.is_some())
        };
        if has_start {
            if let Err(problem) = self.release(name)? {
                return Ok(Err(problem));
            }
        }
        if has_attach {
            if let Err(Problem::Deadline) = self.wait(&Fact::AttachReport(name.into()), None)? {
                return Ok(Err(Problem::Deadline));
            }
            if let Err(problem) = self.release(name)? {
                return Ok(Err(problem));
            }
        }
        // ExecSync reports once, when all is over: only a later step can wait for that.
        if has_attach || !has_start {
            if let Err(Problem::Deadline) = self.wait_reported(name)? {
                return Ok(Err(Problem::Deadline));
            }
        }
        Ok(Ok(()))
    }

    fn attach(&mut self, client: &str, monitor: &str) -> Result<()> {
        let running =
            self.monitors.get(monitor).ok_or_else(|| anyhow!("no monitor `{monitor}`"))?;
        let full = running.call.argv.iter().any(|word| word == "--full-attach");
        let directory = if full || !running.call.argv.iter().any(|w| w == "--socket-dir-path") {
            self.bundle_of(monitor)?
        } else {
            let cuuid = running.call.values.get("cuuid").cloned().unwrap_or_default();
            format!("{}/{cuuid}", paths::SOCKET_DIR)
        };
        let attached = Client::connect(monitor, Path::new(&directory));
        self.clients.insert(client.to_string(), attached);
        Ok(())
    }

    /// Sends one packet, waiting as long as the monitor takes none.
    fn send(&mut self, client: &str, bytes: &[u8], up_to: Option<Duration>) -> Done {
        let bound = up_to.map(|bound| Bound::after(bound, self.turns));
        loop {
            match self.client(client)?.send(bytes) {
                Ok(()) => return Ok(Ok(())),
                Err(Errno::EAGAIN) if self.is_over(self.deadline) => {
                    return Ok(Err(Problem::Deadline));
                }
                Err(Errno::EAGAIN) if bound.is_some_and(|bound| self.is_over(bound)) => {
                    return Ok(Err(Problem::NotMet));
                }
                Err(Errno::EAGAIN) => self.pump()?,
                Err(errno) => {
                    let problem = format!("{} bytes: {}", bytes.len(), errno.desc());
                    self.client(client)?.send_problems.push(problem);
                    return Ok(Ok(()));
                }
            }
        }
    }

    fn signal(&mut self, target: &Target, signal: &str) -> Done {
        let signal: Signal = signal.parse()?;
        let of = |running: Option<&Running>| running.and_then(|m| m.pid);
        let number = match target {
            Target::Launched(name) => Some(self.running(name)?.launched),
            Target::Monitor(name) => of(self.monitors.get(name)),
            Target::Container(name) => self.container_pid(name),
            Target::Runtime => records::last_pid(paths::RUNTIME_CALLS),
        };
        let Some(number) = number.filter(|number| !self.ended.contains_key(number)) else {
            return Ok(Err(Problem::Failed("there is no such process".into())));
        };
        Ok(kill(pid(number), signal).map_err(Problem::from))
    }

    fn start_container(&mut self) -> Done {
        if self.runtime == RuntimeKind::Standin {
            return Ok(Ok(()));
        }
        self.call_runtime(&["start".to_string(), self.world.cid.clone()], Quiet::OnSuccess)
    }

    /// Calls the real runtime as the caller of the monitor does, without the recorder.
    fn call_runtime(&mut self, words: &[String], quiet: Quiet) -> Done {
        if words.first().is_some_and(|word| word == "start") {
            self.monitors.get_mut("main").into_iter().for_each(Running::started);
        }
        let mut all = bundle::runtime_arguments(self.runtime);
        all.extend(words.iter().cloned());
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        let child = Command::new(bundle::real_runtime(self.runtime))
            .args(all)
            .stdin(Stdio::null())
            .stdout(write.try_clone()?)
            .stderr(write)
            .spawn()
            .context("cannot call the runtime")?;
        let number = i32::try_from(child.id())?;
        let mut output = Stream::new(read)?;
        while !self.ended.contains_key(&number) {
            if self.is_over(self.deadline) {
                return Ok(Err(Problem::Deadline));
            }
            self.pump()?;
            output.pump();
        }
        output.pump();
        let status = self.ended.get(&number).cloned().unwrap_or_default();
        if quiet == Quiet::Never || status != "exited 0" {
            let verb = words.first().cloned().unwrap_or_default();
            let said = escape(&output.bytes());
            self.seen.runtime_output.push(format!("{verb}: {status} {said}").trim().to_string());
        }
        Ok(Ok(()))
    }

    fn file(&mut self, step: &FileStep) -> Done {
        Ok(self.change_file(step)?.map_err(Problem::from))
    }

    fn change_file(&self, step: &FileStep) -> Result<std::io::Result<()>> {
        Ok(match step {
            FileStep::Write { path, bytes } => fs::write(self.fill(path)?, bytes),
            FileStep::Append { path, bytes } => OpenOptions::new()
                .append(true)
                .create(true)
                .open(self.fill(path)?)
                .and_then(|mut file| file.write_all(bytes)),
            FileStep::Rename { from, to } => fs::rename(self.fill(from)?, self.fill(to)?),
            FileStep::Remove(path) => {
                let path = self.fill(path)?;
                match fs::symlink_metadata(&path) {
                    Ok(data) if data.is_dir() => fs::remove_dir_all(&path),
                    _ => fs::remove_file(&path),
                }
            }
            FileStep::MakeDir(path) => fs::create_dir_all(self.fill(path)?),
            FileStep::Symlink { target, path } => symlink(self.fill(target)?, self.fill(path)?),
            FileStep::Mode { mode, path } => {
                fs::set_permissions(self.fill(path)?, fs::Permissions::from_mode(*mode))
            }
            FileStep::Truncate(path) => {
                OpenOptions::new().write(true).open(self.fill(path)?).and_then(|f| f.set_len(0))
            }
            FileStep::Fill(path) => fill_up(&self.fill(path)?),
        })
    }
}

#[derive(PartialEq, Eq)]
enum Quiet {
    Never,
    OnSuccess,
}

/// Appends until the file system is full to the last byte.
fn fill_up(path: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let mut size = 1 << 20;
    while size > 0 {
        match file.write(&vec![b'x'; size]) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(Errno::ENOSPC as i32) => size /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
