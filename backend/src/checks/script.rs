//! The script check: exit 0 passes, 1 warns, all else is critical.
//!
//! Runs the program directly, without a shell, in a process group of its own, and kills the whole group when time is up.
//! Contract: health checks, section "Script details".

use std::{io, process::Stdio, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use shared::{go, health::Status};
use tokio::{io::AsyncReadExt as _, net::unix::pipe, process::Command};

use super::{Outcome, dial, output::Ring};
use crate::rt::clock;

/// Runs the program and judges its exit code.
pub(super) async fn run(args: &[String], timeout: Duration, output_size_max: usize) -> Outcome {
    let mut output = Ring::new(output_size_max);
    let (mut child, mut reader) = match spawn(args) {
        Ok(started) => started,
        Err(why) => return Outcome::critical(why),
    };
    let group = Group(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw));
    let finish = async {
        let mut chunk = [0; 4096];
        // The output ends when the last process of the group that holds it has ended.
        while let Ok(read @ 1..) = reader.read(&mut chunk).await {
            output.write(&chunk[..read]);
        }
        child.wait().await
    };
    match clock::timeout(timeout, finish).await {
        Ok(Ok(exit)) => {
            group.disarm();
            let status = match exit.code() {
                Some(0) => Status::PASSING,
                Some(1) => Status::WARNING,
                _ => Status::CRITICAL,
            };
            Outcome { status, output: output.text_with_size() }
        }
        Ok(Err(error)) => Outcome::critical(dial::reason(&error)),
        Err(_) => {
            drop(group);
            let _ = child.wait().await;
            Outcome::critical(format!("Timed out ({}) running check\n\n{}", go::Duration::from(timeout), output.text_with_size()))
        }
    }
}

/// Kills the process group when dropped, also when the run as a whole is dropped.
struct Group(Option<Pid>);

impl Group {
    /// Everything has ended: the number may belong to somebody else from now on.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn spawn(args: &[String]) -> Result<(tokio::process::Child, pipe::Receiver), String> {
    let Some((program, rest)) = args.split_first() else { return Err("exec: no command".to_owned()) };
    let wire = || -> io::Result<_> {
        let (reader, writer) = io::pipe()?;
        let second = writer.try_clone()?;
        Ok((pipe::Receiver::from_owned_fd(reader.into())?, writer, second))
    };
    let (reader, writer, second) = wire().map_err(|error| dial::reason(&error))?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null()).stdout(writer).stderr(second).process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound && !program.contains('/') {
            format!("exec: \"{program}\": executable file not found in $PATH")
        } else {
            format!("fork/exec {program}: {}", dial::reason(&error))
        }
    })?;
    Ok((child, reader))
}
